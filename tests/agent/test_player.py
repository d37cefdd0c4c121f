"""What runs in a Ray actor, without Ray: called in threads as Ray calls it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pixelis_agent.collect import Finished, RolloutError, collect
from pixelis_agent.collect.finished import Unreadable
from pixelis_agent.collect.flight import tickets
from pixelis_agent.collect.player import Over, Player
from pixelis_agent.policies.scripted import OraclePolicy, RandomPolicy
from pixelis_env.media import MediaError
from pixelis_env.tasks.base import Task
from tests.agent.small import small_kwargs

SMALL = small_kwargs()
INDICES = [*range(12), 3, 3]


def play(player: Player, policy: Any, indices: list[int], seed: int = 0) -> list[Over]:
    """All at once, in as many threads."""
    player.begin(policy, batch=16, traces=False)
    with ThreadPoolExecutor(len(indices)) as threads:
        played = list(threads.map(player.play, tickets(indices, seed)))
    return [over for over, _ in played]


def content(played: list[Any]) -> list[Any]:
    return [(one.position, one.episode.index, one.steps, one.score) for one in played]


def test_calls_in_threads_are_a_run_of_a_collector() -> None:
    player = Player("Pixelis-v0", SMALL, 3)
    here = sorted(
        collect(RandomPolicy(), "Pixelis-v0", INDICES, env_kwargs=SMALL, workers=0, seed=5),
        key=lambda one: one.position,
    )
    assert content(play(player, RandomPolicy(), INDICES, seed=5)) == content(here)
    # Another policy follows, and one call alone is played as well.
    assert [one.score for one in play(player, OraclePolicy(), [1, 2, 3])] == [1.0] * 3
    assert [one.score for one in play(player, OraclePolicy(), [7])] == [1.0]


def test_a_failure_reaches_who_waits_and_ends_nothing_else() -> None:
    player = Player("Pixelis-v0", small_kwargs(fail_at=5), 2)
    with pytest.raises(RolloutError, match="task 5 of Pixelis-v0 failed") as error:
        play(player, OraclePolicy(), [5])
    assert error.value.indices == (5,)
    assert [one.score for one in play(player, OraclePolicy(), [1, 2])] == [1.0] * 2


class Damaged:
    """A source whose task 2 has a medium that cannot be read."""

    name, size = "damaged", 60

    def task(self, index: int) -> Task:
        if index == 2:
            raise MediaError("clip 2 ends early")
        task: Task = SMALL["source"].task(index)  # type: ignore[attr-defined]
        return task


def test_a_medium_that_cannot_be_read_is_told_as_such() -> None:
    player = Player("Pixelis-v0", {**SMALL, "source": Damaged()}, 2)
    first, second, third = play(player, OraclePolicy(), [1, 2, 3])
    assert isinstance(first, Finished)
    assert isinstance(third, Finished)
    assert isinstance(second, Unreadable)
    assert (second.index, second.position, second.reason) == (2, 1, "clip 2 ends early")
