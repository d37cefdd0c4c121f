"""Images and videos as one thing: read-only RGB frames on a timeline.

`open_media` looks at a file's content, not at its name, and returns a `Media`. Whatever
is wrong with a file is a `MediaError` that names the file, the fault and the mend.
"""

from __future__ import annotations

from pixelis_env.media.base import (
    DEFAULT_CACHE_BYTES,
    MAX_PIXELS,
    ArrayMedia,
    Media,
    MediaError,
)
from pixelis_env.media.files import open_media
from pixelis_env.media.video import Decoder

__all__ = [
    "DEFAULT_CACHE_BYTES",
    "MAX_PIXELS",
    "ArrayMedia",
    "Decoder",
    "Media",
    "MediaError",
    "open_media",
]
