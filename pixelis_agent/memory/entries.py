"""What a memory holds and gives back."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from pixelis_agent.rollout import Rollout
from pixelis_env.trace import Trace


@dataclass(frozen=True)
class Voted:
    """A rollout that took part in a vote.

    Attributes:
        trace: Its trace.
        fidelity: Of its pixels, 0..1.
        weight: In the vote.
        rollout: Its tokens and images, where it is learned from.
        gains: What each of its steps counts in an update, `judging.gains`; empty where it is not
            learned from.
    """

    trace: Trace
    fidelity: float
    weight: float
    rollout: Rollout | None = None
    gains: tuple[float, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A query, and what came of it.

    Attributes:
        task_id: The task's id in its source.
        task_type: The question type.
        question: As it was put to the agent.
        media_digest: The medium's content digest.
        images: What the agent was shown first.
        rollouts: Those that voted.
        answer: That won; None where nobody did.
        confidence: Of the vote, 0..1.
        margin: Of the vote, 0..1.
        exemplar: Which of `rollouts` is the exemplar; None without one.
        place: Of the query in its stream.
        neighbours: The entries that the vote regarded.
        learned: Whether it is learned from: the vote was clear enough, and the query new.
    """

    task_id: str
    task_type: str
    question: str
    media_digest: str
    images: tuple[Image.Image, ...]
    rollouts: tuple[Voted, ...]
    answer: str | None
    confidence: float
    margin: float
    exemplar: int | None
    place: int = 0
    neighbours: tuple[int, ...] = ()
    learned: bool = True


@dataclass(frozen=True)
class Neighbour:
    """What is recalled of an entry.

    Attributes:
        id: Of the entry; `Memory.get` has all of it.
        similarity: Of its vector, -1..1.
        media_digest: Its medium's.
        answer: That won its vote.
        confidence: Of the vote.
        ops: The operations of its exemplar.
    """

    id: int
    similarity: float
    media_digest: str
    answer: str | None
    confidence: float
    ops: tuple[str, ...]
