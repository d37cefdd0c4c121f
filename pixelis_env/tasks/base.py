"""A task (a medium and a question about it) and where tasks come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pixelis_env.actions import Action
from pixelis_env.media.base import Media


@dataclass(frozen=True)
class Task:
    """One question about one medium.

    Attributes:
        id: Unique within its source and stable across runs.
        type: The question type, e.g. `object_counting`.
        media: The image or video.
        question: The question as asked, without options.
        options: The texts of the options in order A, B, ...; None for an open question.
        answer: The right answer as an agent would write it: a letter, a number, a text, or
            `start-end` in seconds.
        metric: The name of the metric that scores an answer (`scoring.METRICS`).
        oracle: For procedural tasks, makes a correct action sequence that ends with `answer`.
    """

    id: str
    type: str
    media: Media
    question: str
    options: tuple[str, ...] | None
    answer: str
    metric: str
    oracle: Callable[[], Sequence[Action]] | None = None


@runtime_checkable
class TaskSource(Protocol):
    """Where an environment's tasks come from.

    `task(index)` is a pure function: the same index is the same task in every process.
    """

    name: str
    size: int | None  # how many tasks there are; None: one for every index in 0..2**62-1

    def task(self, index: int) -> Task:
        """The task at `index`; IndexError outside the source."""
        ...
