"""What became of an episode: it was played to its end, could not begin, or broke off."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pixelis_agent.collect.flight import Flown
from pixelis_agent.collect.workers import Asked, Ending
from pixelis_agent.policies.base import Episode
from pixelis_env.metrics.pointing import Aim
from pixelis_env.trace import Step, Trace


class RolloutError(RuntimeError):
    """An environment failed, or its process died.

    Attributes:
        indices: The tasks that it was at.
    """

    def __init__(self, message: str, indices: Sequence[int]) -> None:
        super().__init__(message)
        self.indices = tuple(indices)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.indices)


@dataclass(frozen=True)
class Finished:
    """A finished episode.

    Attributes:
        position: Where its index stands in `indices`: sort by it.
        episode: What the policy saw and wrote.
        asked: What is asked in its task.
        score: 0..1; None where the task has no known answer.
        reward: The sum over steps.
        steps: What was done and what came of it.
        aims: Where its calls pointed; empty where the task has no truth.
        oracle_ops: The operations of oracle chains that solve it, without the answer: of the one
            that sees everything and, where it can, of one that saw the overview only.
        trace: Its trace, if asked for.
        env_seconds: Spent in the environment, its reset included.
        policy_seconds: Its share of the time that the policy took.
    """

    position: int
    episode: Episode
    asked: Asked
    score: float | None
    reward: float
    steps: tuple[Step, ...]
    aims: tuple[Aim, ...]
    oracle_ops: tuple[tuple[str, ...], ...]
    trace: Trace | None
    env_seconds: float
    policy_seconds: float

    @classmethod
    def of(cls, play: Flown, end: Ending) -> Finished:
        """What an episode came to."""
        assert play.asked is not None
        return cls(
            position=play.position,
            episode=play.episode,
            asked=play.asked,
            score=end.score,
            reward=play.reward,
            steps=end.steps,
            aims=end.aims,
            oracle_ops=end.oracle_ops,
            trace=end.trace,
            env_seconds=play.env_seconds,
            policy_seconds=play.policy_seconds,
        )

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.asked.task_id

    @property
    def task_type(self) -> str:
        """The question type."""
        return self.asked.task_type

    @property
    def n_tokens(self) -> int:
        """Tokens that the policy wrote."""
        return sum(turn.n_tokens for turn in self.episode.turns)


@dataclass(frozen=True)
class Unreadable:
    """An episode that could not begin: its task's medium cannot be read.

    Attributes:
        position: As of `Finished`.
        index: The task.
        reason: What is wrong with the medium.
        error: What to raise where that must not be.
    """

    position: int
    index: int
    reason: str
    error: RolloutError


def readable(
    played: Generator[Finished | Unreadable, None, None], unreadable: dict[int, str] | None
) -> Iterator[Finished]:
    """The finished episodes of a run; of those that cannot begin, why, in `unreadable`.

    Raises:
        RolloutError: One cannot, and `unreadable` is not given.
    """
    with closing(played):
        for one in played:
            if isinstance(one, Finished):
                yield one
            elif unreadable is None:
                raise one.error
            else:
                unreadable[one.index] = one.reason
