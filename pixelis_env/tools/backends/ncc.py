"""Tracking by multi-scale normalised cross-correlation, with slow update and global re-search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pixelis_env.coordinates import Box
from pixelis_env.media.base import Media
from pixelis_env.tools.backend import BoolMask, TrackPoint
from pixelis_env.tools.backends.matching import (
    Pixels,
    WorkFrames,
    peak,
    refine,
    sample,
    similarity,
)

_SIDE = 28.0  # work pixels: the wished side of the reduced object
_CONTEXT = 0.1  # of the box's sides, on each side: its outline belongs to the template
_REACH = 0.6  # of the box's longer side: how far it is looked for in the next frame ...
_MIN_REACH = 10.0  # ... and at least, in work pixels
_STEPS = (1.0, 0.95, 1.05)  # changes of size from frame to frame
_STEP_COST = 0.01  # a change of size must pay, or noise makes the box breathe
_JUMPS = (1.0, 0.8, 1.25, 0.64, 1.56)  # sizes tried when it is looked for everywhere
_LOST, _FOUND = 0.45, 0.65  # scores: below it is lost, from there on it is found again
_SURE, _RATE = 0.6, 0.1  # the template follows slowly, and only a sure match


class _Match(NamedTuple):
    box: Box
    score: float


class NCCTracker:
    """Template tracking. Rigid things that keep their size within a factor of two or so."""

    name = "ncc"
    version = "1"

    def track(
        self, media: Media, indices: Sequence[int], box: Box, mask: BoolMask | None
    ) -> list[TrackPoint]:
        """See `Tracker.track`. The score is the correlation coefficient, 0 where it is negative."""
        frames = WorkFrames(media, box, _SIDE)
        scale = frames.scale
        start: Box = (box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale)
        size = (
            max(3, round((start[2] - start[0]) * (1 + 2 * _CONTEXT))),
            max(3, round((start[3] - start[1]) * (1 + 2 * _CONTEXT))),
        )
        frame = frames[indices[0]]
        bounds: Box = (0.0, 0.0, float(frame.shape[1]), float(frame.shape[0]))
        first = sample(frame, _grown(start), size)
        template, current, velocity, lost = first, start, (0.0, 0.0), False
        points = [TrackPoint(box, True, 1.0)]
        last_box = box
        for index in indices[1:]:
            frame = frames[index]
            if not lost:
                match = _follow(frame, template, current, velocity)
                lost = match.score < _LOST
            if lost:
                match = max(
                    (_search(frame, t, start, current, bounds) for t in (template, first)),
                    key=lambda m: m.score,
                )
                lost = match.score < _FOUND
            if lost:
                velocity = (0.0, 0.0)
            else:
                velocity = _moved(current, match.box, velocity)
                current = match.box
                if match.score > _SURE:
                    template = (1 - _RATE) * template + _RATE * sample(frame, _grown(current), size)
                last_box = box if current == start else _clipped(current, scale, media)
            points.append(TrackPoint(last_box, not lost, max(0.0, min(1.0, match.score))))
        return points


def _grown(box: Box) -> Box:
    """The box with its context."""
    dx, dy = _CONTEXT * (box[2] - box[0]), _CONTEXT * (box[3] - box[1])
    return (box[0] - dx, box[1] - dy, box[2] + dx, box[3] + dy)


def _follow(frame: Pixels, template: Pixels, box: Box, velocity: tuple[float, float]) -> _Match:
    """The best match around the place where `box` should have moved to."""
    height, width = template.shape[:2]
    best = _Match(box, -1.0)
    for step in _STEPS:
        x0, y0, x1, y1 = _grown(_scaled(box, step))
        # One template pixel in frame pixels; the window is a whole number of them larger, so
        # that the unmoved box lies exactly on its grid.
        x_unit, y_unit = (x1 - x0) / width, (y1 - y0) / height
        reach = max(_MIN_REACH, _REACH * max(width, height))
        x_pad, y_pad = round(reach), round(reach)
        x0, y0 = x0 + velocity[0], y0 + velocity[1]
        x1, y1 = x1 + velocity[0], y1 + velocity[1]
        window = (
            x0 - x_pad * x_unit,
            y0 - y_pad * y_unit,
            x1 + x_pad * x_unit,
            y1 + y_pad * y_unit,
        )
        scores = similarity(
            sample(frame, window, (width + 2 * x_pad, height + 2 * y_pad)), template
        )
        x, y = peak(scores)
        score = float(scores[y, x]) - (0.0 if step == 1.0 else _STEP_COST)
        if score > best.score:
            fx, fy = refine(scores, x, y)
            shift = (velocity[0] + (fx - x_pad) * x_unit, velocity[1] + (fy - y_pad) * y_unit)
            best = _Match(_shifted(_scaled(box, step), shift), score)
    return best


def _search(frame: Pixels, template: Pixels, start: Box, last: Box, bounds: Box) -> _Match:
    """The best match anywhere in the frame, at several multiples of the last size."""
    height, width = template.shape[:2]
    best = _Match(last, 0.0)
    for jump in _JUMPS:
        size = _scaled(last, jump)
        x_unit = (size[2] - size[0]) * (1 + 2 * _CONTEXT) / width
        y_unit = (size[3] - size[1]) * (1 + 2 * _CONTEXT) / height
        columns, rows = round(bounds[2] / x_unit), round(bounds[3] / y_unit)
        if columns < width or rows < height:
            continue
        window = (0.0, 0.0, columns * x_unit, rows * y_unit)
        scores = similarity(sample(frame, window, (columns, rows)), template)
        x, y = peak(scores)
        if float(scores[y, x]) > best.score:
            fx, fy = refine(scores, x, y)
            x0 = fx * x_unit + _CONTEXT * (size[2] - size[0])
            y0 = fy * y_unit + _CONTEXT * (size[3] - size[1])
            box = (x0, y0, x0 + size[2] - size[0], y0 + size[3] - size[1])
            best = _Match(box, float(scores[y, x]))
    return best


def _scaled(box: Box, factor: float) -> Box:
    """The box grown about its centre."""
    if factor == 1.0:
        return box
    dx, dy = (factor - 1) / 2 * (box[2] - box[0]), (factor - 1) / 2 * (box[3] - box[1])
    return (box[0] - dx, box[1] - dy, box[2] + dx, box[3] + dy)


def _shifted(box: Box, shift: tuple[float, float]) -> Box:
    return (box[0] + shift[0], box[1] + shift[1], box[2] + shift[0], box[3] + shift[1])


def _moved(before: Box, after: Box, velocity: tuple[float, float]) -> tuple[float, float]:
    """The smoothed velocity of the centre, in work pixels a frame."""
    dx = (after[0] + after[2] - before[0] - before[2]) / 2
    dy = (after[1] + after[3] - before[1] - before[3]) / 2
    return (0.5 * velocity[0] + 0.5 * dx, 0.5 * velocity[1] + 0.5 * dy)


def _clipped(box: Box, scale: float, media: Media) -> Box:
    """A work-pixel box in source pixels, within the frame and at least one pixel wide and high."""
    x0 = min(max(box[0] / scale, 0.0), media.width - 1.0)
    y0 = min(max(box[1] / scale, 0.0), media.height - 1.0)
    x1 = max(min(box[2] / scale, float(media.width)), x0 + 1.0)
    y1 = max(min(box[3] / scale, float(media.height)), y0 + 1.0)
    return tuple(float(np.float64(v)) for v in (x0, y0, x1, y1))  # type: ignore[return-value]
