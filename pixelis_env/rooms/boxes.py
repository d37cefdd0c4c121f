"""Oriented boxes that stand upright: corners, overlap, distance.

All furniture turns about +z only, so a box is a rectangle on the floor times an interval of
heights; every test here splits into those two.
"""

from __future__ import annotations

import numpy as np

from .scene import Placed


def footprint(placed: Placed) -> np.ndarray:
    """Corners of the box on the floor plane, float64 (4, 2) m, counter-clockwise."""
    return rectangle(placed.center[0], placed.center[1], placed.size[0], placed.size[1], placed.yaw)


def rectangle(x: float, y: float, length: float, width: float, yaw: float) -> np.ndarray:
    """Corners of a rotated rectangle, float64 (4, 2), counter-clockwise."""
    local = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) * [length, width]
    c, s = np.cos(yaw), np.sin(yaw)
    return np.stack(
        [x + local[:, 0] * c - local[:, 1] * s, y + local[:, 0] * s + local[:, 1] * c], 1
    )


def corners(placed: Placed) -> np.ndarray:
    """The eight corners of the box, float64 (8, 3) m: four below, then four above."""
    flat = footprint(placed)
    half = placed.size[2] / 2
    low = np.column_stack([flat, np.full(4, placed.center[2] - half)])
    high = np.column_stack([flat, np.full(4, placed.center[2] + half)])
    return np.concatenate([low, high])


def rectangles_overlap(a: np.ndarray, b: np.ndarray, margin: float = 0.0) -> bool:
    """Whether two convex counter-clockwise quads come closer than `margin` (m) along some axis.

    Exact for ``margin == 0`` (separating axes); for a positive margin it errs to True at corners.
    """
    for quad in (a, b):
        edge = np.roll(quad, -1, 0) - quad
        normal = np.stack([edge[:, 1], -edge[:, 0]], 1)
        normal = normal / np.sqrt((normal**2).sum(1, keepdims=True))
        pa = normal[:, :1] * a[:, 0] + normal[:, 1:] * a[:, 1]
        pb = normal[:, :1] * b[:, 0] + normal[:, 1:] * b[:, 1]
        gap = np.maximum(pa.min(1) - pb.max(1), pb.min(1) - pa.max(1))
        if (gap >= margin).any():
            return False
    return True


def overlap(a: Placed, b: Placed, tolerance: float = 1e-3) -> bool:
    """Whether two boxes share more than `tolerance` (m) in every direction."""
    gap_z = abs(a.center[2] - b.center[2]) - (a.size[2] + b.size[2]) / 2
    return gap_z < -tolerance and rectangles_overlap(footprint(a), footprint(b), -tolerance)


def rectangle_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Closest distance (m) of two convex counter-clockwise quads; 0 when they touch."""
    if rectangles_overlap(a, b):
        return 0.0
    return min(_points_to_edges(a, b), _points_to_edges(b, a))


def box_distance(a: Placed, b: Placed) -> float:
    """Distance between the closest points of two boxes, m; 0 when they touch."""
    flat = rectangle_distance(footprint(a), footprint(b))
    gap_z = max(0.0, abs(a.center[2] - b.center[2]) - (a.size[2] + b.size[2]) / 2)
    return float(np.hypot(flat, gap_z))


def _points_to_edges(points: np.ndarray, quad: np.ndarray) -> float:
    start = quad[None]
    edge = np.roll(quad, -1, 0)[None] - start
    offset = points[:, None] - start
    along = ((offset * edge).sum(-1) / (edge**2).sum(-1)).clip(0.0, 1.0)
    gap = offset - along[..., None] * edge
    return float(np.sqrt((gap**2).sum(-1).min()))
