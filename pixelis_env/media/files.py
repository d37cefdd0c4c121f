"""Open a file as an image or a video, by its content."""

from __future__ import annotations

import os

from pixelis_env.media.base import DEFAULT_CACHE_BYTES, Media, checked_file
from pixelis_env.media.image import ImageFile, is_still_image
from pixelis_env.media.video import DECODERS, Decoder, VideoFile


def open_media(
    path: str | os.PathLike[str],
    *,
    decoder: Decoder = "pyav",
    cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> Media:
    """Open an image or a video file, told apart by content (the name does not matter).

    Animated GIF and PNG files are videos; of other files with several pages the first is read.

    Args:
        path: A local file.
        decoder: Reads videos: "pyav", or "decord" (extra ``decord``; H.264 in MP4 with
            closed groups of pictures), or "torchcodec" (extra ``torchcodec``; files with time
            stamps and upright frames).
        cache_bytes: Most bytes of decoded video frames kept in memory, 0 for none.

    Raises:
        MediaError: The file is missing, damaged beyond reading, or neither image nor video.
        ValueError: `decoder` is not one of the three.
    """
    if decoder not in DECODERS:
        raise ValueError(f"decoder {decoder!r}: must be one of {', '.join(DECODERS)}")
    file = checked_file(path)
    if is_still_image(file):
        return ImageFile(file)
    return VideoFile(file, decoder=decoder, cache_bytes=cache_bytes)
