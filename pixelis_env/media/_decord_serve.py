"""What decord does in its worker process: frame numbers come in, the bytes of frames go out.

Run by `pixelis_env._worker_main`, so it imports nothing of Pixelis. The first reply is `SHAPE`,
each request an `INDEX`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

INDEX = struct.Struct("<q")
"""The number of a frame."""
SHAPE = struct.Struct("<qqq")
"""Number of frames, height and width in pixels."""


def start(video: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    """Opens the file `video`."""
    import decord

    reader = decord.VideoReader(video, ctx=decord.cpu(0), num_threads=1)
    height, width, _ = reader[0].shape

    def answer(request: bytes) -> bytes:
        content: bytes = reader[INDEX.unpack(request)[0]].asnumpy().tobytes()
        return content

    return SHAPE.pack(len(reader), height, width), answer
