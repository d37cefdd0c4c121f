"""A room's looks: wall and floor patterns, colours and lamps."""

from __future__ import annotations

import math

import numpy as np

from .scene import RGB, Light, Style, Vec3

FLOORS: dict[str, tuple[tuple[RGB, RGB], ...]] = {
    "planks": (
        ((176, 128, 80), (150, 104, 62)),
        ((120, 82, 52), (98, 66, 42)),
        ((205, 172, 126), (184, 150, 106)),
        ((142, 122, 100), (122, 104, 84)),
    ),
    "parquet": (
        ((186, 136, 84), (152, 106, 62)),
        ((146, 98, 60), (116, 76, 46)),
        ((208, 170, 118), (182, 142, 92)),
    ),
    "tiles": (
        ((206, 204, 198), (160, 158, 152)),
        ((170, 176, 180), (128, 132, 136)),
        ((214, 196, 170), (170, 150, 126)),
        ((120, 124, 128), (92, 96, 100)),
    ),
    "checker": (
        ((224, 222, 216), (64, 66, 70)),
        ((222, 210, 190), (140, 84, 64)),
        ((216, 222, 226), (96, 122, 142)),
    ),
    "carpet": (
        ((128, 132, 142), (112, 116, 126)),
        ((150, 122, 100), (136, 108, 88)),
        ((92, 112, 128), (80, 98, 114)),
        ((116, 128, 104), (102, 114, 92)),
        ((150, 104, 104), (134, 90, 92)),
    ),
}
"""Floor pattern -> pairs of main and second colour."""

WALLS: dict[str, tuple[tuple[RGB, RGB], ...]] = {
    "paint": (
        ((232, 226, 214), (222, 216, 204)),
        ((214, 224, 226), (202, 214, 218)),
        ((226, 216, 198), (214, 202, 184)),
        ((206, 218, 204), (194, 208, 192)),
        ((232, 232, 230), (222, 222, 220)),
        ((228, 208, 196), (218, 196, 184)),
        ((200, 210, 226), (188, 200, 218)),
    ),
    "stripes": (
        ((228, 222, 208), (212, 200, 176)),
        ((214, 222, 228), (190, 204, 216)),
        ((224, 214, 218), (206, 188, 196)),
    ),
    "damask": (
        ((224, 216, 200), (206, 192, 168)),
        ((206, 216, 208), (184, 200, 188)),
        ((222, 208, 204), (204, 182, 178)),
    ),
    "brick": (((188, 142, 118), (206, 196, 184)), ((222, 218, 210), (204, 200, 192))),
    "panel": (((224, 222, 214), (208, 206, 198)), ((198, 208, 206), (180, 192, 190))),
}
"""Wall pattern -> pairs of main and second colour."""

ODD_WALLS: dict[str, tuple[tuple[RGB, RGB], ...]] = {
    "stripes": (((74, 108, 120), (206, 190, 150)), ((150, 70, 74), (226, 206, 182))),
    "dots": (((236, 220, 150), (70, 110, 140)), ((96, 132, 112), (232, 222, 196))),
    "damask": (((70, 92, 84), (140, 150, 116)), ((112, 66, 84), (176, 120, 128))),
    "brick": (((120, 74, 62), (166, 150, 138)), ((92, 98, 106), (130, 134, 140))),
    "zigzag": (((218, 206, 186), (78, 96, 128)), ((228, 214, 172), (168, 96, 62))),
}
"""Wall patterns of the texture shift, seen in no unshifted room."""

ODD_FLOORS: dict[str, tuple[tuple[RGB, RGB], ...]] = {
    "zigzag": (((96, 78, 66), (170, 146, 116)), ((60, 74, 92), (150, 160, 168))),
    "terrazzo": (((216, 212, 204), (120, 84, 70)), ((88, 96, 98), (190, 176, 150))),
    "dots": (((60, 72, 96), (140, 152, 176)), ((132, 60, 64), (206, 160, 140))),
    "checker": (((96, 140, 110), (226, 216, 190)), ((120, 90, 150), (214, 206, 222))),
}
"""Floor patterns of the texture shift."""


def draw_style(
    rng: np.random.Generator,
    width: float,
    depth: float,
    height: float,
    level: int,
    floors: tuple[str, ...],
) -> Style:
    """Draw the looks of an unshifted room.

    Args:
        rng: Source of choices.
        width: Room size along x, m.
        depth: Room size along y, m.
        height: m.
        level: 1..3; level 1 is always well lit.
        floors: Floor patterns that suit the room.
    """
    floor = floors[int(rng.integers(len(floors)))]
    names = ("paint", "paint", "paint", "stripes", "damask", "brick", "panel")
    wall = names[int(rng.integers(len(names)))]
    area = width * depth
    count = 1 if area < 14 else 2
    warm = float(rng.uniform(-0.05, 0.08))
    tone: Vec3 = (1.0 + warm, 1.0, 1.0 - 1.3 * warm)
    power = 1.0 if level == 1 else float(rng.uniform(0.8, 1.1))
    lights = tuple(lamps(width, depth, height, count, tone, power))
    ambient = tuple(0.36 * t for t in (1.0 + 0.5 * warm, 1.0, 1.02 - 0.5 * warm))
    return Style(
        wall=wall,
        wall_rgb=WALLS[wall][int(rng.integers(len(WALLS[wall])))],
        floor=floor,
        floor_rgb=FLOORS[floor][int(rng.integers(len(FLOORS[floor])))],
        ceiling_rgb=(240, 239, 235),
        skirting_rgb=(236, 234, 228) if rng.random() < 0.75 else (122, 86, 56),
        lights=lights,
        ambient=ambient,  # type: ignore[arg-type]
        exposure=1.0,
        texture_seed=int(rng.integers(1, 5)),
    )


def lamps(
    width: float, depth: float, height: float, count: int, tone: Vec3, power: float
) -> list[Light]:
    """Ceiling lamps spread along the longer side, their power fitted to the room's area."""
    total = power * (0.55 + width * depth / 33) * (height / 2.6) ** 2
    out = []
    for k in range(count):
        at = (k + 0.5) / count
        x, y = (width * at, depth / 2) if width >= depth else (width / 2, depth * at)
        share = total / count * (1.0 if count == 1 else 1.12)
        out.append(
            Light(
                (round(x, 3), round(y, 3), round(height - 0.06, 3)),
                tone,
                share,
                round(0.16 + 0.03 * math.sqrt(width * depth) / 4, 3),
            )
        )
    return out
