"""Cuts in a video: jumps of the colour histogram that stand out from the changes around them."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelis_env.media.base import Media

_SIZE = 64  # px: the longer side of the frames that are compared
_LEAST = 0.3  # Bhattacharyya distance (0..1) of successive hue-saturation-value histograms
_TIMES = 3.0  # how far a cut stands out from the usual change ...
_AROUND = 5  # ... of this many frames on either side


def find_cuts(media: Media) -> list[tuple[int, float]]:
    """The first frame of every scene but the first, with the histogram distance across the cut."""
    histograms = [_histogram(media.thumbnail(i, _SIZE)) for i in range(media.n_frames)]
    change = np.array(
        [cv2.compareHist(a, b, cv2.HISTCMP_BHATTACHARYYA) for a, b in pairwise(histograms)]
    )
    cuts = []
    for i, value in enumerate(change):
        around = np.concatenate([change[max(0, i - _AROUND) : i], change[i + 1 : i + 1 + _AROUND]])
        usual = float(np.median(around)) if around.size else 0.0
        if value > max(_LEAST, _TIMES * usual):
            cuts.append((i + 1, min(1.0, float(value))))
    return cuts


def _histogram(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, [12, 6, 6], [0, 180, 0, 256, 0, 256])
    return np.asarray(counts / counts.sum(), np.float32)
