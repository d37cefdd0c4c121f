"""VSI-Bench's comparisons: which object is closest, in which order they appear."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, pairwise, permutations

import numpy as np
from numpy.random import Generator

from pixelis_env.rooms.boxes import box_distance
from pixelis_env.rooms.questions.question import (
    Question,
    QuestionType,
    Targets,
    arrange,
)
from pixelis_env.rooms.questions.solve import compare, look_in_turn
from pixelis_env.rooms.questions.survey import IN_VIEW, NoQuestion, Survey

TOUCHING = 0.02
"""Nothing that stands on the reference or under it is offered: its distance is no estimate."""

DISTANCE_GAP, WIDE_ROOM, WIDE_GAP = 0.15, 40.0, 0.30
"""Two options must differ by 0.15 m, in rooms over 40 m² by 0.30 m."""

APPEARED = 0.01
"""A category has appeared once it covers this share of the frame. (SIMS-V asks for 5 %, which
a chair across one of these rooms never covers.)"""

ORDER_GAP = 1.0
"""Seconds between two appearances that are asked about, at the least."""

_LONG = {"n_frames": 140, "details": 4, "signs": 1}
"""Four appearances more than a second apart need a long walk past many things."""

_FULL = {"details": 3}
"""Five categories to compare need more than the furniture of a small room."""


def _reference_and_four(survey: Survey, rng: Generator) -> Iterable[Targets]:
    clear = [
        group[0].id
        for group in survey.groups.values()
        if all(survey.clear(placed.id) for placed in group)
    ]
    if len(clear) < 5:
        return
    alone = [placed.id for placed in survey.unique]
    while alone:
        reference = alone[int(rng.integers(len(alone)))]
        others = [target for target in clear if target != reference]
        yield (reference, *(others[k] for k in rng.choice(len(others), 4, replace=False)))


def _rel_distance(survey: Survey, targets: Targets, rng: Generator) -> Question:
    reference, *others = (survey.scene.object(target) for target in targets)
    groups = [survey.group(placed.category) for placed in others]
    if len(survey.group(reference.category)) != 1:
        raise NoQuestion("the reference is not unique")
    for placed in (reference, *(placed for group in groups for placed in group)):
        if not survey.clear(placed.id):
            raise NoQuestion(f"the {placed.category} is never shown clearly")
    nearest = [min(group, key=lambda placed: box_distance(reference, placed)) for group in groups]
    distances = [box_distance(reference, placed) for placed in nearest]
    if min(distances) < TOUCHING:
        raise NoQuestion("two of the objects touch")
    gap = WIDE_GAP if survey.scene.room.area > WIDE_ROOM else DISTANCE_GAP
    if np.diff(np.sort(distances)).min() < gap:
        raise NoQuestion("two options lie equally far")
    names = [placed.category for placed in nearest]
    right = names[int(np.argmin(distances))]
    options, answer = arrange(right, [name for name in names if name != right], rng)
    text = (
        "Measuring from the closest point of each object, which of these objects "
        f"({', '.join(options)}) is the closest to the {reference.category}?"
    )
    if any(len(group) > 1 for group in groups):
        text += "\nIf there are multiple instances of an object category, measure to the closest."
    ranked = [nearest[k].id for k in np.argsort(distances)]
    return Question(text, options, answer, (reference.id, *ranked))


def _appearing(survey: Survey, rng: Generator) -> Iterable[Targets]:
    """One of each of four categories that appear far enough apart."""
    first = {
        group[0].id: frame
        for group in survey.groups.values()
        if (frame := survey.first_frame([placed.id for placed in group], APPEARED)) is not None
    }
    gap = (ORDER_GAP + survey.slack) * survey.scene.camera.fps
    ranked = sorted(first, key=lambda target: (first[target], target))
    chosen = [
        four
        for four in combinations(ranked, 4)
        if all(first[b] - first[a] > gap for a, b in pairwise(four))
    ]
    for k in rng.permutation(len(chosen)):
        yield tuple(chosen[k][m] for m in rng.permutation(4))


def _order(survey: Survey, targets: Targets, rng: Generator) -> Question:
    names = [survey.scene.object(target).category for target in targets]
    first = [appearance(survey, name, APPEARED) for name in names]
    if np.diff(np.sort(first)).min() <= ORDER_GAP + survey.slack:
        raise NoQuestion("two of them appear together")
    ranking = np.argsort(first)
    # Neither a first glimpse at the frame's edge nor another threshold may tell another story.
    for share in (IN_VIEW, APPEARED * 2 / 3, APPEARED * 3 / 2):
        other = np.array([appearance(survey, name, share) for name in names])
        if np.diff(other[ranking]).min() < ORDER_GAP / 2:
            raise NoQuestion("the order hangs on how much of an object counts")
    right = ", ".join(names[k] for k in ranking)
    others = [", ".join(order) for order in permutations(names) if ", ".join(order) != right]
    options, answer = arrange(right, others, rng, n_options=4)
    text = (
        "What will be the first-time appearance order of the following categories in the video: "
        f"{', '.join(names)}?"
    )
    # The objects that appear, in that order: what a person would point at.
    shown = [_first_of(survey, name) for name in names]
    return Question(text, options, answer, tuple(shown[k] for k in ranking))


def _first_of(survey: Survey, category: str) -> int:
    """The object of a category that appears first; others of it may never come into view."""
    frames = {
        placed.id: frame
        for placed in survey.group(category)
        if (frame := survey.first_frame([placed.id], APPEARED)) is not None
    }
    return min(frames, key=lambda target: (frames[target], target))


def appearance(survey: Survey, category: str, share: float) -> float:
    """When a category first covers `share` of the frame, s; `NoQuestion` where it never does."""
    ids = [placed.id for placed in survey.group(category)]
    frame = survey.first_frame(ids, share)
    if frame is None:
        raise NoQuestion(f"no {category} appears")
    return frame / survey.scene.camera.fps


TYPES = (
    QuestionType(
        "object_rel_distance", "vsi", "letter", _FULL,
        _reference_and_four, _rel_distance, compare, looks_at=3,
    ),
    QuestionType(
        "obj_appearance_order", "vsi", "letter", _LONG,
        _appearing, _order, look_in_turn, looks_at=3, stride=2,
    ),
)  # fmt: skip
