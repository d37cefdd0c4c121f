"""Shifts of the world: the same questions, another distribution of pictures.

All but "camera" and "clutter" leave every object and every camera pose as it was, so id images and
answers stay byte for byte the same.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .camera import Shot
from .furniture import COLORS, color_name, mesh
from .scene import Light, Placed, Sensor, Style
from .style import ODD_FLOORS, ODD_WALLS


def shift_lighting(style: Style, rng: np.random.Generator, width: float, depth: float) -> Style:
    """Dim, coloured, moved or single-sided light."""
    mode = int(rng.integers(4))
    if mode == 0:
        factor, tone = float(rng.uniform(0.3, 0.45)), (1.06, 1.0, 0.9)
    elif mode == 1:
        factor, tone = float(rng.uniform(0.6, 0.8)), (1.35, 0.95, 0.55)
    elif mode == 2:
        factor, tone = float(rng.uniform(0.5, 0.75)), (0.7, 0.92, 1.4)
    else:
        factor, tone = float(rng.uniform(0.9, 1.2)), (1.0, 1.0, 1.0)
    lights = []
    for light in style.lights:
        x, y, z = light.position
        if mode == 3:
            x = round(float(np.clip(x + rng.choice([-1, 1]) * 0.36 * width, 0.3, width - 0.3)), 3)
            y = round(float(np.clip(y + rng.choice([-1, 1]) * 0.36 * depth, 0.3, depth - 0.3)), 3)
        color = tuple(a * b for a, b in zip(light.color, tone, strict=True))
        lights.append(Light((x, y, z), color, light.power * factor, light.radius))  # type: ignore[arg-type]
    dark = 0.55 if mode == 3 else factor
    ambient = tuple(a * t * dark for a, t in zip(style.ambient, tone, strict=True))
    return replace(style, lights=tuple(lights), ambient=ambient)  # type: ignore[arg-type]


def shift_texture(style: Style, rng: np.random.Generator) -> Style:
    """Bold wall and floor patterns that no unshifted room has."""
    walls, floors = sorted(ODD_WALLS), sorted(ODD_FLOORS)
    wall = walls[int(rng.integers(len(walls)))]
    floor = floors[int(rng.integers(len(floors)))]
    return replace(
        style,
        wall=wall,
        wall_rgb=ODD_WALLS[wall][int(rng.integers(len(ODD_WALLS[wall])))],
        floor=floor,
        floor_rgb=ODD_FLOORS[floor][int(rng.integers(len(ODD_FLOORS[floor])))],
        texture_seed=int(rng.integers(65, 69)),
    )


def recolor(
    objects: tuple[Placed, ...], rng: np.random.Generator, keep: frozenset[int]
) -> tuple[Placed, ...]:
    """Give furniture other shades of the colour it is called by, and posters other art.

    Names stay true: a red sofa gets another red. Objects in `keep` stay as they are.
    """
    out = []
    for item in objects:
        if item.id in keep or item.text is not None:
            out.append(item)
            continue
        rgb = item.rgb
        if item.color in COLORS and mesh(item.model).tint.any():
            base = np.array(COLORS[item.color], float)
            for _ in range(8):
                moved = (base * rng.uniform(0.6, 1.3) + rng.uniform(-22, 22, 3)).clip(8, 250)
                candidate = (int(moved[0]), int(moved[1]), int(moved[2]))
                if color_name(candidate) == item.color:
                    rgb = candidate
                    break
        out.append(replace(item, rgb=rgb, pattern=int(rng.integers(1, 2**31))))
    return tuple(out)


def shift_shot(shot: Shot, rng: np.random.Generator) -> Shot:
    """A much lower or higher camera, another lens, a shaking hand."""
    low = rng.random() < 0.5
    return replace(
        shot,
        eye=round(float(rng.uniform(0.75, 1.0) if low else rng.uniform(1.9, 2.1)), 3),
        pitch=math.radians(float(rng.uniform(-4, 2) if low else rng.uniform(-26, -20))),
        fov_deg=round(float(rng.choice([58.0, 92.0])), 1),
        shake=math.radians(float(rng.uniform(0.8, 1.6))),
    )


def shift_sensor(rng: np.random.Generator, width: int) -> Sensor:
    """Out-of-focus or motion blur, with sensor noise."""
    unit = width / 320
    if rng.random() < 0.5:
        return Sensor(
            defocus=round(float(rng.uniform(0.8, 1.5)) * unit, 3),
            noise=round(float(rng.uniform(4, 9)), 2),
        )
    return Sensor(
        motion=round(float(rng.uniform(4, 9)) * unit, 3),
        defocus=round(0.4 * unit, 3),
        noise=round(float(rng.uniform(5, 11)), 2),
    )


def shift_fonts(objects: tuple[Placed, ...], rng: np.random.Generator) -> tuple[Placed, ...]:
    """Other sizes, slants, cases and contrasts of the lettering; the text stays the truth."""
    out = []
    for item in objects:
        lettering = item.lettering
        if lettering is None:
            out.append(item)
            continue
        paper = np.array(lettering.paper, float)
        ink = np.array(lettering.ink, float)
        contrast = float(rng.uniform(0.4, 0.75))
        mixed = paper + contrast * (ink - paper)
        lettering = replace(
            lettering,
            fill=round(float(rng.uniform(0.36, 0.5)), 3),
            slant=round(float(rng.choice([-1, 1]) * rng.uniform(0.15, 0.35)), 3),
            case=("upper", "lower", "title")[int(rng.integers(3))],
            ink=tuple(int(v) for v in mixed),  # type: ignore[arg-type]
        )
        out.append(replace(item, lettering=lettering))
    return tuple(out)
