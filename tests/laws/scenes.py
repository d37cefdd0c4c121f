"""Small media with known content, all drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pixelis_env.coordinates import Box
from pixelis_env.media.base import ArrayMedia

WORDS = ("EXIT", "Room", "Open", "STOP", "Coffee", "Platform", "Push", "KITCHEN", "Floor", "Lift")
_COLOURS = ((200, 40, 40), (40, 60, 200), (210, 180, 40), (180, 50, 170), (30, 170, 190))


def rng_of(*seed: int) -> np.random.Generator:
    return np.random.default_rng(list(seed))


def texture(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """A dull, patterned background."""
    coarse = rng.integers(70, 130, (height // 12 + 2, width // 12 + 2, 1)) + rng.integers(
        -10, 10, (height // 12 + 2, width // 12 + 2, 3)
    )
    smooth = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 3, (height, width, 3))
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)


def patterned(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """A thing with a pattern of its own, unlike any background."""
    blocks = rng.integers(0, 256, (4, 5, 3)).astype(np.uint8)
    return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST)


@dataclass(frozen=True)
class Still:
    """An image with one object of even colour, and the truth about it."""

    media: ArrayMedia
    mask: NDArray[np.bool_]
    box: Box
    point: tuple[float, float]  # well inside the object


def still(
    seed: int, *, shift: tuple[int, int] = (0, 0), width: int = 128, height: int = 96
) -> Still:
    """The image of `seed`; `shift` moves the camera, so that everything moves by -shift."""
    rng = rng_of(seed, 1)
    canvas = texture(rng, width + 32, height + 32)
    w, h = int(rng.integers(20, 40)), int(rng.integers(16, 32))
    x, y = int(rng.integers(56, width - 24 - w)), int(rng.integers(48, height - 16 - h))
    drawn = np.zeros(canvas.shape[:2], np.uint8)
    if rng.random() < 0.5:
        drawn[y : y + h, x : x + w] = 1
    else:
        cv2.ellipse(drawn, (x + w // 2, y + h // 2), (w // 2, h // 2), 0, 0, 360, 1, -1)
    colour = np.array(_COLOURS[int(rng.integers(len(_COLOURS)))])
    shade = np.clip(colour + rng.normal(0, 2, (*canvas.shape[:2], 3)), 0, 255).astype(np.uint8)
    canvas[drawn > 0] = shade[drawn > 0]
    x0, y0 = 8 + shift[0], 8 + shift[1]
    mask = drawn[y0 : y0 + height, x0 : x0 + width] > 0
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    point = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    return Still(ArrayMedia(canvas[y0 : y0 + height, x0 : x0 + width]), mask, box, point)


@dataclass(frozen=True)
class Clip:
    """A clip with one patterned object, and where it is in each frame (None: not there)."""

    media: ArrayMedia
    boxes: tuple[Box | None, ...]


def clip(
    seed: int,
    *,
    n_frames: int = 12,
    speed: tuple[float, float] | None = None,
    shown: tuple[int, int] | None = None,
    width: int = 120,
    height: int = 90,
) -> Clip:
    """An object moving straight at `speed` px a frame (drawn from the seed by default).

    `shown` = (first, last) frame with the object; the default is all of them.
    """
    rng = rng_of(seed, 2)
    background = texture(rng, width, height)
    w, h = int(rng.integers(18, 30)), int(rng.integers(16, 26))
    thing = patterned(rng, w, h)
    dx, dy = rng.uniform(-3, 3, 2) if speed is None else speed
    # Start where the whole way stays inside the frame.
    way_x, way_y = round(dx * (n_frames - 1)), round(dy * (n_frames - 1))
    x0 = int(rng.integers(max(0, -way_x) + 2, width - w - max(0, way_x) - 1))
    y0 = int(rng.integers(max(0, -way_y) + 2, height - h - max(0, way_y) - 1))
    first, last = (0, n_frames - 1) if shown is None else shown
    frames, boxes = [], []
    for t in range(n_frames):
        frame = background.copy()
        x, y = x0 + round(dx * t), y0 + round(dy * t)
        box = None
        if first <= t <= last:
            frame[y : y + h, x : x + w] = thing
            box = (float(x), float(y), float(x + w), float(y + h))
        frames.append(frame)
        boxes.append(box)
    return Clip(ArrayMedia(np.array(frames)), tuple(boxes))


def cuts(seed: int, lengths: tuple[int, ...]) -> ArrayMedia:
    """A clip of still scenes with these numbers of frames, each of another hue."""
    rng = rng_of(seed, 3)
    start = int(rng.integers(180))
    frames = []
    for k, length in enumerate(lengths):
        shade = np.full((48, 64, 3), ((start + 67 * k) % 180, 180, 120 + 30 * (k % 3)), np.uint8)
        scene = cv2.cvtColor(shade, cv2.COLOR_HSV2RGB).astype(np.int16)
        frames += [scene + rng.integers(-6, 7, scene.shape) for _ in range(length)]
    return ArrayMedia(np.clip(np.array(frames), 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Page:
    """An image with lines of text, in reading order."""

    media: ArrayMedia
    lines: tuple[str, ...]


def page(seed: int, *, n_lines: int = 2, letter: int = 16) -> Page:
    """Dark words on a light ground; capitals are `letter` px high."""
    rng = rng_of(seed, 4)
    lines = tuple(
        f"{WORDS[int(rng.integers(len(WORDS)))]} {int(rng.integers(10, 99))}"
        for _ in range(n_lines)
    )
    paper = tuple(int(v) for v in rng.integers(215, 250, 3))
    image = Image.new("RGB", (12 * letter, int((2 * n_lines + 0.6) * letter)), paper)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=letter / 0.72)
    for k, line in enumerate(lines):
        at = (int(rng.integers(4, 2 * letter)), int((0.4 + 2 * k) * letter))
        draw.text(at, line, font=font, fill=tuple(int(v) for v in rng.integers(0, 60, 3)))
    return Page(ArrayMedia(np.array(image)), lines)


def blank(seed: int, *, width: int = 96, height: int = 64) -> ArrayMedia:
    """An image of one even colour."""
    colour = rng_of(seed, 5).integers(0, 256, 3).astype(np.uint8)
    return ArrayMedia(np.broadcast_to(colour, (height, width, 3)))
