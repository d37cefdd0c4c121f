"""Tracking by optical flow, checked by correlation, with the outline found anew in each frame.

For each frame: the flow of points on the object says where the box goes; where it fails, or the
pixels there look different, normalised cross-correlation searches around, and once the object is
lost, everywhere. Then the object's colours say how far it reaches. The place of a lost object is
carried along by the camera's motion, so that it is expected where it comes back.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Box
from pixelis_env.media.base import Media
from pixelis_env.metrics.overlap import mask_iou
from pixelis_env.tools.backend import BoolMask, TrackPoint
from pixelis_env.tools.backends.matching import (
    Pixels,
    WorkFrames,
    best_match_around,
    best_match_in,
    correlation,
    sample,
)
from pixelis_env.tools.backends.motion import moved_box, with_camera
from pixelis_env.tools.backends.outline import Outline, tight_box

_LEAST_SIDE = 6  # work pixels of the template
_SAME = 0.3  # correlation with the last sight: below it the flow is not believed
_LOST, _FOUND = 0.45, 0.75  # correlation: found around the last place, and anywhere
_EXPECTED, _BACK = 0.6, 0.2  # correlation, and share in the frame, where it is expected back
_WHOLE = 0.8  # of the box in the frame: such a sight tells the object when it comes back
_ALIKE = 0.6  # IoU of the outlines, last seen and now: below it something else was found
_IN_FRAME = 0.08  # of the box's area: with less of it inside, the object has left


class FlowTracker:
    """One object of any kind whose colours differ somewhat from what surrounds it.

    Args:
        side: Pixels a side at which the object is followed, > 0. Fewer are faster, and coarser.
    """

    name = "flow"
    version = "2"

    def __init__(self, side: float = 56.0) -> None:
        if not side > 0:
            raise ValueError(f"side {side} of the flow tracker: must be above 0")
        self.side = side

    def track(
        self, media: Media, indices: Sequence[int], box: Box, mask: BoolMask | None
    ) -> list[TrackPoint]:
        """See `Tracker.track`. The score is the correlation with the last sight, at least 0."""
        frames = WorkFrames(media, box, self.side)
        scale = frames.scale
        frame = frames[indices[0]]
        follower = _Follower(frame, _times(box, scale), _reduced(mask, frame))
        points = [TrackPoint(box, True, 1.0)]
        for index in indices[1:]:
            before = follower.box
            visible, score = follower.step(frames[index])
            # Through an unmoved box the prompt stays what it was, to the last digit.
            last = points[-1].box
            if visible and follower.box != before:
                last = _within(_times(follower.box, 1 / scale), media)
            points.append(TrackPoint(last, visible, score))
        return points


class _Follower:
    """An object from frame to frame, in work pixels. The box may reach out of the frame."""

    def __init__(self, frame: Pixels, box: Box, mask: BoolMask | None) -> None:
        self.box = box
        self._lost = False
        self._frame, self._before = frame, _grey(frame)
        self._share: NDArray[np.float32]
        self._full: tuple[Box, tuple[int, int], Pixels, NDArray[np.float32]]
        self._template: Pixels
        self._outline = Outline(frame, box, mask)
        self._margin = self._missing(frame)
        self._last = box  # the size that a lost object is looked for at
        self._remember(frame, self._outline.mask, first=True)

    def step(self, frame: Pixels) -> tuple[bool, float]:
        """Goes on to the next frame; whether the object is visible there, and the correlation."""
        if not self._lost and np.array_equal(frame, self._frame):
            return True, 1.0
        grey = _grey(frame)
        box, score = self._search(frame, grey) if self._lost else self._move(frame, grey)
        found = None
        if box is not None:
            expected = _carry(self._share, box, frame)
            found = self._outline.find(frame, box, expected)
            if self._lost and not self._convincing(found, expected):
                box = None
        self._lost = box is None or _share_inside(box, frame) < _IN_FRAME
        if box is None or self._lost:
            self._frame, self._before = frame, grey
            self._last, self._size, self._template, self._share = self._full
            return False, max(0.0, score)
        self.box = box
        if found is not None:
            self.box = self._fitted(found, frame)
        self._remember(frame, expected if found is None else found)
        return True, max(0.0, min(1.0, score))

    def _move(self, frame: Pixels, grey: NDArray[np.uint8]) -> tuple[Box | None, float]:
        """The box after one step: by flow, else by correlation around the last place."""
        box, score = moved_box(self._before, grey, self.box, self._share), -1.0
        if box is not None:
            seen = self._share * _inside(box, self._share.shape, frame)
            score = correlation(self._template, self._sight(frame, box), seen)
            if score >= _SAME:
                return box, score
        match = best_match_around(frame, self._template, self.box)
        return (match.box, match.score) if match.score > max(score, _LOST) else (None, score)

    def _search(self, frame: Pixels, grey: NDArray[np.uint8]) -> tuple[Box | None, float]:
        """The box of a lost object: where the camera's motion has it, or where it looks alike."""
        self.box = with_camera(self._before, grey, self.box)
        if _share_inside(self.box, frame) >= _BACK:
            seen = self._share * _inside(self.box, self._share.shape, frame)
            score = correlation(self._template, self._sight(frame, self.box), seen)
            if score > _EXPECTED:
                return self.box, score
        match = best_match_in(frame, self._template, self._last)
        return (match.box if match.score > _FOUND else None), match.score

    def _convincing(self, found: BoolMask | None, expected: BoolMask) -> bool:
        """Whether what looks like the object also has its colours and its outline."""
        if found is None:
            return not self._outline.known
        return mask_iou(found, expected) >= _ALIKE

    def _remember(self, frame: Pixels, mask: BoolMask, *, first: bool = False) -> None:
        """Keeps the frame and how the object looks in it."""
        self._frame, self._before = frame, _grey(frame)
        width, height = self.box[2] - self.box[0], self.box[3] - self.box[1]
        self._size = (max(_LEAST_SIDE, round(width)), max(_LEAST_SIDE, round(height)))
        self._template = self._sight(frame, self.box)
        planes = np.repeat(mask.astype(np.float32)[..., None], 3, axis=2)
        self._share = sample(planes, self.box, self._size)[..., 0]
        if self._share.mean() < 0.05:
            self._share = np.ones_like(self._share)
        # By the rest of a thing that leaves the frame it could not be told when it comes back.
        if first or _share_inside(self.box, frame) > _WHOLE:
            self._full = self.box, self._size, self._template, self._share

    def _sight(self, frame: Pixels, box: Box) -> Pixels:
        return sample(frame, box, self._size)

    def _missing(self, frame: Pixels) -> tuple[float, ...]:
        """What the outline lacks of the prompt's box, side by side, as a share of its size.

        Thin legs or pale corners that the colours miss are missed in every frame alike. A side at
        the frame's edge tells nothing: there the object may go on.
        """
        found = self._outline.find(frame, self.box, self._outline.mask)
        if found is None or not found.any():
            return (0.0,) * 4
        tight, limits = tight_box(found), (frame.shape[1], frame.shape[0])
        missing = []
        for k in range(4):
            at_edge = self.box[k] < 1 if k < 2 else self.box[k] > limits[k % 2] - 1
            size = self.box[2 + k % 2] - self.box[k % 2]
            missing.append(0.0 if at_edge else (self.box[k] - tight[k]) / size)
        return tuple(missing)

    def _fitted(self, mask: BoolMask, frame: Pixels) -> Box:
        """The box of an outline; a side beyond the frame's edge stays where the motion has it."""
        tight, limits = tight_box(mask), (frame.shape[1], frame.shape[0])
        sides = []
        for k, side in enumerate(self.box):
            size = self.box[2 + k % 2] - self.box[k % 2]
            beyond = side < 0 and tight[k] < 0.5
            if k >= 2:
                beyond = side > limits[k % 2] and tight[k] > limits[k % 2] - 0.5
            sides.append(side if beyond else tight[k] + self._margin[k] * size)
        x0, y0, x1, y1 = sides
        return (x0, y0, x1, y1) if x1 - x0 >= 1 and y1 - y0 >= 1 else self.box


def _grey(frame: Pixels) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(frame.astype(np.uint8), cv2.COLOR_RGB2GRAY), np.uint8)


def _times(box: Box, factor: float) -> Box:
    return box[0] * factor, box[1] * factor, box[2] * factor, box[3] * factor


def _reduced(mask: BoolMask | None, frame: Pixels) -> BoolMask | None:
    """A mask at the size of a work frame."""
    if mask is None or mask.shape == frame.shape[:2]:
        return mask
    # The medium has its own way of rounding the shorter side.
    size = (frame.shape[1], frame.shape[0])
    shares = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    reduced: BoolMask = np.asarray(shares) > 0.5
    return reduced


def _inside(box: Box, shape: tuple[int, ...], frame: Pixels) -> NDArray[np.float32]:
    """Which cells of a (h, w) grid over `box` lie in the frame: float32 0 or 1."""
    height, width = shape
    x = box[0] + (np.arange(width) + 0.5) * (box[2] - box[0]) / width
    y = box[1] + (np.arange(height) + 0.5) * (box[3] - box[1]) / height
    columns, rows = (x >= 0) & (x < frame.shape[1]), (y >= 0) & (y < frame.shape[0])
    return (rows[:, None] & columns[None]).astype(np.float32)


def _share_inside(box: Box, frame: Pixels) -> float:
    """The share of a box's area that lies in the frame."""
    width = max(0.0, min(box[2], frame.shape[1]) - max(box[0], 0.0))
    height = max(0.0, min(box[3], frame.shape[0]) - max(box[1], 0.0))
    return width * height / ((box[2] - box[0]) * (box[3] - box[1]))


def _carry(share: NDArray[np.float32], box: Box, frame: Pixels) -> BoolMask:
    """A mask over a box as a mask of the frame."""
    x_step, y_step = (box[2] - box[0]) / share.shape[1], (box[3] - box[1]) / share.shape[0]
    matrix = np.array(
        [
            [1 / x_step, 0.0, (0.5 - box[0]) / x_step - 0.5],
            [0.0, 1 / y_step, (0.5 - box[1]) / y_step - 0.5],
        ]
    )
    size = (frame.shape[1], frame.shape[0])
    carried = cv2.warpAffine(share, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    mask: BoolMask = np.asarray(carried) > 0.5
    return mask


def _within(box: Box, media: Media) -> Box:
    """A box in source pixels, cut to the frame, at least a pixel wide and high."""
    x0 = min(max(box[0], 0.0), media.width - 1.0)
    y0 = min(max(box[1], 0.0), media.height - 1.0)
    x1 = max(min(box[2], float(media.width)), x0 + 1.0)
    y1 = max(min(box[3], float(media.height)), y0 + 1.0)
    return x0, y0, x1, y1
