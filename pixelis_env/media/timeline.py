"""Which frames a video file holds, when each is shown, and where decoding can start."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideData
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pixelis_env.media.base import Frame, MediaError
from pixelis_env.media.container import KeyFrame, VideoStreamFile

_PROBED_FRAMES = 8
_DEFAULT_RATE = Fraction(25)  # frames a second, FFmpeg's own for files that state none


class Orientation(NamedTuple):
    """How to turn a decoded frame upright: first transpose, then flip."""

    transpose: bool
    flip_rows: bool
    flip_columns: bool

    def apply(self, frame: Frame) -> Frame:
        """`frame` (H, W, 3) upright, as a view."""
        if self.transpose:
            frame = frame.transpose(1, 0, 2)
        return frame[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


UPRIGHT = Orientation(False, False, False)


@dataclass(frozen=True, eq=False)
class Timeline:
    """What a file's packets (and, where they do not tell, its decoded frames) say.

    Attributes:
        stamps: int64 (n_frames,), strictly increasing: each frame's presentation stamp in ticks
            of the stream, or, if `counted`, its number in decoding from the start.
        times: float64 (n_frames,), s, strictly increasing from 0.0, in whole microseconds.
        duration: End of the last frame, s.
        keys: Where decoding can start, by stamp; none if only the start will do.
        counted: The file's stamps are missing or wrong, frames are told apart by counting.
        open_groups: Some frames are shown before the key frame that precedes them in the file.
        coded_size: Width and height in pixels before `orientation`.
        orientation: From the rotation the file states.
        codec: FFmpeg's name of the codec.
        container: FFmpeg's name of the container format.
    """

    stamps: NDArray[np.int64]
    times: NDArray[np.float64]
    duration: float
    keys: tuple[KeyFrame, ...]
    counted: bool
    open_groups: bool
    coded_size: tuple[int, int]
    orientation: Orientation
    codec: str
    container: str

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height in pixels after `orientation`."""
        width, height = self.coded_size
        return (height, width) if self.orientation.transpose else (width, height)


class _Packet(NamedTuple):
    """What the timeline needs of a packet that is shown."""

    stamp: int | None
    key: KeyFrame | None
    duration: int


class _Head(NamedTuple):
    """What decoding the first few frames shows."""

    stamps: list[int | None]
    size: tuple[int, int]
    orientation: Orientation


def read_timeline(file: Path) -> Timeline:
    """Read every packet of `file` once, decode a few frames, and believe the packets only if
    they agree with them; otherwise decode everything once and list what came out.

    So a file cut short has just the frames that can still be read.

    Raises:
        MediaError: `file` is no video that can be read, or not one of its frames can.
    """
    with VideoStreamFile(file) as source:
        codec, container = source.stream.codec_context.name, source.container.format.name
        tick = source.stream.time_base
        rate = source.stream.average_rate or source.stream.guessed_rate or _DEFAULT_RATE
        packets = _read_packets(source)
        complete = source.stream.frames == len(packets)
    head = _read_head(file)

    stamps = _packet_stamps(file, packets, head, complete)
    if stamps is None:
        stamps = _decoded_stamps(file)
    counted = stamps is None or tick is None
    if stamps is None or tick is None:
        stamps, tick, packets = list(range(_count_frames(file))), 1 / rate, []

    times = np.round(np.array([stamp - stamps[0] for stamp in stamps], float) * float(tick), 6)
    kept = np.diff(times, prepend=-1.0) > 0  # frames within one microsecond are one frame
    times = times[kept]
    times.flags.writeable = False
    return Timeline(
        stamps=np.array(stamps, np.int64)[kept],
        times=times,
        duration=float(times[-1]) + _last_duration(times, packets, stamps[-1], tick, rate),
        keys=_seekable_keys(container, packets, set(stamps)),
        counted=counted,
        open_groups=_has_open_groups(packets),
        coded_size=head.size,
        orientation=head.orientation,
        codec=codec,
        container=container,
    )


def _read_packets(source: VideoStreamFile) -> list[_Packet]:
    """All packets whose frames are shown, in file order."""
    # MPEG-TS is searched by decoding stamp and lands late when asked for a presentation stamp.
    by_dts = source.container.format.name == "mpegts"
    packets = []
    for packet in source.packets():
        if packet.is_discard:  # cut away by an edit list
            continue
        key = None
        if packet.is_keyframe and packet.pts is not None:
            seek = packet.dts if by_dts and packet.dts is not None else packet.pts
            key = KeyFrame(packet.pts, seek)
        packets.append(_Packet(packet.pts, key, packet.duration or 0))
    return packets


def _read_head(file: Path) -> _Head:
    """Decode the first frames; MediaError if there are none."""
    with VideoStreamFile(file) as source:
        frames = list(islice(source.frames(), _PROBED_FRAMES))
    if not frames:
        raise MediaError(
            f"{file}: holds 0 frames that can be decoded; it is empty, cut short or damaged: "
            "fetch it again or repair it (ffmpeg -i IN OUT.mp4)"
        )
    first = frames[0]
    return _Head([frame.pts for frame in frames], (first.width, first.height), _orientation(first))


def _packet_stamps(
    file: Path, packets: list[_Packet], head: _Head, complete: bool
) -> list[int] | None:
    """Stamps in order of presentation as the packets have them, or None if decoding disagrees.

    The first frames are compared always (stamps of H.264 in AVI are guesses, interlaced
    packets may hold half a frame), the last ones unless the container holds just as many
    packets as it promises (a file cut short).
    """
    stamps = sorted(packet.stamp for packet in packets if packet.stamp is not None)
    if len(set(stamps)) != len(packets) or head.stamps != stamps[: len(head.stamps)]:
        return None
    if complete:
        return stamps
    # The last key frame's group may lean on the cut, frames shown before it included.
    keys = sorted(packet.key for packet in packets if packet.key is not None)
    if len(keys) < 2:
        return None
    key = keys[-2]
    with VideoStreamFile(file) as source:
        tail = [frame.pts for frame in source.frames(key, {key.stamp}) if frame.pts is not None]
    agrees = [s for s in tail if s >= key.stamp] == [s for s in stamps if s >= key.stamp]
    return stamps if agrees else None


def _decoded_stamps(file: Path) -> list[int] | None:
    """Stamps of all frames that can be decoded, or None if they are missing or out of order.

    Of frames with equal stamps the first counts.
    """
    stamps: list[int] = []
    with VideoStreamFile(file) as source:
        for frame in source.frames():
            if frame.pts is None or (stamps and frame.pts < stamps[-1]):
                return None
            if not stamps or frame.pts > stamps[-1]:
                stamps.append(frame.pts)
    return stamps


def _count_frames(file: Path) -> int:
    """How many frames decode from the start, at least 1."""
    with VideoStreamFile(file) as source:
        return sum(1 for _ in source.frames())


def _seekable_keys(container: str, packets: list[_Packet], shown: set[int]) -> tuple[KeyFrame, ...]:
    """Key frames by stamp. In MPEG program streams stamps change after a seek: none there."""
    if container == "mpeg":
        return ()
    times_used = Counter(packet.stamp for packet in packets)
    return tuple(
        sorted(
            packet.key
            for packet in packets
            if packet.key and packet.stamp in shown and times_used[packet.stamp] == 1
        )
    )


def _has_open_groups(packets: list[_Packet]) -> bool:
    """Whether a packet after a key frame's is shown before it."""
    key: int | None = None
    for packet in packets:
        if packet.key is not None:
            key = packet.key.stamp
        elif key is not None and packet.stamp is not None and packet.stamp < key:
            return True
    return False


def _last_duration(
    times: NDArray[np.float64], packets: list[_Packet], last: int, tick: Fraction, rate: Fraction
) -> float:
    """How long the last frame is shown, s: as stated, else like the median frame, else 1 / rate."""
    stated = max((packet.duration for packet in packets if packet.stamp == last), default=0)
    if stated > 0:
        return float(stated * tick)
    if len(times) > 1:
        return float(np.median(np.diff(times)))
    return float(1 / rate)


def _orientation(frame: VideoFrame) -> Orientation:
    """The nearest right-angled turn (and mirroring) that the frame's display matrix states."""
    side_data = cast(SideDataContainer, frame.side_data)  # PyAV's stub calls it a dictionary
    try:
        matrix = side_data[SideData.DISPLAYMATRIX]
    except KeyError:
        return UPRIGHT
    # Row-major [[a, b, u], [c, d, v], [x, y, w]] with x' = a x + c y and y' = b x + d y.
    a, b, _, c, d = (int(value) for value in np.frombuffer(memoryview(matrix), np.int32)[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, flip_rows=d < 0, flip_columns=a < 0)
    return Orientation(True, flip_rows=b < 0, flip_columns=c < 0)
