"""Read frames with torchcodec, each one checked against the timeline."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from pixelis_env.media.base import Frame, MediaError, frozen
from pixelis_env.media.timeline import UPRIGHT, Timeline

_SAME_S = 1e-4  # s: two stamps of one frame; torchcodec gives them as float seconds


def check_torchcodec(file: Path, timeline: Timeline) -> None:
    """MediaError unless torchcodec works here and its frames of this file can be checked."""
    if importlib.util.find_spec("torchcodec") is None:
        raise MediaError(
            f"{file}: decoder 'torchcodec' is not installed; pip install 'pixelis[torchcodec]', "
            "or use decoder='pyav'"
        )
    try:
        importlib.import_module("torchcodec.decoders")
    except (ImportError, OSError, RuntimeError) as error:
        # It looks for FFmpeg, and for the CUDA libraries of the torch that it was built for.
        reason = str(error).strip().partition("\n")[0]
        raise MediaError(
            f"{file}: decoder 'torchcodec' is installed but cannot be imported ({reason}); install "
            "FFmpeg and the torchcodec of your torch, or use decoder='pyav'"
        ) from error
    if timeline.orientation != UPRIGHT or timeline.counted:
        fault = "no time stamps" if timeline.counted else "turned or mirrored frames"
        raise MediaError(
            f"{file}: decoder 'torchcodec' is not used for files with {fault}, where a wrong frame "
            "could not be told: use decoder='pyav'"
        )


class TorchcodecReader:
    """Reads frames by number, and refuses one whose time or size is not the timeline's.

    Args:
        file: The video.
        timeline: Its timeline.
    """

    def __init__(self, file: Path, timeline: Timeline) -> None:
        self._file = file
        self._timeline = timeline
        self._decoder: Any = None

    def read(self, index: int) -> Frame:
        """See `FrameReader.read`."""
        try:
            if self._decoder is None:
                from torchcodec.decoders import VideoDecoder

                self._decoder = VideoDecoder(
                    str(self._file), dimension_order="NHWC", num_ffmpeg_threads=1
                )
            frame = self._decoder.get_frame_at(index)
        except (RuntimeError, ValueError, IndexError) as error:
            self.close()
            raise MediaError(
                f"{self._file}: torchcodec failed at frame {index} ({error}); use decoder='pyav'"
            ) from error
        begin = float(self._decoder.metadata.begin_stream_seconds or 0.0)
        time, wanted = float(frame.pts_seconds) - begin, float(self._timeline.times[index])
        pixels = np.asarray(frame.data.numpy(), np.uint8)
        shape = (*self._timeline.upright_size[::-1], 3)
        if abs(time - wanted) > _SAME_S or pixels.shape != shape:
            raise MediaError(
                f"{self._file}: torchcodec gives for frame {index} one at {time:g} s of shape "
                f"{pixels.shape}, not at {wanted:g} s of {shape}; use decoder='pyav'"
            )
        return frozen(pixels)

    def close(self) -> None:
        """See `FrameReader.close`."""
        self._decoder = None
