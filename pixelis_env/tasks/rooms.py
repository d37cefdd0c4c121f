"""Tasks in procedural rooms: a seeded room, its walk-through and a question about it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import partial
from itertools import islice

from numpy.random import Generator

from pixelis_env.actions import Action, Answer
from pixelis_env.rooms import RoomVideo, make_scene
from pixelis_env.rooms.questions import (
    FAMILIES,
    MAX_TARGETS,
    TYPES,
    NoQuestion,
    Question,
    QuestionType,
    Survey,
)
from pixelis_env.rooms.questions.looks import Glimpses, Looks
from pixelis_env.rooms.questions.truth import RoomTruth
from pixelis_env.rooms.scene import SHIFTS
from pixelis_env.tasks.base import Task
from pixelis_env.tasks.seeding import generator

LEVELS = (1, 2, 3)

MAX_INDEX = 2**62

MAX_ROOMS = 200
"""Rooms that are tried for one task. Most types need one or two; a handful is rare."""


class RoomsSource:
    """An endless source of tasks in procedural rooms.

    The same index is the same task in every process. A shift of looks (lighting, texture, blur,
    fonts) keeps room, question and answer. A shifted view (camera, clutter) keeps them while it
    shows the objects asked about and their names stay clear; where the camera sees another
    answer, that is the answer; where the question no longer stands, the next one is taken.

    Question types take turns in a random order, each equally often; the right option's letter is
    drawn from the index alone, so letters are even too.

    Args:
        family: "vsi", "search", "text", "motion", "time", or "all".
        level: 1 (few, large objects) .. 3 (real room sizes and counts, small objects).
        shift: A name in `pixelis_env.rooms.scene.SHIFTS`.
        types: These question types of the family only; default: every one.

    Raises:
        ValueError: An argument outside these ranges.
    """

    size = None

    def __init__(
        self,
        family: str = "all",
        level: int = 1,
        shift: str = "none",
        types: Sequence[str] | None = None,
    ) -> None:
        if family not in (*FAMILIES, "all"):
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}, all; not {family!r}")
        if level not in LEVELS:
            raise ValueError(f"level must be 1, 2 or 3, not {level!r}")
        if shift not in SHIFTS:
            raise ValueError(f"shift must be one of {', '.join(SHIFTS)}; not {shift!r}")
        known = [kind.name for kind in TYPES.values() if family in (kind.family, "all")]
        wrong = [name for name in types or () if name not in known]
        if wrong or (types is not None and not types):
            raise ValueError(f"types must be some of {', '.join(known)}; not {wrong}")
        self.family = family
        self.level = level
        self.shift = shift
        self.types = tuple(name for name in known if types is None or name in types)
        self.name = f"rooms-{family}-{level}-{shift}"

    def task(self, index: int) -> Task:
        """The task at `index`, 0..2**62-1.

        Raises:
            IndexError: `index` is outside that range.
            RuntimeError: No room gave a question (a fault in the rooms, not of the caller).
        """
        index = operator.index(index)
        if not 0 <= index < MAX_INDEX:
            raise IndexError(f"index {index} of {self.name}: must lie within 0..{MAX_INDEX - 1}")
        block, turn = divmod(index, len(self.types))
        order = generator("types", self.family, self.level, block).permutation(len(self.types))
        kind = TYPES[self.types[order[turn]]]
        survey, question = self._find(kind, index)
        return Task(
            id=f"{self.name}-{index}",
            type=kind.name,
            media=survey.video,
            question=question.text,
            options=question.options,
            answer=question.answer,
            metric=kind.metric,
            truth=RoomTruth.of(survey.video, question, kind.looks_at),
            oracle=partial(_solve, kind.name, survey, question, f"{self.family} {index}"),
        )

    def _find(self, kind: QuestionType, index: int) -> tuple[Survey, Question]:
        """The first room, and the first objects in it, that give a question."""
        key = (self.family, self.level, index)
        for attempt in range(MAX_ROOMS):
            rng = generator("room", *key, attempt)
            seed = int(rng.integers(2**31))
            plain = self._survey(kind, seed, "none")
            shifted = plain
            for targets in islice(kind.propose(plain, rng), MAX_TARGETS):
                try:
                    question = kind.ask(plain, targets, generator("options", *key))
                    if self.shift != "none":
                        if shifted is plain:
                            shifted = self._survey(kind, seed, self.shift)
                        question = kind.ask(shifted, targets, generator("options", *key))
                except NoQuestion:
                    continue
                return shifted, question
        raise RuntimeError(
            f"no {kind.name} question in {MAX_ROOMS} rooms (level {self.level}, index {index})"
        )

    def _survey(self, kind: QuestionType, seed: int, shift: str) -> Survey:
        scene = make_scene(seed, level=self.level, shift=shift, **kind.scene)
        return Survey(RoomVideo(scene), kind.stride, lenient=shift != "none")


def _solve(
    name: str,
    survey: Survey,
    question: Question,
    key: str,
    rng: Generator | None = None,
    frames: Sequence[int] | None = None,
) -> list[Action]:
    """The oracle (`pixelis_env.tasks.base.Oracle`): gathers the evidence, then answers with it."""
    kind = TYPES[name]
    looks = Looks(survey) if frames is None else Glimpses(survey, frames)
    rng = generator("oracle", name, key) if rng is None else rng
    actions = list(kind.solve(looks, question.targets[: kind.looks_at], rng))
    ids = tuple(f"e{k}" for k in range(1, len(actions) + 1))
    return [*actions, Answer(text=question.answer, evidence=ids)]
