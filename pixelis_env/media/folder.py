"""A folder of numbered images as a video."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import numpy as np

from pixelis_env.media.base import Frame, Media, MediaError, digest_file
from pixelis_env.media.image import read_image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class FrameFolder(Media):
    """The images of a folder in the order of the numbers that end their names.

    The first is shown from 0 s, each for 1 / `fps` s. Opening reads every file once for the
    digest; the pixels are read when they are asked for.

    Args:
        path: The folder.
        fps: Frames a second.

    Raises:
        MediaError: It is no folder, holds no numbered image, or `fps` is not positive.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        folder = Path(path).absolute()
        if not (np.isfinite(fps) and fps > 0):
            raise MediaError(f"{folder}: {fps} frames a second; give a positive number")
        self._files = numbered_images(folder)
        self.name = folder.name
        first = read_image(self._files[0])
        self.height, self.width = first.shape[:2]
        self.times = np.round(np.arange(len(self._files)) / fps, 6)
        self.times.flags.writeable = False
        self.duration = len(self._files) / fps
        content = hashlib.sha256(repr(fps).encode("ascii"))
        for file in self._files:
            content.update(digest_file(file).encode("ascii"))
        self.digest = content.hexdigest()

    def frame(self, index: int) -> Frame:
        """See `Media.frame`."""
        file = self._files[self._checked_index(index)]
        frame = read_image(file)
        if frame.shape[:2] != (self.height, self.width):
            raise MediaError(
                f"{file}: {frame.shape[1]}x{frame.shape[0]} px among frames of "
                f"{self.width}x{self.height} px; scale them to one size"
            )
        return frame


def numbered_images(folder: Path) -> tuple[Path, ...]:
    """The images of `folder` whose names end in a number, in that number's order.

    Raises:
        MediaError: There are none, or two have one number.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise MediaError(f"{folder}: is no folder that can be read ({error})") from error
    numbered: dict[int, Path] = {}
    for name in names:
        stem, suffix = os.path.splitext(name)
        digits = re.search(r"\d+$", stem, re.ASCII)
        if suffix.lower() not in SUFFIXES or digits is None:
            continue
        number = int(digits[0])
        if number in numbered:
            raise MediaError(f"{folder}: {name} and {numbered[number].name} have one number")
        numbered[number] = folder / name
    if not numbered:
        raise MediaError(
            f"{folder}: holds no numbered image ({', '.join(SUFFIXES)}); name frames 00001.jpg, ..."
        )
    return tuple(numbered[number] for number in sorted(numbered))
