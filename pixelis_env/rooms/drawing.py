"""The faces of signs, posters, clocks and screens, drawn with Pillow's own font."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .scene import RGB, Lettering, Placed
from .textures import Picture, linear, picture

_PALETTES: tuple[tuple[RGB, ...], ...] = (
    ((38, 70, 83), (42, 157, 143), (233, 196, 106), (244, 162, 97), (231, 111, 81)),
    ((29, 53, 87), (69, 123, 157), (168, 218, 220), (241, 250, 238), (230, 57, 70)),
    ((96, 108, 56), (40, 54, 24), (254, 250, 224), (221, 161, 94), (188, 108, 37)),
    ((61, 52, 139), (118, 120, 237), (247, 184, 1), (241, 135, 1), (243, 91, 4)),
    ((53, 80, 112), (109, 89, 122), (181, 101, 118), (229, 107, 111), (234, 172, 139)),
)


_SIGN_HEIGHT = 144
"""Pixels of a sign's drawn face from top to bottom."""

_FACE = 0.284 / 0.3
"""Height of a sign's drawn face over the sign's."""


@lru_cache(maxsize=256)
def letter_height(item: Placed) -> float:
    """Height of the capitals and digits on a sign or tag, m.

    Raises:
        ValueError: Nothing is written on the object.
    """
    if item.text is None or item.lettering is None:
        raise ValueError(f"nothing is written on object {item.id}, a {item.category}")
    width = round(_SIGN_HEIGHT * round(item.size[0], 2) / round(item.size[2], 2))
    _, size = _typeset(item.text, item.lettering, width)
    top = ImageFont.load_default(size).getbbox("0", anchor="ls")[1]
    return item.size[2] * _FACE * -top / _SIGN_HEIGHT


def draw_face(item: Placed) -> Picture:
    """The drawn face of a sign, poster, clock, screen, ..."""
    return _face(
        item.category,
        item.text,
        item.lettering,
        item.rgb,
        item.pattern,
        round(item.size[0], 2),
        round(item.size[2], 2),
    )


@lru_cache(maxsize=256)
def _face(
    category: str,
    text: str | None,
    lettering: Lettering | None,
    rgb: RGB,
    pattern: int,
    wide: float,
    high: float,
) -> Picture:
    if text is not None and lettering is not None:
        image = _sign(text, lettering, wide / high)
    elif category == "clock":
        image = _clock(pattern)
    elif category == "poster":
        image = _poster(pattern, 144, 196)
    elif category == "photo":
        image = _landscape(pattern, 96, 124)
    elif category in ("monitor", "laptop"):
        image = _desktop(pattern)
    else:
        image = _landscape(pattern, 192, 112)
    return picture(linear(np.asarray(image.convert("RGB"))), False)


@lru_cache(maxsize=16)
def outdoors(pattern: int) -> Picture:
    """What a window shows: sky, hills, trees."""
    rng = np.random.default_rng(pattern)
    width, height = 128, 96
    rows = np.linspace(0, 1, height)[:, None, None]
    sky = np.array([150, 196, 244]) * (1 - rows) + np.array([226, 238, 250]) * rows
    image = Image.fromarray(np.broadcast_to(sky, (height, width, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for share, color in ((0.62, (176, 200, 190)), (0.74, (146, 182, 140)), (0.86, (118, 160, 104))):
        phase, waves = rng.uniform(0, 6), rng.uniform(0.8, 2.2)
        line = [
            (px, height * (share + 0.05 * math.sin(phase + waves * 2 * math.pi * px / width)))
            for px in range(0, width + 4, 4)
        ]
        draw.polygon([(0, height), *line, (width, height)], fill=color)
    for _ in range(int(rng.integers(2, 6))):
        x, r = rng.uniform(0, width), rng.uniform(7, 15)
        y = height * rng.uniform(0.66, 0.8)
        draw.rectangle((x - 1, y, x + 1, height), fill=(110, 92, 72))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(92, int(rng.uniform(132, 160)), 84))
    return picture(linear(np.asarray(image)), False)


def _sign(text: str, lettering: Lettering, aspect: float) -> Image.Image:
    """A sign's face; long texts break into two lines."""
    height = _SIGN_HEIGHT
    width = round(height * aspect)
    lines, size = _typeset(text, lettering, width)
    image = Image.new("RGB", (width, height), lettering.paper)
    draw = ImageDraw.Draw(image)
    border = max(3, height // 36)
    draw.rectangle(
        (border, border, width - border - 1, height - border - 1),
        outline=lettering.ink,
        width=max(2, height // 60),
    )
    font = ImageFont.load_default(size)
    ink = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(ink)
    pitch = size * 1.12
    top = height / 2 - pitch * (len(lines) - 1) / 2 + size * 0.36
    for k, line in enumerate(lines):
        for dx in (0, 1):  # a second stroke: the built-in font is thin
            pen.text((width / 2 + dx, top + k * pitch), line, fill=255, font=font, anchor="ms")
    if lettering.slant:
        shear = lettering.slant
        ink = ink.transform(
            ink.size,
            Image.Transform.AFFINE,
            (1, shear, -shear * height / 2, 0, 1, 0),
            Image.Resampling.BILINEAR,
        )
    image.paste(Image.new("RGB", image.size, lettering.ink), mask=ink)
    return image


def _typeset(text: str, lettering: Lettering, width: int) -> tuple[list[str], float]:
    """The lines of a sign's face of `width` px, and the font size that fills it, px."""
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    height = _SIGN_HEIGHT
    shown = {"upper": text.upper(), "lower": text.lower(), "title": text.title()}.get(
        lettering.case, text
    )
    words = shown.split()
    lines = [shown]
    if len(shown) > 12 and len(words) > 1:
        cut = min(
            range(1, len(words)),
            key=lambda k: abs(len(" ".join(words[:k])) - len(" ".join(words[k:]))),
        )
        lines = [" ".join(words[:cut]), " ".join(words[cut:])]
    room_x, room_y = width * 0.86, height * lettering.fill
    size = 8.0
    for trial in np.arange(8.0, 140.0, 2.0):
        font = ImageFont.load_default(float(trial))
        boxes = [draw.textbbox((0, 0), line, font=font, anchor="ls") for line in lines]
        slanted = abs(lettering.slant) * trial
        if max(b[2] - b[0] for b in boxes) + slanted > room_x:
            break
        if trial * (0.76 + 1.12 * (len(lines) - 1)) > room_y + (0.1 * height if lines[1:] else 0):
            break
        size = float(trial)
    return lines, size


def _clock(pattern: int) -> Image.Image:
    image = Image.new("RGB", (128, 128), (246, 244, 238))
    draw = ImageDraw.Draw(image)
    for k in range(12):
        a = k * math.pi / 6
        inner = 46 if k % 3 else 42
        draw.line(
            (
                64 + inner * math.sin(a),
                64 - inner * math.cos(a),
                64 + 54 * math.sin(a),
                64 - 54 * math.cos(a),
            ),
            fill=(40, 40, 44),
            width=3 if k % 3 else 5,
        )
    minutes = pattern % 720
    for angle, length, width in (
        (minutes / 720 * 2 * math.pi, 28, 6),
        ((minutes % 60) / 60 * 2 * math.pi, 42, 4),
    ):
        draw.line(
            (64, 64, 64 + length * math.sin(angle), 64 - length * math.cos(angle)),
            fill=(30, 30, 34),
            width=width,
        )
    return image


def _poster(pattern: int, width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(pattern)
    if rng.random() < 0.4:
        return _landscape(pattern, width, height)
    colors = _PALETTES[int(rng.integers(len(_PALETTES)))]
    image = Image.new("RGB", (width, height), colors[int(rng.integers(len(colors)))])
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(4, 9))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        r = rng.uniform(0.12, 0.42) * width
        color = colors[int(rng.integers(len(colors)))]
        box = (x - r, y - r, x + r, y + r)
        shape = int(rng.integers(3))
        if shape == 0:
            draw.ellipse(box, fill=color)
        elif shape == 1:
            draw.rectangle((x - r, y - r / 2, x + r, y + r / 2), fill=color)
        else:
            draw.pieslice(box, 0, float(rng.integers(1, 4)) * 90, fill=color)
    return image


def _landscape(pattern: int, width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(pattern + 1)
    colors = _PALETTES[int(rng.integers(len(_PALETTES)))]
    sky = np.array(colors[2], float)
    rows = np.linspace(1.08, 0.85, height)[:, None, None]
    image = Image.fromarray(
        np.broadcast_to((sky * rows).clip(0, 255), (height, width, 3)).astype(np.uint8)
    )
    draw = ImageDraw.Draw(image)
    r = 0.1 * width
    x, y = rng.uniform(0.2, 0.8) * width, rng.uniform(0.15, 0.3) * height
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colors[3])
    for k, share in enumerate((0.5, 0.64, 0.8)):
        phase, waves = rng.uniform(0, 6), rng.uniform(0.7, 1.6)
        line = [
            (px, height * (share + 0.07 * math.sin(phase + waves * 2 * math.pi * px / width)))
            for px in range(0, width + 4, 4)
        ]
        draw.polygon([(0, height), *line, (width, height)], fill=colors[(4, 0, 1)[k]])
    return image


def _desktop(pattern: int) -> Image.Image:
    rng = np.random.default_rng(pattern)
    colors = _PALETTES[int(rng.integers(len(_PALETTES)))]
    image = Image.new("RGB", (160, 100), colors[0])
    draw = ImageDraw.Draw(image)
    draw.rectangle((12, 10, 110, 84), fill=(240, 242, 244))
    draw.rectangle((12, 10, 110, 18), fill=colors[1])
    for k in range(7):
        draw.line(
            (18, 26 + 8 * k, 18 + float(rng.uniform(30, 84)), 26 + 8 * k),
            fill=(130, 136, 146),
            width=3,
        )
    for k in range(4):
        top = float(rng.uniform(30, 70))
        draw.rectangle((118 + 9 * k, top, 124 + 9 * k, 84), fill=colors[2 + k % 3])
    return image
