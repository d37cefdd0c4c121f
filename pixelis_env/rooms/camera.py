"""Camera paths: collision-free walks at eye height that look at most of what stands in the room.

Several candidate walks are drawn and the one that sees most is kept. "Sees" is judged on boxes
alone (angle, distance, and no other box between), so a path depends on no renderer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .ground import CELL, CLEARANCE, Ground
from .scene import Camera, Placed

FPS = 10.0


@dataclass(frozen=True)
class Shot:
    """How the camera is held.

    Attributes:
        n_frames: Frames.
        width: Pixels.
        height: Pixels.
        fov_deg: Horizontal field of view, degrees.
        eye: Height of the camera, m.
        pitch: Mean pitch, rad.
        speed: Walking speed, m/s.
        shake: Hand shake: standard deviation of yaw and pitch, rad.
    """

    n_frames: int
    width: int
    height: int
    fov_deg: float
    eye: float
    pitch: float
    speed: float
    shake: float = 0.0


def smooth(values: np.ndarray, radius: int) -> np.ndarray:
    """Moving average (twice, so nearly Gaussian) along axis 0 with the ends repeated."""
    if radius < 1:
        return values
    out = np.asarray(values, float)
    for _ in range(2):
        ends = ((radius, radius),) + ((0, 0),) * (out.ndim - 1)
        padded = np.pad(out, ends, "edge")
        total = np.cumsum(np.concatenate([np.zeros((1, *padded.shape[1:])), padded]), 0)
        out = (total[2 * radius + 1 :] - total[: -2 * radius - 1]) / (2 * radius + 1)
    return out


def walk(
    rng: np.random.Generator, ground: Ground, region: np.ndarray, length: float, n: int
) -> np.ndarray | None:
    """Positions (n, 2) of a walk of about `length` m through `region`, or None."""
    cells = np.argwhere(region)
    if len(cells) < 4:
        return None
    here = tuple(int(v) for v in cells[int(rng.integers(len(cells)))])
    track = [here]
    travelled = 0.0
    for _ in range(12):
        options = cells[rng.integers(len(cells), size=6)]
        goal = tuple(
            int(v) for v in options[((options - np.array(track[-1])) ** 2).sum(1).argmax()]
        )
        path = ground.route(region, track[-1], goal)  # type: ignore[arg-type]
        for a, b in itertools.pairwise(path):
            travelled += CELL * math.hypot(b[0] - a[0], b[1] - a[1])
            track.append(b)
        if travelled >= length:
            break
    if len(track) < 2:
        return None
    line = (np.array(track) + 0.5) * CELL
    along = np.concatenate([[0], np.cumsum(np.sqrt((np.diff(line, axis=0) ** 2).sum(1)))])
    reach = min(length, along[-1])
    at = np.linspace(0, reach, n)
    raw = np.stack([np.interp(at, along, line[:, 0]), np.interp(at, along, line[:, 1])], 1)
    best = raw
    for radius in (2, 4, 7):
        softer = smooth(raw, radius)
        if ground.at(softer).min() >= CLEARANCE - 0.08:
            best = softer
    return best


def gaze(
    rng: np.random.Generator, path: np.ndarray, targets: np.ndarray, style: int, n: int
) -> np.ndarray:
    """Yaw (n,), rad, continuous: where to look along a walk.

    Args:
        rng: Source of choices.
        path: float (n, 2) positions.
        targets: float (k, 2): what is worth seeing.
        style: 0 = from target to target, 1 = at the room's middle and around, 2 = full turns.
        n: Frames.
    """
    if style == 2 or len(targets) == 0:
        turn = float(rng.choice([-1.0, 1.0])) * min(2 * math.pi * 1.1, math.radians(48) * n / FPS)
        start = float(rng.uniform(-math.pi, math.pi))
        return start + turn * np.linspace(0, 1, n)
    if style == 1:
        middle = targets.mean(0)
        to = np.unwrap(np.arctan2(middle[1] - path[:, 1], middle[0] - path[:, 0]))
        sweep = math.radians(float(rng.uniform(25, 60)))
        waves = float(rng.uniform(0.7, 1.6)) * n / 70
        phase = float(rng.uniform(0, 2 * math.pi))
        return smooth(to + sweep * np.sin(phase + 2 * math.pi * waves * np.linspace(0, 1, n)), 6)
    stops = max(2, min(len(targets), int(n / FPS / 1.1)))
    chosen = targets[rng.permutation(len(targets))[:stops]]
    frames = np.linspace(0, n - 1, stops)
    # Visit the targets in the order of their bearing, so that the head turns one way.
    bearing = np.arctan2(chosen[:, 1] - path[0, 1], chosen[:, 0] - path[0, 0])
    first = float(rng.uniform(-math.pi, math.pi))
    chosen = chosen[np.argsort((bearing - first) % (2 * math.pi), kind="stable")]
    if rng.random() < 0.5:
        chosen = chosen[::-1]
    at = path[np.round(frames).astype(int)]
    angles = np.unwrap(np.arctan2(chosen[:, 1] - at[:, 1], chosen[:, 0] - at[:, 0]))
    return smooth(np.interp(np.arange(n), frames, angles), 5)


def sight(
    position: np.ndarray, yaw: np.ndarray, pitch: np.ndarray, shot: Shot, objects: Sequence[Placed]
) -> np.ndarray:
    """How well each frame sees each object, judged on boxes.

    Args:
        position: float (T, 3).
        yaw: float (T,).
        pitch: float (T,).
        shot: Image size and field of view.
        objects: What to look for; all of them may block the view.

    Returns:
        float (T, N): apparent size in pixels (of the mean edge) where the centre is in view and
        no box lies between; else 0. Panels count by how squarely they face the camera.
    """
    centers = np.array([o.center for o in objects], float)
    sizes = np.array([o.size for o in objects], float)
    yaws = np.array([o.yaw for o in objects], float)
    offset = centers[None] - position[:, None]
    cy, sy = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    cp, sp = np.cos(pitch)[:, None], np.sin(pitch)[:, None]
    ahead = offset[..., 0] * cy + offset[..., 1] * sy
    forward = ahead * cp + offset[..., 2] * sp
    right = offset[..., 0] * sy - offset[..., 1] * cy
    down = ahead * sp - offset[..., 2] * cp
    focal = shot.width / 2 / math.tan(math.radians(shot.fov_deg) / 2)
    depth = np.maximum(forward, 1e-6)
    flat = sizes[:, 1] < 0.06
    # A sign must lie in the frame whole to be read; of furniture the middle will do.
    half = np.where(flat, [sizes[:, 0] / 2, sizes[:, 2] / 2], 0.0)
    seen = (
        (forward > 0.3)
        & ((np.abs(right) + half[0]) / depth * focal < 0.48 * shot.width)
        & ((np.abs(down) + half[1]) / depth * focal < 0.48 * shot.height)
    )
    edge = np.cbrt(sizes.prod(1))
    edge[flat] = np.sqrt(sizes[flat, 0] * sizes[flat, 2])
    apparent = edge[None] * focal / depth
    front = np.stack([np.sin(yaws), -np.cos(yaws)], 1)
    reach = np.sqrt((offset**2).sum(-1))
    squarely = -(offset[..., 0] * front[:, 0] + offset[..., 1] * front[:, 1]) / reach
    apparent = np.where(flat[None], apparent * np.clip(squarely, 0, 1), apparent)
    # Slab test of every line of sight against every other box, in the box's own axes.
    c, s = np.cos(yaws), np.sin(yaws)
    for blocker in range(len(objects)):
        reach_b = sizes[blocker] / 2
        start = position - centers[blocker]
        u0 = start[:, 0] * c[blocker] + start[:, 1] * s[blocker]
        v0 = -start[:, 0] * s[blocker] + start[:, 1] * c[blocker]
        du = offset[..., 0] * c[blocker] + offset[..., 1] * s[blocker]
        dv = -offset[..., 0] * s[blocker] + offset[..., 1] * c[blocker]
        near = np.zeros(seen.shape)
        far = np.full(seen.shape, 0.97)
        for origin, step, h in (
            (u0, du, reach_b[0]),
            (v0, dv, reach_b[1]),
            (start[:, 2], offset[..., 2], reach_b[2]),
        ):
            step = np.where(np.abs(step) < 1e-9, 1e-9, step)
            a, b = (-h - origin[:, None]) / step, (h - origin[:, None]) / step
            near, far = np.maximum(near, np.minimum(a, b)), np.minimum(far, np.maximum(a, b))
        hit = near < far
        hit[:, blocker] = False
        seen &= ~hit
    return np.where(seen, apparent, 0.0)


def weights(objects: Sequence[Placed], wanted: frozenset[int]) -> np.ndarray:
    """How much it matters that each object is seen, (N,); ids in `wanted` matter most."""
    return np.array(
        [4.0 if o.id in wanted else 0.25 if o.mount in ("top", "wall") else 1.0 for o in objects]
    )


def enough(objects: Sequence[Placed]) -> np.ndarray:
    """Apparent size (px) at which each object counts as well seen, (N,)."""
    least = {"sign": 58.0, "tag": 24.0}
    return np.array(
        [least.get(o.category, 12.0 if o.mount == "top" else 40.0) for o in objects], float
    )


def walk_camera(
    rng: np.random.Generator,
    width: float,
    depth: float,
    objects: Sequence[Placed],
    shot: Shot,
    wanted: frozenset[int],
    candidates: int = 12,
) -> tuple[Camera, float]:
    """The best of several walks.

    Args:
        rng: Source of choices.
        width: Room size along x, m.
        depth: Room size along y, m.
        objects: Everything in the room.
        shot: How the camera is held.
        wanted: Ids that must be seen well if at all possible.
        candidates: Walks to draw.

    Returns:
        The camera, and the share (0..1, weighted) of the objects it sees well; low when one of the
        wanted ones is missed.
    """
    ground = Ground(width, depth, objects)
    region = ground.region(CLEARANCE)
    if region.sum() < 6:
        region = ground.region(CLEARANCE / 2)
    n = shot.n_frames
    length = shot.speed * (n - 1) / FPS
    weight, ask = weights(objects, wanted), enough(objects)
    asked = np.array([o.id in wanted for o in objects], bool)
    big = np.array([o.center[:2] for o in objects if o.mount != "top"], float).reshape(-1, 2)
    must = np.array([o.center[:2] for o in objects if o.id in wanted], float).reshape(-1, 2)
    targets = np.concatenate([big, must])
    best: tuple[float, float, np.ndarray, np.ndarray, np.ndarray] | None = None
    for attempt in range(candidates):
        path = walk(rng, ground, region, length, n)
        if path is None:
            continue
        style = (1, 0, 1, 2)[attempt % 4]
        yaw = gaze(rng, path, targets if style != 1 else big, style, n)
        fastest = np.abs(np.diff(yaw)).max() * FPS if n > 1 else 0.0
        position = np.column_stack([path, np.full(n, shot.eye)])
        pitch = np.full(n, shot.pitch)
        some = np.arange(0, n, 3)
        seen = sight(position[some], yaw[some], pitch[some], shot, objects)
        well = np.minimum(seen.max(0) / ask, 1.0) if len(objects) else np.ones(0)
        score = float((well * weight).sum() / max(weight.sum(), 1e-9))
        # A view that stares at a near wall, or whips round, pleases nobody.
        worst = float(well[asked].min()) if asked.any() else 1.0
        # An unread sign spoils the clip, however much else is seen.
        score = min(score, 0.2 + worst)
        count = (seen > 0.4 * ask).sum(1)
        rank = (
            score
            + 0.5 * worst
            + 0.45 * float(np.minimum(count / 4, 1).mean())
            - 0.6 * float((count == 0).mean())
        )
        rank -= 0.15 * max(0.0, math.degrees(fastest) - 60) / 60
        if best is None or rank > best[0]:
            best = (rank, score, position, yaw, pitch)
    if best is None:
        spot = (
            np.array([width / 2, depth / 2])
            if not region.any()
            else ((np.argwhere(region)[len(np.argwhere(region)) // 2] + 0.5) * CELL)
        )
        position = np.column_stack([np.tile(spot, (n, 1)), np.full(n, shot.eye)])
        best = (0.0, 0.0, position, np.linspace(0, 2 * math.pi, n), np.full(n, shot.pitch))
    _, score, position, yaw, pitch = best
    t = np.arange(n) / FPS
    # A walker's head bobs a little.
    position = position + np.column_stack([np.zeros((n, 2)), 0.012 * np.sin(2 * math.pi * 1.6 * t)])
    pitch = pitch + math.radians(2.5) * np.sin(2 * math.pi * 0.11 * t + float(rng.uniform(0, 6)))
    yaw, pitch = shake(rng, yaw, pitch, shot.shake)
    return make_camera(position, yaw, pitch, shot), score


def shake(
    rng: np.random.Generator, yaw: np.ndarray, pitch: np.ndarray, amount: float
) -> tuple[np.ndarray, np.ndarray]:
    """Add hand shake of a standard deviation (rad) to yaw and pitch."""
    if amount <= 0:
        return yaw, pitch
    noise = smooth(rng.normal(size=(len(yaw), 2)), 1) * amount * 1.6
    return yaw + noise[:, 0], pitch + noise[:, 1]


def make_camera(position: np.ndarray, yaw: np.ndarray, pitch: np.ndarray, shot: Shot) -> Camera:
    """Round the poses (0.1 mm, 0.01 mrad) and freeze them."""
    at, turn, tilt = np.round(position, 4), np.round(yaw, 5), np.round(pitch, 5)
    for array in (at, turn, tilt):
        array.setflags(write=False)
    return Camera(at, turn, tilt, shot.fov_deg, shot.width, shot.height, FPS)
