"""The episodes that are being played at one time, each in a seat of some worker."""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pixelis_agent.policies.base import Episode, Turn
from pixelis_agent.workers import Asked


@dataclass
class Flown:
    """An episode in flight.

    Attributes:
        position: Where its index stands in the run's indices.
        episode: What the policy sees of it.
        worker: Who plays it.
        slot: In which of the worker's environments.
        asked: What is asked, once it has begun.
        ready: Whether the policy may be asked for its next turn.
        future: The turn, while it is written elsewhere.
        asked_at: When the policy was asked, on the clock of `time.perf_counter`.
        reward: So far.
        env_seconds: Spent in the environment so far.
        policy_seconds: Its share of the policy's time so far.
    """

    position: int
    episode: Episode
    worker: int
    slot: int
    asked: Asked | None = None
    ready: bool = False
    future: Future[Turn] | None = None
    asked_at: float = 0.0
    reward: float = 0.0
    env_seconds: float = 0.0
    policy_seconds: float = 0.0


@dataclass
class Flight:
    """All of them.

    Attributes:
        seed: The run's.
        plays: By position, in order of position.
        seats: The same by worker and slot.
        free: Workers and slots without an episode.
    """

    seed: int
    plays: dict[int, Flown] = field(default_factory=dict)
    seats: dict[tuple[int, int], Flown] = field(default_factory=dict)
    free: deque[tuple[int, int]] = field(default_factory=deque)
    _met: Counter[int] = field(default_factory=Counter)
    _started: int = 0

    def begin(self, index: int, tools: list[dict[str, Any]]) -> Flown:
        """Gives an episode of this task a free seat."""
        worker, slot = self.free.popleft()
        episode = Episode(index, episode_seed(self.seed, index, self._met[index]), tools)
        play = Flown(self._started, episode, worker, slot)
        self.plays[play.position] = self.seats[worker, slot] = play
        self._met[index] += 1
        self._started += 1
        return play

    def end(self, play: Flown) -> None:
        """Frees an episode's seat."""
        del self.plays[play.position], self.seats[play.worker, play.slot]
        self.free.append((play.worker, play.slot))

    def ready(self) -> list[Flown]:
        """The episodes that the policy may be asked about."""
        return [play for play in self.plays.values() if play.ready]

    def due(self, batch: int, lockstep: bool) -> list[Flown]:
        """The episodes to ask about at once; none where there is something to wait for.

        Args:
            batch: How many at the most.
            lockstep: Only the first `batch` that are unfinished, and only together.
        """
        if lockstep:
            first = list(self.plays.values())[:batch]
            return first if all(play.ready for play in first) else []
        ready = self.ready()
        return ready[:batch] if len(ready) >= min(batch, len(self.plays)) else []


def episode_seed(seed: int, index: int, repeat: int) -> int:
    """The seed of the `repeat`-th episode of a task, 0..2**63-1, from a run's seed."""
    state = np.random.SeedSequence([seed, index, repeat]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
