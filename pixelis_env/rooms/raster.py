"""The fallback for platforms without Embree: a rasteriser in numpy alone.

Triangles are set up in homogeneous image coordinates (Olano and Greer, 1997): for a ray through
image point (a, b) each corner's weight is an affine function of a and b, and so is one over the
depth. Nothing is clipped, so triangles that pass behind the camera need no special case beyond
testing the whole screen.
"""

from __future__ import annotations

import numpy as np

from .tracer import Hits

_WIDE_AREA = 4096
"""Pixels of a screen box from which a triangle is tested by itself."""

_CHUNK = 1 << 20
"""Pixel tests held in memory at once."""


def rasterize(
    triangles: np.ndarray,
    origin: np.ndarray,
    rays: np.ndarray,
    axes: tuple[np.ndarray, np.ndarray, np.ndarray],
    focal: float,
) -> Hits:
    """Nearest triangle at every pixel centre.

    Args:
        triangles: float32 (T, 3, 3), m.
        origin: float32 (3,): camera, m.
        rays: float32 (3, H, W): ray vectors of planar length 1.
        axes: Camera axes right, down, forward, each (3,).
        focal: px.

    Returns:
        Flat hits (H*W,); tri -1 where nothing is.
    """
    _, height, width = rays.shape
    right, down, forward = (np.asarray(a, np.float32).astype(float) for a in axes)
    corner = triangles.astype(float) - origin.astype(float)
    normal = np.stack([_cross(corner[:, (k + 1) % 3], corner[:, (k + 2) % 3]) for k in range(3)], 1)
    volume = _dot(corner[:, 0], normal[:, 0])
    usable = np.abs(volume) > 1e-12
    weight = normal / np.where(usable, volume, 1.0)[:, None, None]
    # weight_k(ray) = plane_k . (a, b, 1) with ray = forward + a right + b down.
    plane = np.stack([_dot(weight, axis) for axis in (right, down, forward)], -1)
    a0, b0 = (0.5 - width / 2) / focal, (0.5 - height / 2) / focal
    step = 1.0 / focal
    plane = np.stack(
        [
            plane[..., 0] * step,
            plane[..., 1] * step,
            plane[..., 2] + plane[..., 0] * a0 + plane[..., 1] * b0,
        ],
        -1,
    )
    box = _screen_boxes(corner, axes, focal, width, height)
    usable &= (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1])
    best = np.full(height * width, np.inf)
    tri = np.full(height * width, -1, np.int32)
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    for t in np.nonzero(usable & (area >= _WIDE_AREA))[0]:
        _draw_wide(int(t), plane[t], box[t], width, best, tri)
    small = np.nonzero(usable & (area < _WIDE_AREA))[0]
    _draw_small(small, plane, box, width, best, tri)
    hit = tri >= 0
    y, x = np.divmod(np.nonzero(hit)[0], width)
    planes = plane[tri[hit]]
    w = planes[..., 0] * x[:, None] + planes[..., 1] * y[:, None] + planes[..., 2]
    total = w.sum(1)
    u, v = np.zeros(len(tri), np.float32), np.zeros(len(tri), np.float32)
    u[hit], v[hit] = w[:, 1] / total, w[:, 2] / total
    return Hits(tri, best.astype(np.float32), u, v)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
            a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
            a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
        ],
        1,
    )


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2])


def _screen_boxes(
    corner: np.ndarray,
    axes: tuple[np.ndarray, np.ndarray, np.ndarray],
    focal: float,
    width: int,
    height: int,
) -> np.ndarray:
    """int (T, 4): x0, y0, x1, y1 (exclusive) of the pixels a triangle may cover."""
    x, y, z = (_dot(corner, np.asarray(axis, float)) for axis in axes)
    near = 1e-3
    deep = np.where(z > near, z, near)
    px, py = width / 2 + focal * x / deep - 0.5, height / 2 + focal * y / deep - 0.5
    box = np.stack(
        [np.floor(px.min(1)), np.floor(py.min(1)), np.ceil(px.max(1)) + 1, np.ceil(py.max(1)) + 1],
        1,
    )
    crossing = (z <= near).any(1)
    box[crossing] = [0, 0, width, height]
    box[(z <= 0).all(1)] = 0
    limit = np.array([width, height, width, height])
    return box.clip(0, limit).astype(np.int64)


def _draw_wide(
    t: int, plane: np.ndarray, box: np.ndarray, width: int, best: np.ndarray, tri: np.ndarray
) -> None:
    """Test one triangle against every pixel of its box."""
    x, y = np.arange(box[0], box[2])[None, :], np.arange(box[1], box[3])[:, None]
    w = [p[0] * x + p[1] * y + p[2] for p in plane]
    total = w[0] + w[1] + w[2]
    inside = (w[0] >= 0) & (w[1] >= 0) & (w[2] >= 0) & (total > 0)
    rows, columns = np.nonzero(inside)
    at = (rows + box[1]) * width + columns + box[0]
    depth = 1.0 / total[rows, columns]
    closer = depth < best[at]
    best[at[closer]], tri[at[closer]] = depth[closer], t


def _draw_small(
    small: np.ndarray,
    plane: np.ndarray,
    box: np.ndarray,
    width: int,
    best: np.ndarray,
    tri: np.ndarray,
) -> None:
    """Test many triangles at once, those with boxes of like size together."""
    wide, high = box[small, 2] - box[small, 0], box[small, 3] - box[small, 1]
    size = np.stack([_round_up(wide), _round_up(high)], 1)
    for w_cells, h_cells in np.unique(size, axis=0):
        group = small[(size[:, 0] == w_cells) & (size[:, 1] == h_cells)]
        dx = np.tile(np.arange(w_cells), h_cells)
        dy = np.repeat(np.arange(h_cells), w_cells)
        stride = max(1, _CHUNK // (w_cells * h_cells))
        for start in range(0, len(group), stride):
            part = group[start : start + stride]
            x, y = box[part, 0][:, None] + dx, box[part, 1][:, None] + dy
            inside = (x < box[part, 2][:, None]) & (y < box[part, 3][:, None])
            total = np.zeros(x.shape)
            for k in range(3):
                p = plane[part, k]
                w = p[:, :1] * x + p[:, 1:2] * y + p[:, 2:]
                inside &= w >= 0
                total += w
            inside &= total > 0
            rows, columns = np.nonzero(inside)
            at = y[rows, columns] * width + x[rows, columns]
            depth = 1.0 / total[rows, columns]
            # Far ones first, so that the nearest of several fragments of a pixel is written last.
            order = np.argsort(-depth, kind="stable")
            at, depth, rows = at[order], depth[order], rows[order]
            closer = depth < best[at]
            at, depth, rows = at[closer], depth[closer], rows[closer]
            best[at], tri[at] = depth, part[rows]


def _round_up(cells: np.ndarray) -> np.ndarray:
    """The next power of two."""
    return np.asarray(1 << np.ceil(np.log2(np.maximum(cells, 1))).astype(np.int64))
