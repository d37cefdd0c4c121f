"""A camera's imperfections: defocus, motion blur, noise."""

from __future__ import annotations

import math

import numpy as np

from .scene import Sensor


def expose(
    image: np.ndarray, sensor: Sensor, seed: tuple[int, ...], scale: float = 1.0
) -> np.ndarray:
    """Blur and noise an image.

    Args:
        image: uint8 (H, W, 3).
        sensor: What to apply; a perfect sensor returns the image as it is.
        seed: Seed of the blur's direction and the noise.
        scale: Size of the image relative to the full frame; blur shrinks with it.

    Returns:
        uint8 (H, W, 3).
    """
    if not (sensor.defocus or sensor.motion or sensor.noise):
        return image
    import cv2

    rng = np.random.default_rng(np.random.SeedSequence(seed))
    angle = float(rng.uniform(0, math.pi))
    out = image.astype(np.float32)
    if sensor.motion * scale > 1.0:
        out = np.asarray(cv2.filter2D(out, -1, _line(sensor.motion * scale, angle)), np.float32)
    if sensor.defocus * scale > 0.2:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), sensor.defocus * scale), np.float32)
    if sensor.noise:
        out = out + np.float32(sensor.noise) * rng.standard_normal(out.shape, np.float32)
    return np.asarray((out + np.float32(0.5)).clip(0, 255).astype(np.uint8))


def _line(length: float, angle: float) -> np.ndarray:
    """A normalised line-shaped kernel, float32."""
    half = math.ceil(length / 2)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for t in np.linspace(-length / 2, length / 2, 8 * half + 1):
        kernel[half + round(t * math.sin(angle)), half + round(t * math.cos(angle))] += 1
    return kernel / kernel.sum()
