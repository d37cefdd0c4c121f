"""One video stream of one file: its packets and its decoded frames, through PyAV (FFmpeg)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pixelis_env.media.base import MAX_PIXELS, MediaError

# Named one by one: FFmpeg also opens play lists, which lead to other files and to the network.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,"
    "flv,asf,ogg,gif,apng,nut,mxf,dv,mjpeg,yuv4mpegpipe,rm"
)


class KeyFrame(NamedTuple):
    """A place where decoding can start."""

    stamp: int
    """When its frame is shown, in ticks of the stream's time base."""
    seek: int
    """What to ask the container for, in the same ticks."""


class VideoStreamFile:
    """The first video stream of a file (a music file's cover picture is none), open for reading.

    Decodes in the calling thread only: FFmpeg's own threads do not survive a fork and cost
    more than they give when every environment has its own process.

    Args:
        file: The file.

    Attributes:
        damaged: Whether damage was met in decoding. Frames decoded after it, even after a seek,
            depend on it; only a file opened anew is sure to give what it would give alone.

    Raises:
        MediaError: It is no video of a kind that is read, or its frames exceed `MAX_PIXELS`.
    """

    def __init__(self, file: Path) -> None:
        options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
        try:
            container = av.open(f"file:{file}", options=options)
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise MediaError(
                f"{file}: neither an image nor a video that can be read ({reason}); check that it "
                "is complete, or convert it (ffmpeg -i IN OUT.mp4)"
            ) from error
        assert isinstance(container, InputContainer)
        self.container = container
        self.damaged = False
        try:
            self.stream = self._video_stream(file)
        except MediaError:
            container.close()
            raise

    def _video_stream(self, file: Path) -> VideoStream:
        """The stream to read, set up to decode in one thread."""
        streams = [
            stream
            for stream in self.container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if not streams:
            raise MediaError(f"{file}: holds no video stream; name a video or an image")
        stream = streams[0]
        codec = stream.codec_context
        if codec is None:
            raise MediaError(
                f"{file}: its video codec is unknown here; convert it (ffmpeg -i IN OUT.mp4)"
            )
        if codec.width * codec.height > MAX_PIXELS:
            raise MediaError(
                f"{file}: {codec.width}x{codec.height} px is more than the {MAX_PIXELS} px that "
                "are read; scale it first (ffmpeg -i IN -vf scale=1280:-2 OUT.mp4)"
            )
        codec.thread_type = "SLICE"
        codec.thread_count = 1
        codec.options = {**codec.options, "max_pixels": str(MAX_PIXELS)}
        return stream

    def packets(self) -> Iterator[Packet]:
        """The stream's packets in file order, up to the end or to where the file breaks off."""
        try:
            for packet in self.container.demux(self.stream):
                # An empty packet inside an AVI repeats a frame; to a decoder it means the end.
                if packet.size:
                    yield packet
        except av.FFmpegError:
            return

    def frames(
        self, start: KeyFrame | None = None, known: Collection[int] = ()
    ) -> Iterator[VideoFrame]:
        """Decoded frames in the order they are shown, without those that are damaged.

        Args:
            start: Where to seek; without it, decode on from the current packet.
            known: Stamps of all key frames. After a seek nothing is decoded before the first
                of them: a container may land between two, where a decoder makes frames up.
        """
        if start is not None:
            try:
                self.container.seek(start.seek, stream=self.stream)
            except av.FFmpegError:
                return
        waiting = start is not None
        for packet in self.packets():
            if waiting and not (packet.is_keyframe and packet.pts in known):
                continue
            waiting = False
            yield from self._decoded(packet, start)
        yield from self._decoded(None, start)

    def _decoded(self, packet: Packet | None, start: KeyFrame | None) -> list[VideoFrame]:
        """The whole frames that `packet` (None: the end) makes the decoder give out.

        Where bits are missing decoders make pixels up, and mark the frame as corrupt. Frames
        shown before `start` may lack what they refer to: that is no damage.
        """
        try:
            frames = self.stream.codec_context.decode(packet)
        except av.FFmpegError:
            self.damaged |= _is_from(start, packet)
            return []
        whole = [frame for frame in frames if not frame.is_corrupt]
        self.damaged |= any(frame.is_corrupt and _is_from(start, frame) for frame in frames)
        return whole

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def __enter__(self) -> VideoStreamFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_from(start: KeyFrame | None, item: Packet | VideoFrame | None) -> bool:
    """Whether `item` is not known to be shown before `start`."""
    return start is None or item is None or item.pts is None or item.pts >= start.stamp
