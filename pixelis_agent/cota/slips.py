"""Wrong steps that an episode makes on purpose, and repairs: each is played, its result is real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from pixelis_agent.cota.plan import Step, renamed
from pixelis_agent.cota.story import Aim, Story
from pixelis_agent.cota.thoughts import described, notice, short, thought_of
from pixelis_env.actions import Action, Localize, Properties, ReadText, Segment, Track, Zoom
from pixelis_env.coordinates import Box, box_from_source
from pixelis_env.evidence import Evidence, Intervals, Mask, TextLines, ToolError, View
from pixelis_env.observation import overview_indices
from pixelis_env.rooms import RoomVideo
from pixelis_env.rooms.questions.looks import ROOMY

NOTICEABLE = 0.004
"""Share of the frame that another object covers to be mistaken for the target."""

APART = 0.2
"""Share of the target's box that a look at another object may show: more, and it shows both."""

READING = ("text_read", "text_nearest", "search_number")


class SlipFailed(Exception):
    """The wrong step came out otherwise than meant; the episode is not kept."""


@dataclass(frozen=True)
class Moment:
    """Where in an episode a slip may happen: before a step of the plan.

    Attributes:
        story: The episode so far.
        step: The step that is due.
        name: What the question calls the object that it is about.
        ids: The episode's ids of the plan's evidence, e0 first.
        rng: Decides what goes wrong.
    """

    story: Story
    step: Step
    name: str
    ids: Sequence[str]
    rng: Generator

    def think(self, action: Action) -> str:
        """The thought before an action that is held to be right."""
        task_type, first = self.story.task.type, len(self.ids) == 1
        return thought_of(
            action, self.name, self.story.last, self.rng, task_type=task_type, first=first
        )

    def err(self, action: Action) -> Evidence:
        """Plays a wrong step."""
        return self.story.act(self.think(action), action, learn=False)

    def notice(self, kind: str, **facts: str) -> str:
        """What is said once a wrong step's result is seen."""
        name = short(self.name)
        if name != self.name and ("other" in facts or "time" in facts):
            name = "one asked about"  # "the green sign, not the sign" would say nothing
        return notice(kind, self.rng, name=name, **facts)


class Slip(NamedTuple):
    """A way to go wrong.

    Attributes:
        fits: Whether it can happen before a step, for a question type.
        play: Plays wrong steps and returns what is said of them; None where nothing in the video
            lends itself to it.
    """

    fits: Callable[[Step, str], bool]
    play: Callable[[Moment], str | None]


def other_object(moment: Moment) -> str | None:
    """Looks at another object of the same frame."""
    step, action = moment.step, moment.step.action
    assert step.aim is not None
    assert isinstance(action, (Zoom, Segment))
    found = _others(moment, step.aim, moment.rng)
    if not found:
        return None
    other, box = found[0]
    evidence = moment.err(_moved(moment, action, box))
    if isinstance(evidence, ToolError):
        raise SlipFailed("no result")
    return moment.notice("other", other=other)


def other_sign(moment: Moment) -> str | None:
    """Zooms in on another thing and reads it: another text, or none."""
    step, action = moment.step, moment.step.action
    assert step.aim is not None
    assert isinstance(action, Zoom)
    kind = short(moment.name).rpartition(" ")[2]
    found = _others(moment, step.aim, moment.rng)
    # Another of its kind says another text; anything else says none.
    found.sort(key=lambda pair: pair[0].rpartition(" ")[2] != kind)
    if not found:
        return None
    if moment.rng.random() < 0.4:
        found.reverse()
    other, box = found[0]
    moment.err(_moved(moment, action, box))
    if not isinstance(moment.story.last, View):
        raise SlipFailed("no crop")
    read = moment.err(ReadText(source=moment.story.last_id))
    if not isinstance(read, TextLines):
        raise SlipFailed("nothing was read")
    text = described(read)
    if not text:
        return moment.notice("empty")
    return moment.notice("read other", text=text, other=other)


def other_time(moment: Moment) -> str | None:
    """Looks where the object is, but at a time when it is out of view."""
    step, action, story = moment.step, moment.step.action, moment.story
    assert step.aim is not None
    frames = overview_indices(story.task.media)
    absent = [k for k in frames if story.box(Aim(step.aim.k, k)) is None]
    if not absent:
        return None
    frame = absent[int(moment.rng.integers(len(absent)))]
    time = float(story.task.media.times[frame])
    moment.err(action.model_copy(update={"time": round(time, 3)}))
    return moment.notice("absent", time=f"{time:.3f}".rstrip("0").rstrip("."))


def invalid_box(moment: Moment) -> str | None:
    """Writes a box that leaves the view."""
    action = moment.step.action
    assert isinstance(action, (Zoom, Segment))
    assert action.box is not None
    x0, y0, x1, y1 = action.box
    aside = moment.rng.random() < 0.5
    box = (x0 + 1000, y0, x1 + 1000, y1) if aside else (x0, y0, x1, y1 + 1000)
    wrong = renamed(action, moment.ids).model_copy(update={"box": box})
    return _refused(moment, wrong, "invalid box")


def invalid_id(moment: Moment) -> str | None:
    """Names evidence that does not exist."""
    action = renamed(moment.step.action, moment.ids)
    newest = moment.story.last_id
    wrong = f"e{int(newest[1:]) + int(moment.rng.integers(2, 5))}"
    if isinstance(action, Properties):
        action = action.model_copy(update={"targets": (*action.targets[:-1], wrong)})
    elif getattr(action, "target", None) is not None:
        action = action.model_copy(update={"target": wrong})
    else:
        action = action.model_copy(update={"source": wrong})
    return _refused(moment, action, "invalid id", wrong=wrong, newest=newest)


def whole_frame(moment: Moment) -> str | None:
    """Reads the whole frame instead of the sign in it."""
    action = moment.step.action
    assert isinstance(action, Zoom)
    read = moment.err(ReadText(time=action.time))
    return moment.notice("unsuited" if described(read) else "empty")


def background(moment: Moment) -> str | None:
    """Measures the colour of a crop instead of the thing in it."""
    action = renamed(moment.step.action, moment.ids)
    assert isinstance(action, Segment)
    moment.story.act(
        f"Measure the colour of the {short(moment.name)} in {action.source}.",
        Properties(targets=(action.source,)),
        learn=False,
    )
    return moment.notice("background")


def wrong_span(moment: Moment) -> str | None:
    """Searches a span of the video that does not show the object."""
    action, story = renamed(moment.step.action, moment.ids), moment.story
    mask = story.last
    if not isinstance(mask, Mask):
        return None
    frames = overview_indices(story.task.media)
    spans = [pair for pair in pairwise(frames) if all(story.box(Aim(0, k)) is None for k in pair)]
    if not spans:
        return None
    # The nearest one: a longer way to it takes longer to search.
    pair = min(spans, key=lambda pair: abs(pair[0] - mask.frame_index))
    start, end = (round(float(story.task.media.times[k]), 3) for k in pair)
    found = story.act(
        f"Is the {short(moment.name)} in view between {start:g} and {end:g} seconds?",
        action.model_copy(update={"span": (start, end)}),
        learn=False,
    )
    if not isinstance(found, Intervals) or found.spans:
        raise SlipFailed("it was found")
    return moment.notice("never")


def _looks(step: Step, _: str) -> bool:
    """A box in a frame of the medium."""
    action = step.action
    return step.aim is not None and isinstance(action, (Zoom, Segment)) and action.source == "e0"


def _zooms_to_read(step: Step, task_type: str) -> bool:
    return _looks(step, task_type) and isinstance(step.action, Zoom) and task_type in READING


def _boxed(step: Step, _: str) -> bool:
    return isinstance(step.action, (Zoom, Segment)) and step.action.box is not None


def _names_evidence(step: Step, _: str) -> bool:
    action = step.action
    if isinstance(action, (Segment, ReadText)):
        return action.source != "e0"
    return isinstance(action, (Properties, Localize, Track))


def _outlines_a_crop(step: Step, task_type: str) -> bool:
    action = step.action
    crop = isinstance(action, Segment) and action.source != "e0"
    return crop and task_type == "search_color"


def _searches(step: Step, _: str) -> bool:
    return isinstance(step.action, Localize)


MISTAKES: tuple[Slip, ...] = (
    Slip(_looks, other_object),
    Slip(_zooms_to_read, other_sign),
    Slip(_looks, other_time),
    Slip(_boxed, invalid_box),
    Slip(_names_evidence, invalid_id),
    Slip(_zooms_to_read, whole_frame),
    Slip(_outlines_a_crop, background),
)
"""Wrong operations and arguments."""

TRAPS: tuple[Slip, ...] = (
    Slip(_zooms_to_read, other_sign),
    Slip(_zooms_to_read, whole_frame),
    Slip(_searches, wrong_span),
    Slip(_looks, other_time),
)
"""First looks that find nothing."""


def _refused(moment: Moment, action: Action, kind: str, **facts: str) -> str:
    evidence = moment.err(action)
    if not isinstance(evidence, ToolError):
        raise SlipFailed("the call was taken")
    return moment.notice(kind, **facts)


def _others(moment: Moment, aim: Aim, rng: Generator) -> list[tuple[str, Box]]:
    """Other things in the frame, by what a person would call them, in a random order."""
    media, target = moment.story.task.media, moment.story.box(aim)
    if not isinstance(media, RoomVideo) or target is None:
        return []
    ids = media.ids(aim.frame)
    counts = np.bincount(ids.ravel(), minlength=len(media.scene.room.objects) + 1)
    found = []
    for placed in media.scene.room.objects:
        if counts[placed.id] < NOTICEABLE * ids.size:
            continue
        box = media.object_box(aim.frame, placed.id)
        assert box is not None
        coloured = placed.category in ("sign", "tag")
        name = f"{placed.color} {placed.category}" if coloured else placed.category
        x0, y0, x1, y1 = (float(v) for v in box)
        seen = (x0, y0, x1, y1)
        if isinstance(moment.step.action, Zoom):
            seen = _around(seen)
        apart = _shared(target, seen) < APART
        if name != moment.name and apart:
            found.append((name, (x0, y0, x1, y1)))
    return [found[k] for k in rng.permutation(len(found))]


def _moved(moment: Moment, action: Zoom | Segment, box: Box) -> Action:
    """The same action on another box of the frame."""
    bounds = moment.story.base.workspace.bounds
    around = _around(box) if isinstance(action, Zoom) else box
    written = box_from_source(around, action.frame, bounds)
    update: dict[str, object] = {"box": written}
    if isinstance(action, Segment):
        update["point"] = None
    return action.model_copy(update=update)


def _around(box: Box) -> Box:
    """The box with the margin that a zoom keeps."""
    margin = ROOMY * max(box[2] - box[0], box[3] - box[1])
    return box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin


def _shared(target: Box, box: Box) -> float:
    """The share of the target's box that another one covers, 0..1."""
    width = min(target[2], box[2]) - max(target[0], box[0])
    height = min(target[3], box[3]) - max(target[1], box[1])
    area = (target[2] - target[0]) * (target[3] - target[1])
    return float(max(width, 0.0) * max(height, 0.0) / area)
