"""Video files with random access: any frame, by number, exactly the one a full decode gives."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from pixelis_env.media.base import (
    DEFAULT_CACHE_BYTES,
    Frame,
    Media,
    MediaError,
    checked_file,
    digest_file,
    frozen,
)
from pixelis_env.media.cache import ByteCache
from pixelis_env.media.container import KeyFrame, VideoStreamFile
from pixelis_env.media.decord import DecordReader, check_decord
from pixelis_env.media.timeline import Timeline, read_timeline
from pixelis_env.media.torchcodec import TorchcodecReader, check_torchcodec

# Decoding on over this many frames is cheaper than a seek, even past a key frame.
_STEP_FRAMES = 8


class FrameReader(Protocol):
    """Reads frames of one file; used by one thread of one process at a time."""

    def read(self, index: int) -> Frame:
        """Frame `index`, uint8 (H, W, 3) upright, read-only; MediaError if it is damaged."""

    def close(self) -> None:
        """Free what is open; `read` opens it again."""


class PyavReader:
    """Reads frames with PyAV: decodes on where it can, else from the key frame before.

    Args:
        file: The video.
        timeline: Its timeline.
    """

    def __init__(self, file: Path, timeline: Timeline) -> None:
        self._file = file
        self._timeline = timeline
        self._key_stamps = [key.stamp for key in timeline.keys]
        self._reformatter = VideoReformatter()  # its conversion tables outlive a frame
        self._source: VideoStreamFile | None = None
        self._frames: Iterator[tuple[int | None, VideoFrame]] = iter(())
        self._last: int | None = None  # index of the frame decoded last, None if unknown

    def read(self, index: int) -> Frame:
        """See `FrameReader.read`."""
        target = int(self._timeline.stamps[index])
        n_keys = bisect_right(self._key_stamps, target)
        frame = self._decode_to(target) if self._is_ahead(index, n_keys) else None
        self._last = None
        # A container may land too late, or a damaged key frame give nothing: start earlier.
        for key in (*self._timeline.keys[max(0, n_keys - 2) : n_keys][::-1], None):
            if frame is not None:
                break
            self._start(key)
            frame = self._decode_to(target)
        if frame is None:
            raise MediaError(
                f"{self._file}: frame {index} at {self._timeline.times[index]:g} s cannot be "
                "decoded; the file is damaged there: use other frames or fetch it again"
            )
        self._last = index
        return self._upright_rgb(frame)

    def close(self) -> None:
        """See `FrameReader.close`."""
        if self._source is not None:
            self._source.close()
        self._source, self._frames, self._last = None, iter(()), None

    def _is_ahead(self, index: int, n_keys: int) -> bool:
        """Whether decoding on reaches `index`, `n_keys` key frames in, as well as a seek does."""
        if self._source is None or self._last is None or index <= self._last:
            return False
        if n_keys == 0 or int(self._timeline.stamps[self._last]) >= self._key_stamps[n_keys - 1]:
            return True
        # Past a key frame damage would spread that a seek would not meet.
        return index - self._last <= _STEP_FRAMES and not self._source.damaged

    def _start(self, key: KeyFrame | None) -> None:
        """Decode from `key` next, or from the start of the file."""
        if key is None or (self._source is not None and self._source.damaged):
            self.close()
        if self._source is None:
            self._source = VideoStreamFile(self._file)
        frames = self._source.frames(key, self._key_stamps)
        if self._timeline.counted:
            self._frames = enumerate(frames)
        else:
            self._frames = ((frame.pts, frame) for frame in frames)

    def _decode_to(self, target: int) -> VideoFrame | None:
        """The frame with stamp `target`, or None if a later one or the end comes first."""
        for stamp, frame in self._frames:
            if stamp == target:
                return frame
            if stamp is not None and stamp > target:
                break
        return None

    def _upright_rgb(self, frame: VideoFrame) -> Frame:
        """uint8 (H, W, 3), of the size of the first frame even where the stream changes it."""
        width, height = self._timeline.coded_size
        rgb = self._reformatter.reformat(frame, width, height, "rgb24", threads=1)
        return frozen(self._timeline.orientation.apply(np.asarray(rgb.to_ndarray(), np.uint8)))


Decoder = Literal["pyav", "decord", "torchcodec"]
DECODERS: tuple[str, ...] = get_args(Decoder)

_READERS: dict[str, Callable[[Path, Timeline], FrameReader]] = {
    "pyav": PyavReader,
    "decord": DecordReader,
    "torchcodec": TorchcodecReader,
}

_CHECKS: dict[str, Callable[[Path, Timeline], None]] = {
    "decord": check_decord,
    "torchcodec": check_torchcodec,
}
"""What has to hold before a decoder is used on a file."""


class _Session:
    """What one process holds open of a video."""

    def __init__(self, reader: FrameReader, cache_bytes: int) -> None:
        self.lock = threading.Lock()
        self.reader = reader
        self.cache: ByteCache[int, Frame] = ByteCache(cache_bytes)


class VideoFile(Media):
    """A video file, decoded on demand.

    Opening reads the whole file once for its digest and its timeline; decoders are opened at
    the first frame, one for each process, and are not pickled. Frames come upright (rotation
    applied) in the coded pixel grid (no stretching of non-square pixels), without alpha. A file
    cut short has the frames that can still be decoded. Of one damaged in the middle some frames
    are MediaErrors; others, up to the next key frame, may show what the decoder made up.

    Args:
        path: The file.
        decoder: "pyav", "decord" or "torchcodec".
        cache_bytes: Most bytes of decoded frames kept in each process, 0 for none.

    Raises:
        MediaError: The file is missing, no video or without a frame that can be decoded; or
            `decoder` is not installed or cannot be trusted with this kind of file.
        ValueError: `decoder` is none of the three.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        decoder: Decoder = "pyav",
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        if decoder not in DECODERS:
            raise ValueError(f"decoder {decoder!r}: must be one of {', '.join(DECODERS)}")
        self._file = checked_file(path)
        self._decoder = decoder
        self._cache_bytes = cache_bytes
        self._timeline = read_timeline(self._file)
        if decoder in _CHECKS:
            _CHECKS[decoder](self._file, self._timeline)
        self._sessions: dict[int, _Session] = {}
        self.name = self._file.name
        self.digest = digest_file(self._file)
        self.times = self._timeline.times
        self.duration = self._timeline.duration
        self.width, self.height = self._timeline.upright_size

    def frame(self, index: int) -> Frame:
        """See `Media.frame`."""
        index = self._checked_index(index)
        session = self._session()
        with session.lock:
            frame = session.cache.get(index)
            if frame is None:
                frame = session.reader.read(index)
                session.cache.put(index, frame)
            return frame

    def close(self) -> None:
        """See `Media.close`."""
        session = self._sessions.pop(os.getpid(), None)
        if session is not None:
            with session.lock:
                session.reader.close()

    def _session(self) -> _Session:
        """This process's session.

        A forked child must not touch its parent's: the decoder shares a file position with
        it, and the lock may have been held by a thread that does not exist here. Nor does it
        free it. `setdefault` keeps one session when two threads come first at once.
        """
        pid = os.getpid()
        session = self._sessions.get(pid)
        if session is None:
            reader = _READERS[self._decoder](self._file, self._timeline)
            session = self._sessions.setdefault(pid, _Session(reader, self._cache_bytes))
        return session

    def __getstate__(self) -> dict[str, object]:
        """Everything but what is open."""
        return {**self.__dict__, "_sessions": {}}
