"""What an iteration learns from: encodings that know a repeat, groups that say something."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import torch

from pixelis_agent.config import CCRFTConfig
from pixelis_agent.learning.groups import sample_groups
from pixelis_agent.models.processor import Processor
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.policies.scripted import call_text
from pixelis_agent.rewards.coherence import repeated
from pixelis_agent.rewards.encode import ObservationEncoder
from pixelis_agent.splits import REWARDED
from pixelis_env.wrappers import ToolCall
from tests.agent.small import small_kwargs


def test_the_same_call_again_is_a_repeat(tiny: Any, processor: Processor) -> None:
    """Though its evidence has another id."""
    encoder = ObservationEncoder(tiny, processor, VisionCache(tiny, processor))
    env = ToolCall(gym.make("Pixelis-v0", **small_kwargs()))
    observation, _ = env.reset(options={"index": 3})
    seen = [encoder(observation)]
    for box in ([0, 0, 500, 1000], [0, 0, 500, 1000], [500, 0, 1000, 1000]):
        observation, *_ = env.step(call_text("zoom", {"box": box}))
        seen.append(encoder(observation))
    env.close()
    encodings = torch.stack(seen)
    assert repeated(encodings).tolist() == [False, True, False]
    halves = encodings[1:].reshape(3, 2, encoder.size // 2)
    torch.testing.assert_close(halves.square().mean(-1), torch.ones(3, 2))


@dataclass
class Stream:
    task: int = 0


class Played:
    """Stands for a collector: on every other task all episodes score 1."""

    size = None

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def run(self, policy: Any, indices: list[int], *, seed: int, **_: Any) -> Iterator[Any]:
        self.seeds.append(seed)
        for position, index in reversed(list(enumerate(indices))):
            silent = REWARDED.index(index) % 2 == 0
            episode = SimpleNamespace(index=index, rollout=object(), observations=[None])
            score = 1.0 if silent or position % 2 else 0.0
            yield SimpleNamespace(
                position=position, score=score, task_id="t", steps=(), episode=episode
            )


def test_silent_groups_are_replaced_and_counted(tmp_path: Path) -> None:
    config = CCRFTConfig(model="", out=tmp_path, tasks=2, group=2, redraws=3)
    alone = SimpleNamespace(process_index=0, num_processes=1)
    stream, collector = Stream(), Played()

    def play() -> tuple[list[Any], dict[str, float]]:
        encoder: Any = lambda _: torch.zeros(2)  # noqa: E731
        player: Any = None
        return sample_groups(collector, player, encoder, stream, config, alone)  # type: ignore[arg-type]

    lived, played = play()
    assert [(e.group, e.place, e.score) for e in lived] == [
        (1, 2, 0.0),
        (1, 3, 1.0),
        (3, 6, 0.0),
        (3, 7, 1.0),
    ]
    assert played == {"score": 0.75, "replaced_groups": 2.0}
    assert stream.task == 4
    assert len(set(collector.seeds)) == 3  # 0 and 1; then 2; then 3
    # When nothing better comes, the last draw is kept as it is.
    config = CCRFTConfig(model="", out=tmp_path, tasks=2, group=2, redraws=0)
    lived, played = play()
    assert [episode.group for episode in lived] == [4, 4, 5, 5]
    assert played["replaced_groups"] == 0
