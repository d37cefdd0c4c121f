"""How to solve a question: short chains of actions that gather the evidence for its answer.

Where and when to look is what `Looks` says. The oracle's know the truth; but its chain is one that
an agent without that knowledge could have written, and every operation runs through the real
tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from numpy.random import Generator

from pixelis_env.actions import Action, Localize, Properties, ReadText, Segment, Track, Zoom
from pixelis_env.coordinates import Box, Region, box_from_source, box_to_source, snap
from pixelis_env.rooms.questions.looks import ROOMY, Looks, Span

MIN_SIDE = 8.0
"""Prompts are at least this many pixels wide and high: a box drawn around a speck says little."""


class Window(NamedTuple):
    """A view to write coordinates in: its evidence id, region and frame."""

    id: str
    region: Region
    frame: int


class Chain:
    """Actions in order; the evidence of the k-th action has the id `ek`."""

    def __init__(self, looks: Looks, rng: Generator) -> None:
        self.survey = looks.survey
        self._looks, self._rng = looks, rng
        self.actions: list[Action] = []

    def add(self, action: Action) -> str:
        """Appends an action; returns the id of the evidence it will give."""
        self.actions.append(action)
        return f"e{len(self.actions)}"

    def time(self, frame: int) -> float:
        """When a frame appears, s."""
        return float(self.survey.video.times[frame])

    def whole(self, frame: int) -> Window:
        """The medium at a frame."""
        video = self.survey.video
        return Window("e0", Region(0, 0, video.width, video.height), frame)

    def zoom(self, object_id: int, frame: int, room: float = ROOMY) -> Window:
        """Zooms on an object with some of what surrounds it."""
        view = self.whole(frame)
        box = self._prompt(self.survey.box(object_id, frame), view.region)
        longer = max(box[2] - box[0], box[3] - box[1])
        margin = max(room * longer, (self._looks.least_window - longer) / 2)
        right, down = (share * margin for share in self._looks.aside(self._rng))
        around = (
            box[0] - margin + right,
            box[1] - margin + down,
            box[2] + margin + right,
            box[3] + margin + down,
        )
        written = box_from_source(around, "rel1000", view.region)
        region = snap(box_to_source(written, "rel1000", view.region), view.region)
        action = Zoom(source=view.id, time=self.time(frame), box=written)
        return Window(self.add(action), region, frame)

    def segment(self, object_id: int, view: Window) -> str:
        """Outlines an object in a view of it."""
        box = self._prompt(self.survey.box(object_id, view.frame), view.region)
        written = box_from_source(box, "rel1000", view.region)
        time = self.time(view.frame) if view.id == "e0" else None
        return self.add(Segment(source=view.id, time=time, box=written))

    def localize(self, target: str, span: Span | None) -> str:
        """Searches a span for when a target is in view; None: the whole video."""
        return self.add(Localize(target=target, span=span))

    def properties(self, *targets: str) -> str:
        """Measures evidence."""
        return self.add(Properties(targets=targets))

    @staticmethod
    def _prompt(box: Box, bounds: Region) -> Box:
        """The box, grown to the least size of a prompt and kept inside the view."""
        x0, y0, x1, y1 = box
        grow_x, grow_y = max(MIN_SIDE - (x1 - x0), 0) / 2, max(MIN_SIDE - (y1 - y0), 0) / 2
        return (
            max(x0 - grow_x, bounds.x0),
            max(y0 - grow_y, bounds.y0),
            min(x1 + grow_x, bounds.x1),
            min(y1 + grow_y, bounds.y1),
        )


def look_closer(looks: Looks, targets: Sequence[int], rng: Generator) -> list[Action]:
    """Zoom on the object, outline it in the zoom, measure it."""
    chain = Chain(looks, rng)
    view = chain.zoom(targets[0], looks.best(targets[0]), looks.margin(rng))
    chain.properties(chain.segment(targets[0], view))
    return chain.actions


def compare(looks: Looks, targets: Sequence[int], rng: Generator) -> list[Action]:
    """Outline the objects, each where it shows best, and measure them together."""
    chain = Chain(looks, rng)
    zoomed = len(targets) < 3 and rng.random() < 0.5
    masks: list[str] = []
    for target in targets:
        frame = looks.best(target)
        view = chain.zoom(target, frame) if zoomed and not masks else chain.whole(frame)
        masks.append(chain.segment(target, view))
    chain.properties(*masks)
    return chain.actions


def look_in_turn(looks: Looks, targets: Sequence[int], rng: Generator) -> list[Action]:
    """Outline the objects where they first show, and put them in order of time."""
    chain = Chain(looks, rng)
    # The objects are known in order of appearance; an agent meets their names in any order.
    masks: list[str] = []
    for k in rng.permutation(len(targets)):
        masks.append(chain.segment(targets[k], chain.whole(looks.first(targets[k]))))
    chain.properties(*masks)
    return chain.actions


def find_start(looks: Looks, targets: Sequence[int], rng: Generator) -> list[Action]:
    """Outline the object, find when it comes into view."""
    return _find(looks, targets[0], looks.edges(targets[0])[:1], rng)


def find_span(looks: Looks, targets: Sequence[int], rng: Generator) -> list[Action]:
    """Outline the object, find when it comes and when it goes."""
    return _find(looks, targets[0], looks.edges(targets[0]), rng)


def _find(looks: Looks, target: int, spans: Sequence[Span | None], rng: Generator) -> list[Action]:
    """Outline the object where it shows best, look for it in each span."""
    chain = Chain(looks, rng)
    frame = looks.best(target)
    view = chain.zoom(target, frame) if looks.closer(rng) else chain.whole(frame)
    mask = chain.segment(target, view)
    for span in spans:
        chain.localize(mask, span)
    return chain.actions


def read(looks: Looks, targets: Sequence[int], rng: Generator) -> list[Action]:
    """Zoom on the sign and read it."""
    chain = Chain(looks, rng)
    view = chain.zoom(targets[0], looks.legible(targets[0]), looks.margin(rng))
    chain.add(ReadText(source=view.id))
    return chain.actions


def follow(looks: Looks, targets: Sequence[int], rng: Generator) -> list[Action]:
    """Outline the moving object, follow it and measure its path."""
    chain = Chain(looks, rng)
    frame, until = looks.path(targets[0])
    view = chain.zoom(targets[0], frame) if looks.closer(rng) else chain.whole(frame)
    mask = chain.segment(targets[0], view)
    chain.properties(chain.add(Track(target=mask, span=(chain.time(frame), until))))
    return chain.actions
