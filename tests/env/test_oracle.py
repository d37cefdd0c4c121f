"""Every task type and many seeds: the oracle scores 1, an empty answer 0, a perturbed one less."""

from __future__ import annotations

import numpy as np
import pytest

from pixelis_env.actions import Answer
from pixelis_env.env import PixelisEnv
from pixelis_env.evidence import TextLines
from pixelis_env.observation import overview_indices
from pixelis_env.rooms.questions import TYPES as KINDS
from pixelis_env.scoring import perturb
from pixelis_env.tasks.rooms import RoomsSource

TYPES = [(kind.family, kind.name) for kind in KINDS.values()]
SEEDS = 20


@pytest.mark.parametrize(("family", "kind"), TYPES)
def test_oracle_one_empty_zero_perturbed_less(family: str, kind: str) -> None:
    env = PixelisEnv(RoomsSource(family=family, types=[kind]), tools="oracle")
    for seed in range(SEEDS):
        env.reset(seed=seed)
        assert env.task.type == kind
        start = env.get_state()
        chain = env.oracle()
        assert len(chain) > 1, "an oracle looks before it answers"
        for action in chain:
            _, _, terminated, _, info = env.step(action)
            assert not info["invalid"], info["evidence"].message
        assert terminated
        assert info["score"] == 1.0, (seed, env.task.question, chain[-1])
        wrong = perturb(env.task, np.random.default_rng(seed))
        for text, good in (("", lambda s: s == 0.0), (wrong, lambda s: s < 1.0)):
            env.set_state(start)
            info = env.step(Answer(text=text))[4]
            assert good(info["score"]), (seed, text, info["score"])


@pytest.mark.parametrize(("family", "kind"), TYPES)
def test_the_oracle_chain_runs_on_the_default_backends(family: str, kind: str) -> None:
    env = PixelisEnv(RoomsSource(family=family, types=[kind]))
    for seed in range(2):
        env.reset(seed=100 + seed)
        for action in env.oracle():
            info = env.step(action)[4]
            assert not info["invalid"], info["evidence"].message
        assert info["score"] == 1.0


def test_a_number_is_read_after_a_zoom_and_far_too_small_in_the_overview() -> None:
    env = PixelisEnv(types=["search_number"])
    for index in range(4):
        env.reset(options={"index": index})
        zoom, reading, _ = env.oracle()
        for action in (zoom, reading):
            evidence = env.step(action)[4]["evidence"]
        assert isinstance(evidence, TextLines)
        assert evidence.text == env.task.answer
        assert env.task.truth is not None
        for frame in overview_indices(env.task.media):
            box = env.task.truth.box(0, frame)
            # Its digits fill half of a tag's height: five pixels of the overview.
            assert box is None or 0.53 * (box[3] - box[1]) * 112 / 320 < 6


@pytest.mark.parametrize("level", [2, 3])
def test_the_oracle_solves_the_harder_levels(level: int) -> None:
    env = PixelisEnv(level=level, tools="oracle")
    kinds = set()
    for index in range(0, len(TYPES), 2):
        env.reset(options={"index": index})
        kinds.add(env.task.type)
        for action in env.oracle():
            info = env.step(action)[4]
        assert info["score"] == 1.0, env.task.question
    assert len(kinds) == len(TYPES) // 2
