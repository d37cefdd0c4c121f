"""From a seed to a scene."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np

from .camera import Shot, walk_camera
from .furnish import clutter, furnish
from .kinds import DETAILS
from .layout import Hull, Layout, hull
from .motion import add_movers, watch_camera
from .scene import SHIFTS, Camera, Motion, Room, Scene, Sensor
from .shifts import (
    recolor,
    shift_fonts,
    shift_lighting,
    shift_sensor,
    shift_shot,
    shift_texture,
)
from .style import draw_style
from .themes import THEMES

SHOTS = {
    1: Shot(70, 320, 240, 74.0, 1.5, math.radians(-19), 0.6),
    2: Shot(110, 320, 240, 74.0, 1.5, math.radians(-18), 0.65),
    3: Shot(160, 480, 360, 74.0, 1.55, math.radians(-16), 0.7),
}
"""How the camera is held at each level; speeds in m/s, 10 frames a second."""

SIGN_TILT = math.radians(7)
"""How much higher the camera looks where signs hang, rad."""


def make_scene(
    seed: int,
    *,
    level: int = 1,
    shift: str = "none",
    signs: int = 0,
    details: int = 0,
    movers: int = 0,
    tags: int = 0,
    n_frames: int | None = None,
) -> Scene:
    """Draw a room, furnish it and walk a camera through it.

    The same arguments give the same scene in every process. A shift changes the looks (or the
    camera, or adds clutter) of the scene that ``shift="none"`` gives for the same arguments.

    Args:
        seed: 0 or more.
        level: 1 = few, large, well-lit objects; 2 = more objects and clutter; 3 = room sizes and
            counts of real indoor scans, at 480x360.
        shift: One of `pixelis_env.rooms.scene.SHIFTS`.
        signs: Wall signs with text, 0..6, each of its own paper colour.
        details: Small things, 0..8, each the only one of its category in the room.
        movers: Moving objects, 0..4; the camera then stands and pans slowly.
        tags: Small wall tags with a number, 0..6, each of its own paper colour.
        n_frames: Frames at 10 a second, 2..2000; None = the level's usual length.

    Returns:
        The scene. It holds the signs, details, movers and tags asked for; fewer only where forty
        layouts in a row had no room for them.

    Raises:
        ValueError: An argument out of its range; the message states the range.
    """
    _check("seed", seed, 0, 2**63 - 1)
    _check("level", level, 1, 3)
    _check("signs", signs, 0, 6)
    _check("details", details, 0, 8)
    _check("movers", movers, 0, 4)
    _check("tags", tags, 0, 6)
    if n_frames is not None:
        _check("n_frames", n_frames, 2, 2000)
    if shift not in SHIFTS:
        raise ValueError(f"shift={shift!r} is unknown; choose one of {', '.join(SHIFTS)}")
    shot = SHOTS[level]
    if n_frames is not None:
        shot = replace(shot, n_frames=int(n_frames))
    if signs:
        shot = replace(shot, pitch=shot.pitch + SIGN_TILT)
    key = (seed, level, signs, details, movers, shot.n_frames, *([tags] if tags else []))
    layout, camera, motions, wanted = _choose(key, shot, tags)
    changed = _stream(*key, _tag(shift))
    if shift == "camera":
        layout = _drawing_from(layout, changed)
        camera = _film(layout, motions, shift_shot(shot, changed), wanted)[0]
    elif shift == "clutter":
        layout = _drawing_from(layout, changed)
        layout.kept += _ways(layout, camera, motions)
        unique = {o.category for o in layout.objects if o.category in DETAILS}
        clutter(layout, unique, (12, 18, 26)[level - 1])
    return _finish(seed, shift, layout, camera, motions, key, changed)


def _choose(
    key: tuple[int, ...], shot: Shot, tags: int
) -> tuple[Layout, Camera, tuple[Motion, ...], frozenset[int]]:
    """The first layout that holds what was asked for and can be seen well, or the best of some."""
    _, level, signs, details, movers, n_frames = key[:6]
    best: tuple[tuple[int, float], Layout, Camera, tuple[Motion, ...], frozenset[int]] | None = None
    tries = 0
    for attempt in range(40):
        roomy = 0.7 if movers else 0.0
        layout = furnish(_stream(*key, attempt), level, signs, details, tags, roomy)
        motions = tuple(add_movers(layout, movers, n_frames, level))
        texts = [o.id for o in layout.objects if o.text is not None]
        small = [o.id for o in layout.objects if o.category in DETAILS]
        lacking = signs + tags - len(texts) + max(0, details - len(small)) + movers - len(motions)
        if lacking and attempt < 39:
            continue
        wanted = frozenset((texts if signs or tags else []) + (small if details else []))
        camera, seen = _film(layout, motions, shot, wanted)
        if best is None or (-lacking, seen) > best[0]:
            best = ((-lacking, seen), layout, camera, motions, wanted)
        tries += 1
        if not lacking and (seen > (0.8 if movers else 0.75) or tries == 4):
            break
    assert best is not None
    return best[1:]


def _film(
    layout: Layout, motions: tuple[Motion, ...], shot: Shot, wanted: frozenset[int]
) -> tuple[Camera, float]:
    """A camera for the layout, and how well it sees (0..1)."""
    if motions:
        return watch_camera(layout, list(motions), shot, wanted)
    return walk_camera(layout.rng, layout.width, layout.depth, layout.objects, shot, wanted)


def _ways(layout: Layout, camera: Camera, motions: tuple[Motion, ...]) -> list[Hull]:
    """Hulls that the camera and the moving objects pass through."""
    ways = [hull(p[0], p[1], 1.0, (0.6, 0.6, 2.0), 0.0) for p in camera.position[::2]]
    for motion in motions:
        item = layout.objects[motion.object_id - 1]
        wide = math.hypot(item.size[0], item.size[1]) + 0.06
        ways += [
            hull(c[0], c[1], c[2], (wide, wide, item.size[2]), 0.0) for c in motion.centers[::2]
        ]
    return ways


def _finish(
    seed: int,
    shift: str,
    layout: Layout,
    camera: Camera,
    motions: tuple[Motion, ...],
    key: tuple[int, ...],
    changed: np.random.Generator,
) -> Scene:
    """Dress the chosen layout and apply a shift of looks."""
    level = key[1]
    looks = _stream(*key, 1001)
    categories = {o.category for o in layout.objects}
    wet = categories & {"toilet", "washbasin", "oven", "sink", "refrigerator"}
    floors = ("tiles", "checker", "planks") if wet else THEMES["living"].floors
    if categories & {"office chair", "whiteboard"}:
        floors = THEMES["office"].floors
    style = draw_style(looks, layout.width, layout.depth, layout.height, level, floors)
    objects = tuple(layout.objects)
    sensor = Sensor()
    if shift == "lighting":
        style = shift_lighting(style, changed, layout.width, layout.depth)
    elif shift == "texture":
        style = shift_texture(style, changed)
        objects = recolor(objects, changed, frozenset(m.object_id for m in motions))
    elif shift == "blur":
        sensor = shift_sensor(changed, camera.width)
    elif shift == "fonts":
        objects = shift_fonts(objects, changed)
    room = Room(layout.width, layout.depth, layout.height, objects, style, tuple(layout.openings))
    return Scene(seed, level, shift, room, camera, motions, sensor)


def _drawing_from(layout: Layout, rng: np.random.Generator) -> Layout:
    """A copy of the layout that draws from another stream."""
    return Layout(
        rng,
        layout.width,
        layout.depth,
        layout.height,
        list(layout.objects),
        list(layout.openings),
        list(layout.kept),
        list(layout.hulls),
    )


def _stream(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([int(k) for k in key]))


def _tag(name: str) -> int:
    """A stable number for a name (Python's own hash differs between processes)."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= int(value) <= high:
        raise ValueError(f"{name}={value} is out of range; give {low}..{high}")
