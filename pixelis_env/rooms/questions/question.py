"""What a question is, and what a type of question must offer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from numpy.random import Generator

from pixelis_env.actions import Action
from pixelis_env.rooms.questions.looks import Looks
from pixelis_env.rooms.questions.survey import Survey

Targets = tuple[int, ...]
"""Ids of the objects that a question is about, in the order its wording names them."""


@dataclass(frozen=True)
class Question:
    """One question about a room video and its right answer.

    Attributes:
        text: The question as asked, without options.
        options: The options' texts in order A, B, ...; None for an open question.
        answer: As an agent would write it (see `Task.answer`).
        targets: The objects whose pixels ground the answer, most telling first.
        called: What the wording calls the first target; None: its category. The others always go
            by theirs.
    """

    text: str
    options: tuple[str, ...] | None
    answer: str
    targets: Targets
    called: str | None = None


@dataclass(frozen=True)
class QuestionType:
    """A kind of question: which objects it can be about, how it is asked, how it is solved.

    Choosing and asking are apart so that a question chosen in the plain room can be asked again
    of a shifted one, where its answer may differ (what the camera sees) or not exist.

    Attributes:
        name: The question type, e.g. `object_counting`.
        family: "vsi", "search", "text", "motion" or "time".
        metric: Name of the metric that scores an answer.
        scene: Arguments of `make_scene` that this type needs, e.g. ``{"signs": 2}``.
        looks_at: How many of the targets `solve` is given, the first ones.
        stride: Every how many frames the survey looks; 1 where times must be exact.
        propose: Candidate targets in a random order, the most promising first.
        ask: The question about these targets, or `NoQuestion`. Its generator decides the order
            of the options and nothing else.
        solve: Actions that look at these targets and gather the evidence, without the answer; ids
            count from e1. LookupError where the looks cannot show what is needed.
    """

    name: str
    family: str
    metric: str
    scene: Mapping[str, int]
    propose: Callable[[Survey, Generator], Iterable[Targets]]
    ask: Callable[[Survey, Targets, Generator], Question]
    solve: Callable[[Looks, Targets, Generator], Sequence[Action]]
    looks_at: int = 1
    stride: int = 3


def arrange(
    right: str,
    wrong: Sequence[str],
    rng: Generator,
    n_options: int | None = None,
    spare: Sequence[str] = (),
) -> tuple[tuple[str, ...], str]:
    """Options in a random order, and the letter of the right one.

    The first draw is the letter, so a generator that is seeded by the task's index alone spreads
    the letters evenly however many rooms were tried before. The wrong options are taken in an
    order of their own names, so that one more or less to choose from changes no other.

    Args:
        right: The right option.
        wrong: The wrong ones to choose from, all different.
        rng: Decides the letter, and which wrong options stand where.
        n_options: How many options in all; default: every one.
        spare: More wrong ones, taken where `wrong` has too few.
    """
    n_options = n_options or len(wrong) + 1
    slot, salt = int(rng.integers(n_options)), int(rng.integers(2**32))

    def draw(text: str) -> bytes:
        return hashlib.sha256(f"{salt} {text}".encode()).digest()

    chosen = [*sorted(wrong, key=draw), *sorted(spare, key=draw)][: n_options - 1]
    options = sorted(chosen, key=draw)
    options.insert(slot, right)
    return tuple(options), chr(ord("A") + slot)
