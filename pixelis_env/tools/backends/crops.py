"""The part of a frame that a reader is given, at a size that it reads well."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Point, Region
from pixelis_env.media.base import Media

_MOST = 4.0  # times: enlarged further, letters gain nothing
_MAX_SIDE = 1600  # px: a larger region is reduced, which bounds time and memory


class Crop(NamedTuple):
    """Pixels of a region, uint8 (height, width, 3) RGB, and where they come from."""

    pixels: NDArray[np.uint8]
    region: Region

    def to_source(self, x: float, y: float) -> Point:
        """A place in the crop as source pixels."""
        height, width = self.pixels.shape[:2]
        return (
            self.region.x0 + float(x) * (self.region.width / width),
            self.region.y0 + float(y) * (self.region.height / height),
        )

    def quad(self, x0: float, y0: float, x1: float, y1: float) -> tuple[Point, Point, Point, Point]:
        """The corners of a box in the crop as source pixels, clockwise from the upper left."""
        near, far = self.to_source(x0, y0), self.to_source(x1, y1)
        return near, (far[0], near[1]), far, (near[0], far[1])


def crop_of(media: Media, index: int, region: Region, *, least: float) -> Crop:
    """`region` of frame `index`, enlarged until its shorter side has `least` pixels.

    By at most 4 times; a region of more than 1600 pixels a side is reduced to that.
    """
    pixels = media.frame(index)[region.y0 : region.y1, region.x0 : region.x1]
    shorter, longer = sorted((region.width, region.height))
    scale = min(max(1.0, min(_MOST, least / shorter)), _MAX_SIDE / longer)
    if scale != 1.0:
        size = (max(1, round(region.width * scale)), max(1, round(region.height * scale)))
        method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint8)
    return Crop(pixels, region)
