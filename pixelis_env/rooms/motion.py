"""Moving objects: straight slides at constant speed, and a camera that watches them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .camera import FPS, Shot, make_camera, shake, sight
from .ground import CELL, CLEARANCE, Ground
from .kinds import MOVERS
from .layout import Layout, clash, hull
from .scene import Camera, Motion, Placed


def add_movers(layout: Layout, count: int, n_frames: int, level: int) -> list[Motion]:
    """Add moving objects of different categories, each with a free straight path.

    Args:
        layout: The furnished room; the movers are appended to it at their starting places.
        count: How many.
        n_frames: Frames of the clip.
        level: 1..3; higher levels move smaller things, faster or slower.

    Returns:
        The motions found; fewer than `count` when the floor is too full.
    """
    rng = layout.rng
    taken = {o.category for o in layout.objects}
    names = [n for n in MOVERS if n not in taken] or list(MOVERS)
    order = rng.permutation(len(names))
    motions: list[Motion] = []
    lanes: list[np.ndarray] = []
    for name in (names[int(k)] for k in order):
        if len(motions) == count:
            break
        item = layout.look(name)
        found = _free_line(layout, item, lanes, n_frames)
        if found is None:
            continue
        start_xy, end_xy, first, last = found
        yaw = round(math.atan2(end_xy[1] - start_xy[1], end_xy[0] - start_xy[0]), 4)
        placed = layout.add(item, float(start_xy[0]), float(start_xy[1]), yaw, 0.002)
        share = np.clip((np.arange(n_frames) - first) / (last - first), 0, 1)[:, None]
        a = np.array(placed.center)
        b = np.array([round(float(end_xy[0]), 4), round(float(end_xy[1]), 4), a[2]])
        centers = np.round(a + share * (b - a), 6)
        centers[: first + 1], centers[last:] = a, b
        motions.append(Motion(placed.id, centers, np.full(n_frames, placed.yaw), first, last))
        lanes.append(np.concatenate([a[:2], b[:2], [math.hypot(*item.size[:2]) / 2]]))
    return motions


def _free_line(
    layout: Layout, item: Placed, lanes: list[np.ndarray], n_frames: int
) -> tuple[np.ndarray, np.ndarray, int, int] | None:
    """Ends of a straight path free for the item, with its first and last moving frame."""
    rng = layout.rng
    radius = math.hypot(*item.size[:2]) / 2
    ground = Ground(layout.width, layout.depth, layout.objects, below=item.size[2])
    free = np.argwhere(ground.clear >= radius + 0.06)
    if len(free) < 8:
        return None
    first = int(n_frames * rng.uniform(0.12, 0.25))
    last = int(n_frames * rng.uniform(0.72, 0.88))
    seconds = max(last - first, 1) / FPS
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for _ in range(60):
        pair = (free[rng.integers(len(free), size=2)] + 0.5) * CELL
        length = math.hypot(*(pair[1] - pair[0]))
        length = min(length, 1.0 * seconds)
        if length < 0.9:
            continue
        way = (pair[1] - pair[0]) / math.hypot(*(pair[1] - pair[0]))
        end = pair[0] + way * length
        along = pair[0] + np.linspace(0, length, int(length / 0.05) + 2)[:, None] * way
        if ground.at(along).min() < radius + 0.05:
            continue
        if any(_lanes_cross(pair[0], end, radius, lane) for lane in lanes):
            continue
        if best is None or length > best[0]:
            best = (length, pair[0], end)
    if best is None:
        return None
    length, start, end = best
    wish = rng.uniform(0.25, 0.8)
    last = min(last, first + max(8, math.ceil(length / wish * FPS)))
    return start, end, first, last


def _lanes_cross(a: np.ndarray, b: np.ndarray, radius: float, lane: np.ndarray) -> bool:
    """Whether two straight paths come closer than both radii at any time."""
    t = np.linspace(0, 1, 24)[:, None]
    p = a + t * (b - a)
    q = lane[:2] + t * (lane[2:4] - lane[:2])
    gap = np.sqrt(((p[:, None] - q[None]) ** 2).sum(-1)).min()
    return bool(gap < radius + lane[4] + 0.05)


def watch_camera(
    layout: Layout, motions: list[Motion], shot: Shot, wanted: frozenset[int]
) -> tuple[Camera, float]:
    """A standing camera, panning slowly, that keeps the moving objects in view.

    Args:
        layout: The room with its movers.
        motions: What moves.
        shot: How the camera is held.
        wanted: Other ids that should be seen.

    Returns:
        The camera, and the share (0..1) of the motion, summed over movers, that it sees.
    """
    rng, n = layout.rng, shot.n_frames
    ground = Ground(layout.width, layout.depth, layout.objects)
    swept = [
        hull(c[0], c[1], c[2], layout.objects[m.object_id - 1].size, 0.0)
        for m in motions
        for c in m.centers[::4]
    ]
    # Centres every few frames, as objects of their own, tell whether a place sees the whole path.
    probes: list[Placed] = []
    for motion in motions:
        item = layout.objects[motion.object_id - 1]
        for frame in np.linspace(motion.start, motion.end, 5).astype(int):
            x, y, z = (float(v) for v in motion.centers[frame])
            probes.append(replace(item, center=(x, y, z), size=(0.02, 0.07, 0.02)))
    moving = {m.object_id for m in motions}
    still = [o for o in layout.objects if o.id not in moving]
    middle = np.array([p.center[:2] for p in probes]).mean(0)
    cells = np.argwhere(ground.clear >= CLEARANCE)
    if not len(cells):
        cells = np.argwhere(ground.clear >= ground.clear.max() - 1e-9)
    best: tuple[float, float, np.ndarray, np.ndarray] | None = None
    for _ in range(60):
        spot = (cells[int(rng.integers(len(cells)))] + 0.5) * CELL
        box = (spot[0] - 0.35, spot[1] - 0.35, 0.0, spot[0] + 0.35, spot[1] + 0.35, 2.0)
        if any(clash(box, other) for other in swept):
            continue
        aim = math.atan2(middle[1] - spot[1], middle[0] - spot[0]) + rng.uniform(-0.15, 0.15)
        pan = math.radians(rng.uniform(-5, 5))
        yaw = aim + pan * np.linspace(-1, 1, n)
        position = np.tile(np.array([spot[0], spot[1], shot.eye]), (n, 1))
        ends = np.array([0, n // 2, n - 1])
        pitch = np.full(n, shot.pitch)
        seen = sight(position[ends], yaw[ends], pitch[ends], shot, [*probes, *still])
        share = float((seen[:, : len(probes)] > 0).mean())
        far = math.hypot(*(middle - spot))
        others = float((seen[:, len(probes) :] > 0).mean()) if still else 0.0
        asked = [k for k, o in enumerate(still) if o.id in wanted]
        got = float((seen[:, len(probes) :][:, asked] > 0).any(0).mean()) if asked else 0.0
        score = 3 * share + 0.5 * others + 0.6 * got - 0.08 * abs(far - 2.6)
        if best is None or score > best[0]:
            best = (score, share, position, yaw)
    if best is None:
        spot = (cells[0] + 0.5) * CELL
        aim = math.atan2(middle[1] - spot[1], middle[0] - spot[0])
        best = (0.0, 0.0, np.tile(np.array([*spot, shot.eye]), (n, 1)), np.full(n, aim))
    _, share, position, yaw = best
    yaw, pitch = shake(rng, yaw, np.full(n, shot.pitch - math.radians(4)), shot.shake)
    return make_camera(position, yaw, pitch, shot), share
