"""Triangle meshes in a unit box, and the shapes they are built from in code."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Mesh:
    """A model scaled to the unit box [-0.5, 0.5]³, z up, front along -y.

    Attributes:
        points: float32 (V, 3).
        faces: int32 (F, 3).
        normals: float32 (F, 3, 3): unit normal at each corner.
        colors: uint8 (F, 3): sRGB colour of each face.
        tint: bool (F,): faces that take the object's own colour.
        uv: float32 (F, 3, 2): texture coordinates 0..1, v down; used where `painted`.
        painted: bool (F,): faces that carry the object's drawn texture.
        size: Usual length, width and height, m.
    """

    points: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    tint: np.ndarray
    uv: np.ndarray
    painted: np.ndarray
    size: tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """A piece of a mesh under construction, in metres, z = 0 at its foot.

    Attributes:
        points: float (V, 3).
        faces: int (F, 3).
        color: sRGB, or None where the object's own colour belongs.
        painted: Whether the faces carry the object's drawn texture; needs `uv`.
        uv: float (F, 3, 2) or None.
    """

    points: np.ndarray
    faces: np.ndarray
    color: tuple[int, int, int] | None = None
    painted: bool = False
    uv: np.ndarray | None = None


def corner_normals(points: np.ndarray, faces: np.ndarray, crease_deg: float = 42.0) -> np.ndarray:
    """Normals at each face corner, averaged over faces within the crease angle.

    Args:
        points: float (V, 3).
        faces: int (F, 3).
        crease_deg: Faces that differ by more keep a hard edge, degrees.

    Returns:
        float64 (F, 3, 3) unit vectors.
    """
    tri = points[faces].astype(float)
    area = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    unit = area / np.maximum(np.sqrt((area**2).sum(1, keepdims=True)), 1e-20)
    flat = faces.reshape(-1)
    order = np.argsort(flat, kind="stable")
    count = np.bincount(flat, minlength=len(points))
    first = np.cumsum(count) - count
    total = np.zeros((len(flat), 3))
    own = np.repeat(unit, 3, axis=0)
    limit = np.cos(np.radians(crease_deg))
    for step in range(int(count.max())):
        has = step < count[flat]
        face = order[np.where(has, first[flat] + step, 0)] // 3
        near = has & ((unit[face] * own).sum(1) > limit)
        total += np.where(near[:, None], area[face], 0.0)
    length = np.sqrt((total**2).sum(1, keepdims=True))
    smooth = np.where(length > 1e-20, total / np.maximum(length, 1e-20), own)
    return smooth.reshape(-1, 3, 3)


def assemble(parts: Sequence[Part]) -> Mesh:
    """Join parts into one mesh and scale it to the unit box; its size is the parts' extent."""
    points, faces, colors, tint, uv, painted = [], [], [], [], [], []
    base = 0
    for part in parts:
        n = len(part.faces)
        points.append(part.points)
        faces.append(part.faces + base)
        colors.append(np.tile(np.array(part.color or (200, 200, 200), np.uint8), (n, 1)))
        tint.append(np.full(n, part.color is None and not part.painted))
        uv.append(part.uv if part.uv is not None else np.zeros((n, 3, 2)))
        painted.append(np.full(n, part.painted))
        base += len(part.points)
    metric, index = np.concatenate(points), np.concatenate(faces)
    low, high = metric.min(0), metric.max(0)
    return Mesh(
        points=((metric - (low + high) / 2) / (high - low)).astype(np.float32),
        faces=index.astype(np.int32),
        normals=corner_normals(metric, index).astype(np.float32),
        colors=np.concatenate(colors),
        tint=np.concatenate(tint),
        uv=np.concatenate(uv).astype(np.float32),
        painted=np.concatenate(painted),
        size=tuple(float(v) for v in high - low),  # type: ignore[arg-type]
    )


_BOX_FACES = np.array(
    [
        [0, 2, 1],
        [0, 3, 2],
        [4, 5, 6],
        [4, 6, 7],
        [0, 1, 5],
        [0, 5, 4],
        [1, 2, 6],
        [1, 6, 5],
        [2, 3, 7],
        [2, 7, 6],
        [3, 0, 4],
        [3, 4, 7],
    ]
)


def cuboid(
    center: tuple[float, float, float],
    size: tuple[float, float, float],
    color: tuple[int, int, int] | None = None,
) -> Part:
    """An upright box; `center` is the centre of its foot."""
    x, y, z = center
    length, w, h = size
    flat = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array([length / 2, w / 2])
    flat = flat + np.array([x, y])
    points = np.concatenate(
        [np.column_stack([flat, np.full(4, z)]), np.column_stack([flat, np.full(4, z + h)])]
    )
    return Part(points, _BOX_FACES, color)


def shifted(points: np.ndarray, x: float, y: float, z: float) -> np.ndarray:
    """Points (N, 3) moved by a step."""
    return np.asarray(points + np.array([x, y, z]))


def panel(
    center: tuple[float, float, float], width: float, height: float, tilt: float = 0.0
) -> Part:
    """A painted upright rectangle that faces -y, its lower edge at `center`.

    Args:
        center: Middle of the lower edge, m.
        width: m.
        height: m.
        tilt: Leaning back, rad.
    """
    x, y, z = center
    up = np.array([0.0, np.sin(tilt), np.cos(tilt)]) * height
    left, right = np.array([x - width / 2, y, z]), np.array([x + width / 2, y, z])
    points = np.stack([left, right, right + up, left + up])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    uv = np.array([[[0, 1], [1, 1], [1, 0]], [[0, 1], [1, 0], [0, 0]]], float)
    return Part(points, faces, None, True, uv)


def lathe(
    profile: Sequence[tuple[float, float]],
    color: tuple[int, int, int] | None = None,
    segments: int = 20,
    center: tuple[float, float] = (0.0, 0.0),
) -> Part:
    """A solid of revolution about z.

    Args:
        profile: (radius, height) from the foot outwards and up, m; ends with radius 0 close it.
        color: sRGB, or None for the object's own colour.
        segments: Facets around.
        center: Axis position, m.
    """
    angle = np.arange(segments) * (2 * np.pi / segments)
    points: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    base = 0
    for radius, height in profile:
        if radius <= 1e-9:
            rows.append(np.full(segments, base))
            points.append(np.array([[center[0], center[1], height]]))
            base += 1
        else:
            rows.append(np.arange(segments) + base)
            points.append(
                np.column_stack(
                    [
                        center[0] + radius * np.cos(angle),
                        center[1] + radius * np.sin(angle),
                        np.full(segments, height),
                    ]
                )
            )
            base += segments
    faces = []
    for low, high in itertools.pairwise(rows):
        low_next, high_next = np.roll(low, -1), np.roll(high, -1)
        faces.append(np.column_stack([low, low_next, high_next]))
        faces.append(np.column_stack([low, high_next, high]))
    index = np.concatenate(faces)
    solid = (
        (index[:, 0] != index[:, 1]) & (index[:, 1] != index[:, 2]) & (index[:, 2] != index[:, 0])
    )
    return Part(np.concatenate(points), index[solid], color)


def tube(
    path: np.ndarray, radius: float, color: tuple[int, int, int] | None = None, sides: int = 6
) -> Part:
    """A round bar along a polyline, float (N, 3) m."""
    path = np.asarray(path, float)
    along = np.gradient(path, axis=0)
    along /= np.sqrt((along**2).sum(1, keepdims=True))
    helper = np.where(np.abs(along[:, 2:]) > 0.9, [[1.0, 0, 0]], [[0.0, 0, 1]])
    side = np.cross(along, helper)
    side /= np.sqrt((side**2).sum(1, keepdims=True))
    up = np.cross(side, along)
    angle = np.arange(sides) * (2 * np.pi / sides)
    ring = side[:, None] * np.cos(angle)[None, :, None] + up[:, None] * np.sin(angle)[None, :, None]
    points = (path[:, None] + radius * ring).reshape(-1, 3)
    faces = []
    for step in range(len(path) - 1):
        a = np.arange(sides) + step * sides
        b = a + sides
        a_next, b_next = np.roll(a, -1), np.roll(b, -1)
        faces += [np.column_stack([a, b_next, a_next]), np.column_stack([a, b, b_next])]
    return Part(points, np.concatenate(faces), color)


def ball(radius: float, color: tuple[int, int, int] | None = None, rings: int = 10) -> Part:
    """A sphere that stands on z = 0."""
    angle = np.linspace(0, np.pi, rings + 1)
    profile = [
        (float(radius * np.sin(a)) if 0 < k < rings else 0.0, float(radius - radius * np.cos(a)))
        for k, a in enumerate(angle)
    ]
    return lathe(profile, color, segments=2 * rings)
