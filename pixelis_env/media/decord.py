"""Read frames with decord, in a process of its own that can be killed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from pixelis_env.media import _decord_serve as serve
from pixelis_env.media.base import Frame, MediaError, frozen
from pixelis_env.media.container import VideoStreamFile
from pixelis_env.media.timeline import Timeline
from pixelis_env.worker import Worker, WorkerError

_TIMEOUT_S = 60.0
_CODEC = "h264"
_CONTAINER = "mov,mp4,m4a,3gp,3g2,mj2"


def check_decord(file: Path, timeline: Timeline) -> None:
    """MediaError unless decord is installed and sure to give the right frames of this file.

    Without a word it gives wrong ones of HEVC and MPEG-TS, upside-down ones of Matroska with
    rotation, and frames of the group before where a group of pictures is not closed or does not
    open with a frame that stands alone.
    """
    if importlib.util.find_spec("decord") is None:
        raise MediaError(
            f"{file}: decoder 'decord' is not installed; pip install 'pixelis[decord]', "
            "or use decoder='pyav'"
        )
    if timeline.codec != _CODEC or timeline.container != _CONTAINER:
        fault = f"{timeline.codec} in {timeline.container}"
    elif timeline.counted or timeline.open_groups or not _keys_stand_alone(file, timeline):
        fault = "groups of pictures that are not closed"
    else:
        return
    raise MediaError(
        f"{file}: decoder 'decord' may give wrong frames of {fault}; it is used for H.264 in MP4 "
        "with closed groups of pictures only: use decoder='pyav'"
    )


def _keys_stand_alone(file: Path, timeline: Timeline) -> bool:
    """Whether decoding from each key frame gives that very frame first."""
    with VideoStreamFile(file) as source:
        for key in timeline.keys:
            first = next(source.frames(key, {key.stamp}), None)
            if first is None or first.pts != key.stamp:
                return False
    return True


class DecordReader:
    """Reads frames by asking a worker process, which is killed when it does not answer.

    Args:
        file: The video.
        timeline: Its timeline; decord has to agree on the number and the size of frames.
    """

    def __init__(self, file: Path, timeline: Timeline) -> None:
        self._file = file
        self._shape = (len(timeline.stamps), *timeline.upright_size[::-1])
        self._worker: Worker | None = None

    def read(self, index: int) -> Frame:
        """See `FrameReader.read`."""
        try:
            if self._worker is None:
                self._worker = self._started()
            data = self._worker.ask(serve.INDEX.pack(index), timeout_s=_TIMEOUT_S)
        except WorkerError as error:
            self.close()
            raise MediaError(
                f"{self._file}: decord failed at frame {index} ({error}); use decoder='pyav'"
            ) from error
        return frozen(np.frombuffer(data, np.uint8).reshape(*self._shape[1:], 3))

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, None while there is none."""
        return None if self._worker is None else self._worker.pid

    def close(self) -> None:
        """See `FrameReader.close`."""
        if self._worker is not None:
            self._worker.stop()
        self._worker = None

    def _started(self) -> Worker:
        """A worker that has opened the file and found in it what the timeline says."""
        worker = Worker(Path(serve.__file__), str(self._file), timeout_s=_TIMEOUT_S)
        shape = serve.SHAPE.unpack(worker.first)
        if shape != self._shape:
            worker.stop()
            raise WorkerError(f"it finds (frames, height, width) {shape}, not {self._shape}")
        return worker
