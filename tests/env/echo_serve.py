"""Work for a worker process that goes wrong when it is told to."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable


def start(argument: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    if argument == "refuse":
        raise RuntimeError("no such model")
    if argument == "hang":
        time.sleep(60)
    print("libraries print whatever they like", flush=True)

    def answer(request: bytes) -> bytes:
        if request == b"fail":
            raise ValueError("not that one")
        if request == b"crash":
            os._exit(3)
        if request == b"hang":
            time.sleep(60)
        if request == b"imports":
            return " ".join(sys.modules).encode()
        print("and more of it", flush=True)
        return argument.encode() + request[::-1]

    return argument.upper().encode(), answer
