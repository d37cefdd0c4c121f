"""A task (a medium and a question about it) and where tasks come from."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from numpy.random import Generator

from pixelis_env.actions import Action
from pixelis_env.coordinates import Box
from pixelis_env.media.base import Media

# What is said of the answer's form. The first three follow VSI-Bench's protocol.
_FORMS = {
    "letter": "Answer with the option's letter from the given choices directly.",
    "mra": "Please answer the question using a single word or phrase.",
    "anls": "Please answer the question using a single word or phrase.",
    "open": "Please answer the question using a single word or phrase.",
    "tiou": "Answer with start-end in seconds, such as 1.5-4.0.",
}


class Oracle(Protocol):
    """Solves one procedural task."""

    def __call__(
        self, rng: Generator | None = None, frames: Sequence[int] | None = None
    ) -> Sequence[Action]:
        """A correct action sequence that ends with the answer.

        Args:
            rng: Makes the choices that are free; default: they are always the same.
            frames: Look at these frames only, and search times without knowing them, as an agent
                does that saw these frames (`observation.overview_indices`) and no more.

        Raises:
            LookupError: These frames do not show what the question needs.
            ValueError: `frames` is empty, or one of them is outside the medium.
        """
        ...


class Truth(Protocol):
    """Where what a question is about shows in the medium: to train and to judge pointing with.

    Targets are counted from 0, the most telling first. No observation holds any of this.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """What the question's wording calls each target: "yellow sign", "chair"."""
        ...

    def box(self, k: int, index: int) -> Box | None:
        """The exact box around target k's visible pixels in frame `index`, source px.

        None where too little of the target shows to speak of.

        Raises:
            IndexError: No such target or frame.
        """
        ...


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
            `start-end` in seconds. None: unknown, so an episode is not scored.
        metric: The name of the metric that scores an answer (`scoring.METRICS`).
        oracle: For procedural tasks, makes correct action sequences that end with `answer`.
        truth: Where what the question is about shows, as far as the source knows it.
        reading: How an answer is read before the metric scores it: "official", as VSI-Bench's
            protocol does, or "lenient" (`pixelis_env.readings`).
        lead: What is said before the question; None: that these are frames of a video, of one.
        form: What is said of the answer's form; None: what the metric asks for.
    """

    id: str
    type: str
    media: Media
    question: str
    options: tuple[str, ...] | None
    answer: str | None
    metric: str
    oracle: Oracle | None = None
    truth: Truth | None = None
    reading: Literal["official", "lenient"] = "official"
    lead: str | None = None
    form: str | None = None

    @property
    def prompt(self) -> str:
        """The question as it is put to an agent: with options and the form of the answer."""
        usual = "These are frames of a video." if self.media.is_video else ""
        lead = usual if self.lead is None else self.lead
        lines = [lead, self.question] if lead else [self.question]
        if self.options is not None:
            lines.append("Options:")
            lines += [f"{a}. {b}" for a, b in zip(string.ascii_uppercase, self.options)]  # noqa: B905
        lines.append(_FORMS[self.metric] if self.form is None else self.form)
        return "\n".join(lines)


@runtime_checkable
class TaskSource(Protocol):
    """Where an environment's tasks come from.

    `task(index)` is a pure function: the same index is the same task in every process. With
    `prefetch=True` it is called from another thread.
    """

    @property
    def name(self) -> str:
        """What messages and traces call it; no path."""
        ...

    @property
    def size(self) -> int | None:
        """How many tasks there are; None: one for every index in 0..2**62-1."""
        ...

    def task(self, index: int) -> Task:
        """The task at `index`; IndexError outside the source."""
        ...
