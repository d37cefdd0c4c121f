"""What an OpenCV tracker does in its worker process: frames come in, boxes go out.

Run by `pixelis_env._worker_main`, so it imports nothing of Pixelis. `start` is given the class's
name. The first request shows the object; each other one gets the object's place as a `PLACE`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

FRAME = struct.Struct("<qqqqqq")
"""Height and width in pixels, and x, y, width and height of the object (0 where it is asked for),
before the bytes of a uint8 (height, width, 3) BGR frame."""
PLACE = struct.Struct("<?qqqq")
"""Whether the object was found, and its x, y, width and height in pixels."""


def start(kind: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    """Makes the tracker."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    cv2.setRNGSeed(0)
    tracker = getattr(cv2, kind).create()

    def answer(request: bytes) -> bytes:
        height, width, *box = FRAME.unpack_from(request)
        frame = np.frombuffer(request, np.uint8, offset=FRAME.size).reshape(height, width, 3)
        if box[2]:
            tracker.init(frame, tuple(box))
            return b""
        found, place = tracker.update(frame)
        return PLACE.pack(found, *(round(side) for side in place))

    return b"", answer
