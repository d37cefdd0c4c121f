"""Small things and flat panels built in code: mugs, books, signs, screens, clocks, ..."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .mesh import Mesh, Part, assemble, ball, cuboid, lathe, panel, shifted, tube

_WHITE = (236, 234, 228)
_DARK = (38, 38, 42)
_METAL = (150, 152, 156)
_WOOD = (150, 108, 66)


def _mug() -> list[Part]:
    angle = np.linspace(-1.9, 1.9, 9)
    handle = np.column_stack(
        [0.042 + 0.026 * np.cos(angle), np.zeros(9), 0.05 + 0.03 * np.sin(angle)]
    )
    cup = lathe(
        [(0, 0), (0.038, 0), (0.042, 0.006), (0.042, 0.1), (0.036, 0.1), (0.036, 0.02), (0, 0.02)]
    )
    return [cup, tube(handle, 0.007)]


def _book() -> list[Part]:
    return [
        cuboid((0, 0, 0), (0.16, 0.23, 0.004)),
        cuboid((0, 0, 0.004), (0.152, 0.222, 0.026), _WHITE),
        cuboid((0, 0, 0.03), (0.16, 0.23, 0.004)),
        cuboid((-0.079, 0, 0.004), (0.004, 0.23, 0.026)),
    ]


def _books() -> list[Part]:
    out: list[Part] = []
    x = 0.0
    for k, (wide, high) in enumerate([(0.03, 0.22), (0.04, 0.25), (0.025, 0.2), (0.035, 0.23)]):
        color = None if k % 2 == 0 else (210 - 40 * k, 200 - 30 * k, 190)
        out.append(cuboid((x + wide / 2, 0, 0), (wide - 0.002, 0.16, high), color))
        x += wide
    return out


def _vase() -> list[Part]:
    profile = [
        (0, 0),
        (0.05, 0),
        (0.085, 0.07),
        (0.088, 0.13),
        (0.06, 0.21),
        (0.032, 0.26),
        (0.034, 0.29),
        (0.046, 0.31),
        (0.04, 0.31),
        (0.028, 0.28),
        (0, 0.2),
    ]
    return [lathe(profile, segments=22)]


def _bowl() -> list[Part]:
    profile = [
        (0, 0),
        (0.06, 0),
        (0.06, 0.012),
        (0.11, 0.05),
        (0.13, 0.1),
        (0.12, 0.1),
        (0.1, 0.055),
        (0.05, 0.022),
        (0, 0.018),
    ]
    return [lathe(profile, segments=24)]


def _candle() -> list[Part]:
    return [
        lathe([(0, 0), (0.05, 0), (0.055, 0.012), (0, 0.014)], _METAL),
        lathe([(0.03, 0.012), (0.03, 0.14), (0, 0.135)]),
        lathe([(0.003, 0.134), (0.003, 0.15), (0, 0.152)], _DARK, segments=6),
    ]


def _apple() -> list[Part]:
    profile = [
        (0, 0.008),
        (0.018, 0),
        (0.034, 0.012),
        (0.041, 0.036),
        (0.036, 0.06),
        (0.02, 0.072),
        (0, 0.064),
    ]
    stem = np.array([[0, 0, 0.062], [0.003, 0, 0.078], [0.008, 0, 0.09]])
    return [lathe(profile), tube(stem, 0.003, (92, 66, 40), 5)]


def _teapot() -> list[Part]:
    profile = [
        (0, 0),
        (0.06, 0),
        (0.09, 0.04),
        (0.095, 0.08),
        (0.07, 0.13),
        (0.04, 0.145),
        (0.038, 0.15),
        (0.012, 0.158),
        (0.014, 0.172),
        (0, 0.178),
    ]
    angle = np.linspace(-1.5, 1.5, 8)
    handle = np.column_stack(
        [-0.085 - 0.05 * np.cos(angle), np.zeros(8), 0.08 + 0.045 * np.sin(angle)]
    )
    spout = np.array([[0.08, 0, 0.05], [0.12, 0, 0.07], [0.14, 0, 0.11], [0.16, 0, 0.14]])
    return [lathe(profile, segments=22), tube(handle, 0.009), tube(spout, 0.014, sides=8)]


def _carton() -> list[Part]:
    return [
        cuboid((0, 0, 0), (0.42, 0.32, 0.3)),
        cuboid((0, 0, 0.3), (0.424, 0.06, 0.002), (214, 196, 150)),
        cuboid((0, -0.161, 0.2), (0.12, 0.002, 0.06), _WHITE),
    ]


def _gift() -> list[Part]:
    return [
        cuboid((0, 0, 0), (0.24, 0.24, 0.2)),
        cuboid((0, 0, 0), (0.244, 0.04, 0.203), (244, 214, 96)),
        cuboid((0, 0, 0), (0.04, 0.244, 0.203), (244, 214, 96)),
        tube(
            np.array([[0, 0, 0.2], [0.05, 0.02, 0.25], [0.07, 0, 0.22], [0, 0, 0.203]]),
            0.011,
            (244, 214, 96),
        ),
        tube(
            np.array([[0, 0, 0.2], [-0.05, -0.02, 0.25], [-0.07, 0, 0.22], [0, 0, 0.203]]),
            0.011,
            (244, 214, 96),
        ),
    ]


def _ball() -> list[Part]:
    return [ball(0.11)]


def _cone() -> list[Part]:
    return [
        cuboid((0, 0, 0), (0.32, 0.32, 0.03), _DARK),
        lathe([(0.12, 0.03), (0.09, 0.16)]),
        lathe([(0.09, 0.16), (0.066, 0.27)], _WHITE),
        lathe([(0.066, 0.27), (0.03, 0.46), (0, 0.46)]),
    ]


def _bucket() -> list[Part]:
    angle = np.linspace(0, np.pi, 9)
    handle = np.column_stack([0.15 * np.cos(angle), np.full(9, 0.02), 0.3 + 0.05 * np.sin(angle)])
    body = lathe(
        [(0, 0), (0.11, 0), (0.15, 0.3), (0.142, 0.3), (0.105, 0.03), (0, 0.03)], segments=24
    )
    return [body, tube(handle, 0.006, _METAL)]


def _laptop() -> list[Part]:
    lid = np.array(
        [[-0.17, 0.12, 0.018], [0.17, 0.12, 0.018], [0.17, 0.18, 0.24], [-0.17, 0.18, 0.24]]
    )
    back = Part(shifted(lid, 0, 0.006, 0), np.array([[1, 0, 3], [1, 3, 2]]))
    return [
        cuboid((0, 0, 0), (0.34, 0.24, 0.018)),
        cuboid((0, 0.03, 0.018), (0.3, 0.1, 0.002), _DARK),
        back,
        panel((0, 0.12, 0.018), 0.34, 0.23, 0.26),
    ]


def _monitor() -> list[Part]:
    return [
        cuboid((0, 0, 0), (0.22, 0.18, 0.015), _DARK),
        cuboid((0, 0.03, 0.015), (0.05, 0.03, 0.12), _DARK),
        cuboid((0, 0.02, 0.11), (0.56, 0.03, 0.34), _DARK),
        panel((0, 0.0035, 0.122), 0.535, 0.316),
    ]


def _screen() -> list[Part]:
    return [cuboid((0, 0.02, 0), (1.1, 0.04, 0.64), _DARK), panel((0, -0.002, 0.02), 1.06, 0.6)]


def _sign() -> list[Part]:
    return [cuboid((0, 0.01, 0), (0.8, 0.02, 0.3)), panel((0, -0.002, 0.008), 0.784, 0.284)]


def _poster() -> list[Part]:
    return [cuboid((0, 0.0125, 0), (0.62, 0.025, 0.82)), panel((0, -0.002, 0.035), 0.55, 0.75)]


def _clock() -> list[Part]:
    angle = np.arange(28) * (2 * np.pi / 28)
    disc = np.column_stack([0.15 * np.cos(angle), np.zeros(28), 0.15 * np.sin(angle)])
    front = shifted(disc, 0, -0.02, 0)
    rim = np.concatenate([shifted(disc, 0, 0.02, 0), front])
    k = np.arange(28)
    n = np.roll(k, -1)
    sides = np.concatenate([np.column_stack([k, n, n + 28]), np.column_stack([k, n + 28, k + 28])])
    inner = shifted(front * np.array([0.9, 1, 0.9]), 0, -0.002, 0)
    face = np.column_stack([np.zeros(26, int), np.arange(1, 27), np.arange(2, 28)])
    uv = np.column_stack([0.5 + 0.5 * np.cos(angle), 0.5 - 0.5 * np.sin(angle)])
    ring = np.concatenate([np.column_stack([k, n, n + 28]), np.column_stack([k, n + 28, k + 28])])
    return [
        Part(rim, sides[:, ::-1]),
        Part(np.concatenate([front, inner]), ring),
        Part(inner, face, None, True, uv[face]),
    ]


def _shade_lamp() -> list[Part]:
    return [
        lathe([(0, 0), (0.15, 0), (0.15, 0.02), (0.02, 0.035), (0, 0.035)], _DARK),
        lathe([(0.014, 0.03), (0.014, 1.3)], _METAL, 8),
        lathe([(0.22, 1.22), (0.15, 1.56)]),
        lathe([(0.215, 1.222), (0.145, 1.558)], (255, 244, 214)),
    ]


def _tv_stand() -> list[Part]:
    legs = [cuboid((x, y, 0), (0.05, 0.05, 0.1), _DARK) for x in (-0.6, 0.6) for y in (-0.14, 0.14)]
    doors = [cuboid((x, -0.193, 0.13), (0.425, 0.012, 0.32), _WHITE) for x in (-0.44, 0.0, 0.44)]
    return [*legs, cuboid((0, 0, 0.1), (1.4, 0.38, 0.38)), *doors]


def _coffee_table() -> list[Part]:
    legs = [cuboid((x, y, 0), (0.05, 0.05, 0.38)) for x in (-0.45, 0.45) for y in (-0.25, 0.25)]
    return [*legs, cuboid((0, 0, 0.38), (1.0, 0.6, 0.04)), cuboid((0, 0, 0.12), (0.9, 0.5, 0.02))]


def _suitcase() -> list[Part]:
    grip = np.array([[-0.1, 0, 0.56], [-0.1, 0, 0.72], [0.1, 0, 0.72], [0.1, 0, 0.56]])
    ribs = [cuboid((x, 0, 0.06), (0.03, 0.246, 0.5)) for x in (-0.12, -0.04, 0.04, 0.12)]
    wheels = [ball(0.028, _DARK, 6)]
    feet = [
        Part(shifted(wheels[0].points, x, y, 0), wheels[0].faces, _DARK)
        for x in (-0.15, 0.15)
        for y in (-0.08, 0.08)
    ]
    return [cuboid((0, 0, 0.05), (0.4, 0.23, 0.52)), *ribs, *feet, tube(grip, 0.01, _METAL)]


def _robot() -> list[Part]:
    return [
        lathe(
            [(0, 0.008), (0.165, 0.008), (0.17, 0.03), (0.17, 0.075), (0.16, 0.086), (0, 0.086)],
            segments=28,
        ),
        lathe([(0.06, 0.086), (0.055, 0.1), (0, 0.1)], _DARK),
        cuboid((0, -0.13, 0.086), (0.07, 0.02, 0.004), (90, 220, 140)),
        cuboid((0.1, 0, 0), (0.03, 0.06, 0.03), _DARK),
        cuboid((-0.1, 0, 0), (0.03, 0.06, 0.03), _DARK),
    ]


def _trolley() -> list[Part]:
    wheel = lathe([(0, -0.02), (0.06, -0.02), (0.06, 0.02), (0, 0.02)], _DARK, 14)
    turned = wheel.points[:, [0, 2, 1]] + [0, 0, 0.06]
    wheels = [
        Part(shifted(turned, x, y, 0), wheel.faces[:, ::-1], _DARK)
        for x in (-0.3, 0.3)
        for y in (-0.18, 0.18)
    ]
    grip = np.array(
        [[-0.38, -0.18, 0.12], [-0.42, -0.18, 0.85], [-0.42, 0.18, 0.85], [-0.38, 0.18, 0.12]]
    )
    return [
        cuboid((0, 0, 0.12), (0.8, 0.46, 0.05)),
        *wheels,
        tube(grip, 0.016, _METAL),
        cuboid((0.1, 0, 0.17), (0.4, 0.34, 0.22), (196, 164, 116)),
    ]


def _toy_car() -> list[Part]:
    wheel = lathe([(0, -0.02), (0.05, -0.02), (0.05, 0.02), (0, 0.02)], _DARK, 14)
    turned = wheel.points[:, [0, 2, 1]] + [0, 0, 0.05]
    wheels = [
        Part(shifted(turned, x, y, 0), wheel.faces[:, ::-1], _DARK)
        for x in (-0.13, 0.13)
        for y in (-0.1, 0.1)
    ]
    return [
        cuboid((0, 0, 0.05), (0.46, 0.2, 0.08)),
        cuboid((-0.02, 0, 0.13), (0.24, 0.17, 0.07), (190, 215, 228)),
        cuboid((-0.02, 0, 0.2), (0.2, 0.16, 0.015)),
        *wheels,
    ]


def _cube() -> list[Part]:
    return [cuboid((0, 0, 0), (0.1, 0.1, 0.1))]


def _photo() -> list[Part]:
    return [
        cuboid((0, 0.012, 0), (0.2, 0.02, 0.25)),
        panel((0, -0.0, 0.02), 0.165, 0.21),
        cuboid((0, 0.05, 0), (0.03, 0.08, 0.1), _WOOD),
    ]


BUILDERS: dict[str, Callable[[], list[Part]]] = {
    "mug": _mug,
    "book": _book,
    "books": _books,
    "vase": _vase,
    "bowl": _bowl,
    "candle": _candle,
    "apple": _apple,
    "teapot": _teapot,
    "carton": _carton,
    "gift": _gift,
    "plain_ball": _ball,
    "cone": _cone,
    "bucket": _bucket,
    "laptop": _laptop,
    "monitor": _monitor,
    "screen": _screen,
    "sign": _sign,
    "poster": _poster,
    "clock": _clock,
    "floor_lamp": _shade_lamp,
    "tv_stand": _tv_stand,
    "coffee_table": _coffee_table,
    "suitcase": _suitcase,
    "robot": _robot,
    "trolley": _trolley,
    "toy_car": _toy_car,
    "cube": _cube,
    "photo": _photo,
}
"""Model name -> the function that builds its parts."""


@cache
def build(model: str) -> Mesh:
    """The mesh of a model of `BUILDERS`."""
    return assemble(BUILDERS[model]())
