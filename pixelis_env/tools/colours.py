"""Basic colour names."""

from __future__ import annotations

import colorsys

_HUES = (
    (16.0, "red"),
    (42.0, "orange"),
    (68.0, "yellow"),
    (170.0, "green"),
    (255.0, "blue"),
    (300.0, "purple"),
    (345.0, "pink"),
    (360.1, "red"),
)


def colour_name(red: float, green: float, blue: float) -> str:
    """The basic colour term for an sRGB colour, each channel 0..255.

    One of black, gray, white, brown, red, orange, yellow, green, blue, purple, pink: neutral tones
    by their lightness, the others by hue; brown is a dark or dull orange.
    """
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    chroma, hue = saturation * value, hue * 360
    if chroma < 0.1 or saturation < 0.16:
        return "black" if value < 0.27 else "white" if value - chroma > 0.72 else "gray"
    if hue < 55 and value < 0.75 and (hue > 14 or chroma < 0.3):
        return "brown"
    return next(name for limit, name in _HUES if hue < limit)
