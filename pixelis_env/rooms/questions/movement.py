"""Motion: which object moves, where to, how fast and how far."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.random import Generator

from pixelis_env.rooms.kinds import MOVERS
from pixelis_env.rooms.questions.question import Question, QuestionType, Targets, arrange
from pixelis_env.rooms.questions.solve import follow
from pixelis_env.rooms.questions.survey import IN_VIEW, NoQuestion, Survey
from pixelis_env.rooms.scene import Motion, Placed

FOLLOWED = 0.8
"""The object is in view in this share of the frames in which it moves, and when it stops."""

DIRECTION_MARGIN = 10.0
"""No direction lies closer than this (degrees) to the diagonal between two answers."""

LEAST_DISTANCE = 0.3
"""Metres; shorter ways cannot be told to one decimal."""

DIRECTIONS = ("right", "away from the camera", "left", "towards the camera")
"""As the camera sees it, a quarter turn apart: angles 0, 90, 180, 270 from its right."""


def _movers(survey: Survey, rng: Generator) -> Iterable[Targets]:
    motions = survey.scene.motions
    for k in rng.permutation(len(motions)):
        yield (motions[k].object_id,)


def _moving(survey: Survey, object_id: int) -> tuple[Placed, Motion]:
    """The object and its motion, if its category names it and it is seen moving."""
    placed, motion = survey.scene.object(object_id), survey.motion(object_id)
    if len(survey.group(placed.category)) != 1:
        raise NoQuestion("it is not unique")
    span = (survey.frames >= motion.start) & (survey.frames <= motion.end)
    shown = survey.share[span, object_id] >= IN_VIEW
    if not len(shown) or shown.mean() < FOLLOWED or not (shown[0] and shown[-1]):
        raise NoQuestion("its way is not seen")
    if motion.distance < LEAST_DISTANCE:
        raise NoQuestion("it hardly moves")
    return placed, motion


def _mover_and_still(survey: Survey, rng: Generator) -> Iterable[Targets]:
    moved = {motion.object_id for motion in survey.scene.motions}
    still = [placed for placed in survey.unique if placed.id not in moved]
    # What could move but stands still is the better distractor.
    order = sorted(rng.permutation(len(still)), key=lambda k: still[k].category not in MOVERS)
    for (mover,) in _movers(survey, rng):
        yield from ((mover, still[k].id) for k in order)


def _which(survey: Survey, targets: Targets, rng: Generator) -> Question:
    placed, _ = _moving(survey, targets[0])
    (still,) = survey.named(targets[1:])
    absent = [name for name in MOVERS if name not in survey.scene.by_category]
    options, answer = arrange(placed.category, [still.category], rng, n_options=4, spare=absent)
    text = "Which of these objects moves in the video?"
    return Question(text, options, answer, targets, "object that moves")


def heading(survey: Survey, motion: Motion, frame: int) -> float:
    """The direction of a motion as the camera in that frame sees it, degrees, 0..360.

    Anti-clockwise from above: 0 is to the camera's right, 90 away from it.
    """
    way = motion.centers[motion.end] - motion.centers[motion.start]
    right, _, forward = survey.scene.camera.axes(frame)
    level = np.array([-right[1], right[0], 0.0])  # forward, without the camera's pitch
    assert level @ forward > 0
    return float(np.degrees(np.arctan2(way @ level, way @ right)) % 360)


def _direction(survey: Survey, targets: Targets, rng: Generator) -> Question:
    placed, motion = _moving(survey, targets[0])
    seen = set()
    # The camera may turn meanwhile: the answer must be the same all the way.
    for frame in (motion.start, (motion.start + motion.end) // 2, motion.end):
        quarter, off = divmod(heading(survey, motion, frame) + 45, 90)
        if not DIRECTION_MARGIN <= off <= 90 - DIRECTION_MARGIN:
            raise NoQuestion("it moves on a diagonal")
        seen.add(DIRECTIONS[int(quarter) % 4])
    if len(seen) != 1:
        raise NoQuestion("the camera turns too far")
    right = seen.pop()
    options, answer = arrange(right, [name for name in DIRECTIONS if name != right], rng)
    text = f"As seen from the camera, in which direction does the {placed.category} move?"
    return Question(text, options, answer, targets)


def _speed(survey: Survey, targets: Targets, _: Generator) -> Question:
    placed, motion = _moving(survey, targets[0])
    text = f"How fast does the {placed.category} move while it is moving (in meters per second)?"
    return Question(text, None, f"{motion.speed(survey.scene.camera.fps):.2f}", targets)


def _distance(survey: Survey, targets: Targets, _: Generator) -> Question:
    placed, motion = _moving(survey, targets[0])
    text = f"How far does the {placed.category} move in total (in meters)?"
    return Question(text, None, f"{motion.distance:.1f}", targets)


_SCENE = {"movers": 1}

TYPES = (
    QuestionType("motion_which", "motion", "letter", _SCENE, _mover_and_still, _which, follow),
    QuestionType("motion_direction", "motion", "letter", _SCENE, _movers, _direction, follow),
    QuestionType("motion_speed", "motion", "mra", _SCENE, _movers, _speed, follow),
    QuestionType("motion_distance", "motion", "mra", _SCENE, _movers, _distance, follow),
)
