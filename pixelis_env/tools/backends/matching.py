"""Normalised cross-correlation of a template with an image: what tracking and scanning share."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Box
from pixelis_env.media.base import Media

Pixels = NDArray[np.float32]
"""float32 (height, width, 3), 0..255."""

_FLAT = 2.0  # standard deviation, in levels: below it a template has no pattern to correlate


class WorkFrames:
    """A medium's frames, reduced so that an object has about `side` pixels a side.

    Correlation needs no more pixels than that, and its cost grows with their fourth power. A
    thumbnail also is what a rendered or encoded medium can deliver most cheaply.

    Args:
        media: The medium.
        box: The object in source pixels.
        side: Wished geometric mean of the reduced box's sides in pixels.
    """

    def __init__(self, media: Media, box: Box, side: float) -> None:
        self.media = media
        mean = float(np.sqrt(max(1.0, (box[2] - box[0]) * (box[3] - box[1]))))
        longer = max(media.width, media.height)
        self._size = max(1, round(longer * min(1.0, side / mean)))
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


def peak(scores: NDArray[np.float32]) -> tuple[int, int]:
    """(x, y) of the highest score; of equal ones the nearest to the middle."""
    height, width = scores.shape
    y, x = np.ogrid[:height, :width]
    far = ((x - (width - 1) / 2) / width) ** 2 + ((y - (height - 1) / 2) / height) ** 2
    row, column = divmod(int(np.argmax(scores - 1e-3 * far)), width)
    return column, row


def refine(scores: NDArray[np.float32], x: int, y: int) -> tuple[float, float]:
    """The peak at (x, y) to a fraction of a pixel, by parabolas through its neighbours."""
    if scores[y, x] > 0.9999:  # the very same pixels: there is nothing to refine
        return float(x), float(y)
    return x + _vertex(scores[y, :], x), y + _vertex(scores[:, x], y)


def _vertex(line: NDArray[np.float32], at: int) -> float:
    if not 0 < at < len(line) - 1:
        return 0.0
    before, middle, after = (float(v) for v in line[at - 1 : at + 2])
    bend = before - 2 * middle + after
    return 0.0 if bend >= -1e-9 else min(0.5, max(-0.5, 0.5 * (before - after) / bend))
