"""Segmentation by GrabCut in a padded region around the prompt. Needs no weights.

A box works wherever the object differs in colour from what surrounds it. A point is grown by
flood fill first, at the tolerance that gives the clearest edge, which works on objects of one hue:
of others, and on textured photographs, a point finds a part, so prompt those with a box.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Box, Point, Region, snap
from pixelis_env.errors import InvalidCall
from pixelis_env.media.base import Media
from pixelis_env.tools.backend import BoolMask

_ITERATIONS = 3
_MARGIN = 0.3  # of the prompt's longer side: the surroundings that the background is learnt from
_MIN_MARGIN = 8  # px
_MIN_SIDE = 4  # px: below this there are too few pixels to tell two colour models apart
_MAX_SIDE = 240  # px: a larger region is worked on at reduced size, which bounds time and memory
_SMALL_PART = 0.05  # of the largest part: smaller ones are specks
_LEAST_COVER = 0.1  # of the box: below this GrabCut has lost the object
_RIM = 4  # px around a flooded patch that may still belong to the object
# Levels of lightness and of the two colour axes (L, a, b) around the point's own that are flooded.
_TOLERANCES = (
    (9, 7),
    (16, 7),
    (16, 12),
    (28, 10),
    (28, 18),
    (45, 14),
    (45, 24),
    (70, 20),
    (70, 34),
)
_CLEAR = 120.0  # change of colour beyond which an edge gets no clearer
_BORDER = 0.7  # of an edge's pixel: what a pixel at the frame's border counts as without one
_SMALL, _SMALLER = 300.0, 0.3  # px: the smaller a patch below it, the clearer its edge has to be


class GrabCut:
    """Box or point prompts by iterated graph cuts over colour mixtures."""

    name = "grabcut"
    version = "2"

    def segment(
        self, media: Media, index: int, *, box: Box | None, point: Point | None
    ) -> tuple[BoolMask, float]:
        """See `Segmenter.segment`.

        The score is how well the colours of the mask differ from those around it (0..1). Where
        no outline is found inside a box, the box itself is the mask, with score 0.

        Raises:
            InvalidCall: The box has a side of less than 4 pixels.
        """
        frame = media.frame(index)
        bounds = Region(0, 0, media.width, media.height)
        if box is not None:
            found, region, score = _from_box(frame, snap(box, bounds), bounds)
        elif point is not None:
            found, region, score = _from_point(frame, point, bounds)
        else:
            raise InvalidCall("give a box or a point")
        mask = np.zeros(frame.shape[:2], bool)
        mask[region.y0 : region.y1, region.x0 : region.x1] = found
        return mask, score


def _from_box(
    frame: NDArray[np.uint8], box: Region, bounds: Region
) -> tuple[BoolMask, Region, float]:
    if min(box.width, box.height) < _MIN_SIDE:
        raise InvalidCall(
            f"the box is {box.width}x{box.height} pixels of the medium: segmenting needs at "
            f"least {_MIN_SIDE}x{_MIN_SIDE}"
        )
    region = _padded(box, bounds)
    inside = _inside(box, region)
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    if not (labels == cv2.GC_BGD).any():
        # The box is the whole frame: its rim is all the background there is.
        labels[[0, -1], :] = cv2.GC_BGD
        labels[:, [0, -1]] = cv2.GC_BGD
    crop = _crop(frame, region)
    found = _without_specks(_grabcut(crop, labels) & inside)
    if found.sum() < _LEAST_COVER * inside.sum():
        return inside, region, 0.0
    return found, region, _contrast(crop, found)


def _from_point(
    frame: NDArray[np.uint8], point: Point, bounds: Region
) -> tuple[BoolMask, Region, float]:
    x, y = math.floor(point[0]), math.floor(point[1])
    patch = _flood(frame, x, y)
    columns, rows = np.flatnonzero(patch.any(0)), np.flatnonzero(patch.any(1))
    # The patch ends a little short of the object's edge, where colours begin to mix.
    box = snap(
        (columns[0] - _RIM, rows[0] - _RIM, columns[-1] + 1 + _RIM, rows[-1] + 1 + _RIM), bounds
    )
    region = _padded(box, bounds)
    crop, patch = _crop(frame, region), patch[region.y0 : region.y1, region.x0 : region.x1]
    labels = np.where(_inside(box, region), cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    labels[patch] = cv2.GC_PR_FGD
    labels[y - region.y0, x - region.x0] = cv2.GC_FGD
    found = patch
    if (labels == cv2.GC_BGD).any():
        # Without surroundings to learn from, the patch stands as it is.
        found = _grabcut(crop, labels)
    at = (y - region.y0, x - region.x0)
    if not found[at] or found.sum() < patch.sum() / 4:
        found = patch
    _, parts = cv2.connectedComponents(found.astype(np.uint8))
    found = parts == parts[at]
    return found, region, _contrast(crop, found)


def _padded(box: Region, bounds: Region) -> Region:
    margin = max(_MIN_MARGIN, round(_MARGIN * max(box.width, box.height)))
    around = (box.x0 - margin, box.y0 - margin, box.x1 + margin, box.y1 + margin)
    return snap(around, bounds)


def _inside(box: Region, region: Region) -> BoolMask:
    inside = np.zeros((region.height, region.width), bool)
    inside[box.y0 - region.y0 : box.y1 - region.y0, box.x0 - region.x0 : box.x1 - region.x0] = True
    return inside


def _crop(frame: NDArray[np.uint8], region: Region) -> NDArray[np.uint8]:
    return np.ascontiguousarray(frame[region.y0 : region.y1, region.x0 : region.x1])


def _flood(frame: NDArray[np.uint8], x: int, y: int) -> BoolMask:
    """Pixels of about the colour at (x, y) that hang together with it, without holes.

    Of the patches at several tolerances the one with the clearest edge. Shading changes lightness
    more than hue, so lightness may differ by more.
    """
    lab = np.asarray(cv2.cvtColor(cv2.GaussianBlur(frame, (3, 3), 0), cv2.COLOR_RGB2LAB), np.uint8)
    planes = lab.astype(np.float32)
    dx, dy = cv2.Sobel(planes, cv2.CV_32F, 1, 0), cv2.Sobel(planes, cv2.CV_32F, 0, 1)
    change = np.minimum(np.sqrt((dx * dx + dy * dy).sum(axis=2)), _CLEAR)
    best, clearest = np.zeros(frame.shape[:2], bool), -1.0
    for lightness, hue in _TOLERANCES:
        patch = _patch(lab, x, y, (lightness, hue, hue))
        edge = cv2.dilate(patch, np.ones((3, 3), np.uint8)) > patch
        border = sum(int(line.sum()) for line in (patch[0], patch[-1], patch[:, 0], patch[:, -1]))
        clear = float(change[edge].sum()) / max(1.0, edge.sum() + _BORDER * border)
        clear *= min(1.0, int(patch.sum()) / _SMALL) ** _SMALLER
        if clear > clearest:
            best, clearest = patch > 0, clear
    return best


def _patch(
    lab: NDArray[np.uint8], x: int, y: int, tolerance: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """What flood fill from (x, y) reaches, 0 or 1, without gaps of a pixel and holes."""
    filled = np.zeros((lab.shape[0] + 2, lab.shape[1] + 2), np.uint8)
    # Against the seed's colour and not the neighbour's: gradients would carry it anywhere.
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (1 << 8)
    cv2.floodFill(lab, filled, (x, y), 0, tolerance, tolerance, flags)
    closed = cv2.morphologyEx(filled[1:-1, 1:-1], cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    patch = np.zeros(lab.shape[:2], np.uint8)
    cv2.drawContours(patch, outlines, -1, 1, cv2.FILLED)
    return patch


def _grabcut(crop: NDArray[np.uint8], labels: NDArray[np.uint8]) -> BoolMask:
    """Runs GrabCut on a region with its starting labels."""
    height, width = labels.shape
    scale = min(1.0, _MAX_SIDE / max(height, width))
    small, small_labels = crop, labels.copy()
    if scale < 1.0:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
        small_labels = np.asarray(
            cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8
        )
    if not np.isin(small_labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).any():
        return np.zeros((height, width), bool)
    # The colour mixtures start from k-means, which draws from OpenCV's own generator.
    cv2.setRNGSeed(0)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    unused = (0, 0, 0, 0)  # the rectangle: the labels say it all
    mode = cv2.GC_INIT_WITH_MASK
    cv2.grabCut(small, small_labels, unused, background, foreground, _ITERATIONS, mode)
    found = ((small_labels == cv2.GC_FGD) | (small_labels == cv2.GC_PR_FGD)).astype(np.uint8)
    if scale < 1.0:
        smooth = cv2.resize(found * 255, (width, height), interpolation=cv2.INTER_LINEAR)
        found = (np.asarray(smooth) > 127).astype(np.uint8)
    result: BoolMask = found > 0
    return result


def _without_specks(mask: BoolMask) -> BoolMask:
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count <= 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept: BoolMask = (areas >= _SMALL_PART * areas.max())[parts] & mask
    return kept


def _contrast(crop: NDArray[np.uint8], mask: BoolMask) -> float:
    """Bhattacharyya distance (0..1) between the colours of the mask and those around it."""
    if mask.all():
        return 0.0
    lab = cv2.cvtColor(crop, cv2.COLOR_RGB2LAB)
    histograms = []
    for part in (mask, ~mask):
        counts = cv2.calcHist([lab], [0, 1, 2], part.astype(np.uint8), [8] * 3, [0, 256] * 3)
        histograms.append(np.asarray(counts / counts.sum(), np.float32))
    return float(cv2.compareHist(histograms[0], histograms[1], cv2.HISTCMP_BHATTACHARYYA))
