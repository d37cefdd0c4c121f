"""Colour of surface samples: textures, lamps, indirect light, tone curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geometry import Soup
from .ground import Ground
from .scene import Placed, Room
from .textures import Atlas

_AO_CELL = 0.05
_SHEEN = 0.018
"""Share of light that any surface throws back uncoloured, so that black is never a hole."""

_CURVE_TOP = 6.0
_CURVE_SIZE = 6144


def _curve() -> np.ndarray:
    """Display value 0..255 of linear light 0.._CURVE_TOP: a straight start, a soft shoulder."""
    x = np.arange(_CURVE_SIZE) * (_CURVE_TOP / _CURVE_SIZE)
    knee = 0.55
    soft = knee + (1 - knee) * (1 - np.exp(-(x - knee) / (1 - knee)))
    toned = np.where(x < knee, x, soft)
    coded = np.where(toned <= 0.0031308, 12.92 * toned, 1.055 * toned ** (1 / 2.4) - 0.055)
    return (255 * coded).astype(np.float32)


_TONE = _curve()


@dataclass(frozen=True, eq=False)
class Surface:
    """Points where camera rays end; N samples, float32.

    Attributes:
        tri: int32 (N,): triangle of each sample.
        x: (N,), m.
        y: (N,), m.
        z: (N,), m.
        nx: (N,): unit shading normal, turned towards the camera.
        ny: (N,).
        nz: (N,).
        u: (N,): weight of the second corner.
        v: (N,): weight of the third corner.
        footprint: (N,): metres of surface that a sample covers.
    """

    tri: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    nx: np.ndarray
    ny: np.ndarray
    nz: np.ndarray
    u: np.ndarray
    v: np.ndarray
    footprint: np.ndarray


def surface(
    soup: Soup,
    origin: np.ndarray,
    rays: np.ndarray,
    tri: np.ndarray,
    depth: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    pixel: float,
) -> Surface:
    """Positions and normals of hits.

    Args:
        soup: The triangles.
        origin: float32 (3,): camera, m.
        rays: float32 (3, N): ray vectors of planar length 1.
        tri: int32 (N,), all >= 0.
        depth: float32 (N,), m.
        u: float32 (N,).
        v: float32 (N,).
        pixel: Width of a sample at depth 1 m, m.
    """
    dx, dy, dz = rays
    normals = np.take(soup.normals, tri, axis=0)
    nx, ny, nz = (np.ascontiguousarray(normals[:, k]) for k in range(3))
    bent = np.nonzero(~soup.flat[tri])[0]
    n = normals[bent]
    bu, bv = u[bent], v[bent]
    bw = np.float32(1) - bu - bv
    nx[bent] = bw * n[:, 0] + bu * n[:, 3] + bv * n[:, 6]
    ny[bent] = bw * n[:, 1] + bu * n[:, 4] + bv * n[:, 7]
    nz[bent] = bw * n[:, 2] + bu * n[:, 5] + bv * n[:, 8]
    facing = nx * dx + ny * dy + nz * dz
    length = np.sqrt(np.maximum(nx * nx + ny * ny + nz * nz, np.float32(1e-12)))
    turn = np.copysign(np.float32(1), -facing) / length
    ray = np.sqrt(dx * dx + dy * dy + dz * dz)
    cosine = np.maximum(np.abs(facing) / (length * ray), np.float32(0.06))
    # The geometric mean of the short and the long side of the footprint: a little sharp along,
    # a little soft across, no shimmer.
    footprint = np.float32(pixel) * depth * ray / np.sqrt(cosine)
    return Surface(
        tri,
        origin[0] + depth * dx,
        origin[1] + depth * dy,
        origin[2] + depth * dz,
        nx * turn,
        ny * turn,
        nz * turn,
        u,
        v,
        footprint,
    )


class Shader:
    """Shades samples of one room."""

    def __init__(self, soup: Soup, atlas: Atlas, room: Room, static: list[Placed]) -> None:
        """Prepare the floor's contact shadows from the boxes that never move."""
        self._soup, self._atlas, self._room = soup, atlas, room
        self._painted = soup.texture >= 0
        self._albedo = np.ascontiguousarray(soup.albedo.T)
        self._contact = _contact_map(room, static)

    def lamp(self, index: int, s: Surface) -> np.ndarray:
        """Unshadowed brightness (N,) of lamp `index` at each sample."""
        light = self._room.style.lights[index]
        x, y, z = (np.float32(c) for c in light.position)
        lx, ly, lz = x - s.x, y - s.y, z - s.z
        d2 = lx * lx + ly * ly + lz * lz
        facing = np.maximum(lx * s.nx + ly * s.ny + lz * s.nz, 0)
        # Lambertian lamp facing down, softened so that the ceiling beside it is not black.
        down = np.maximum(lz, 0) + np.float32(0.22) * np.sqrt(d2)
        power = np.float32(light.power * 5.2)
        return np.asarray(power * facing * down / (d2 * (d2 + np.float32(0.35))))

    def color(self, s: Surface, lit: list[np.ndarray], moved: list[Placed]) -> np.ndarray:
        """Display colours, float32 (3, N), 0..255.

        Args:
            s: The samples.
            lit: Shadowed brightness (N,) of each lamp.
            moved: Moving objects where they stand now, for their contact shadow.
        """
        soup, style = self._soup, self._room.style
        rows = np.nonzero(self._painted[s.tri])[0]
        tri = s.tri[rows]
        coords = soup.uv[tri]
        u, v = s.u[rows], s.v[rows]
        w = np.float32(1) - u - v
        picture = self._atlas.sample(
            soup.texture[tri],
            w * coords[:, 0] + u * coords[:, 2] + v * coords[:, 4],
            w * coords[:, 1] + u * coords[:, 3] + v * coords[:, 5],
            s.footprint[rows] * soup.scale[tri],
        )
        indirect = self._occlusion(s, moved) * (
            np.float32(0.9)
            + np.float32(0.1) * s.nz
            + np.float32(0.05) * s.nx
            + np.float32(0.03) * s.ny
        )
        glow = soup.glow[s.tri]
        out = np.empty((3, len(s.tri)), np.float32)
        gain = np.float32(style.exposure * _CURVE_SIZE / _CURVE_TOP)
        for channel in range(3):
            light = indirect * np.float32(style.ambient[channel])
            for lamp, brightness in zip(style.lights, lit, strict=True):
                light = light + brightness * np.float32(lamp.color[channel])
            value = self._albedo[channel][s.tri]
            value[rows] *= picture[:, channel]
            value += np.float32(_SHEEN)
            value *= light + glow
            value *= gain
            np.minimum(value, np.float32(_CURVE_SIZE - 1), out=value)
            out[channel] = np.take(_TONE, value.astype(np.int32))
        return out

    def _occlusion(self, s: Surface, moved: list[Placed]) -> np.ndarray:
        """Share of the indirect light that reaches each sample, (N,)."""
        room = self._room
        reach, depth = np.float32(-1 / 0.3), np.float32(0.3)
        one = np.float32(1)
        open_ = np.ones(len(s.x), np.float32)
        for gap, normal in (
            (np.minimum(s.x, np.float32(room.width) - s.x), s.nx),
            (np.minimum(s.y, np.float32(room.depth) - s.y), s.ny),
            (np.minimum(s.z, np.float32(room.height) - s.z), s.nz),
        ):
            across = one - np.abs(normal)
            open_ *= one - depth * across * np.exp(np.maximum(gap, 0) * reach)
        floor = np.nonzero(s.z < 0.02)[0]
        open_[floor] *= self._contact_at(s.x[floor], s.y[floor])
        for item in moved:
            c, t = np.float32(np.cos(item.yaw)), np.float32(np.sin(item.yaw))
            px = s.x[floor] - np.float32(item.center[0])
            py = s.y[floor] - np.float32(item.center[1])
            a = np.maximum(np.abs(px * c + py * t) - np.float32(item.size[0] / 2), 0)
            b = np.maximum(np.abs(py * c - px * t) - np.float32(item.size[1] / 2), 0)
            near = np.exp(np.sqrt(a * a + b * b) * np.float32(-1 / 0.12))
            open_[floor] *= one - np.float32(0.5) * near
        return open_

    def _contact_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Contact shadow at floor points, bilinear."""
        grid = self._contact
        gx = np.clip(x * np.float32(1 / _AO_CELL) - np.float32(0.5), 0, grid.shape[0] - 1.001)
        gy = np.clip(y * np.float32(1 / _AO_CELL) - np.float32(0.5), 0, grid.shape[1] - 1.001)
        i, j = gx.astype(np.int32), gy.astype(np.int32)
        fx, fy = gx - i, gy - j
        a = grid[i, j] * (1 - fy) + grid[i, j + 1] * fy
        b = grid[i + 1, j] * (1 - fy) + grid[i + 1, j + 1] * fy
        return np.asarray(a + fx * (b - a))


def _contact_map(room: Room, objects: list[Placed]) -> np.ndarray:
    """How open the floor is at each cell, float32 (nx, ny), 0.4..1."""
    low = [o for o in objects if o.mount == "floor"]
    ground = Ground(room.width, room.depth, low, cell=_AO_CELL, walls=False)
    return (1 - 0.55 * np.exp(-np.maximum(ground.clear, 0) / 0.16)).astype(np.float32)
