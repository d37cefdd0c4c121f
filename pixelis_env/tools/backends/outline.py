"""The outline of a known object in further frames, by the colours learnt in the first.

A walking camera uncovers and covers parts of things all the time, which no motion of a box can
follow. GrabCut with fixed colour models does: it is asked anew in every frame, near the place
where the motion says the object is.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Box, Region, snap
from pixelis_env.tools.backend import BoolMask
from pixelis_env.tools.backends.matching import Pixels

_AROUND = 0.25  # of the longer side: the surroundings that colours are learnt from ...
_LEAST_AROUND = 4  # ... and at least, in pixels
_CHANGE = 0.17  # of the mean side: how far the outline may lie outside the expected one
_AREA = 1.8  # the most that the area may grow or shrink by from one frame to the next
_LEAST = 12  # pixels of object and of surroundings that colours can be learnt from
_OVERLAP, _SPECK = 0.3, 0.03  # parts must overlap what is expected, and be no specks


class Outline:
    """Colour mixtures of an object and of what surrounds it.

    Args:
        frame: The frame to learn from.
        box: The object in it, in pixels.
        mask: bool (H, W) of the object; None: it is first cut out of the box.
    """

    def __init__(self, frame: Pixels, box: Box, mask: BoolMask | None) -> None:
        self._background, self._foreground = np.zeros((1, 65)), np.zeros((1, 65))
        height, width = frame.shape[:2]
        self._bounds = Region(0, 0, width, height)
        inside = np.zeros((height, width), bool)
        x0, y0, x1, y1 = snap(box, self._bounds)
        inside[y0:y1, x0:x1] = True
        region = self._around(box)
        self.mask = self._learn(frame, region, inside if mask is None else mask, mask is None)
        if self.mask.sum() < _LEAST:
            self.mask = inside

    def _around(self, box: Box) -> Region:
        margin = _AROUND * max(box[2] - box[0], box[3] - box[1]) + _LEAST_AROUND
        return snap(
            (box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin), self._bounds
        )

    def _learn(self, frame: Pixels, region: Region, mask: BoolMask, cut: bool) -> BoolMask:
        """Learns the colours; with `cut` the object is what stands out inside `mask`."""
        crop = _crop(frame, region)
        labels = _labels(mask[region.y0 : region.y1, region.x0 : region.x1], cv2.GC_PR_FGD)
        if (labels == cv2.GC_BGD).sum() < _LEAST:
            labels[[0, -1], :], labels[:, [0, -1]] = cv2.GC_BGD, cv2.GC_BGD
        self.known = min((labels == cv2.GC_BGD).sum(), (labels == cv2.GC_PR_FGD).sum()) >= _LEAST
        if not self.known:
            return mask
        self._cut(crop, labels, 5 if cut else 1, cv2.GC_INIT_WITH_MASK)
        if not cut:
            return mask
        found = np.zeros_like(mask)
        found[region.y0 : region.y1, region.x0 : region.x1] = labels == cv2.GC_PR_FGD
        return found

    def _cut(self, crop: np.ndarray, labels: np.ndarray, iterations: int, mode: int) -> None:
        cv2.setRNGSeed(0)  # the mixtures start from k-means, which draws from OpenCV's generator
        unused = (0, 0, 0, 0)
        cv2.grabCut(crop, labels, unused, self._background, self._foreground, iterations, mode)

    def find(self, frame: Pixels, box: Box, expected: BoolMask) -> BoolMask | None:
        """The object near where it is expected; None where its colours do not tell.

        Args:
            frame: float32 (H, W, 3).
            box: Where the object should be.
            expected: bool (H, W), its outline carried along with the box.
        """
        region = self._around(box)
        crop = _crop(frame, region)
        prior = expected[region.y0 : region.y1, region.x0 : region.x1]
        if not self.known or prior.sum() < _LEAST or min(crop.shape[:2]) < 4:
            return None
        side = float(np.sqrt((box[2] - box[0]) * (box[3] - box[1])))
        reach = max(2, round(_CHANGE * side))
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        near = cv2.dilate(prior.astype(np.uint8), disk) > 0
        labels = _labels(near, cv2.GC_PR_BGD)
        labels[prior] = cv2.GC_PR_FGD
        # Frozen, for colours that are learnt anew from a poor outline get poorer with each frame.
        self._cut(crop, labels, 1, cv2.GC_EVAL_FREEZE_MODEL)
        parts = _parts(labels == cv2.GC_PR_FGD, prior)
        if not prior.sum() / _AREA <= parts.sum() <= prior.sum() * _AREA:
            return None
        found = np.zeros_like(expected)
        found[region.y0 : region.y1, region.x0 : region.x1] = parts
        return found


def tight_box(mask: BoolMask) -> Box:
    """The box of a non-empty mask."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _labels(mask: BoolMask, inside: int) -> NDArray[np.uint8]:
    """GrabCut's labels: `inside` where the mask is, sure background elsewhere."""
    # A decoded mask runs down its columns, which OpenCV does not take.
    return np.ascontiguousarray(np.where(mask, inside, cv2.GC_BGD), np.uint8)


def _crop(frame: Pixels, region: Region) -> np.ndarray:
    crop = frame[region.y0 : region.y1, region.x0 : region.x1]
    return np.ascontiguousarray(crop.astype(np.uint8))


def _parts(found: BoolMask, expected: BoolMask) -> BoolMask:
    """The connected parts of `found` that lie where the object is expected."""
    count, parts = cv2.connectedComponents(found.astype(np.uint8))
    size = np.bincount(parts.ravel(), minlength=count)
    shared = np.bincount(parts[expected], minlength=count)
    size[0] = 0
    kept = (shared > _OVERLAP * size) & (size > _SPECK * size.max())
    kept[0] = False
    chosen: BoolMask = kept[parts]
    return chosen
