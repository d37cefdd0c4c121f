"""The process that runs decord: frame numbers come in by stdin, frames go out by stdout.

Run as a script (``python -I _decord_worker.py VIDEO``), so that it imports nothing of Pixelis.
Its first reply holds `SHAPE`; then each `INDEX` read is answered with the bytes of that frame.
It ends when stdin does.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import BinaryIO

INDEX = struct.Struct("<q")
"""A request: the number of a frame."""
REPLY = struct.Struct("<?Q")
"""What precedes every reply: whether it worked, and the length of what follows in bytes (the
answer, or why it did not work as UTF-8)."""
SHAPE = struct.Struct("<qqq")
"""Number of frames, height and width in pixels."""


def main() -> None:
    """Serve the frames of the file named on the command line."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever decord prints must not get between the replies
    try:
        import decord

        reader = decord.VideoReader(sys.argv[1], ctx=decord.cpu(0), num_threads=1)
        height, width, _ = reader[0].shape
        _send(replies, True, SHAPE.pack(len(reader), height, width))
        while len(request := sys.stdin.buffer.read(INDEX.size)) == INDEX.size:
            _send(replies, True, reader[INDEX.unpack(request)[0]].asnumpy().tobytes())
    except Exception as error:  # decord's own errors have no common base; the parent raises it
        _send(replies, False, f"{type(error).__name__}: {error}".encode())


def _send(replies: BinaryIO, good: bool, content: bytes) -> None:
    """Write one reply."""
    replies.write(REPLY.pack(good, len(content)))
    replies.write(content)
    replies.flush()


if __name__ == "__main__":
    main()
