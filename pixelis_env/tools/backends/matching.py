"""Normalised cross-correlation of a template with an image: what tracking and scanning share."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Box
from pixelis_env.media.base import Media

Pixels = NDArray[np.float32]
"""float32 (height, width, 3), 0..255."""

_REACH = 0.6  # of the longer side: how far around is looked ...
_LEAST_REACH = 10  # ... and at least, in pixels
_STEPS = (1.0, 0.93, 1.07)  # sizes tried around
_STEP_COST = 0.01  # another size must pay, or noise makes the box breathe
_JUMPS = (1.0, 0.8, 1.25)  # sizes tried everywhere
_FLAT = 2.0  # standard deviation, in levels: below it a template has no pattern to correlate


class WorkFrames:
    """A medium's frames, reduced so that an object has about `side` pixels a side.

    Correlation needs no more pixels than that, and its cost grows with their fourth power. A
    thumbnail also is what a rendered or encoded medium can deliver most cheaply.

    Args:
        media: The medium.
        box: The object in source pixels.
        side: Wished geometric mean of the reduced box's sides in pixels.
        limits: The least and the most pixels of the reduced frame's longer side; no frame is
            enlarged.
    """

    def __init__(
        self, media: Media, box: Box, side: float, limits: tuple[int, int] = (1, 1 << 30)
    ) -> None:
        self.media = media
        mean = float(np.sqrt(max(1.0, (box[2] - box[0]) * (box[3] - box[1]))))
        longer = max(media.width, media.height)
        wished = min(max(longer * side / mean, limits[0]), limits[1])
        self._size = max(1, min(longer, round(wished)))
        self.scale = self._size / longer  # work pixels a source pixel

    def __getitem__(self, index: int) -> Pixels:
        """Frame `index`, float32 (height, width, 3)."""
        full = self._size == max(self.media.width, self.media.height)
        frame = self.media.frame(index) if full else self.media.thumbnail(index, self._size)
        return frame.astype(np.float32)


def sample(frame: Pixels, box: Box, size: tuple[int, int]) -> Pixels:
    """`box` of `frame` at `size` = (width, height); outside the frame its edge repeats."""
    x_step, y_step = (box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1]
    # Maps output pixel centres to frame pixel indices (centres at +0.5).
    matrix = np.array(
        [
            [x_step, 0.0, box[0] + 0.5 * x_step - 0.5],
            [0.0, y_step, box[1] + 0.5 * y_step - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(frame, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )


def similarity(window: Pixels, template: Pixels) -> NDArray[np.float32]:
    """How alike `template` is to each place of `window`: float32, at most 1.

    The correlation coefficient over all three colours; for a template without any pattern, whose
    coefficient is undefined, the closeness of its colour.
    """
    if float(template.std(axis=(0, 1)).max()) < _FLAT:
        squares = cv2.matchTemplate(window, template, cv2.TM_SQDIFF)
        rms = np.sqrt(np.maximum(squares, 0.0) / template.size)
        return np.asarray(1.0 - rms / 32.0, np.float32)
    scores = np.asarray(cv2.matchTemplate(window, template, cv2.TM_CCOEFF_NORMED), np.float32)
    # Over a place without pattern the coefficient is 0/0, and rounding may make it anything.
    size = (template.shape[1], template.shape[0])
    mean = cv2.blur(window, size, anchor=(0, 0))
    power = cv2.blur(window * window, size, anchor=(0, 0))
    deviation = (power - mean * mean).max(axis=2)[: scores.shape[0], : scores.shape[1]]
    scores[~(deviation > 1.0) | ~np.isfinite(scores)] = 0.0
    return scores


class Match(NamedTuple):
    """A place that looks like a template, and how much (at most 1)."""

    box: Box
    score: float


def best_match_around(frame: Pixels, template: Pixels, box: Box) -> Match:
    """The best match near `box`, at about its size."""
    height, width = template.shape[:2]
    reach = max(_LEAST_REACH, round(_REACH * max(width, height)))
    best = Match(box, -1.0)
    for step in _STEPS:
        x0, y0, x1, y1 = _scaled(box, step)
        # One template pixel in frame pixels; the window is a whole number of them larger.
        x_unit, y_unit = (x1 - x0) / width, (y1 - y0) / height
        left, top = x0 - reach * x_unit, y0 - reach * y_unit
        window = (left, top, x1 + reach * x_unit, y1 + reach * y_unit)
        scores = similarity(
            sample(frame, window, (width + 2 * reach, height + 2 * reach)), template
        )
        x, y = _peak(scores)
        score = float(scores[y, x]) - (0.0 if step == 1.0 else _STEP_COST)
        if score > best.score:
            corner = (left + x * x_unit, top + y * y_unit)
            best = Match((*corner, corner[0] + x1 - x0, corner[1] + y1 - y0), score)
    return best


def best_match_in(frame: Pixels, template: Pixels, box: Box) -> Match:
    """The best match anywhere in the frame, at some multiples of the size of `box`."""
    height, width = template.shape[:2]
    best = Match(box, 0.0)
    for step in _JUMPS:
        x0, y0, x1, y1 = _scaled(box, step)
        x_unit, y_unit = (x1 - x0) / width, (y1 - y0) / height
        columns, rows = round(frame.shape[1] / x_unit), round(frame.shape[0] / y_unit)
        if columns < width or rows < height:
            continue
        window = (0.0, 0.0, columns * x_unit, rows * y_unit)
        scores = similarity(sample(frame, window, (columns, rows)), template)
        x, y = _peak(scores)
        if float(scores[y, x]) > best.score:
            corner = (x * x_unit, y * y_unit)
            found = (*corner, corner[0] + x1 - x0, corner[1] + y1 - y0)
            best = Match(found, float(scores[y, x]))
    return best


def correlation(a: Pixels, b: Pixels, weights: NDArray[np.float32]) -> float:
    """The correlation coefficient of two patches over all colours, each pixel with its weight.

    -1 where there is next to nothing to compare, 0 where a patch has no pattern.
    """
    share = weights[..., None]
    total = float(weights.sum())
    if total < 4:
        return -1.0
    a, b = (part - (part * share).sum(axis=(0, 1)) / total for part in (a, b))
    spread = float((share * a * a).sum()) * float((share * b * b).sum())
    return float((share * a * b).sum()) / float(np.sqrt(spread)) if spread > 1e-9 else 0.0


def _scaled(box: Box, factor: float) -> Box:
    """The box grown about its centre."""
    dx, dy = (factor - 1) / 2 * (box[2] - box[0]), (factor - 1) / 2 * (box[3] - box[1])
    return box[0] - dx, box[1] - dy, box[2] + dx, box[3] + dy


def _peak(scores: NDArray[np.float32]) -> tuple[int, int]:
    """(x, y) of the highest score; of equal ones the nearest to the middle."""
    height, width = scores.shape
    y, x = np.ogrid[:height, :width]
    far = ((x - (width - 1) / 2) / width) ** 2 + ((y - (height - 1) / 2) / height) ** 2
    row, column = divmod(int(np.argmax(scores - 1e-3 * far)), width)
    return column, row
