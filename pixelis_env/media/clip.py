"""A part of a medium as a medium of its own."""

from __future__ import annotations

import hashlib

import numpy as np

from pixelis_env.media.base import Frame, Media, MediaError


class Clip(Media):
    """What a video shows from `start` to `end`; nothing else of it can be reached.

    Its first frame is the one on show at `start`, its times count from there.

    Args:
        media: The whole video.
        start: Where the clip begins, seconds, >= 0.
        end: Where it ends, seconds; past the end of the video means that end.

    Raises:
        MediaError: The video does not last, or nothing of it lies in the span.
    """

    def __init__(self, media: Media, start: float, end: float) -> None:
        if not media.is_video:
            raise MediaError(f"{media.name}: an image has no clip from {start:g} to {end:g} s")
        if not 0.0 <= start < min(end, media.duration):
            raise MediaError(
                f"{media.name}: no clip from {start:g} to {end:g} s; start must be at least 0 and "
                f"before both the end of the clip and that of the video, {media.duration:g} s"
            )
        self._media = media
        self._first = media.index_at(start)
        last = int(np.searchsorted(media.times, end, side="left"))
        times = np.round(media.times[self._first : last] - start, 6)
        times[0] = 0.0
        if len(times) > 1 and times[1] <= 0.0:  # the next frame comes within a microsecond
            times, self._first = times[1:], self._first + 1
            times[0] = 0.0
        times.flags.writeable = False
        self.times = times
        self.duration = min(end, media.duration) - start
        self.name = media.name
        self.width, self.height = media.width, media.height
        span = f"{media.digest} {start!r} {end!r}"
        self.digest = hashlib.sha256(span.encode("ascii")).hexdigest()

    def frame(self, index: int) -> Frame:
        """See `Media.frame`."""
        return self._media.frame(self._first + self._checked_index(index))

    def close(self) -> None:
        """See `Media.close`."""
        self._media.close()
