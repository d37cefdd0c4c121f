"""Backends with one deliberate fault each, to show that the laws notice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pixelis_env.coordinates import Box, Region
from pixelis_env.evidence import TextLine
from pixelis_env.media.base import Media
from pixelis_env.tools.backend import BoolMask, Found, Query, TrackPoint
from pixelis_env.tools.backends.flow import FlowTracker
from pixelis_env.tools.backends.grabcut import GrabCut
from pixelis_env.tools.backends.rapidocr import RapidOCRReader
from pixelis_env.tools.backends.scan import ScanLocalizer


class ShiftedMask(GrabCut):
    """Masks lie three pixels to the right of their objects."""

    def segment(self, media: Media, index: int, **prompt: Any) -> tuple[BoolMask, float]:
        mask, score = super().segment(media, index, **prompt)
        moved = np.zeros_like(mask)
        moved[:, 3:] = mask[:, :-3]
        return (moved if moved.any() else mask), score


class GridMask(GrabCut):
    """Masks are made of blocks of eight pixels, fixed to the frame."""

    def segment(self, media: Media, index: int, **prompt: Any) -> tuple[BoolMask, float]:
        mask, score = super().segment(media, index, **prompt)
        rows, columns = np.nonzero(mask)
        blocks = np.zeros_like(mask)
        for row, column in {(r // 8 * 8, c // 8 * 8) for r, c in zip(rows, columns, strict=True)}:
            blocks[row : row + 8, column : column + 8] = True
        return blocks, score


class MissesPoint(GrabCut):
    """The pixel that was pointed at is left out."""

    def segment(self, media: Media, index: int, **prompt: Any) -> tuple[BoolMask, float]:
        mask, score = super().segment(media, index, **prompt)
        if prompt["point"] is not None and mask.sum() > 1:
            x, y = prompt["point"]
            mask[int(y), int(x)] = False
        return mask, score


class DiceMask(GrabCut):
    """Draws from the global generator."""

    def segment(self, media: Media, index: int, **prompt: Any) -> tuple[BoolMask, float]:
        mask, score = super().segment(media, index, **prompt)
        noise = np.random.random(mask.shape) < 0.01  # noqa: NPY002
        return mask | noise, score


class DrawingSegmenter(GrabCut):
    """Draws its mask into the medium."""

    def segment(self, media: Media, index: int, **prompt: Any) -> tuple[BoolMask, float]:
        mask, score = super().segment(media, index, **prompt)
        frames = media._frames  # type: ignore[attr-defined]
        frames.flags.writeable = True
        frames[index][mask] = 255
        frames.flags.writeable = False
        return mask, score


class WrongFrame(FlowTracker):
    """Each frame is given the box of the frame before."""

    def track(
        self, media: Media, indices: Sequence[int], box: Box, mask: BoolMask | None
    ) -> list[TrackPoint]:
        points = super().track(media, indices, box, mask)
        return [points[0], *points[:-1]]


class Drifting(FlowTracker):
    """Boxes slide to the right by a tenth of a pixel a frame."""

    def track(
        self, media: Media, indices: Sequence[int], box: Box, mask: BoolMask | None
    ) -> list[TrackPoint]:
        points = super().track(media, indices, box, mask)
        return [
            point._replace(
                box=(point.box[0] + k / 10, point.box[1], point.box[2] + k / 10, point.box[3])
            )
            for k, point in enumerate(points)
        ]


class ImprovesPrompt(FlowTracker):
    """Answers the prompt with a box of its own."""

    def track(
        self, media: Media, indices: Sequence[int], box: Box, mask: BoolMask | None
    ) -> list[TrackPoint]:
        points = super().track(media, indices, box, mask)
        rounder = (box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1)
        return [points[0]._replace(box=rounder), *points[1:]]


class NeverLost(FlowTracker):
    """Claims to see the object in every frame."""

    def track(
        self, media: Media, indices: Sequence[int], box: Box, mask: BoolMask | None
    ) -> list[TrackPoint]:
        points = super().track(media, indices, box, mask)
        return [point._replace(visible=True) for point in points]


class ClockwiseOnly(FlowTracker):
    """Knows one direction of time: going backwards it stands still."""

    def track(
        self, media: Media, indices: Sequence[int], box: Box, mask: BoolMask | None
    ) -> list[TrackPoint]:
        if len(indices) > 1 and indices[1] < indices[0]:
            return [TrackPoint(box, True, 1.0)] * len(indices)
        return super().track(media, indices, box, mask)


class Misreads(RapidOCRReader):
    """Takes every E for an F."""

    def read(self, media: Media, index: int, region: Region) -> list[TextLine]:
        lines = super().read(media, index, region)
        table = str.maketrans("EeOo", "FfQq")
        return [line.model_copy(update={"text": line.text.translate(table)}) for line in lines]


class SeesThings(RapidOCRReader):
    """Reads something even where there is nothing."""

    def read(self, media: Media, index: int, region: Region) -> list[TextLine]:
        x0, y0, x1, y1 = region.box
        ghost = TextLine(text="l", quad=((x0, y0), (x1, y0), (x1, y1), (x0, y1)), confidence=0.5)
        return [*super().read(media, index, region), ghost]


class FirstFrameReader(RapidOCRReader):
    """Reads the first frame, whatever frame is asked for."""

    def read(self, media: Media, index: int, region: Region) -> list[TextLine]:
        return super().read(media, 0, region)


class OneFrameShort(ScanLocalizer):
    """Intervals lose their last frame."""

    def localize(self, media: Media, query: Query, first: int, last: int) -> list[Found]:
        found = super().localize(media, query, first, last)
        return [item._replace(last=max(item.first, item.last - 1)) for item in found]


class SeesAllTheTime(ScanLocalizer):
    """Everything is always there."""

    def localize(self, media: Media, query: Query, first: int, last: int) -> list[Found]:
        return [Found(first, last, 1.0)]


class WholeClip(ScanLocalizer):
    """Forgets the span."""

    def localize(self, media: Media, query: Query, first: int, last: int) -> list[Found]:
        return super().localize(media, query, 0, media.n_frames - 1)
