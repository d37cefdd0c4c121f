"""Pictures on surfaces: floors, walls, signs, posters; and the atlas that filters them.

Every texture is kept at several sizes (mip levels) in one big image, so that one OpenCV call looks
up any number of samples with the size that fits each one's footprint: nothing aliases.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .scene import RGB

LEVELS = 8
_PAD = 2


def linear(rgb: np.ndarray) -> np.ndarray:
    """sRGB 0..255 to linear 0..1, float32, same shape."""
    value = np.asarray(rgb, np.float32) / np.float32(255)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


@dataclass(frozen=True, eq=False)
class Picture:
    """A texture at all its sizes.

    Attributes:
        levels: float32 (h + 4, w + 4, 3) each, linear, with a border of two texels; the first is
            the finest.
        repeat: Whether it repeats beyond its edges.
        metres: Length of one repeat, m (1.0 for pictures that do not repeat).
    """

    levels: tuple[np.ndarray, ...]
    repeat: bool
    metres: float = 1.0

    @property
    def width(self) -> int:
        """Texels across, at the finest level."""
        return int(self.levels[0].shape[1]) - 2 * _PAD


def picture(image: np.ndarray, repeat: bool, metres: float = 1.0) -> Picture:
    """Halve a linear float32 (H, W, 3) image until it is tiny."""
    import cv2

    levels = [np.ascontiguousarray(image, np.float32)]
    while len(levels) < LEVELS and min(levels[-1].shape[:2]) >= 4:
        last = levels[-1]
        half = (max(1, last.shape[1] // 2), max(1, last.shape[0] // 2))
        levels.append(np.asarray(cv2.resize(last, half, interpolation=cv2.INTER_AREA)))
    border = cv2.BORDER_WRAP if repeat else cv2.BORDER_REPLICATE
    return Picture(
        tuple(cv2.copyMakeBorder(v, _PAD, _PAD, _PAD, _PAD, border) for v in levels), repeat, metres
    )


class Atlas:
    """Textures and their smaller copies in one image.

    Call `add` for each texture, then `pack` once, then `sample` as often as wanted.
    """

    def __init__(self) -> None:
        self._pictures: list[Picture] = []
        self._image = np.zeros((1, 1, 3), np.float32)
        self._table = np.zeros((0, 4), np.float32)
        self._repeat = np.zeros(0, bool)
        self._top = np.zeros(0, np.float32)

    def add(self, texture: Picture) -> int:
        """Add a texture; returns its number."""
        self._pictures.append(texture)
        return len(self._pictures) - 1

    def pack(self) -> None:
        """Lay out all textures, the levels of each side by side."""
        rows = [p.levels for p in self._pictures]
        wide = max(sum(level.shape[1] for level in row) for row in rows)
        high = sum(row[0].shape[0] for row in rows)
        self._image = np.zeros((high, wide, 3), np.float32)
        table = np.zeros((len(rows), LEVELS, 4), np.float32)
        y = 0
        for number, row in enumerate(rows):
            x = 0
            for k, level in enumerate(row):
                h, w = level.shape[:2]
                self._image[y : y + h, x : x + w] = level
                # Texel centres lie half a texel inside the border.
                table[number, k:] = (x + _PAD - 0.5, y + _PAD - 0.5, w - 2 * _PAD, h - 2 * _PAD)
                x += w
            y += row[0].shape[0]
        self._table = table.reshape(-1, 4)
        self._repeat = np.array([p.repeat for p in self._pictures])
        self._top = np.array([len(row) - 1 for row in rows], np.float32)
        self._pictures = []

    def sample(
        self, number: np.ndarray, u: np.ndarray, v: np.ndarray, texels: np.ndarray
    ) -> np.ndarray:
        """Filtered colours.

        Args:
            number: int (N,): texture of each sample.
            u: float32 (N,): across, in texture widths.
            v: float32 (N,): down, in texture heights.
            texels: float32 (N,): how many of the finest texels a sample covers across.

        Returns:
            float32 (N, 3), linear.
        """
        if not len(u):  # a frame may show nothing textured, and OpenCV takes no empty map
            return np.zeros((0, 3), np.float32)
        level = np.log2(np.maximum(texels, np.float32(1)))
        level = np.minimum(level, self._top[number])
        low = level.astype(np.int32)
        part = (level - low)[:, None]
        high = np.minimum(low + 1, LEVELS - 1)
        repeat = self._repeat[number]
        u = np.where(repeat, u - np.floor(u), np.clip(u, 0, 1))
        v = np.where(repeat, v - np.floor(v), np.clip(v, 0, 1))
        first = self._look(np.take(self._table, number * LEVELS + low, axis=0), u, v)
        second = self._look(np.take(self._table, number * LEVELS + high, axis=0), u, v)
        return np.asarray(first + part * (second - first))

    def _look(self, at: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        import cv2

        n = len(u)
        # OpenCV wants an image-shaped map with sides below 32768.
        wide = 1024
        padded = -(-n // wide) * wide
        x, y = np.zeros(padded, np.float32), np.zeros(padded, np.float32)
        x[:n] = at[:, 0] + u * at[:, 2]
        y[:n] = at[:, 1] + v * at[:, 3]
        out = cv2.remap(
            self._image,
            x.reshape(-1, wide),
            y.reshape(-1, wide),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(out).reshape(-1, 3)[:n]


# -- floors and walls ------------------------------------------------------------------------


def _noise(rng: np.random.Generator, size: int, cells_x: int, cells_y: int) -> np.ndarray:
    """Smooth periodic noise, float32 (size, size), about -1..1."""
    import cv2

    grid = rng.uniform(-1, 1, (cells_y, cells_x)).astype(np.float32)
    grid = np.pad(grid, 2, "wrap")
    sx, sy = size // cells_x, size // cells_y
    big = cv2.resize(grid, None, fx=sx, fy=sy, interpolation=cv2.INTER_CUBIC)
    return np.asarray(big[2 * sy : 2 * sy + size, 2 * sx : 2 * sx + size])


@lru_cache(maxsize=64)
def shell_texture(pattern: str, rgb: tuple[RGB, RGB], seed: int) -> Picture:
    """A floor or wall texture by pattern name (see `pixelis_env.rooms.style`)."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, len(pattern), *rgb[0], *rgb[1]]))
    size = 256
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    first, second = linear(np.array(rgb[0])), linear(np.array(rgb[1]))
    amount, shade, metres = _PATTERNS[pattern](rng, x, y, size)
    mixed = first + amount[..., None] * (second - first)
    return picture((mixed * shade[..., None]).clip(0, 1), True, metres)


Pattern = tuple[np.ndarray, np.ndarray, float]


def _planks(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> Pattern:
    rows = 8
    row = (y * rows).astype(int)
    start = rng.random(rows).astype(np.float32)[row]
    along = (x + start) % 1.0
    tone = rng.uniform(0, 1, (rows, 2)).astype(np.float32)[row, (along > 0.5).astype(int)]
    grain = _noise(rng, size, 8, 128) * 0.5 + _noise(rng, size, 4, 64) * 0.5
    seam = np.minimum((y * rows) % 1.0, 1 - (y * rows) % 1.0) < 0.03
    joint = np.minimum(np.abs(along - 0.5), np.minimum(along, 1 - along)) < 0.004
    shade = 1 + 0.09 * grain
    shade[seam | joint] *= 0.6
    return 0.75 * tone + 0.15 * grain, shade, 1.6


def _parquet(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> Pattern:
    cells, strips = 4, 4
    cx, cy = (x * cells).astype(int), (y * cells).astype(int)
    fx, fy = x * cells - cx, y * cells - cy
    turn = (cx + cy) % 2 == 0
    across = np.where(turn, fx, fy) * strips
    strip = across.astype(int).clip(0, strips - 1)
    tone = rng.uniform(0, 1, (cells, cells, strips)).astype(np.float32)[cy, cx, strip]
    along = _noise(rng, size, 64, 16), _noise(rng, size, 16, 64)
    grain = np.where(turn, along[0], along[1])
    edge = np.minimum(across - strip, 1 - (across - strip)) < 0.06
    border = np.minimum(np.minimum(fx, 1 - fx), np.minimum(fy, 1 - fy)) < 0.015
    shade = 1 + 0.07 * grain
    shade[edge | border] *= 0.72
    return 0.8 * tone + 0.1 * grain, shade, 1.6


def _tiles(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> Pattern:
    cells = 4
    cx, cy = (x * cells).astype(int), (y * cells).astype(int)
    fx, fy = x * cells - cx, y * cells - cy
    tone = rng.uniform(0.94, 1.04, (cells, cells)).astype(np.float32)[cy, cx]
    edge = np.minimum(np.minimum(fx, 1 - fx), np.minimum(fy, 1 - fy))
    grout = (edge < 0.025).astype(np.float32)
    cloud = _noise(rng, size, 8, 8) * 0.02 + _noise(rng, size, 32, 32) * 0.012
    return grout, tone + cloud, 1.6


def _checker(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> Pattern:
    cells = 4
    odd = (((x * cells).astype(int) + (y * cells).astype(int)) % 2).astype(np.float32)
    return odd, 1 + 0.03 * _noise(rng, size, 16, 16), 1.4


def _carpet(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> Pattern:
    fleck = rng.uniform(0, 1, (size, size)).astype(np.float32)
    return fleck, 1 + 0.05 * _noise(rng, size, 32, 32) + 0.08 * (fleck - 0.5), 1.0


def _paint(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> Pattern:
    cloud = 0.5 + 0.5 * _noise(rng, size, 4, 4)
    return 0.5 * cloud, 1 + 0.008 * _noise(rng, size, 64, 64), 2.4


def _stripes(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> Pattern:
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * x)
    return np.clip((wave - 0.42) * 6, 0, 1), np.ones_like(x), 0.9


def _damask(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> Pattern:
    cells = 4
    fy = y * cells * 0.5
    # An ogee lattice: two wavy lines that meet and part, with a bud in every cell.
    wave = 0.25 * np.sin(2 * np.pi * fy)
    line = np.minimum(
        np.abs((x * cells + wave) % 1.0 - 0.5), np.abs((x * cells - wave) % 1.0 - 0.5)
    )
    px, py = (x * cells) % 1.0 - 0.5, (fy + 0.25) % 0.5 - 0.25
    qx = (x * cells + 0.5) % 1.0 - 0.5
    bud = np.minimum(np.hypot(px, py * 1.6), np.hypot(qx, py * 1.6))
    stroke = np.clip((0.07 - line) * 30, 0, 1)
    return np.maximum(stroke, np.clip((0.13 - bud) * 24, 0, 1)), np.ones_like(x), 0.8


def _brick(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> Pattern:
    rows, columns = 8, 4
    row = (y * rows).astype(int)
    along = (x * columns + 0.5 * (row % 2)) % columns
    column = along.astype(int)
    fx, fy = along - column, y * rows - row
    tone = rng.uniform(0.84, 1.08, (rows, columns)).astype(np.float32)[row, column]
    mortar = (np.minimum(fx, 1 - fx) < 0.03) | (np.minimum(fy, 1 - fy) < 0.06)
    shade = np.where(mortar, 1.0, tone) + 0.03 * _noise(rng, size, 64, 64)
    return mortar.astype(np.float32), shade.astype(np.float32), 0.96


def _panel(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> Pattern:
    fx = (x * 8) % 1.0
    groove = np.clip(1 - np.minimum(fx, 1 - fx) * 14, 0, 1)
    return groove, 1 - 0.18 * groove, 1.2


def _dots(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> Pattern:
    fx, fy = (x * 6) % 1 - 0.5, (y * 6) % 1 - 0.5
    return np.clip((0.3 - np.hypot(fx, fy)) * 14, 0, 1), np.ones_like(x), 1.0


def _zigzag(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> Pattern:
    wave = (y * 8 + 2 * np.abs((x * 4) % 1 - 0.5)) % 1
    return np.clip((np.abs(wave - 0.5) - 0.25) * 12 + 0.5, 0, 1), np.ones_like(x), 1.2


def _terrazzo(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> Pattern:
    field = _noise(rng, size, 32, 32) + 0.4 * _noise(rng, size, 64, 64)
    return np.clip((field - 0.45) * 8, 0, 1), 1 + 0.05 * _noise(rng, size, 16, 16), 1.2


_PATTERNS = {
    "planks": _planks,
    "parquet": _parquet,
    "tiles": _tiles,
    "checker": _checker,
    "carpet": _carpet,
    "paint": _paint,
    "stripes": _stripes,
    "damask": _damask,
    "brick": _brick,
    "panel": _panel,
    "dots": _dots,
    "zigzag": _zigzag,
    "terrazzo": _terrazzo,
}
