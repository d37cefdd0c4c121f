"""Frames from scenes: primary rays, soft shadows, shading, soft edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geometry import STRUCTURE, join, object_soup, shell_soup
from .raster import rasterize
from .scene import Placed, Scene
from .shading import Shader, Surface, surface
from .textures import Atlas
from .tracer import Hits, Tracer

_EDGE = 24.0
"""Difference of neighbouring display values (0..255) within one object from which its pixels are
supersampled."""

_CORNERS = np.array([[0.375, 0.875, 0.125, 0.625], [0.125, 0.375, 0.625, 0.875]])
"""x and y of the four rays of a supersampled pixel, on a rotated grid."""

_ORDER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
"""Which of 16 shadow samples each pixel of a 4x4 block takes."""


@dataclass(frozen=True, eq=False)
class View:
    """What the primary rays of one frame hit, all flat (H*W,).

    Attributes:
        width: Pixels.
        height: Pixels.
        rays: float32 (3, H*W), planar length 1.
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


@dataclass(frozen=True, eq=False)
class Pattern:
    """Which lamp, and which point of it, each pixel of an image asks for its shadow.

    Attributes:
        which: int8 (H*W,): lamp.
        target: float32 (3, H*W): point of that lamp, m.
        mine: bool (L, H, W): pixels that ask lamp l.
    """

    which: np.ndarray
    target: np.ndarray
    mine: np.ndarray


class Renderer:
    """Renders one scene; geometry is built once, moving objects are set anew for each frame."""

    def __init__(self, scene: Scene, backend: str) -> None:
        """Build the geometry.

        Args:
            scene: What to render.
            backend: "embree" or "numpy".
        """
        self._scene = scene
        moving = {m.object_id for m in scene.motions}
        atlas = Atlas()
        still = [o for o in scene.room.objects if o.id not in moving]
        self._moving = [o for o in scene.room.objects if o.id in moving]
        static = join([shell_soup(scene.room, atlas), *(object_soup(o, atlas) for o in still)])
        self._movers = [object_soup(o, atlas) for o in self._moving]
        atlas.pack()
        self._static = static.triangles
        # Looks never change with motion (movers only slide), so one table serves all frames.
        self._soup = join([static, *self._movers])
        self._shader = Shader(self._soup, atlas, scene.room, still)
        self._patterns: dict[int, Pattern] = {}
        self._tracer: Tracer | None = None
        self._sliding: tuple[int, Tracer] | None = None
        if backend == "embree":
            self._tracer = Tracer(self._static)

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

    def _height(self, width: int) -> int:
        camera = self._scene.camera
        return max(1, round(width * camera.height / camera.width))

    def rays(self, index: int, x: np.ndarray, y: np.ndarray, width: int) -> np.ndarray:
        """Ray vectors through image points of a `width`-wide image.

        Args:
            index: Frame.
            x: float, broadcastable with `y`: pixels from the left edge.
            y: float: pixels from the upper edge.
            width: Pixels.

        Returns:
            float32 (3, N), planar length 1, `x` and `y` broadcast and flattened.
        """
        camera = self._scene.camera
        focal = camera.focal * width / camera.width
        a = ((x - width / 2) / focal).astype(np.float32)
        b = ((y - self._height(width) / 2) / focal).astype(np.float32)
        right, down, forward = (v.astype(np.float32) for v in camera.axes(index))
        out = [(forward[k] + a * right[k]) + b * down[k] for k in range(3)]
        return np.stack(out).reshape(3, -1)

    def origin(self, index: int) -> np.ndarray:
        """Camera position float32 (3,)."""
        return np.asarray(self._scene.camera.position[index], np.float32)

    def view(self, index: int, width: int) -> View:
        """Trace the pixel centres of a frame rendered `width` pixels wide."""
        height = self._height(width)
        x, y = np.arange(width)[None, :] + 0.5, np.arange(height)[:, None] + 0.5
        rays = self.rays(index, x, y, width)
        if self._tracer is None:
            triangles = self._static
            if self._movers:
                triangles = np.concatenate([triangles, self._mover_triangles(index)])
            camera = self._scene.camera
            hits = rasterize(
                triangles,
                self.origin(index),
                rays.reshape(3, height, width),
                camera.axes(index),
                camera.focal * width / camera.width,
            )
        else:
            hits = self._trace(index, rays)
        self._close(index, rays, hits)
        return View(width, height, rays, hits.tri, hits.depth, hits.u, hits.v)

    def _trace(self, index: int, rays: np.ndarray) -> Hits:
        ways = np.ascontiguousarray(rays.T)
        starts = np.empty_like(ways)
        starts[:] = self.origin(index)
        assert self._tracer is not None
        hits = self._tracer.intersect(starts, ways)
        if self._movers:
            near = self._mover_tracer(index).intersect(starts, ways)
            rows = np.nonzero((near.tri >= 0) & ((near.depth < hits.depth) | (hits.tri < 0)))[0]
            hits.tri[rows] = near.tri[rows] + len(self._static)
            for mine, theirs in ((hits.depth, near.depth), (hits.u, near.u), (hits.v, near.v)):
                mine[rows] = theirs[rows]
        return hits

    def _mover_tracer(self, index: int) -> Tracer:
        # One assignment of a pair: another thread sees the old frame's or the new one's, whole.
        kept = self._sliding
        if kept is None or kept[0] != index:
            kept = self._sliding = (index, Tracer(self._mover_triangles(index)))
        return kept[1]

    def _close(self, index: int, rays: np.ndarray, hits: Hits) -> None:
        """Give rays that slipped through a seam of the shell the room's boundary, in place."""
        lost = np.nonzero(hits.tri < 0)[0]
        if not len(lost):
            return
        room = self._scene.room
        size = np.array([[room.width], [room.depth], [room.height]], np.float32)
        ray = np.where(np.abs(rays[:, lost]) < 1e-9, np.float32(1e-9), rays[:, lost])
        origin = self.origin(index)[:, None]
        hits.depth[lost] = np.where(ray > 0, (size - origin) / ray, -origin / ray).min(0)
        hits.tri[lost], hits.u[lost], hits.v[lost] = 0, 0.3, 0.3

    def owners(self, view: View) -> np.ndarray:
        """int32 (H, W) instance ids of a view."""
        return np.take(self._soup.owner, view.tri).reshape(view.height, view.width)

    # -- colour ----------------------------------------------------------------------------

    def color(self, index: int, view: View) -> np.ndarray:
        """uint8 (H, W, 3) RGB of a traced view, shadows and soft edges included."""
        moved = self.moved(index)
        pixel = self._scene.camera.width / self._scene.camera.focal / view.width
        s = surface(
            self._soup, self.origin(index), view.rays, view.tri, view.depth, view.u, view.v, pixel
        )
        label = np.take(self._soup.label, view.tri)
        shade = self._shadows(index, view, s, label)
        lit = [self._shader.lamp(k, s) * part for k, part in enumerate(shade)]
        base = self._shader.color(s, lit, moved)
        if self._tracer is not None:
            rows = _edges(
                base.reshape(3, view.height, view.width), label.reshape(view.height, view.width)
            )
            if len(rows):
                base[:, rows] = self._resample(index, view, rows, label, shade, moved)
        base += np.float32(0.5)
        return np.ascontiguousarray(
            base.astype(np.uint8).reshape(3, view.height, view.width).transpose(1, 2, 0)
        )

    def _pattern(self, width: int, height: int) -> Pattern:
        """The shadow pattern of images of that width: sixteen points to each 4x4 block."""
        if width not in self._patterns:
            lights = self._scene.room.style.lights
            count = len(lights)
            y, x = np.divmod(np.arange(width * height), width)
            order = _ORDER[y % 4, x % 4]
            which, sample = order % count, order // count
            per = -(-16 // count)
            # A golden-ratio lattice spreads any number of points evenly over the square lamp.
            ox = (sample + 0.5) / per * 2 - 1
            oy = (sample * 0.618034 + 0.31) % 1.0 * 2 - 1
            radius = np.array([light.radius for light in lights])[which]
            spot = np.array([light.position for light in lights]).T[:, which]
            target = np.stack([spot[0] + radius * ox, spot[1] + radius * oy, spot[2] - 0.01])
            mine = np.stack([(which == k).reshape(height, width) for k in range(count)])
            self._patterns[width] = Pattern(
                which.astype(np.int8), target.astype(np.float32), mine.astype(np.float32)
            )
        return self._patterns[width]

    def _shadows(self, index: int, view: View, s: Surface, label: np.ndarray) -> list[np.ndarray]:
        """Share of each lamp that each pixel sees, (H*W,) each.

        Each pixel asks one ray towards one point of one lamp; averaging over 4x4 blocks among
        pixels of the same surface makes the shadows soft.
        """
        n = len(s.x)
        if self._tracer is None:
            return [np.ones(n, np.float32) for _ in self._scene.room.style.lights]
        pattern = self._pattern(view.width, view.height)
        # Leave the surface along the normal, or it would shadow itself.
        lift = np.float32(4e-3)
        start = [s.x + lift * s.nx, s.y + lift * s.ny, s.z + lift * s.nz]
        way = [pattern.target[k] - start[k] for k in range(3)]
        asked = way[0] * s.nx + way[1] * s.ny + way[2] * s.nz > 0
        rows = np.nonzero(asked)[0]
        starts = np.empty((len(rows), 3), np.float32)
        ways = np.empty((len(rows), 3), np.float32)
        for k in range(3):
            starts[:, k], ways[:, k] = start[k][rows], way[k][rows]
        free = self._tracer.free(starts, ways)
        if self._movers:
            free &= self._mover_tracer(index).free(starts, ways)
        seen = np.zeros(n, np.float32)
        seen[rows] = free
        return _soften(view, label % 7, seen, asked.astype(np.float32), pattern.mine)

    def _resample(
        self,
        index: int,
        view: View,
        rows: np.ndarray,
        label: np.ndarray,
        shade: list[np.ndarray],
        moved: list[Placed],
    ) -> np.ndarray:
        """Colours (3, len(rows)) of pixels seen through four rays each.

        Shadows are not traced again: each ray takes the shade of a pixel beside it that shows the
        same surface.
        """
        y, x = np.divmod(rows, view.width)
        rays = self.rays(index, x[:, None] + _CORNERS[0], y[:, None] + _CORNERS[1], view.width)
        hits = self._trace(index, rays)
        self._close(index, rays, hits)
        pixel = self._scene.camera.width / self._scene.camera.focal / view.width / 2
        s = surface(
            self._soup, self.origin(index), rays, hits.tri, hits.depth, hits.u, hits.v, pixel
        )
        mine = np.take(self._soup.label, hits.tri)
        own = np.repeat(rows.astype(np.int32), 4)
        source = own.copy()
        where = np.nonzero(label[own] != mine)[0]
        for step in (1, -1, view.width, -view.width):
            other = np.clip(own[where] + step, 0, len(label) - 1)
            same = label[other] == mine[where]
            source[where[same]] = other[same]
            where = where[~same]
        lit = [self._shader.lamp(k, s) * part[source] for k, part in enumerate(shade)]
        colors = self._shader.color(s, lit, moved)
        return (colors[:, 0::4] + colors[:, 1::4] + colors[:, 2::4] + colors[:, 3::4]) / 4


def _soften(
    view: View, label: np.ndarray, seen: np.ndarray, asked: np.ndarray, mine: np.ndarray
) -> list[np.ndarray]:
    """Average shadow samples over 4x4 blocks of pixels with the same label (0..6)."""
    import cv2

    shape = (view.height, view.width)
    out = [np.zeros(shape, np.float32) for _ in mine]
    table, seen, asked = label.reshape(shape), seen.reshape(shape), asked.reshape(shape)
    for value in range(7):
        same = table == value
        weight = asked * same
        for k, pixels in enumerate(mine):
            part = weight * pixels if len(mine) > 1 else weight
            # Once over the 4x4 pattern evens it out; the second time hides its grain.
            total = cv2.blur(cv2.blur(seen * part, (4, 4)), (4, 4))
            total /= cv2.blur(cv2.blur(part, (4, 4)), (4, 4)) + np.float32(1e-4)
            np.copyto(out[k], total, where=same)
    return [o.ravel() for o in out]


def _edges(color: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Flat numbers of the pixels at an edge.

    Args:
        color: float32 (3, H, W), 0..255.
        label: int32 (H, W): surface labels. The room's own textures are filtered already, so
            within its surfaces colour makes no edge.
    """
    edge = np.zeros(label.shape, bool)
    tone = color[0] + color[1] + color[2]
    for a, b in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
    ):
        differs = np.abs(tone[a] - tone[b]) > 3 * _EDGE
        differs &= label[a] < STRUCTURE
        differs |= label[a] != label[b]
        edge[a] |= differs
        edge[b] |= differs
    return np.nonzero(edge.ravel())[0]
