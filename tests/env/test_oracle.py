"""Every task type: its oracle, its truth, and the oracle of an agent that saw the overview only."""

from __future__ import annotations

import pytest

from pixelis_env.env import PixelisEnv
from pixelis_env.evidence import TextLines
from pixelis_env.observation import overview_indices
from pixelis_env.rooms.questions import TYPES as KINDS
from pixelis_env.tasks.rooms import RoomsSource
from tests.env.task_laws import (
    glimpses_suffice,
    oracle_is_right,
    solve,
    truth_is_what_the_oracle_looks_at,
)

TYPES = [(kind.family, kind.name) for kind in KINDS.values()]
EPISODES, LOOKED_INTO = 5, 3


@pytest.mark.parametrize(("family", "kind"), TYPES)
def test_every_type_keeps_the_laws_of_tasks(family: str, kind: str) -> None:
    env = PixelisEnv(RoomsSource(family=family, types=[kind]), tools="oracle")
    enough = []
    for index in range(EPISODES):
        env.reset(options={"index": index})
        assert env.task.type == kind
        oracle_is_right(env)
        if index < LOOKED_INTO:
            truth_is_what_the_oracle_looks_at(env)
            enough.append(glimpses_suffice(env))
    assert any(enough), "not one of the overviews shows what is asked about"


@pytest.mark.slow
@pytest.mark.parametrize(("family", "kind"), TYPES)
def test_many_tasks_of_every_type_keep_their_laws(family: str, kind: str) -> None:
    env = PixelisEnv(RoomsSource(family=family, types=[kind]), tools="oracle")
    for index in range(EPISODES, 40):
        env.reset(options={"index": index})
        oracle_is_right(env)
        truth_is_what_the_oracle_looks_at(env)
        glimpses_suffice(env)


def test_a_category_is_outlined_where_it_shows() -> None:
    """The first chair of this room is never in view: the one that appears is another."""
    env = PixelisEnv(RoomsSource(family="vsi", types=["obj_appearance_order"]), tools="oracle")
    env.reset(options={"index": 27})
    oracle_is_right(env)


@pytest.mark.parametrize(("family", "kind"), TYPES)
def test_the_oracle_chain_runs_on_the_default_backends(family: str, kind: str) -> None:
    env = PixelisEnv(RoomsSource(family=family, types=[kind]))
    env.reset(seed=100)
    solve(env, env.oracle())


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
    for index in range(0, len(TYPES), 4):
        env.reset(options={"index": index})
        kinds.add(env.task.type)
        solve(env, env.oracle())
    assert len(kinds) == len(range(0, len(TYPES), 4))
