"""Where a box goes between two frames, from the optical flow of points on the object."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Box

_GRID = 10  # points a side
_LEAST = 6  # points: with fewer the motion is not known
_WINDOW = 15  # px
_LEVELS = 3  # of the pyramid
_ROUND_TRIP = 1.0  # px: a point that is not led back to where it came from is no good
_STEP = 1.25  # the most that a side grows or shrinks from frame to frame


def moved_box(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    box: Box,
    share: NDArray[np.float32],
) -> Box | None:
    """`box` of frame `before` in frame `after`; None where too few points can be followed.

    Points are followed by pyramidal Lucas-Kanade there and back. The box moves by their mean and
    grows in width and height by the medians of how their distances grow.

    Args:
        before: uint8 (H, W) grey.
        after: uint8 (H, W) grey.
        box: In pixels of the frames; may reach out of them.
        share: float32 (h, w) over the box: where in it the object is (1) and is not (0).
    """
    points = _points(before.shape, box, share)
    if len(points) < _LEAST:
        return None
    there, back, good = _follow(before, after, points)
    good &= np.hypot(*(back - points).T) < _ROUND_TRIP
    good &= _inside(there, after.shape)
    if good.sum() < _LEAST:
        return None
    old, new = points[good], there[good]
    shift = new - old
    off = np.hypot(*(shift - np.median(shift, axis=0)).T)
    usual = off <= 3 * np.median(off) + 0.5
    old, new = old[usual], new[usual]
    x_scale, y_scale = _growth(old[:, 0], new[:, 0]), _growth(old[:, 1], new[:, 1])
    (ax, ay), (bx, by) = (part.mean(axis=0, dtype=np.float64) + 0.5 for part in (old, new))
    return (
        float(bx + (box[0] - ax) * x_scale),
        float(by + (box[1] - ay) * y_scale),
        float(bx + (box[2] - ax) * x_scale),
        float(by + (box[3] - ay) * y_scale),
    )


def with_camera(before: NDArray[np.uint8], after: NDArray[np.uint8], box: Box) -> Box:
    """Where `box` goes when it moves as the frame as a whole does; unmoved where that is unknown.

    Args:
        before: uint8 (H, W) grey.
        after: uint8 (H, W) grey.
        box: In pixels of the frames; may lie outside of them.
    """
    height, width = before.shape
    whole = (0.0, 0.0, float(width), float(height))
    moved = moved_box(before, after, whole, np.ones((1, 1), np.float32))
    if moved is None:
        return box
    x_scale, y_scale = (moved[2] - moved[0]) / width, (moved[3] - moved[1]) / height
    return (
        moved[0] + x_scale * box[0],
        moved[1] + y_scale * box[1],
        moved[0] + x_scale * box[2],
        moved[1] + y_scale * box[3],
    )


def _points(shape: tuple[int, ...], box: Box, share: NDArray[np.float32]) -> NDArray[np.float32]:
    """A grid of points on the object, as pixel indices (x, y)."""
    steps = (np.arange(_GRID) + 0.5) / _GRID
    x, y = (part.ravel() for part in np.meshgrid(steps, steps))
    height, width = share.shape
    on = share[(y * height).astype(int), (x * width).astype(int)] > 0.5
    x = box[0] + x[on] * (box[2] - box[0]) - 0.5
    y = box[1] + y[on] * (box[3] - box[1]) - 0.5
    points = np.stack([x, y], axis=1).astype(np.float32)
    return points[_inside(points, shape)]


def _inside(points: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    limit = np.array([shape[1] - 1, shape[0] - 1], np.float32)
    return np.asarray(((points >= 0) & (points <= limit)).all(axis=1), bool)


def _follow(
    before: NDArray[np.uint8], after: NDArray[np.uint8], points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Where points go, where those come from, and which of them were found both times."""
    size, start = (_WINDOW, _WINDOW), points[:, None]
    there, found, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
        before, after, start, None, winSize=size, maxLevel=_LEVELS
    )
    back, returned, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
        after, before, there, None, winSize=size, maxLevel=_LEVELS
    )
    return there[:, 0], back[:, 0], (found[:, 0] == 1) & (returned[:, 0] == 1)


def _growth(old: NDArray[np.float32], new: NDArray[np.float32]) -> float:
    """How distances along one axis grow: the median over pairs that are far apart."""
    reach = float(np.ptp(old))
    if reach <= 4:
        return 1.0
    i, j = np.triu_indices(len(old), 1)
    apart = np.abs(old[i] - old[j]) > 0.3 * reach
    if apart.sum() < 5:
        return 1.0
    ratios = (new[i] - new[j])[apart] / (old[i] - old[j])[apart]
    return float(np.clip(np.median(ratios), 1 / _STEP, _STEP))
