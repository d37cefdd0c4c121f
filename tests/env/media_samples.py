"""Small media files made on the spot, whose frames say which they are.

Every frame carries its number as eight black or white blocks that survive lossy coding, on a
textured ground that moves, so that a wrong frame is told apart from a badly coded one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

BLOCK = 12
WIDTH, HEIGHT = 8 * BLOCK + 32, 64  # 128 x 64

# (file name, encoder, encoder options): what people's videos are made of.
FORMATS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("h264.mp4", "libx264", {"preset": "ultrafast", "bf": "2", "g": "60"}),
    ("h264_open_gop.mkv", "libx264", {"bf": "2", "g": "20", "x264-params": "open-gop=1"}),
    ("h264.ts", "libx264", {"preset": "ultrafast", "bf": "2", "g": "15"}),
    ("h264.avi", "libx264", {"bf": "2", "g": "20"}),
    ("h264.flv", "libx264", {"preset": "ultrafast", "g": "20"}),
    ("h264.h264", "libx264", {"bf": "2", "g": "20"}),
    ("hevc.mp4", "libx265", {"x265-params": "log-level=none:keyint=20", "preset": "ultrafast"}),
    ("hevc.ts", "libx265", {"x265-params": "log-level=none:keyint=20", "preset": "ultrafast"}),
    ("mpeg4.avi", "mpeg4", {"bf": "2", "g": "12"}),
    ("mpeg4.mp4", "mpeg4", {"g": "60"}),
    ("mpeg2.mpg", "mpeg2video", {"bf": "2", "g": "12"}),
    ("mjpeg.avi", "mjpeg", {}),
    ("vp8.webm", "libvpx", {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    ("vp9.webm", "libvpx-vp9", {"cpu-used": "8", "deadline": "realtime", "g": "30"}),
    ("av1.mp4", "libsvtav1", {"preset": "12", "g": "30"}),
    ("ffv1.mkv", "ffv1", {}),
    ("animation.gif", "gif", {}),
)
_PIXELS = {"mjpeg": "yuvj420p", "gif": "rgb8"}


def numbered_frames(n: int, width: int = WIDTH, height: int = HEIGHT) -> Iterator[np.ndarray]:
    """`n` frames uint8 (height, width, 3), the i-th of which `number_of` reads as i % 256."""
    coarse = np.random.default_rng(0).integers(40, 215, (height // 8 + 1, width // 8 + 1, 3))
    ground = np.kron(coarse, np.ones((8, 8, 1), int))[:height, :width].astype(np.uint8)
    for i in range(n):
        frame = np.roll(ground, 3 * i, axis=1)
        for bit in range(8):
            left = 8 + bit * BLOCK
            frame[8 : 8 + 2 * BLOCK, left : left + BLOCK] = 255 * (i >> bit & 1)
        yield frame


def number_of(frame: np.ndarray) -> int:
    """The number that `numbered_frames` drew on an upright frame."""
    row, column = 8 + BLOCK, 8 + BLOCK // 2
    bits = [frame[row - 2 : row + 2, column + bit * BLOCK].mean() > 127 for bit in range(8)]
    return sum(int(on) << bit for bit, on in enumerate(bits))


def write_video(
    path: Path,
    encoder: str = "libx264",
    options: dict[str, str] | None = None,
    *,
    n: int = 70,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pixels: str | None = None,
    stamps: Sequence[int] | None = None,
    tick: Fraction = Fraction(1, 25),
    rotation: int = 0,
    mux: dict[str, str] | None = None,
) -> Path:
    """Write `numbered_frames(n, *size)` as a video; `stamps` in `tick` s, default one a tick."""
    with av.open(str(path), "w", options=mux or {}) as container:
        stream = container.add_stream(encoder, rate=1 / tick, options=options or {})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = pixels or _PIXELS.get(encoder, "yuv420p")
        stream.codec_context.time_base = tick
        stream.codec_context.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        for i, pixels_rgb in enumerate(numbered_frames(n, *size)):
            frame = av.VideoFrame.from_ndarray(pixels_rgb, format="rgb24")
            frame.pts = stamps[i] if stamps is not None else i
            frame.time_base = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_format(folder: Path, name: str, **kwargs: object) -> Path:
    """Write the file of `FORMATS` called `name`."""
    encoder, options = next((e, o) for n, e, o in FORMATS if n == name)
    return write_video(folder / name, encoder, options, **kwargs)  # type: ignore[arg-type]


def decode_all(path: Path, limit: int | None = None) -> list[np.ndarray]:
    """The frames (the first `limit`) decoded plainly from the start: the measure of all access."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        frames = islice(container.decode(stream), limit)
        return [frame.to_ndarray(format="rgb24") for frame in frames]


def package_file(package: str, name: str) -> Path:
    """A data file of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is not installed; pip install -e '.[dev]'"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / name
