"""Images of a rollout: in memory, or stored and read when their pixels are needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Union

import xxhash
from PIL import Image

from pixelis_env.wrappers import enlarged

MOST_ASPECT = 200
"""Longer side over shorter: image processors of Qwen's models refuse more."""


@dataclass(frozen=True)
class StoredImage:
    """An image in a file, to be enlarged when it is read.

    Attributes:
        path: The file.
        factor: How many times it is enlarged, >= 1.
        width: After enlargement, px.
        height: Likewise.
    """

    path: Path
    factor: int
    width: int
    height: int

    @classmethod
    def find(cls, path: Path, factor: int = 1) -> StoredImage:
        """The image in a file; only its head is read.

        Raises:
            OSError: There is no image.
        """
        with Image.open(path) as image:
            return cls(path, factor, image.width * factor, image.height * factor)

    @property
    def key(self) -> str:
        """Equal for equal pixels where files are named by their content."""
        return f"{self.path.name}x{self.factor}"

    def read(self) -> Image.Image:
        """The pixels, RGB."""
        with Image.open(self.path) as image:
            return enlarged(image.convert("RGB"), self.factor)


Picture = Union[Image.Image, StoredImage]


def picture_key(picture: Picture) -> str:
    """Equal for equal pixels: of a stored image its key, else a digest."""
    if isinstance(picture, StoredImage):
        return picture.key
    size = f"{picture.mode}{picture.width}x{picture.height}"
    return f"{size} {xxhash.xxh3_128_hexdigest(picture.tobytes())}"


def read_picture(picture: Picture) -> Image.Image:
    """The pixels of an image, wherever they are."""
    return picture.read() if isinstance(picture, StoredImage) else picture


def shown_size(picture: Picture) -> tuple[int, int]:
    """Width and height at which a model can be shown an image: a thin one is thickened, px."""
    least = math.ceil(max(picture.width, picture.height) / MOST_ASPECT)
    return max(picture.width, least), max(picture.height, least)


def shown(picture: Picture) -> Image.Image:
    """The pixels of an image as a model is shown them; coordinates relative to it stay true."""
    image, size = read_picture(picture), shown_size(picture)
    return image if image.size == size else image.resize(size, Image.Resampling.NEAREST)
