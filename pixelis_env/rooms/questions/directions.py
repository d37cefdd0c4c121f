"""VSI-Bench's relative direction: where an object is for someone who faces another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import permutations

import numpy as np
from numpy.random import Generator

from pixelis_env.rooms.questions.question import (
    Question,
    QuestionType,
    Targets,
    arrange,
)
from pixelis_env.rooms.questions.solve import compare
from pixelis_env.rooms.questions.survey import NoQuestion, Survey
from pixelis_env.rooms.scene import Placed

MARGIN = 10.0
"""No asked direction lies closer than this (degrees) to a boundary between two answers."""

NEAR, FAR = 0.5, 5.0
"""The objects' centroids are this far apart on the floor, m (VSI-Bench: from 0.3)."""

TRIES = 60
"""How many random triples of objects are looked at in one room."""

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


def bearing(standing: Placed, facing: Placed, query: Placed) -> float:
    """Degrees to turn left (negative: right) from `facing` to `query`, seen from `standing`.

    Between the centroids on the floor plane, -180..180.
    """
    x, y = standing.center[:2]
    ahead = np.arctan2(facing.center[1] - y, facing.center[0] - x)
    there = np.arctan2(query.center[1] - y, query.center[0] - x)
    return float((np.degrees(there - ahead) + 180) % 360 - 180)


def sector(angle: float, sectors: Sectors) -> str | None:
    """The answer whose sector holds the bearing with the margin to spare, or None."""
    for name, spans in sectors.items():
        for low, high in spans:
            if low + MARGIN <= angle <= high - MARGIN:
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


def _type(level: str, sectors: Sectors, wording: str) -> QuestionType:
    return QuestionType(
        f"object_rel_direction_{level}",
        "vsi",
        "letter",
        {"details": 3},  # more to name than a small room's furniture
        partial(_triples, sectors=sectors),
        partial(_direction, sectors=sectors, wording=wording),
        compare,
        looks_at=3,
    )


TYPES = (
    _type("easy", EASY, _EASY_TEXT),
    _type("medium", MEDIUM, _MEDIUM_TEXT),
    _type("hard", HARD, _HARD_TEXT),
)
