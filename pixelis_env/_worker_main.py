"""What runs in a worker process: requests come in by stdin, replies go out by stdout.

Run as a script (``python -I _worker_main.py SERVE ARGUMENT``), by the Python of whatever
environment the work needs, so it imports the standard library only. SERVE is the path of a Python
file with a function ``start(argument: str) -> tuple[bytes, Callable[[bytes], bytes]]``: it makes
ready, and returns the first reply and the function that answers requests. It ends when stdin does.
"""

from __future__ import annotations

import os
import runpy
import struct
import sys
from typing import BinaryIO

REQUEST = struct.Struct("<Q")
"""What precedes every request: the length of what follows in bytes."""
REPLY = struct.Struct("<?Q")
"""What precedes every reply: whether it worked, and the length of what follows in bytes (the
answer, or why it did not work as UTF-8)."""


def main() -> None:
    """Serve the requests of the parent process."""
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the replies
    try:
        first, answer = runpy.run_path(sys.argv[1])["start"](sys.argv[2])
    except Exception as error:  # libraries' errors have no common base; the parent raises it
        _send(replies, False, _reason(error))
        return
    _send(replies, True, first)
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        try:
            good, content = True, answer(requests.read(*REQUEST.unpack(head)))
        except Exception as error:  # as above
            good, content = False, _reason(error)
        _send(replies, good, content)


def _reason(error: Exception) -> bytes:
    return f"{type(error).__name__}: {error}".encode()


def _send(replies: BinaryIO, good: bool, content: bytes) -> None:
    """Write one reply."""
    replies.write(REPLY.pack(good, len(content)))
    replies.write(content)
    replies.flush()


if __name__ == "__main__":
    main()
