"""Time: when an object is in view, and what comes into view first."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.random import Generator

from pixelis_env.rooms.questions.question import Question, QuestionType, Targets, arrange
from pixelis_env.rooms.questions.solve import find_span, find_start, look_in_turn
from pixelis_env.rooms.questions.survey import NoQuestion, Survey

FUZZY = 0.4
"""Seconds that an object may take to come into view or to leave it."""

SHORTEST = 0.6
"""Seconds that an object asked about stays in view, at the least."""

LONGEST = 0.75
"""Share of the video that it stays in view, at the most."""

LATE = 1.5
"""Seconds before an object first appears, at the least: earlier, one frame decides the score."""

GAP = 1.0
"""Seconds by which the first object comes before the others."""

_LONG = {"n_frames": 110, "details": 3, "signs": 1}
"""Many things, most of them out of view at the start."""


def _one(survey: Survey, rng: Generator) -> Iterable[Targets]:
    for k in rng.permutation(len(survey.unique)):
        yield (survey.unique[k].id,)


def edge_frames(survey: Survey, object_id: int) -> tuple[int, int]:
    """First and last frame of the one stretch in which the object is in view.

    Raises:
        NoQuestion: It is in view more than once, or comes or goes too slowly to say when.
    """
    shown = survey.in_view(object_id)
    if not len(shown):
        raise NoQuestion("it is never in view")
    first, last = int(shown[0]), int(shown[-1])
    glimpsed = survey.frames[survey.share[:, object_id] > 0]
    fuzzy = FUZZY * survey.scene.camera.fps
    if len(shown) != last - first + 1:
        raise NoQuestion("it leaves the view and comes back")
    if glimpsed[0] < first - fuzzy or glimpsed[-1] > last + fuzzy:
        raise NoQuestion("it is glimpsed at another time")
    return first, last


def _interval(survey: Survey, targets: Targets, _: Generator) -> Question:
    (placed,) = survey.named(targets)
    first, last = edge_frames(survey, placed.id)
    video, fps = survey.video, survey.scene.camera.fps
    start, end = first / fps, (last + 1) / fps
    if not SHORTEST <= end - start <= LONGEST * video.duration:
        raise NoQuestion("it is in view too briefly or nearly always")
    text = (
        f"When is the {placed.category} in view in the video? "
        "Give the start and the end in seconds, as start-end."
    )
    return Question(text, None, f"{start:.1f}-{end:.1f}", targets)


def _first(survey: Survey, targets: Targets, _: Generator) -> Question:
    (placed,) = survey.named(targets)
    shown = survey.in_view(placed.id)
    glimpsed = survey.frames[survey.share[:, placed.id] > 0]
    fps = survey.scene.camera.fps
    if shown[0] - glimpsed[0] > FUZZY * fps:
        raise NoQuestion("it comes into view too slowly to say when")
    seconds = shown[0] / fps
    if seconds < LATE:
        raise NoQuestion("it appears too early")
    text = (
        f"How many seconds after the start of the video does the {placed.category} first come "
        "into view?"
    )
    return Question(text, None, f"{seconds:.1f}", targets)


def _four(survey: Survey, rng: Generator) -> Iterable[Targets]:
    """An object and three that come into view later."""
    first = {placed.id: int(survey.in_view(placed.id)[0]) for placed in survey.unique}
    gap = (GAP + survey.slack) * survey.scene.camera.fps
    for k in rng.permutation(len(first)):
        earliest = list(first)[k]
        later = [target for target in first if first[target] - first[earliest] > gap]
        if len(later) >= 3:
            chosen = (later[m] for m in rng.choice(len(later), 3, replace=False))
            yield (earliest, *chosen)


def _order(survey: Survey, targets: Targets, rng: Generator) -> Question:
    objects = survey.named(targets)
    shown = np.array([survey.in_view(placed.id)[0] for placed in objects])
    glimpsed = np.array([np.argmax(survey.share[:, placed.id] > 0) for placed in objects])
    glimpsed = survey.frames[glimpsed]
    ranking = np.argsort(shown, kind="stable")
    earliest, *others = ranking
    gap = (GAP + survey.slack) * survey.scene.camera.fps
    if glimpsed[others].min() - shown[earliest] <= gap:
        raise NoQuestion("another object appears together with the first")
    wrong = [objects[k].category for k in others]
    options, answer = arrange(objects[earliest].category, wrong, rng)
    text = "Which of these objects comes into view first in the video?"
    return Question(text, options, answer, tuple(objects[k].id for k in ranking))


TYPES = (
    QuestionType("time_interval", "time", "tiou", {}, _one, _interval, find_span, stride=1),
    QuestionType(
        "time_order", "time", "letter", _LONG, _four, _order, look_in_turn, looks_at=3, stride=2
    ),
    QuestionType("time_first", "time", "mra", {}, _one, _first, find_start, stride=1),
)
