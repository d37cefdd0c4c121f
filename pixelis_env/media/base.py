"""The contract every medium keeps, and the medium whose frames are already in memory."""

from __future__ import annotations

import hashlib
import operator
import os
import stat
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_PIXELS = 64 * 1024 * 1024
"""Largest frame that is opened, in pixels (200 MB of RGB); a header may promise far more."""

DEFAULT_CACHE_BYTES = 64 * 1024 * 1024
"""Decoded frames one medium keeps in one process, in bytes."""

Frame = NDArray[np.uint8]
"""uint8 (H, W, 3) RGB."""


class MediaError(Exception):
    """A medium cannot be read; the message names the file, the fault and the mend."""


class Media(ABC):
    """Frames of one size on a timeline: an image, a video file, an array or a rendered room.

    A medium can be pickled, used from several threads at once and carried over a fork.

    Attributes:
        name: What messages call the medium.
        width: Width of every frame in pixels, as displayed (rotation applied).
        height: Height of every frame in pixels, as displayed.
        times: float64 (n_frames,), when each frame appears in seconds; strictly increasing
            from exactly 0.0. Files' times are whole microseconds, so that a time printed
            with six decimals names the same frame when it is read back.
        duration: End of the last frame in seconds; 0.0 for an image.
        digest: Hex sha256 of the content: same content, same digest.
    """

    name: str
    width: int
    height: int
    times: NDArray[np.float64]
    duration: float
    digest: str

    @property
    def n_frames(self) -> int:
        """Number of frames, at least 1."""
        return len(self.times)

    @property
    def is_video(self) -> bool:
        """Whether the medium lasts; a clip of one frame does, an image does not."""
        return self.duration > 0.0

    @abstractmethod
    def frame(self, index: int) -> Frame:
        """The frame at `index`, uint8 (H, W, 3) RGB, C-contiguous and read-only.

        Raises:
            IndexError: `index` is outside 0..n_frames-1 (negative ones too).
            MediaError: The frame cannot be read.
        """

    def thumbnail(self, index: int, size: int) -> Frame:
        """The frame at `index` scaled so that its longer side is `size` pixels.

        Returns:
            uint8 (h, w, 3) RGB, max(h, w) == size, aspect kept to the nearest pixel.

        Raises:
            IndexError: `index` is outside 0..n_frames-1.
            ValueError: `size` is below 1.
            MediaError: The frame cannot be read.
        """
        import cv2

        if size < 1:
            raise ValueError(f"thumbnail size {size} px: must be at least 1")
        scale = size / max(self.width, self.height)
        shape = (max(1, round(self.width * scale)), max(1, round(self.height * scale)))
        # INTER_AREA averages when it shrinks but only repeats pixels when it enlarges.
        method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(self.frame(index), shape, interpolation=method), np.uint8)

    def index_at(self, time: float) -> int:
        """The frame on show at `time` seconds: the last one with ``times[i] <= time``.

        Raises:
            ValueError: `time` is outside [0, duration], or not a number.
        """
        if not 0.0 <= time <= self.duration:
            raise ValueError(
                f"time {time} s of {self.name}: must lie within 0 and {self.duration:g} s"
            )
        return int(np.searchsorted(self.times, time, side="right")) - 1

    def close(self) -> None:  # noqa: B027  (most media hold nothing that needs closing)
        """Free decoders and cached frames; the medium reopens when it is used again."""

    def __setstate__(self, state: dict[str, object]) -> None:
        """Restore from a pickle, which does not keep arrays read-only."""
        self.__dict__.update(state)
        self.times.flags.writeable = False

    def _checked_index(self, index: int) -> int:
        """`index` as an int within 0..n_frames-1, or IndexError."""
        index = operator.index(index)
        if not 0 <= index < self.n_frames:
            raise IndexError(
                f"frame {index} of {self.name}: must lie within 0..{self.n_frames - 1}"
            )
        return index


class ArrayMedia(Media):
    """Frames held in memory.

    Args:
        frames: uint8 (T, H, W, 3) RGB for a video, (H, W, 3) for an image. Copied unless it
            is read-only and C-contiguous already.
        fps: Frames per second where `times` is not given.
        times: When each frame appears, in seconds (T,); strictly increasing from 0.0. The
            last frame lasts as long as the one before it (1 / fps where it is alone).
        name: What messages call the medium.

    Raises:
        MediaError: Shape, dtype, fps or times are not as above.
    """

    def __init__(
        self,
        frames: ArrayLike,
        fps: float = 10.0,
        times: ArrayLike | None = None,
        *,
        name: str = "array",
    ) -> None:
        array = np.asarray(frames)
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or array.shape[-1] != 3:
            raise MediaError(
                f"{name}: {array.dtype} {array.shape} is no RGB; "
                "give uint8 (T, H, W, 3) for a video or (H, W, 3) for an image"
            )
        if 0 in array.shape:
            raise MediaError(
                f"{name}: {array.shape} holds no pixel; give at least one frame of 1x1"
            )
        still = array.ndim == 3
        self.name = name
        if array.flags.writeable:
            array = array.copy()
        self._frames = frozen(array[None] if still else array)
        self.height, self.width = self._frames.shape[1:3]
        self.times, self.duration = _timeline(name, len(self._frames), fps, times)
        if still:
            self.duration = 0.0
        content = hashlib.sha256(repr((array.shape, self.times.tolist(), self.duration)).encode())
        content.update(self._frames.data)
        self.digest = content.hexdigest()

    def frame(self, index: int) -> Frame:
        """See `Media.frame`."""
        return self._frames[self._checked_index(index)]

    def __setstate__(self, state: dict[str, object]) -> None:
        """See `Media.__setstate__`."""
        super().__setstate__(state)
        self._frames.flags.writeable = False


def _timeline(
    name: str, n_frames: int, fps: float, times: ArrayLike | None
) -> tuple[NDArray[np.float64], float]:
    """Checked times (n_frames,) and the duration, in seconds."""
    if not (np.isfinite(fps) and fps > 0):
        raise MediaError(f"{name}: {fps} frames a second; give a positive number")
    if times is None:
        stamps = np.round(np.arange(n_frames) / fps, 6)
    else:
        stamps = np.array(times, dtype=np.float64)
    good = stamps.shape == (n_frames,) and bool(np.isfinite(stamps).all())
    if not good or stamps[0] != 0.0 or bool((np.diff(stamps) <= 0).any()):
        raise MediaError(
            f"{name}: times must be {n_frames} seconds, strictly increasing from 0.0, "
            f"got {np.array2string(stamps, threshold=6)}"
        )
    stamps.flags.writeable = False
    last = float(stamps[-1] - stamps[-2]) if n_frames > 1 else 1.0 / fps
    return stamps, float(stamps[-1]) + last


def frozen(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`frame`, which the caller owns, made C-contiguous and read-only (copied only if it must)."""
    frame = np.ascontiguousarray(frame)
    frame.flags.writeable = False
    return frame


def checked_file(path: str | os.PathLike[str]) -> Path:
    """`path` as an absolute path to a regular file, or MediaError.

    A pipe or a device is refused before it is opened: reading one may never end.
    """
    file = Path(path).absolute()
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:
        raise MediaError(f"{file}: cannot be found ({error}); check the path") from error
    if stat.S_ISDIR(mode):
        raise MediaError(f"{file}: is a folder; name an image or video file in it")
    if not stat.S_ISREG(mode):
        raise MediaError(f"{file}: is no regular file; copy its content into one")
    return file


def digest_file(file: Path) -> str:
    """Hex sha256 of the bytes of `file`, read in pieces; MediaError if it cannot be read."""
    content = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while piece := stream.read(1 << 20):
                content.update(piece)
    except OSError as error:
        raise MediaError(f"{file}: cannot be read ({error}); check its permissions") from error
    return content.hexdigest()
