"""Each decoder on a clip that is written on the spot, so that every frame is known."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from pixelis_env.doctor.operations import FPS, FRAMES, HEIGHT, WIDTH, Wrong, drawn_clip
from pixelis_env.doctor.outcome import Outcome
from pixelis_env.errors import MissingExtra
from pixelis_env.media import Decoder, open_media

LOOKED_AT = (0, FRAMES // 2, 1, FRAMES - 1)
"""Frames in the order in which they are asked for: the first, the middle, and back again."""
_CLOSE = 6.0
"""Mean difference of display values (0..255) below which a frame is the one that was written:
lossy coding costs 1 to 3, a neighbouring frame differs by more than 8."""


def look(decoder: str) -> Outcome:
    """A decoder of Pixelis: whether its frames are the ones written, and PyAV's."""
    if decoder != "pyav" and importlib.util.find_spec(decoder) is None:
        raise MissingExtra(f"decoder={decoder!r}", decoder)
    (name,) = (each for each in get_args(Decoder) if each == decoder)
    with tempfile.TemporaryDirectory() as folder:
        clip = _write(Path(folder) / "clip.mp4")
        started = time.perf_counter()
        media = open_media(clip, decoder=name, cache_bytes=0)
        frames = {index: media.frame(index) for index in LOOKED_AT}
        took = time.perf_counter() - started
        media.close()
        _check(frames)
        apart = 0.0
        if decoder != "pyav":
            other = open_media(clip, cache_bytes=0)
            apart = max(_apart(frame, other.frame(index)) for index, frame in frames.items())
            other.close()
    return Outcome("ok", f"{_seen(took)}{_compared(decoder, apart)}")


def opencv() -> Outcome:
    """OpenCV's own reader. Pixelis does not use it: it is silently wrong where rates vary."""
    import cv2

    with tempfile.TemporaryDirectory() as folder:
        reader = cv2.VideoCapture(str(_write(Path(folder) / "clip.mp4")))
        started = time.perf_counter()
        frames = {}
        for index in LOOKED_AT:
            reader.set(cv2.CAP_PROP_POS_FRAMES, index)
            good, frame = reader.read()
            if not good:
                raise Wrong(f"frame {index} is not given")
            frames[index] = np.asarray(frame[:, :, ::-1], np.uint8)
        took = time.perf_counter() - started
        reader.release()
    _check(frames)
    return Outcome("ok", f"{_seen(took)}; for comparison only, Pixelis does not read videos by it")


def _write(path: Path) -> Path:
    """The drawn clip as H.264 in MP4, with a key frame every five frames."""
    import av

    media = drawn_clip().media
    with av.open(str(path), "w") as container:
        options = {"crf": "10", "g": "5", "bf": "0", "preset": "veryfast"}
        stream = container.add_stream("libx264", rate=round(FPS), options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(media.frame(index), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _check(frames: dict[int, NDArray[np.uint8]]) -> None:
    """Wrong unless each frame is the one that was written under its number."""
    media = drawn_clip().media
    for index, frame in frames.items():
        if frame.shape != (HEIGHT, WIDTH, 3):
            raise Wrong(f"frame {index} is {frame.shape}, not {(HEIGHT, WIDTH, 3)}")
        apart = [_apart(frame, media.frame(k)) for k in range(FRAMES)]
        best = int(np.argmin(apart))
        if best != index or apart[index] > _CLOSE:
            raise Wrong(
                f"asked for frame {index}, it gives what looks most like frame {best} "
                f"({apart[index]:.1f} of 255 from frame {index})"
            )


def _apart(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())


def _seen(seconds: float) -> str:
    return f"frames {', '.join(map(str, LOOKED_AT))} right, {1e3 * seconds:.0f} ms"


def _compared(decoder: str, apart: float) -> str:
    if decoder == "pyav":
        return ""
    return ", PyAV's exactly" if apart == 0 else f", {apart:.2f} of 255 from PyAV's"
