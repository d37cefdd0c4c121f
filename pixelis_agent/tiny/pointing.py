"""How well token responses point: which token, and which frame, shows a named thing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pixelis_env.observation import OVERVIEW_FRAMES

COLUMNS, ROWS, SIDE = 8, 6, 40
"""Tokens of a 320x240 frame, and the side of one in pixels of it."""

LARGE = 0.005 * (COLUMNS * SIDE) * (ROWS * SIDE)
"""Objects of fewer pixels than this half percent of a frame are not asked for."""

SHOWN = 0.1
"""A token shows a class that covers this share of it."""


def average_precision(score: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Mean precision at each positive, from the highest score down; nan without positives."""
    ranked = positive[np.argsort(-score, kind="stable")]
    hits = np.flatnonzero(ranked)
    return float(np.mean(np.arange(1, len(hits) + 1) / (hits + 1))) if len(hits) else float("nan")


def tokens_in(box: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The tokens whose centres a box holds, bool (48,); if none, the one at the box's centre.

    Args:
        box: xyxy, px of the 320x240 frame.
    """
    x0, y0, x1, y1 = (float(v) for v in box)
    x = (np.arange(COLUMNS) + 0.5) * SIDE
    y = (np.arange(ROWS) + 0.5) * SIDE
    inside = ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))
    if not inside.any():
        inside[min(int((y0 + y1) / 2 / SIDE), ROWS - 1), min(int((x0 + x1) / 2 / SIDE), 7)] = True
    return inside.ravel()


def points(
    response: NDArray[np.floating],
    classes: NDArray[np.integer],
    box: NDArray[np.integer],
    pixels: NDArray[np.integer],
) -> list[tuple[int, bool]]:
    """Whether the strongest token of its class lies in an object's box, in each frame of a room.

    An object that shares its class with others is right where the token lies in any of theirs.

    Args:
        response: (8, 48, classes), higher = rather this class.
        classes: (N,), the class of each object.
        box: (N, 8, 4), xyxy px of 320x240.
        pixels: (N, 8), pixels that show it.

    Returns:
        (class, right) of each object in each frame that shows it with at least `LARGE` pixels.
    """
    found = []
    for slot in range(OVERVIEW_FRAMES):
        shown = np.flatnonzero(pixels[:, slot] > 0)
        for k in np.flatnonzero(pixels[:, slot] >= LARGE):
            same = shown[classes[shown] == classes[k]]
            inside = np.any([tokens_in(box[other, slot]) for other in same], axis=0)
            best = int(response[slot, :, classes[k]].argmax())
            found.append((int(classes[k]), bool(inside[best])))
    return found


def chosen_frames(
    response: NDArray[np.floating],
    classes: NDArray[np.integer],
    pixels: NDArray[np.integer],
) -> list[tuple[int, bool]]:
    """Whether the frame that answers strongest to a class shows its object well.

    A frame's answer is the sum of its tokens' probabilities. It is right where the object has at
    least half the pixels that it has in its best frame. Asked of objects that are alone in their
    class and have at least `LARGE` pixels in some frame.

    Args:
        response: (8, 48, classes), logits.
        classes: (N,), the class of each object.
        pixels: (N, 8), pixels that show it.
    """
    answer = (1 / (1 + np.exp(-response.astype(np.float64)))).sum(1)
    found = []
    for k in np.flatnonzero(pixels.max(1) >= LARGE):
        if (classes == classes[k]).sum() == 1:
            frame = int(answer[:, classes[k]].argmax())
            found.append((int(classes[k]), bool(pixels[k, frame] * 2 >= pixels[k].max())))
    return found
