"""Seeded layouts: a room's openings, and where things can stand in it.

Boxes never overlap: every candidate is tested by the axis-aligned hull of its oriented box, which
errs on the safe side. Sizes are drawn around the meshes' real ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from .furniture import COLORS, mesh, own_color, usual_size
from .kinds import KINDS, Kind
from .scene import RGB, Opening, Placed, Vec3

Hull = tuple[float, float, float, float, float, float]
WALL_YAW = (math.pi, -math.pi / 2, 0.0, math.pi / 2)
"""Yaw of a thing that stands with its back to wall 0..3."""
WALL_GAP = 0.035
"""Metres between a wall and what stands at it: room for the skirting board."""


def hull(x: float, y: float, z: float, size: Vec3, yaw: float) -> Hull:
    """Axis-aligned hull (x0, y0, z0, x1, y1, z1) of an upright box."""
    c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
    hx, hy = (size[0] * c + size[1] * s) / 2, (size[0] * s + size[1] * c) / 2
    return x - hx, y - hy, z - size[2] / 2, x + hx, y + hy, z + size[2] / 2


def clash(a: Hull, b: Hull, gap: float = 0.0) -> bool:
    """Whether two hulls come closer than `gap` m on the floor plane while sharing a height."""
    return (
        a[0] < b[3] + gap
        and b[0] < a[3] + gap
        and a[1] < b[4] + gap
        and b[1] < a[4] + gap
        and a[2] < b[5]
        and b[2] < a[5]
    )


def _times(size: Vec3, x: float, y: float, z: float) -> Vec3:
    """A size scaled per axis, rounded to 0.1 mm."""
    return round(size[0] * x, 4), round(size[1] * y, 4), round(size[2] * z, 4)


@dataclass
class Layout:
    """A room being furnished.

    Attributes:
        rng: Source of every choice.
        width: m, along x.
        depth: m, along y.
        height: m.
        objects: Placed so far, in id order.
        openings: Door and windows.
        kept: Hulls that must stay free (before the door, before cupboards).
    """

    rng: np.random.Generator
    width: float
    depth: float
    height: float
    objects: list[Placed] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    kept: list[Hull] = field(default_factory=list)
    hulls: list[Hull] = field(default_factory=list)

    # -- drawing ---------------------------------------------------------------------------

    def uniform(self, low: float, high: float) -> float:
        """A float in [low, high)."""
        return float(self.rng.uniform(low, high))

    def pick(self, options: tuple[str, ...]) -> str:
        """One of the options, evenly."""
        return options[int(self.rng.integers(len(options)))]

    def look(self, category: str, like: Placed | None = None) -> Placed:
        """An object of a category with model, size and colour, not yet placed."""
        kind = KINDS[category]
        if like is not None:
            return replace(like, id=len(self.objects) + 1, pattern=like.pattern)
        model = self.pick(kind.models)
        base = usual_size(model)
        scale = self.uniform(0.93, 1.07)
        size = _times(base, *(scale * self.uniform(0.98, 1.02) for _ in range(3)))
        if size[2] > self.height - 0.15:
            size = (size[0], size[1], round(self.height - 0.15, 4))
        if kind.colors and mesh(model).tint.any():
            color = self.pick(kind.colors)
            shade = self.uniform(0.86, 1.1)
            rgb: RGB = tuple(min(255, int(v * shade)) for v in COLORS[color])  # type: ignore[assignment]
        else:
            color, rgb = own_color(model)
        return Placed(
            id=len(self.objects) + 1,
            category=category,
            model=model,
            center=(0.0, 0.0, 0.0),
            size=size,
            yaw=0.0,
            color=color,
            rgb=rgb,
            pattern=int(self.rng.integers(1, 2**31)),
        )

    # -- testing ---------------------------------------------------------------------------

    def fits(self, candidate: Hull, gap: float = 0.04, keep: bool = True) -> bool:
        """Whether a hull lies in the room and clear of everything."""
        x0, y0, z0, x1, y1, z1 = candidate
        edge = WALL_GAP - 1e-6
        if x0 < edge or y0 < edge or x1 > self.width - edge or y1 > self.depth - edge:
            return False
        if z0 < -1e-6 or z1 > self.height - 0.02:
            return False
        if any(clash(candidate, other, gap) for other in self.hulls):
            return False
        return not (keep and any(clash(candidate, other) for other in self.kept))

    def add(self, item: Placed, x: float, y: float, yaw: float, base: float = 0.0) -> Placed:
        """Place an item with its foot at height `base`."""
        placed = replace(
            item,
            id=len(self.objects) + 1,
            yaw=round(yaw, 4),
            center=(round(x, 4), round(y, 4), round(base + item.size[2] / 2, 4)),
        )
        self.objects.append(placed)
        self.hulls.append(hull(*placed.center, placed.size, placed.yaw))
        return placed

    def front(self, item: Placed, x: float, y: float, yaw: float, reach: float) -> Hull:
        """The floor before an item, up to head height."""
        nx, ny = math.sin(yaw), -math.cos(yaw)
        away = item.size[1] / 2 + reach / 2
        return hull(x + nx * away, y + ny * away, 1.0, (item.size[0] * 0.8, reach, 1.9), yaw)

    # -- placing ---------------------------------------------------------------------------

    def wall_spot(self, item: Placed, wall: int, at: float) -> tuple[float, float, float]:
        """x, y, yaw of an item with its back to a wall, centred at `at` along it."""
        off = item.size[1] / 2 + WALL_GAP
        x, y = ((at, off), (self.width - off, at), (at, self.depth - off), (off, at))[wall]
        return x, y, WALL_YAW[wall]

    def wall_length(self, wall: int) -> float:
        """Length of a wall, m."""
        return self.width if wall % 2 == 0 else self.depth

    def try_at(self, item: Placed, x: float, y: float, yaw: float, kind: Kind) -> Placed | None:
        """Place the item there if it and the floor before it are free."""
        candidate = hull(x, y, item.size[2] / 2, item.size, yaw)
        if not self.fits(candidate):
            return None
        if item.size[2] > 0.95 and any(clash(candidate, w) for w in self._window_zones()):
            return None
        reach = self.front(item, x, y, yaw, kind.front)
        if kind.place == "wall" and any(clash(reach, other) for other in self.hulls):
            return None
        placed = self.add(item, x, y, yaw)
        if kind.place == "wall":
            self.kept.append(reach)
        return placed

    def place(self, category: str, like: Placed | None = None, tries: int = 40) -> Placed | None:
        """Place a floor-standing object of a category where such things belong, or give up."""
        kind, item = KINDS[category], self.look(category, like)
        for x, y, yaw in self._slots(category, item):
            placed = self.try_at(item, x, y, yaw, kind)
            if placed is not None:
                return placed
        for _ in range(tries):
            if kind.place == "wall":
                wall = int(self.rng.integers(4))
                half = item.size[0] / 2 + WALL_GAP
                length = self.wall_length(wall)
                if length < 2 * half:
                    continue
                x, y, yaw = self.wall_spot(item, wall, self.uniform(half, length - half))
            elif kind.place == "open":
                margin = 0.5 + max(item.size[:2]) / 2
                if min(self.width, self.depth) < 2 * margin:
                    margin = WALL_GAP + max(item.size[:2]) / 2
                if min(self.width, self.depth) < 2 * margin:
                    return None
                x = self.uniform(margin, self.width - margin)
                y = self.uniform(margin, self.depth - margin)
                yaw = float(self.rng.integers(4)) * math.pi / 2
                yaw += self.uniform(-kind.turns, kind.turns)
            else:
                wall = int(self.rng.integers(4))
                half = item.size[0] / 2 + WALL_GAP + 0.04
                x, y, yaw = self.wall_spot(
                    item, wall, self.uniform(half, max(half, self.wall_length(wall) - half))
                )
                away = self.uniform(0.03, 0.25) + (item.size[0] / 2 if kind.turns else 0.0)
                x, y = x + math.sin(yaw) * away, y - math.cos(yaw) * away
                yaw += self.uniform(-kind.turns, kind.turns)
            placed = self.try_at(item, x, y, yaw, kind)
            if placed is not None:
                return placed
        return None

    def _slots(self, category: str, item: Placed) -> list[tuple[float, float, float]]:
        """Natural places by what already stands there: chairs at tables, bedside tables, ..."""
        anchors = {
            "chair": ("table", "desk"),
            "office chair": ("desk",),
            "bedside table": ("bed",),
            "coffee table": ("sofa", "corner sofa"),
            "stool": ("table",),
        }.get(category, ())
        turns = KINDS[category].turns
        slots = []
        for anchor in self.objects:
            if anchor.category not in anchors:
                continue
            ax, ay, _ = anchor.center
            length, width = anchor.size[0], anchor.size[1]
            c, s = math.cos(anchor.yaw), math.sin(anchor.yaw)
            local: list[tuple[float, float, float]]
            if category == "bedside table":
                side = length / 2 + item.size[0] / 2 + 0.06
                back = width / 2 - item.size[1] / 2
                local = [(side, back, 0.0), (-side, back, 0.0)]
            elif category == "coffee table":
                away = width / 2 + item.size[1] / 2 + self.uniform(0.35, 0.5)
                local = [(0.0, -away, 0.0)]
            elif anchor.category == "desk":
                away = width / 2 + item.size[1] / 2 + self.uniform(0.06, 0.2)
                local = [(self.uniform(-0.2, 0.2), -away, math.pi)]
            else:
                gap = self.uniform(0.05, 0.14)
                across = width / 2 + item.size[1] / 2 + gap
                along = length / 2 + item.size[1] / 2 + gap
                spread = length / 4 if length > 1.5 else 0.0
                rows = (-spread, spread) if spread else (0.0,)
                local = [(u, -across, math.pi) for u in rows]
                local += [(u, across, 0.0) for u in rows]
                local += [(along, 0.0, -math.pi / 2), (-along, 0.0, math.pi / 2)]
            order = self.rng.permutation(len(local))
            for k in order:
                u, v, turn = local[int(k)]
                wobble = self.uniform(-turns, turns) * 0.5 if turns else 0.0
                slots.append((ax + u * c - v * s, ay + u * s + v * c, anchor.yaw + turn + wobble))
        return slots

    def place_on_top(
        self, category: str, scale: float = 1.0, on: Placed | None = None
    ) -> Placed | None:
        """Put a small thing on some furniture's upper face, or give up."""
        item = self.look(category)
        if scale != 1.0:
            item = replace(item, size=_times(item.size, scale, scale, scale))
        supports = (
            [on]
            if on is not None
            else [o for o in self.objects if KINDS[o.category].top > 0 and o.size[2] < 1.3]
        )
        for _ in range(24):
            if not supports:
                return None
            support = supports[int(self.rng.integers(len(supports)))]
            kind = KINDS[item.category]
            turn = self.uniform(-kind.turns, kind.turns)
            if on is None and category == "tv" and support.category != "tv stand":
                continue
            c, s = abs(math.cos(turn)), abs(math.sin(turn))
            share = KINDS[support.category].top
            room_u = support.size[0] * share / 2 - (item.size[0] * c + item.size[1] * s) / 2
            room_v = support.size[1] * share / 2 - (item.size[0] * s + item.size[1] * c) / 2
            if room_u < 0 or room_v < 0:
                continue
            u = self.uniform(-room_u, room_u)
            v = self.uniform(-room_v, room_v)
            if category in ("tv", "monitor"):
                u, v = u * 0.3, room_v * 0.8
            c, s = math.cos(support.yaw), math.sin(support.yaw)
            x, y = support.center[0] + u * c - v * s, support.center[1] + u * s + v * c
            base = support.center[2] + support.size[2] / 2
            yaw = support.yaw + turn
            candidate = hull(x, y, base + item.size[2] / 2 + 1e-3, item.size, yaw)
            if self.fits(candidate, gap=0.02, keep=False):
                placed = self.add(item, x, y, yaw, base + 5e-4)
                self.objects[-1] = replace(placed, mount="top", support=support.id)
                return self.objects[-1]
        return None

    def place_panel(
        self, item: Placed, low: float, high: float, tries: int = 60, gap: float = 0.06
    ) -> Placed | None:
        """Hang a flat thing on a wall, its centre between two heights, facing inwards.

        `gap` is how far it stays from all else at its height, m.
        """
        for _ in range(tries):
            wall = int(self.rng.integers(4))
            length = self.wall_length(wall)
            half = item.size[0] / 2
            if length < 2 * half + 0.3:
                continue
            at = self.uniform(half + 0.12, length - half - 0.12)
            z = self.uniform(low, high)
            off = item.size[1] / 2 + 0.004
            x, y = ((at, off), (self.width - off, at), (at, self.depth - off), (off, at))[wall]
            yaw = WALL_YAW[wall]
            box = hull(x, y, z, item.size, yaw)
            near = self.front(item, x, y, yaw, 0.7)
            near = (near[0], near[1], z - item.size[2] / 2, near[3], near[4], z + item.size[2] / 2)
            if any(clash(near, other) or clash(box, other, gap) for other in self.hulls):
                continue
            if any(self._on_opening(o, wall, at, half, z, item.size[2] / 2) for o in self.openings):
                continue
            placed = self.add(item, x, y, yaw, z - item.size[2] / 2)
            self.objects[-1] = replace(placed, mount="wall")
            return self.objects[-1]
        return None

    @staticmethod
    def _on_opening(
        opening: Opening, wall: int, at: float, half: float, z: float, half_z: float
    ) -> bool:
        return (
            opening.wall == wall
            and abs(at - opening.at) < half + opening.width / 2 + 0.12
            and z + half_z > opening.bottom - 0.1
            and z - half_z < opening.top + 0.1
        )

    def _window_zones(self) -> list[Hull]:
        return [self._before(o, 0.35) for o in self.openings if o.kind == "window"]

    def _before(self, opening: Opening, reach: float) -> Hull:
        a, b = opening.at - opening.width / 2, opening.at + opening.width / 2
        w, d = self.width, self.depth
        x0, y0, x1, y1 = (
            (a, 0.0, b, reach),
            (w - reach, a, w, b),
            (a, d - reach, b, d),
            (0.0, a, reach, b),
        )[opening.wall]
        return x0, y0, opening.bottom, x1, y1, opening.top

    def cut_openings(self, windows: int) -> None:
        """Cut one door and some windows; the floor before the door stays free."""
        walls = self.rng.permutation(4)
        for k, wall in enumerate(int(v) for v in walls[: 1 + windows]):
            length = self.wall_length(wall)
            if k == 0:
                wide = 0.88
                at = self.uniform(0.15 + wide / 2, length - wide / 2 - 0.15)
                door = Opening("door", wall, round(at, 3), wide, 0.0, 2.05)
                self.openings.append(door)
                self.kept.append(self._before(door, 0.85))
            else:
                wide = round(min(self.uniform(0.9, 1.7), length - 0.8), 2)
                at = self.uniform(0.4 + wide / 2, max(0.4 + wide / 2, length - wide / 2 - 0.4))
                self.openings.append(Opening("window", wall, round(at, 3), wide, 0.95, 2.1))
