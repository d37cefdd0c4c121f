"""Text: reading one sign among several."""

from __future__ import annotations

from collections.abc import Iterable

from numpy.random import Generator

from pixelis_env.rooms.boxes import box_distance
from pixelis_env.rooms.questions.question import Question, QuestionType, Targets
from pixelis_env.rooms.questions.solve import read
from pixelis_env.rooms.questions.survey import NoQuestion, Survey
from pixelis_env.rooms.scene import Placed

NEARER = 0.5
"""The sign asked about is nearer than the next one by this much, m."""


def _legible(survey: Survey, object_id: int) -> Placed:
    placed = survey.scene.object(object_id)
    if not (placed.text and survey.clear(object_id) and survey.entire(object_id)):
        raise NoQuestion("the sign cannot be read")
    return placed


def _signs(survey: Survey) -> tuple[Placed, ...]:
    return survey.scene.by_category.get("sign", ())


def _any_sign(survey: Survey, rng: Generator) -> Iterable[Targets]:
    signs = _signs(survey)
    for k in rng.permutation(len(signs)):
        yield (signs[k].id,)


def _read(survey: Survey, targets: Targets, _: Generator) -> Question:
    sign = _legible(survey, targets[0])
    if sum(other.color == sign.color for other in _signs(survey)) != 1:
        raise NoQuestion("two signs have this colour")
    text = f"What does the {sign.color} sign on the wall say?"
    return Question(text, None, sign.text or "", targets, f"{sign.color} sign")


def _sign_and_landmark(survey: Survey, rng: Generator) -> Iterable[Targets]:
    pairs = [(sign.id, other.id) for sign in _signs(survey) for other in survey.unique]
    for k in rng.permutation(len(pairs)):
        yield pairs[k]


def _nearest(survey: Survey, targets: Targets, _: Generator) -> Question:
    sign = _legible(survey, targets[0])
    (landmark,) = survey.named(targets[1:])
    if landmark.category == sign.category:
        raise NoQuestion("a sign cannot tell where a sign is")
    distance = box_distance(sign, landmark)
    others = [box_distance(other, landmark) for other in _signs(survey) if other.id != sign.id]
    if not others or min(others) < distance + NEARER:
        raise NoQuestion("another sign is as near")
    called = f"sign that is closest to the {landmark.category}"
    return Question(f"What does the {called} say?", None, sign.text or "", targets, called)


_SCENE = {"signs": 3}

TYPES = (
    QuestionType("text_read", "text", "anls", _SCENE, _any_sign, _read, read),
    QuestionType("text_nearest", "text", "anls", _SCENE, _sign_and_landmark, _nearest, read),
)
