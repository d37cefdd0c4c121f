"""VSI-Bench's choices: which is closest, in which direction, in which order they appear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import permutations

import numpy as np
from numpy.random import Generator

from pixelis_env.rooms.boxes import box_distance
from pixelis_env.rooms.questions.question import (
    NoQuestion,
    Question,
    QuestionType,
    Targets,
    arrange,
)
from pixelis_env.rooms.questions.solve import compare, look_in_turn
from pixelis_env.rooms.questions.survey import IN_VIEW, Survey
from pixelis_env.rooms.scene import Placed

DISTANCE_GAP, WIDE_ROOM, WIDE_GAP = 0.15, 40.0, 0.30
"""Two options must differ by 0.15 m, in rooms over 40 m² by 0.30 m."""

DIRECTION_MARGIN = 10.0
"""No asked direction lies closer than this (degrees) to a boundary between two answers."""

NEAR, FAR = 0.3, 5.0
"""Centroids of a direction question's objects are this far apart on the floor, m."""

APPEARED = 0.01
"""A category has appeared once it covers this share of the frame. (SIMS-V asks for 5 %, which
a chair across one of these rooms never covers.)"""

ORDER_GAP = 1.0
"""Seconds between two appearances that are asked about, at the least."""

TRIES = 60
"""How many random choices of objects are looked at in one room."""


def _reference_and_four(survey: Survey, rng: Generator) -> Iterable[Targets]:
    groups = [
        group
        for group in survey.scene.by_category.values()
        if all(survey.clear(placed.id) for placed in group)
    ]
    for _ in range(TRIES if len(groups) >= 5 else 0):
        chosen = [groups[k] for k in rng.choice(len(groups), 5, replace=False)]
        if len(chosen[0]) == 1:
            yield tuple(group[0].id for group in chosen)


def _rel_distance(survey: Survey, targets: Targets, rng: Generator) -> Question:
    reference, *others = (survey.scene.object(target) for target in targets)
    groups = [survey.scene.by_category[placed.category] for placed in others]
    for placed in (reference, *(placed for group in groups for placed in group)):
        if not survey.clear(placed.id):
            raise NoQuestion(f"the {placed.category} is never shown clearly")
    distances = [min(box_distance(reference, placed) for placed in group) for group in groups]
    gap = WIDE_GAP if survey.scene.room.area > WIDE_ROOM else DISTANCE_GAP
    if np.diff(np.sort(distances)).min() < gap:
        raise NoQuestion("two options lie equally far")
    names = [placed.category for placed in others]
    right = names[int(np.argmin(distances))]
    options, answer = arrange(right, [name for name in names if name != right], rng)
    text = (
        "Measuring from the closest point of each object, which of these objects "
        f"({', '.join(options)}) is the closest to the {reference.category}?"
    )
    if any(len(group) > 1 for group in groups):
        text += (
            "\nIf there are multiple instances of an object category, measure to the closest."
        )
    return Question(text, options, answer, targets)


def bearing(standing: Placed, facing: Placed, query: Placed) -> float:
    """Degrees to turn left (negative: right) from `facing` to `query`, seen from `standing`.

    Between the centroids on the floor plane, -180..180.
    """
    x, y = standing.center[:2]
    ahead = np.arctan2(facing.center[1] - y, facing.center[0] - x)
    there = np.arctan2(query.center[1] - y, query.center[0] - x)
    return float((np.degrees(there - ahead) + 180) % 360 - 180)


Sectors = Mapping[str, tuple[tuple[float, float], ...]]
"""The bearings (degrees, left positive) that each answer stands for."""

EASY: Sectors = {"left": ((0, 180),), "right": ((-180, 0),)}
MEDIUM: Sectors = {
    "left": ((0, 135),),
    "right": ((-135, 0),),
    "back": ((135, 225), (-225, -135)),  # straight behind is no boundary
}
HARD: Sectors = {
    "front-left": ((0, 90),),
    "front-right": ((-90, 0),),
    "back-left": ((90, 180),),
    "back-right": ((-180, -90),),
}

_STANDING = "If I am standing by the {0} and facing the {1}, is the {2} "
_EASY_TEXT = _STANDING + "to the left or the right of the {1}?"
_MEDIUM_TEXT = (
    _STANDING + "to my left, right, or back?\n"
    "An object is to my back if I would have to turn at least 135 degrees in order to face it."
)
_HARD_TEXT = (
    _STANDING + "to my front-left, front-right, back-left, or back-right?\n"
    "The directions refer to the quadrants of a Cartesian plane (if I am standing at the origin "
    "and facing along the positive y-axis)."
)


def sector(angle: float, sectors: Sectors) -> str | None:
    """The answer whose sector holds the bearing with the margin to spare, or None."""
    for name, spans in sectors.items():
        for low, high in spans:
            if low + DIRECTION_MARGIN <= angle <= high - DIRECTION_MARGIN:
                return name
    return None


def _triples(survey: Survey, rng: Generator, sectors: Sectors) -> Iterable[Targets]:
    """Random triples; those with an answer drawn beforehand first, so that answers balance."""
    wanted = str(rng.choice(list(sectors)))
    triples = list(permutations(survey.unique, 3))
    later = []
    for k in rng.permutation(len(triples))[:TRIES]:
        ids = tuple(placed.id for placed in triples[k])
        if sector(bearing(*triples[k]), sectors) == wanted:
            yield ids
        else:
            later.append(ids)
    yield from later


def _direction(
    survey: Survey, targets: Targets, rng: Generator, sectors: Sectors, wording: str
) -> Question:
    standing, facing, query = survey.named(targets)
    for a, b in ((standing, facing), (standing, query), (facing, query)):
        apart = np.hypot(a.center[0] - b.center[0], a.center[1] - b.center[1])
        if not NEAR <= apart <= FAR:
            raise NoQuestion("two of the objects are too close or too far apart")
    right = sector(bearing(standing, facing, query), sectors)
    if right is None:
        raise NoQuestion("the direction is close to a boundary")
    options, answer = arrange(right, [name for name in sectors if name != right], rng)
    text = wording.format(standing.category, facing.category, query.category)
    return Question(text, options, answer, targets)


def _appearing(survey: Survey, rng: Generator) -> Iterable[Targets]:
    groups = [
        group
        for group in survey.scene.by_category.values()
        if survey.first_frame([placed.id for placed in group], APPEARED) is not None
    ]
    for _ in range(TRIES if len(groups) >= 4 else 0):
        chosen = [groups[k][0].id for k in rng.choice(len(groups), 4, replace=False)]
        yield tuple(chosen)


def _order(survey: Survey, targets: Targets, rng: Generator) -> Question:
    names = [survey.scene.object(target).category for target in targets]
    first, glimpse = (
        [appearance(survey, name, share) for name in names] for share in (APPEARED, IN_VIEW)
    )
    # The survey looks every few frames: a gap it measures may be one stride too long.
    gap = ORDER_GAP + survey.stride / survey.scene.camera.fps
    if np.diff(np.sort(first)).min() <= gap:
        raise NoQuestion("two of them appear together")
    ranking = np.argsort(first)
    # A first glimpse at a frame's edge must not tell another story than the clear sight.
    if not (np.diff(np.asarray(glimpse)[ranking]) > 0).all():
        raise NoQuestion("the order of first glimpses differs")
    right = ", ".join(names[k] for k in ranking)
    others = [", ".join(order) for order in permutations(names) if ", ".join(order) != right]
    wrong = [others[k] for k in _permutation_of(names, len(others))[:3]]
    options, answer = arrange(right, wrong, rng)
    text = (
        "What will be the first-time appearance order of the following categories in the video: "
        f"{', '.join(names)}?"
    )
    # The objects that appear, in that order: what a person would point at.
    return Question(text, options, answer, tuple(targets[k] for k in ranking))


def appearance(survey: Survey, category: str, share: float) -> float:
    """When a category first covers `share` of the frame, s; `NoQuestion` where it never does."""
    ids = [placed.id for placed in survey.scene.by_category[category]]
    frame = survey.first_frame(ids, share)
    if frame is None:
        raise NoQuestion(f"no {category} appears")
    return frame / survey.scene.camera.fps
