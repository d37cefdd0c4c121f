"""A tracker's prompt fits its frames at whatever size the medium delivers them."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from pixelis_env.media import ArrayMedia
from pixelis_env.tools.backends.flow import FlowTracker


class _RoundsUp(ArrayMedia):
    """Thumbnails whose shorter side is rounded up, as a renderer may do it."""

    def thumbnail(self, index: int, size: int) -> np.ndarray:
        height = math.ceil(self.height * size / self.width)
        return np.asarray(cv2.resize(self.frame(index), (size, height)), np.uint8)


@pytest.mark.parametrize("side", [11.0, 17.0, 23.0, 29.0])
def test_a_mask_is_brought_to_the_frames_size(side: float) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 60, (3, 98, 130, 3)).astype(np.uint8)
    frames[:, 53:, 40:90] += 150
    mask = np.zeros((98, 130), bool)
    mask[53:, 40:90] = True
    box = (40.0, 53.0, 90.0, 98.0)
    points = FlowTracker(side).track(_RoundsUp(frames), range(3), box, mask)
    assert len(points) == 3
