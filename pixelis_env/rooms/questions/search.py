"""Search: a detail too small to make out before zooming in on it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from numpy.random import Generator

from pixelis_env.rooms.furniture import COLORS
from pixelis_env.rooms.kinds import DETAILS, KINDS
from pixelis_env.rooms.questions.question import Question, QuestionType, Targets, arrange
from pixelis_env.rooms.questions.solve import look_closer, read
from pixelis_env.rooms.questions.survey import IN_VIEW, NoQuestion, Survey
from pixelis_env.rooms.scene import Placed

SMALLEST, LARGEST = 7.0, 24.0
"""Longest side of the detail where it shows best, px: less cannot be made out in a zoom, more
needs none."""

FILLED = 0.35
"""Share of its box that the detail's own pixels fill: less, and something stands before it."""

CONFUSED = {
    "red": ("orange", "pink", "brown"),
    "orange": ("red", "yellow", "brown"),
    "yellow": ("orange", "white"),
    "green": (),
    "blue": ("purple",),
    "purple": ("blue", "pink"),
    "pink": ("red", "purple", "white"),
    "brown": ("red", "orange", "black"),
    "black": ("brown", "gray"),
    "white": ("gray", "yellow", "pink"),
    "gray": ("white", "black"),
}
"""Colours that look alike in some light: never offered beside the right one."""

N_OPTIONS = 4

DIGIT = 0.53
"""Height of a tag's digits over the tag's."""

DIGITS = {1: (9.0, 14.0), 2: (8.0, 12.0), 3: (7.5, 11.0)}
"""Height of a tag's digits where it shows best, px, by level: less cannot be read in a zoom, more
is nearly read in the overview."""

FACING = 1.15
"""Width of a tag over its height as it shows; a tag seen squarely is 1.65 times as wide."""


def _details(survey: Survey, rng: Generator, on_furniture: bool) -> Iterable[Targets]:
    """Small things that are the only ones of their name."""
    details = [
        group[0]
        for category, group in survey.groups.items()
        if category in DETAILS and len(group) == 1
    ]
    for k in rng.permutation(len(details)):
        if details[k].support or not on_furniture:
            yield (details[k].id,)


def _found(survey: Survey, targets: Targets) -> Placed:
    """The detail, if a zoom shows it and the whole frame does not; else `NoQuestion`."""
    (target,) = targets
    placed = survey.scene.object(target)
    if len(survey.group(placed.category)) != 1 or not survey.clear(target, IN_VIEW):
        raise NoQuestion("it is not unique or never in view")
    if not survey.entire(target):
        raise NoQuestion("it is cut off or hidden")
    frame = survey.best_frame(target)
    x0, y0, x1, y1 = survey.box(target, frame)
    if not SMALLEST <= max(x1 - x0, y1 - y0) <= LARGEST:
        raise NoQuestion("it is too small or too large")
    if survey.video.mask(frame, target).sum() < FILLED * (x1 - x0) * (y1 - y0):
        raise NoQuestion("it is partly hidden")
    return placed


def _color(survey: Survey, targets: Targets, rng: Generator) -> Question:
    placed = _found(survey, targets)
    if placed.color not in KINDS[placed.category].colors:
        raise NoQuestion("it has no one colour")
    wrong = [name for name in COLORS if name != placed.color and name not in CONFUSED[placed.color]]
    options, answer = arrange(placed.color, wrong, rng, N_OPTIONS)
    return Question(f"What color is the {placed.category}?", options, answer, targets)


def _support(survey: Survey, placed: Placed) -> Placed:
    """The furniture it stands on, which its category must name; else `NoQuestion`."""
    if placed.support == 0:
        raise NoQuestion("it stands on no furniture")
    return survey.named([placed.support])[0]


def _item(survey: Survey, targets: Targets, rng: Generator) -> Question:
    placed = _found(survey, targets)
    support = _support(survey, placed)
    there = {o.category for o in survey.scene.room.objects if o.support == support.id}
    wrong = [name for name in DETAILS if name not in there]
    options, answer = arrange(placed.category, wrong, rng, N_OPTIONS)
    text = f"Which of these objects stands on the {support.category}?"
    called = f"object on the {support.category}"
    return Question(text, options, answer, (*targets, support.id), called)


def _place(survey: Survey, targets: Targets, rng: Generator) -> Question:
    placed = _found(survey, targets)
    support = _support(survey, placed)
    furniture = [name for name in KINDS if KINDS[name].top and name != support.category]
    there = [name for name in furniture if name in survey.scene.by_category]
    # A room with little furniture is filled up with pieces that are not there.
    absent = [name for name in furniture if name not in survey.scene.by_category]
    options, answer = arrange(support.category, there, rng, N_OPTIONS, absent)
    text = f"What does the {placed.category} stand on?"
    return Question(text, options, answer, (*targets, support.id))


def _tags(survey: Survey, rng: Generator) -> Iterable[Targets]:
    tags = survey.scene.by_category.get("tag", ())
    for k in rng.permutation(len(tags)):
        yield (tags[k].id,)


def _number(survey: Survey, targets: Targets, _: Generator) -> Question:
    (target,) = targets
    tag = survey.scene.object(target)
    for other in survey.scene.by_category["tag"]:
        if other.id != target and other.color in (tag.color, *CONFUSED[tag.color]):
            raise NoQuestion("another tag has a colour like it")
    if not survey.clear(target) or not survey.entire(target):
        raise NoQuestion("it is cut off or hidden")
    frame = survey.best_frame(target)
    low, high = DIGITS[survey.scene.level]
    if not low <= survey.rise(target, frame, DIGIT * tag.size[2]) <= high:
        raise NoQuestion("its digits are too small or too large")
    x0, y0, x1, y1 = survey.box(target, frame)
    if x1 - x0 < FACING * (y1 - y0):
        raise NoQuestion("it is seen from the side")
    called = f"{tag.color} tag"
    return Question(f"What number is on the {called}?", None, tag.text or "", targets, called)


_SCENE = {"details": 3}

TYPES = (
    QuestionType(
        "search_color", "search", "letter", _SCENE,
        partial(_details, on_furniture=False), _color, look_closer,
    ),
    QuestionType(
        "search_item", "search", "letter", _SCENE,
        partial(_details, on_furniture=True), _item, look_closer,
    ),
    QuestionType(
        "search_place", "search", "letter", _SCENE,
        partial(_details, on_furniture=True), _place, look_closer,
    ),
    QuestionType("search_number", "search", "anls", {"tags": 3}, _tags, _number, read),
)  # fmt: skip
