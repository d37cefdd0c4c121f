"""Every model that can stand in a room: the CC0 furniture file and the items built in code."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from . import items
from .mesh import Mesh

ASSETS = Path(__file__).parent / "assets"

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (190, 42, 38),
    "orange": (226, 122, 36),
    "yellow": (232, 200, 62),
    "green": (62, 140, 70),
    "blue": (46, 92, 178),
    "purple": (116, 66, 150),
    "pink": (226, 130, 160),
    "brown": (122, 80, 48),
    "black": (36, 36, 40),
    "white": (234, 232, 226),
    "gray": (134, 136, 140),
}
"""The colour names used in rooms, and the sRGB each stands for."""


@lru_cache(maxsize=1)
def _library() -> dict[str, dict[str, np.ndarray]]:
    """The furniture file, unpacked once: model -> arrays."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(ASSETS / "furniture.npz", allow_pickle=False) as data:
        for key in data.files:
            if "/" in key:
                name, field = key.split("/")
                found.setdefault(name, {})[field] = data[key]
    return found


@cache
def mesh(model: str) -> Mesh:
    """The mesh of a model.

    Args:
        model: A name from `models`.

    Raises:
        KeyError: Unknown name; the message lists the valid ones.
    """
    if model in items.BUILDERS:
        return items.build(model)
    if model not in _library():
        raise KeyError(f"no model {model!r}; there are {', '.join(models())}")
    data = _library()[model]
    faces = data["faces"].astype(np.int32)
    return Mesh(
        points=(data["points"].astype(np.float32) / 65535 - 0.5).astype(np.float32),
        faces=faces,
        normals=data["normals"].astype(np.float32) / 127,
        colors=data["colors"],
        tint=data["tint"],
        uv=np.zeros((len(faces), 3, 2), np.float32),
        painted=np.zeros(len(faces), bool),
        size=tuple(float(v) for v in data["size"]),  # type: ignore[arg-type]
    )


def models() -> tuple[str, ...]:
    """All model names, sorted."""
    return tuple(sorted({*_library(), *items.BUILDERS}))


def usual_size(model: str) -> tuple[float, float, float]:
    """Length, width, height of a model as made, m."""
    return mesh(model).size


@cache
def own_color(model: str) -> tuple[str, tuple[int, int, int]]:
    """Colour name and sRGB mean of a model that is not tinted."""
    shape = mesh(model)
    tri = shape.points[shape.faces] * np.array(shape.size, np.float32)
    edge = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    area = np.sqrt((edge**2).sum(1))[:, None]
    mean = (shape.colors * area).sum(0) / area.sum()
    rgb = (int(mean[0]), int(mean[1]), int(mean[2]))
    return color_name(rgb), rgb


def color_name(rgb: tuple[int, int, int]) -> str:
    """The nearest colour name: neutral tones by lightness, others by hue."""
    r, g, b = (v / 255 for v in rgb)
    high, low = max(r, g, b), min(r, g, b)
    chroma = high - low
    if chroma < 0.1 or chroma < 0.16 * high:
        return "black" if high < 0.27 else "white" if low > 0.72 else "gray"
    if high == r:
        hue = ((g - b) / chroma) % 6
    elif high == g:
        hue = (b - r) / chroma + 2
    else:
        hue = (r - g) / chroma + 4
    hue *= 60
    if hue < 55 and high < 0.75 and (hue > 14 or chroma < 0.3):
        return "brown"
    bounds = (
        (16, "red"),
        (42, "orange"),
        (68, "yellow"),
        (170, "green"),
        (255, "blue"),
        (300, "purple"),
        (345, "pink"),
        (361, "red"),
    )
    return next(name for limit, name in bounds if hue < limit)
