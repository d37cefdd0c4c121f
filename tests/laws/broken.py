"""Operations with one deliberate fault each, to show that the laws notice.

Most are functions that spoil what a sound operation returned; `Corrupted` applies them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pixelis_env.actions import Action, Localize, Segment, Track, Zoom
from pixelis_env.coordinates import Region, snap
from pixelis_env.evidence import (
    Evidence,
    Intervals,
    Mask,
    Measurement,
    TextLines,
    Tracklet,
    View,
    pixel_digest,
)
from pixelis_env.tools import Toolbox
from pixelis_env.workspace import Workspace

Change = Callable[[Action, Evidence, Workspace], Evidence]


class Corrupted(Toolbox):
    """The default tools, whose evidence a function spoils."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self._change = change

    def run(self, action: Action, workspace: Workspace) -> Evidence:
        return self._change(action, super().run(action, workspace), workspace)


# ---- Zoom ----


def _view(region: Region, view: View, workspace: Workspace) -> View:
    x0, y0, x1, y1 = region
    pixels = workspace.media.frame(view.frame_index)[y0:y1, x0:x1]
    return view.model_copy(update={"region": region, "pixels": pixel_digest(pixels)})


def off_by_one_crop(action: Action, evidence: Evidence, workspace: Workspace) -> Evidence:
    """Regions end one pixel late."""
    if not isinstance(evidence, View):
        return evidence
    x0, y0, x1, y1 = evidence.region
    return _view(Region(x0, y0, min(x1 + 1, workspace.media.width), y1), evidence, workspace)


def wrong_pixels(action: Action, evidence: Evidence, workspace: Workspace) -> Evidence:
    """The region is right, the pixels come from a column further on."""
    if not isinstance(evidence, View) or evidence.region.x1 == workspace.media.width:
        return evidence
    x0, y0, x1, y1 = evidence.region
    other = _view(Region(x0 + 1, y0, x1 + 1, y1), evidence, workspace)
    return evidence.model_copy(update={"pixels": other.pixels})


def first_frame_always(action: Action, evidence: Evidence, workspace: Workspace) -> Evidence:
    """A zoom that forgets its time."""
    if not isinstance(evidence, View):
        return evidence
    still = evidence.model_copy(update={"frame_index": 0, "time": 0.0})
    return _view(evidence.region, still, workspace)


def wider_than_the_parent(action: Action, evidence: Evidence, workspace: Workspace) -> Evidence:
    """A zoom into a zoom keeps a pixel of context around it."""
    if not (isinstance(action, Zoom) and isinstance(evidence, View)) or action.source == "e0":
        return evidence
    x0, y0, x1, y1 = evidence.region
    return _view(snap((x0 - 1, y0 - 1, x1 + 1, y1 + 1), workspace.bounds), evidence, workspace)


class Clamping(Toolbox):
    """Pulls coordinates that lie outside into the view instead of refusing them."""

    def run(self, action: Action, workspace: Workspace) -> Evidence:
        if isinstance(action, Zoom):
            region = workspace.look(action.source).region
            top = {"rel1000": (1000, 1000), "unit": (1, 1)}.get(
                action.frame, (region.width, region.height)
            )
            x0, y0, x1, y1 = (
                min(max(value, 0.0), top[k % 2]) for k, value in enumerate(action.box)
            )
            box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
            action = action.model_copy(update={"box": box})
        return super().run(action, workspace)


# ---- Segment ----


def area_of_the_box(action: Action, evidence: Evidence, workspace: Workspace) -> Evidence:
    """The area of a mask is that of its box."""
    if not isinstance(evidence, Mask):
        return evidence
    x0, y0, x1, y1 = evidence.box
    return evidence.model_copy(update={"area": int((x1 - x0) * (y1 - y0)) + 1})


# ---- Track ----


def always_forward(action: Action, evidence: Evidence, workspace: Workspace) -> Evidence:
    """A backward span is reported forwards."""
    if not isinstance(evidence, Tracklet):
        return evidence
    names = ("frame_indices", "times", "boxes", "visible", "scores")
    order = np.argsort(evidence.frame_indices)
    return evidence.model_copy(
        update={name: tuple(getattr(evidence, name)[i] for i in order) for name in names}
    )


class FromSpanStart(Toolbox):
    """Takes the target's box for the one at the start of the span, wherever the target was."""

    def run(self, action: Action, workspace: Workspace) -> Evidence:
        if not (isinstance(action, Track) and action.span):
            return super().run(action, workspace)
        target = workspace.get(action.target)
        assert isinstance(target, View)
        index = workspace.frame_at(action.span[0])
        moved = target.model_copy(update={"frame_index": index, "time": action.span[0]})
        copy = Workspace(workspace.media)
        name = copy.add(moved)
        return super().run(action.model_copy(update={"target": name}), copy)


# ---- ReadText ----


def quads_outside(action: Action, evidence: Evidence, workspace: Workspace) -> Evidence:
    """Quads are relative to the frame's middle."""
    if not isinstance(evidence, TextLines):
        return evidence
    width, height = workspace.media.width / 2, workspace.media.height / 2
    lines = tuple(
        line.model_copy(update={"quad": tuple((x + width, y + height) for x, y in line.quad)})
        for line in evidence.lines
    )
    return evidence.model_copy(update={"lines": lines})


def unsorted_lines(action: Action, evidence: Evidence, workspace: Workspace) -> Evidence:
    """Lines come last one first."""
    if not isinstance(evidence, TextLines):
        return evidence
    return evidence.model_copy(update={"lines": evidence.lines[::-1]})


# ---- Localize ----


def beyond_the_clip(action: Action, evidence: Evidence, workspace: Workspace) -> Evidence:
    """Intervals end a tenth of a second late."""
    if not isinstance(evidence, Intervals):
        return evidence
    spans = tuple((start, end + 0.1) for start, end in evidence.spans)
    return evidence.model_copy(update={"spans": spans})


def ends_with_the_last_frame_time(
    action: Action, evidence: Evidence, workspace: Workspace
) -> Evidence:
    """An interval ends when its last frame appears, not when it disappears."""
    if not isinstance(evidence, Intervals):
        return evidence
    times = workspace.media.times
    spans = tuple(
        (start, float(times[np.searchsorted(times, end - 1e-9) - 1]))
        for start, end in evidence.spans
    )
    return evidence.model_copy(update={"spans": spans})


def ignores_visibility(action: Action, evidence: Evidence, workspace: Workspace) -> Evidence:
    """A track is localised as its whole span."""
    if not (isinstance(action, Localize) and action.target and isinstance(evidence, Intervals)):
        return evidence
    track = workspace.get(action.target)
    if not isinstance(track, Tracklet):
        return evidence
    whole = ((min(track.times), workspace.media.duration),)
    return evidence.model_copy(update={"spans": whole, "scores": (1.0,)})


# ---- Properties ----


def _reading(key: str, change: Callable[[Any, Measurement], Any]) -> Change:
    """Spoils every reading called `key`, whatever target's it is."""

    def spoil(action: Action, evidence: Evidence, workspace: Workspace) -> Evidence:
        if not isinstance(evidence, Measurement):
            return evidence
        values = {
            name: change(value, evidence) if name.split(".")[-1] == key else value
            for name, value in evidence.values.items()
        }
        return evidence.model_copy(update={"values": values})

    return spoil


def _sum_of_areas(value: float, measurement: Measurement) -> float:
    return sum(
        v
        for name, v in measurement.values.items()
        if name.endswith(".area_px")  # type: ignore[misc]
    )


union_counts_twice = _reading("union_area_px", _sum_of_areas)
centroid_at_corners = _reading("centroid_px", lambda v, _: (v[0] - 0.5, v[1] - 0.5))
turned_orientation = _reading("orientation_deg", lambda v, _: (180 - v + 7) % 180)
mirrored_direction = _reading("direction_deg", lambda v, _: (360 - v) % 360 + 1e-3)
speed_per_frame = _reading("speed_px_s", lambda v, _: v / 10)
knows_its_id = _reading("area_px", lambda v, m: v + int(m.targets[0][1:]))


def relative_to_the_crop(action: Action, evidence: Evidence, workspace: Workspace) -> Evidence:
    """A mask that was prompted in a crop is measured from the crop's corner."""
    if not isinstance(evidence, Measurement):
        return evidence
    number = int(evidence.targets[0][1:])
    views = [e for e in workspace.evidence[:number] if isinstance(e, View)]
    if not views:
        return evidence
    x, y = evidence.values["centroid_px"]  # type: ignore[misc]
    moved = (x - views[-1].region.x0, y - views[-1].region.y0)
    return evidence.model_copy(update={"values": {**evidence.values, "centroid_px": moved}})


# ---- every operation ----


class Hoarding(Toolbox):
    """Files evidence behind the environment's back."""

    def run(self, action: Action, workspace: Workspace) -> Evidence:
        evidence = super().run(action, workspace)
        if isinstance(action, Segment):
            workspace.add(evidence)
        return evidence


class Forgetful(Toolbox):
    """Counts its calls and lets the count into the evidence."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def run(self, action: Action, workspace: Workspace) -> Evidence:
        self._calls += 1
        evidence = super().run(action, workspace)
        if isinstance(evidence, Mask):
            return evidence.model_copy(update={"score": evidence.score / (1 + self._calls)})
        return evidence


def list_in_evidence(action: Action, evidence: Evidence, workspace: Workspace) -> Evidence:
    """Times as a list, which JSON gives back as another value."""
    if not isinstance(evidence, Tracklet):
        return evidence
    return evidence.model_copy(update={"times": list(evidence.times)})
