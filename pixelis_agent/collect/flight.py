"""The episodes that are being played at one time, each in a seat of some worker."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pixelis_agent.collect.workers import Asked
from pixelis_agent.policies.base import Episode, Turn


@dataclass(frozen=True)
class Ticket:
    """An episode that is to be played. Wherever and whenever that is, it comes to the same.

    Attributes:
        position: Where its index stands in the run's indices.
        index: The task.
        seed: The episode's own, 0..2**63-1.
    """

    position: int
    index: int
    seed: int


def tickets(indices: Iterable[int], seed: int) -> Iterator[Ticket]:
    """The episodes of a run, one of each task; a task that comes again has another seed.

    Args:
        indices: The tasks; taken one by one, so they may be endless.
        seed: The run's.
    """
    met = Counter[int]()
    for position, index in enumerate(indices):
        yield Ticket(position, index, episode_seed(seed, index, met[index]))
        met[index] += 1


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
        plays: By position, in order of position.
        seats: The same by worker and slot.
        free: Workers and slots without an episode.
    """

    plays: dict[int, Flown] = field(default_factory=dict)
    seats: dict[tuple[int, int], Flown] = field(default_factory=dict)
    free: deque[tuple[int, int]] = field(default_factory=deque)

    def begin(self, ticket: Ticket, tools: list[dict[str, Any]]) -> Flown:
        """Gives an episode a free seat."""
        worker, slot = self.free.popleft()
        play = Flown(ticket.position, Episode(ticket.index, ticket.seed, tools), worker, slot)
        self.plays[play.position] = self.seats[worker, slot] = play
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
