"""VSI-Bench's numbers: how many, how far apart, how long, how large the room."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from numpy.random import Generator

from pixelis_env.rooms.boxes import box_distance
from pixelis_env.rooms.questions.question import Question, QuestionType, Targets
from pixelis_env.rooms.questions.solve import compare, look_closer
from pixelis_env.rooms.questions.survey import NoQuestion, Survey

MIN_COUNT = 2
"""Fewer are not asked about: VSI-Bench drops a count of one."""

MIN_DISTANCE = 0.2
"""Objects closer than this (m) are not asked about: one decimal would be too coarse."""


def _counted(survey: Survey, rng: Generator) -> Iterable[Targets]:
    """The first of every category that has several."""
    groups = [group for group in survey.groups.values() if len(group) >= MIN_COUNT]
    for k in rng.permutation(len(groups)):
        yield (groups[k][0].id,)


def _count(survey: Survey, targets: Targets, _: Generator) -> Question:
    category = survey.scene.object(targets[0]).category
    ids = [placed.id for placed in survey.group(category)]
    if not all(survey.clear(target) for target in ids):
        raise NoQuestion("one of them is never shown clearly")
    # Largest first: the oracle outlines a few of them, the easiest ones.
    ranked = sorted(ids, key=lambda target: (-survey.clarity(target).max(), target))
    return Question(f"How many {category}(s) are in this room?", None, str(len(ids)), tuple(ranked))


def _pairs(survey: Survey, rng: Generator) -> Iterable[Targets]:
    pairs = list(combinations([placed.id for placed in survey.unique], 2))
    for k in rng.permutation(len(pairs)):
        yield pairs[k] if rng.random() < 0.5 else pairs[k][::-1]


def _abs_distance(survey: Survey, targets: Targets, _: Generator) -> Question:
    a, b = survey.named(targets)
    distance = box_distance(a, b)
    if distance < MIN_DISTANCE:
        raise NoQuestion("closer than 0.2 m")
    text = (
        "Measuring from the closest point of each object, what is the direct distance between "
        f"the {a.category} and the {b.category} (in meters)?"
    )
    return Question(text, None, f"{distance:.1f}", targets)


def _single(survey: Survey, rng: Generator) -> Iterable[Targets]:
    for k in rng.permutation(len(survey.unique)):
        yield (survey.unique[k].id,)


def _size(survey: Survey, targets: Targets, _: Generator) -> Question:
    (placed,) = survey.named(targets)
    text = (
        "What is the length of the longest dimension (length, width, or height) of the "
        f"{placed.category}, measured in centimeters?"
    )
    return Question(text, None, str(round(100 * max(placed.size))), targets)


def _yardsticks(survey: Survey, _: Generator) -> Iterable[Targets]:
    largest = sorted(survey.clear_ids, key=lambda target: -survey.clarity(target).max())
    if largest:
        yield tuple(largest[:2])


def _room_size(survey: Survey, targets: Targets, _: Generator) -> Question:
    if not all(survey.clear(target) for target in targets):
        raise NoQuestion("no object to judge the room's scale by")
    text = (
        "What is the size of this room (in square meters)?\n"
        "If multiple rooms are shown, estimate the size of the combined space."
    )
    return Question(text, None, f"{survey.scene.room.area:.1f}", targets)


TYPES = (
    QuestionType(
        "object_counting", "vsi", "mra", {}, _counted, _count, compare, looks_at=3,
    ),
    QuestionType(
        "object_abs_distance", "vsi", "mra", {}, _pairs, _abs_distance, compare, looks_at=2,
    ),
    QuestionType("object_size_estimation", "vsi", "mra", {}, _single, _size, look_closer),
    QuestionType(
        "room_size_estimation", "vsi", "mra", {}, _yardsticks, _room_size, compare, looks_at=2,
    ),
)  # fmt: skip
