"""Image files, read with Pillow and turned into 8-bit RGB the way a viewer shows them."""

from __future__ import annotations

import hashlib
import os
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pixelis_env.media.base import (
    MAX_PIXELS,
    Frame,
    Media,
    MediaError,
    checked_file,
    digest_file,
    frozen,
)

# Named one by one: Pillow would also hand PostScript to an interpreter on the machine.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_ANIMATED_AS_VIDEO = ("GIF", "PNG")
# What Pillow raises for damaged content, by format (SyntaxError: PNG; RuntimeError: AVIF).
_DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    RuntimeError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def is_still_image(file: Path) -> bool:
    """Whether Pillow recognises `file` as an image that is not an animated GIF or PNG."""
    try:
        with Image.open(file, formats=_FORMATS) as image:
            animated = getattr(image, "is_animated", False)
            return not (animated and image.format in _ANIMATED_AS_VIDEO)
    except UnidentifiedImageError:
        return False
    except _DAMAGE:
        return True  # an image by its signature; reading it will say what is wrong


class ImageFile(Media):
    """An image file, or its bytes: one frame at time 0.0 that lasts 0.0 s.

    EXIF rotation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bits
    (white stays white), palettes, CMYK and the rest are converted. Colour profiles are not
    applied. A pickle carries the path or the bytes, not the pixels.

    Args:
        content: The file's path, or what it holds.
        name: What messages call it; default: the file's name, "image" for bytes.

    Raises:
        MediaError: It is missing, damaged, cut short, larger than `MAX_PIXELS`, no image, or
            of a pixel type that has no agreed white (float, 32-bit).
    """

    def __init__(self, content: str | os.PathLike[str] | bytes, *, name: str | None = None) -> None:
        self._content: Path | bytes
        if isinstance(content, bytes):
            self._content, self.name = content, name or "image"
            self.digest = hashlib.sha256(content).hexdigest()
        else:
            self._content = checked_file(content)
            self.name = name or self._content.name
            self.digest = digest_file(self._content)
        self._pixels: Frame | None = read_image(self._content, self.name)
        self.height, self.width = self._pixels.shape[:2]
        self.times = np.zeros(1)
        self.times.flags.writeable = False
        self.duration = 0.0

    def frame(self, index: int) -> Frame:
        """See `Media.frame`."""
        self._checked_index(index)
        pixels = self._pixels
        if pixels is None:
            pixels = self._pixels = read_image(self._content, self.name)
        return pixels

    def close(self) -> None:
        """See `Media.close`."""
        self._pixels = None

    def __getstate__(self) -> dict[str, object]:
        """Everything but the pixels."""
        return {**self.__dict__, "_pixels": None}


def read_image(content: Path | bytes, name: str = "image") -> Frame:
    """uint8 (H, W, 3) RGB, read-only; MediaError if there is no such reading.

    Args:
        content: A file's path, or what it holds.
        name: What messages call bytes.
    """
    file = name if isinstance(content, bytes) else content
    opened = BytesIO(content) if isinstance(content, bytes) else content
    try:
        with Image.open(opened, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise MediaError(
                    f"{file}: {width}x{height} px is more than the {MAX_PIXELS} px that are read; "
                    "scale or tile it first"
                )
            image.load()
            return frozen(_rgb(file, ImageOps.exif_transpose(image)))
    except UnidentifiedImageError as error:
        raise MediaError(
            f"{file}: is no image of a kind that is read ({', '.join(_FORMATS)}); convert it to PNG"
        ) from error
    except _DAMAGE as error:
        raise MediaError(
            f"{file}: damaged or cut short ({error}); fetch it again or save it anew as PNG"
        ) from error


def _rgb(file: Path | str, image: Image.Image) -> Frame:
    """uint8 (H, W, 3) of an image in any of Pillow's modes."""
    if image.mode == "F":
        raise MediaError(
            f"{file}: float pixels have no agreed white; scale them to 8 or 16 bits first"
        )
    if image.mode.startswith("I"):
        return _rgb_of_16_bit(file, np.asarray(image).astype(np.int64))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _rgb_of_16_bit(file: Path | str, grey: np.ndarray) -> Frame:
    """uint8 (H, W, 3) of grey values (H, W) within 0..65535, rounded to nearest."""
    if grey.min() < 0 or grey.max() > 65535:
        raise MediaError(
            f"{file}: grey values {grey.min()}..{grey.max()} have no agreed white; "
            "scale them to 8 or 16 bits first"
        )
    return np.repeat(((grey + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
