"""Every conversion between the frames of reference in which boxes and points are written.

Inside Pixelis a box is `(x0, y0, x1, y1)`, floats in *source pixels*: pixels of the medium as it
is displayed, origin at the top left corner of the top left pixel, so that pixel `(i, j)` has its
centre at `(j + 0.5, i + 0.5)` and the full frame is `(0, 0, width, height)`.

An action writes coordinates relative to the view it names, in a frame that it *states*:

- `rel1000`: 0..1000 over the view's width and height (what Qwen3-VL writes);
- `unit`: 0..1 over the view's width and height;
- `px`: the view's own pixels.

A frame is never guessed from the size of a number.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from pixelis_env.errors import InvalidCall

Frame = Literal["rel1000", "unit", "px"]
Point = tuple[float, float]
Box = tuple[float, float, float, float]

# Composing two exact fractions leaves float noise of about 1e-12 px; a real offset is a whole
# number of thousandths of a pixel at the least. The tolerance stands far from both.
_SNAP = 1e-6


class Region(NamedTuple):
    """A whole-pixel rectangle of a medium: the footprint of a view. Half open: x0 <= x < x1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.y1 - self.y0

    @property
    def box(self) -> Box:
        """The region as a float box."""
        return (float(self.x0), float(self.y0), float(self.x1), float(self.y1))

    def contains(self, other: Region) -> bool:
        """Whether `other` lies wholly inside this region."""
        return (
            self.x0 <= other.x0
            and self.y0 <= other.y0
            and other.x1 <= self.x1
            and other.y1 <= self.y1
        )


def limits(frame: Frame, region: Region) -> tuple[float, float]:
    """The largest x and y that `frame` allows over `region` (the smallest are 0)."""
    if frame == "px":
        return float(region.width), float(region.height)
    top = 1000.0 if frame == "rel1000" else 1.0
    return top, top


def point_to_source(point: Point, frame: Frame, region: Region) -> Point:
    """A point written in `frame` over `region`, in source pixels.

    Raises:
        InvalidCall: A coordinate lies outside the frame's range.
    """
    max_x, max_y = limits(frame, region)
    x, y = point
    if not (0 <= x <= max_x and 0 <= y <= max_y):
        raise InvalidCall(
            f"point ({x:g}, {y:g}) is outside the view: in {frame} x must be in 0..{max_x:g} and "
            f"y in 0..{max_y:g} (the view is {region.width}x{region.height} pixels)"
        )
    return region.x0 + x * region.width / max_x, region.y0 + y * region.height / max_y


def box_to_source(box: Box, frame: Frame, region: Region) -> Box:
    """A box written in `frame` over `region`, in source pixels.

    Raises:
        InvalidCall: The box is empty, turned over, or leaves the frame's range.
    """
    max_x, max_y = limits(frame, region)
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= max_x and 0 <= y0 < y1 <= max_y):
        raise InvalidCall(
            f"box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) is not a box inside the view: in {frame} write "
            f"x0 < x1 in 0..{max_x:g} and y0 < y1 in 0..{max_y:g} "
            f"(the view is {region.width}x{region.height} pixels)"
        )
    left, top = point_to_source((x0, y0), frame, region)
    right, bottom = point_to_source((x1, y1), frame, region)
    return left, top, right, bottom


def box_from_source(box: Box, frame: Frame, region: Region) -> Box:
    """A source-pixel box as `frame` writes it over `region`; the inverse of `box_to_source`.

    `rel1000` is rounded to whole thousandths, as models write it: at most half a thousandth of
    the view's side is lost. The box is clipped to the view.
    """
    max_x, max_y = limits(frame, region)
    x0 = (box[0] - region.x0) * max_x / region.width
    x1 = (box[2] - region.x0) * max_x / region.width
    y0 = (box[1] - region.y0) * max_y / region.height
    y1 = (box[3] - region.y0) * max_y / region.height
    if frame == "rel1000":
        x0, y0, x1, y1 = (float(round(v)) for v in (x0, y0, x1, y1))
    return (
        min(max(x0, 0.0), max_x),
        min(max(y0, 0.0), max_y),
        min(max(x1, 0.0), max_x),
        min(max(y1, 0.0), max_y),
    )


def snap(box: Box, bounds: Region) -> Region:
    """The smallest whole-pixel region that covers `box`, clipped to `bounds`; never empty."""
    x0 = min(max(math.floor(box[0] + _SNAP), bounds.x0), bounds.x1 - 1)
    y0 = min(max(math.floor(box[1] + _SNAP), bounds.y0), bounds.y1 - 1)
    x1 = max(min(math.ceil(box[2] - _SNAP), bounds.x1), x0 + 1)
    y1 = max(min(math.ceil(box[3] - _SNAP), bounds.y1), y0 + 1)
    return Region(x0, y0, x1, y1)


class Letterbox(NamedTuple):
    """Fits a region into a square canvas: canvas = (source - origin) * scale + pad."""

    scale: float
    pad_x: int
    pad_y: int
    width: int
    height: int

    @classmethod
    def fit(cls, region: Region, size: int) -> Letterbox:
        """Centres `region`, aspect kept, on a `size` x `size` canvas."""
        scale = size / max(region.width, region.height)
        width = min(size, max(1, round(region.width * scale)))
        height = min(size, max(1, round(region.height * scale)))
        return cls(scale, (size - width) // 2, (size - height) // 2, width, height)
