"""Questions about rooms: every type, and how one is found in a room."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from numpy.random import Generator

from pixelis_env.rooms.questions import (
    directions,
    measures,
    movement,
    reading,
    relations,
    routes,
    search,
    timing,
)
from pixelis_env.rooms.questions.question import Question, QuestionType
from pixelis_env.rooms.questions.survey import NoQuestion, Survey

__all__ = [
    "FAMILIES",
    "MAX_TARGETS",
    "TYPES",
    "NoQuestion",
    "Question",
    "QuestionType",
    "Survey",
    "questions_about",
]

TYPES: dict[str, QuestionType] = {
    kind.name: kind
    for module in (measures, relations, directions, routes, search, reading, movement, timing)
    for kind in module.TYPES
}
"""Every question type by name."""

FAMILIES = ("vsi", "search", "text", "motion", "time")
"""The families of question types."""

MAX_TARGETS = 200
"""Choices of objects that are tried in one room."""


def questions_about(survey: Survey, kind: QuestionType, rng: Generator) -> Iterator[Question]:
    """Questions of one type that a room allows, no two with the same wording."""
    asked = set()
    for targets in islice(kind.propose(survey, rng), MAX_TARGETS):
        try:
            question = kind.ask(survey, targets, rng)
        except NoQuestion:
            continue
        if question.text not in asked:
            asked.add(question.text)
            yield question
