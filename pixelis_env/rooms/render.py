"""Frames from scenes: primary rays, soft shadows, shading, soft edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geometry import Soup, join, object_soup, shell_soup
from .scene import Placed, Scene
from .shading import Shader, Surface, surface
from .textures import Atlas

_EDGE = 20.0
"""Difference of neighbouring display values (0..255) from which a pixel is supersampled."""

_ORDER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
"""Which of 16 shadow samples each pixel of a 4x4 block takes."""


@dataclass(frozen=True, eq=False)
class View:
    """What the primary rays of one frame hit, all flat (H*W,).

    Attributes:
        width: Pixels.
        height: Pixels.
        rays: float32 (H*W, 3), planar length 1.
        tri: int32: triangle, never negative (a miss takes triangle 0 at the wall's distance).
        depth: float32, m.
        u: float32.
        v: float32.
    """

    width: int
    height: int
    rays: np.ndarray
    tri: np.ndarray
    depth: np.ndarray
    u: np.ndarray
    v: np.ndarray


class Renderer:
    """Renders one scene; geometry is built once, moving objects are set anew for each frame."""

    def __init__(self, scene: Scene, backend: str) -> None:
        """Build the geometry.

        Args:
            scene: What to render.
            backend: "embree" or "numpy".
        """
        self._scene, self._backend = scene, backend
        moving = {m.object_id for m in scene.motions}
        atlas = Atlas()
        still = [o for o in scene.room.objects if o.id not in moving]
        self._moving = [o for o in scene.room.objects if o.id in moving]
        static = join([shell_soup(scene.room, atlas), *(object_soup(o, atlas) for o in still)])
        movers = [object_soup(o, atlas) for o in self._moving]
        atlas.pack()
        self._n_static = len(static)
        self._static = static.triangles
        self._movers = movers
        # Looks never change with motion (movers only translate), so one table serves all frames.
        self._soup = join([static, *movers])
        self._shader = Shader(self._soup, atlas, scene.room, still)
        self._tracer = self._dynamic = None
        self._dynamic_frame = -1
        if backend == "embree":
            from .tracer import Tracer

            self._tracer = Tracer(static.triangles)

    # -- geometry --------------------------------------------------------------------------

    def moved(self, index: int) -> list[Placed]:
        """The moving objects as they stand in a frame."""
        return [self._scene.at(o.id, index) for o in self._moving]

    def _mover_triangles(self, index: int) -> np.ndarray:
        """float32 (M, 3, 3): triangles of the moving objects in a frame."""
        parts = []
        for soup, base, now in zip(self._movers, self._moving, self.moved(index), strict=True):
            step = np.array(now.center) - np.array(base.center)
            parts.append(soup.triangles + step.astype(np.float32))
        return np.concatenate(parts)

    def rays(self, index: int, x: np.ndarray, y: np.ndarray, width: int) -> np.ndarray:
        """Ray vectors float32 (N, 3) through image points given in pixels of a `width`-wide image."""
        camera = self._scene.camera
        height = width * camera.height / camera.width
        focal = camera.focal * width / camera.width
        right, down, forward = camera.axes(index)
        a, b = (x - width / 2) / focal, (y - round(height) / 2) / focal
        return np.stack(
            [forward[k] + a * right[k] + b * down[k] for k in range(3)], 1
        ).astype(np.float32)

    def origin(self, index: int) -> np.ndarray:
        """Camera position float32 (3,)."""
        return np.asarray(self._scene.camera.position[index], np.float32)

    def view(self, index: int, width: int) -> View:
        """Trace the pixel centres of a frame rendered `width` pixels wide."""
        camera = self._scene.camera
        height = max(1, round(width * camera.height / camera.width))
        y, x = np.mgrid[0:height, 0:width]
        rays = self.rays(index, x.ravel() + 0.5, y.ravel() + 0.5, width)
        if self._tracer is None:
            from .raster import rasterize

            triangles = self._static
            if self._movers:
                triangles = np.concatenate([triangles, self._mover_triangles(index)])
            hits = rasterize(
                triangles, self.origin(index), rays.reshape(height, width, 3),
                camera.axes(index), camera.focal * width / camera.width,
            )
        else:
            hits = self._trace(index, rays)
        return View(width, height, rays, *self._closed(index, rays, *hits))

    def _trace(
        self, index: int, rays: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        origins = np.broadcast_to(self.origin(index), rays.shape)
        origins = np.ascontiguousarray(origins)
        assert self._tracer is not None
        hit = self._tracer.intersect(origins, rays)
        tri, depth, u, v = hit.tri, hit.depth, hit.u, hit.v
        if self._movers:
            near = self._mover_tracer(index).intersect(origins, rays)
            closer = np.nonzero((near.tri >= 0) & ((near.depth < depth) | (tri < 0)))[0]
            tri[closer] = near.tri[closer] + self._n_static
            depth[closer], u[closer], v[closer] = near.depth[closer], near.u[closer], near.v[closer]
        return tri, depth, u, v

    def _mover_tracer(self, index: int):  # type: ignore[no-untyped-def]
        from .tracer import Tracer

        if self._dynamic_frame != index or self._dynamic is None:
            self._dynamic = Tracer(self._mover_triangles(index))
            self._dynamic_frame = index
        return self._dynamic

    def _closed(
        self, index: int, rays: np.ndarray, tri: np.ndarray, depth: np.ndarray, u: np.ndarray,
        v: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Fill rays that slipped through a seam between walls with the room's boundary."""
        lost = np.nonzero(tri < 0)[0]
        if len(lost):
            room = self._scene.room
            size = np.array([room.width, room.depth, room.height], np.float32)
            ray = np.where(np.abs(rays[lost]) < 1e-9, np.float32(1e-9), rays[lost])
            origin = self.origin(index)
            depth[lost] = np.where(ray > 0, (size - origin) / ray, -origin / ray).min(1)
            tri[lost], u[lost], v[lost] = 0, 0.3, 0.3
        return tri, depth, u, v

    def owners(self, view: View) -> np.ndarray:
        """int32 (H, W) instance ids of a view."""
        return self._soup.owner[view.tri].reshape(view.height, view.width)

    # -- colour ----------------------------------------------------------------------------

    def color(self, index: int, view: View) -> np.ndarray:
        """uint8 (H, W, 3) RGB of a traced view, shadows and soft edges included."""
        origin, moved = self.origin(index), self.moved(index)
        pixel = self._scene.camera.width / self._scene.camera.focal / view.width
        s = surface(self._soup, origin, view.rays, view.tri, view.depth, view.u, view.v, pixel)
        lamps = [self._shader.lamp(k, s)[0] for k in range(len(self._scene.room.style.lights))]
        shade = self._shadows(index, view, s)
        lit = [a * b for a, b in zip(lamps, shade, strict=True)]
        base = self._shader.color(s, lit, moved).reshape(view.height, view.width, 3)
        if self._tracer is None:
            return (base + np.float32(0.5)).astype(np.uint8)
        edge = _edges(base, self.owners(view))
        rows = np.nonzero(edge.ravel())[0]
        if len(rows):
            base.reshape(-1, 3)[rows] = self._resample(index, view, rows, shade, moved)
        return (base + np.float32(0.5)).astype(np.uint8)

    def _shadows(self, index: int, view: View, s: Surface) -> list[np.ndarray]:
        """Share of each lamp that each pixel sees, (H*W,) each.

        Each pixel asks one ray towards one point of one lamp; a 4x4 block covers sixteen points,
        and averaging over the block among pixels of the same surface makes the shadows soft.
        """
        lights = self._scene.room.style.lights
        count, n = len(lights), len(s.x)
        if self._tracer is None:
            return [np.ones(n, np.float32) for _ in range(count)]
        y, x = np.divmod(np.arange(n), view.width)
        order = _ORDER[y % 4, x % 4]
        which, sample = order % count, order // count
        spots = np.array([light.position for light in lights], np.float32)
        radius = np.array([light.radius for light in lights], np.float32)
        per = -(-16 // count)
        # A golden-ratio lattice spreads any number of samples evenly over the square lamp.
        ox = ((sample + 0.5) / per * 2 - 1).astype(np.float32)
        oy = (((sample * 0.618034 + 0.31) % 1.0) * 2 - 1).astype(np.float32)
        r = radius[which]
        # Leave the surface along the normal, or it would shadow itself.
        lift = np.float32(4e-3)
        px, py, pz = s.x + lift * s.nx, s.y + lift * s.ny, s.z + lift * s.nz
        tx = spots[which, 0] + r * ox - px
        ty = spots[which, 1] + r * oy - py
        tz = spots[which, 2] - np.float32(0.01) - pz
        rows = np.nonzero(tx * s.nx + ty * s.ny + tz * s.nz > 0)[0]
        starts = np.stack([px[rows], py[rows], pz[rows]], 1)
        ways = np.stack([tx[rows], ty[rows], tz[rows]], 1)
        blocked = self._tracer.blocked(starts, ways)
        if self._movers:
            blocked |= self._mover_tracer(index).blocked(starts, ways)
        seen = np.zeros(n, np.float32)
        seen[rows] = ~blocked
        asked = np.zeros(n, np.float32)
        asked[rows] = 1
        return _soften(view, self._surface_class(s), seen, asked, which, count)

    def _surface_class(self, s: Surface) -> np.ndarray:
        """Small number (N,) that differs between neighbouring surfaces."""
        ax, ay, az = np.abs(s.nx), np.abs(s.ny), np.abs(s.nz)
        axis = np.where(az >= np.maximum(ax, ay), 2, np.where(ax > ay, 0, 1))
        return (self._soup.owner[s.tri] * 3 + axis) % 7

    def _resample(
        self, index: int, view: View, rows: np.ndarray, shade: list[np.ndarray],
        moved: list[Placed],
    ) -> np.ndarray:
        """Colours (len(rows), 3) of pixels seen through four rays each.

        Shadows are not traced again: each ray takes the shade of the nearest pixel that shows the
        same object.
        """
        y, x = np.divmod(rows, view.width)
        dx = np.array([0.375, 0.875, 0.125, 0.625])
        dy = np.array([0.125, 0.375, 0.625, 0.875])
        xs, ys = (x[:, None] + dx).ravel(), (y[:, None] + dy).ravel()
        rays = self.rays(index, xs, ys, view.width)
        tri, depth, u, v = self._closed(index, rays, *self._trace(index, rays))
        pixel = self._scene.camera.width / self._scene.camera.focal / view.width / 2
        s = surface(self._soup, self.origin(index), rays, tri, depth, u, v, pixel)
        owner = self._soup.owner[tri] * 8 + self._surface_class(s)
        base = surface_key(self._soup, view)
        own = np.repeat(rows, 4)
        source = own.copy()
        open_ = base[own] != owner
        for step in (1, -1, view.width, -view.width):
            where = np.nonzero(open_)[0]
            other = np.clip(own[where] + step, 0, len(base) - 1)
            same = base[other] == owner[where]
            source[where[same]] = other[same]
            open_[where[same]] = False
        lit = [
            self._shader.lamp(k, s)[0] * shade[k][source] for k in range(len(shade))
        ]
        return self._shader.color(s, lit, moved).reshape(-1, 4, 3).mean(1)


def surface_key(soup: Soup, view: View) -> np.ndarray:
    """Number (H*W,) of object and facing of each pixel, as `_resample` compares them."""
    n = np.abs(soup.normals[view.tri, :3])
    axis = np.where(
        n[:, 2] >= np.maximum(n[:, 0], n[:, 1]), 2, np.where(n[:, 0] > n[:, 1], 0, 1)
    )
    owner = soup.owner[view.tri]
    return np.asarray(owner * 8 + (owner * 3 + axis) % 7)


def _soften(
    view: View, label: np.ndarray, seen: np.ndarray, asked: np.ndarray, which: np.ndarray,
    count: int,
) -> list[np.ndarray]:
    """Average shadow samples over 4x4 blocks of pixels with the same label."""
    import cv2

    shape = (view.height, view.width)
    out = [np.zeros(shape, np.float32) for _ in range(count)]
    for value in range(7):
        same = (label == value).reshape(shape)
        if not same.any():
            continue
        for k in range(count):
            mine = (same & (which == k).reshape(shape)) * asked.reshape(shape)
            total = cv2.blur(seen.reshape(shape) * mine, (4, 4))
            weight = cv2.blur(mine, (4, 4))
            out[k][same] = (total / np.maximum(weight, np.float32(1e-3)))[same]
    return [o.ravel() for o in out]


def _edges(color: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """bool (H, W): pixels at an edge of an object or of colour."""
    edge = np.zeros(owner.shape, bool)
    for a, b in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
    ):
        differs = owner[a] != owner[b]
        differs |= np.abs(color[a] - color[b]).max(-1) > _EDGE
        edge[a] |= differs
        edge[b] |= differs
    return edge
