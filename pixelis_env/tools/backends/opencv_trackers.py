"""Tracking by the trackers of OpenCV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pixelis_env.coordinates import Box
from pixelis_env.errors import InvalidCall
from pixelis_env.media.base import Media
from pixelis_env.tools.backend import BoolMask, TrackPoint
from pixelis_env.tools.backends import _opencv_serve as serve
from pixelis_env.worker import Worker, WorkerError

_KINDS = {"mil": "TrackerMIL", "csrt": "TrackerCSRT", "kcf": "TrackerKCF"}
_LEAST_SIDE = 4  # px: on smaller boxes they fail, or never end
_TIMEOUT_S = 30.0  # for a frame


class OpenCVTracker:
    """MIL, CSRT or KCF. They follow a box; the score is 1 while they say they have it, else 0.

    Each call has a process of its own: MIL draws its features from a generator that goes on from
    one tracker to the next and cannot be set back, so that within a process no two runs agree.

    Args:
        algorithm: "mil", or "csrt" or "kcf", which only opencv-contrib holds.

    Raises:
        ValueError: `algorithm` is none of the three, or not in the OpenCV that is installed.
    """

    name = "opencv"
    version = "1"

    def __init__(self, algorithm: str = "mil") -> None:
        if algorithm not in _KINDS:
            raise ValueError(
                f"algorithm {algorithm!r} of opencv: must be one of {', '.join(_KINDS)}"
            )
        if not hasattr(cv2, _KINDS[algorithm]):
            raise ValueError(
                f"algorithm {algorithm!r} of opencv: is not in this OpenCV {cv2.__version__}, only "
                "in opencv-contrib, which takes the place of the one installed: pip uninstall "
                "opencv-python-headless, then pip install opencv-contrib-python-headless"
            )
        self.algorithm = algorithm

    def track(
        self, media: Media, indices: Sequence[int], box: Box, mask: BoolMask | None
    ) -> list[TrackPoint]:
        """See `Tracker.track`.

        Raises:
            InvalidCall: A side of the box is below 4 pixels, or the tracker fails on it.
        """
        x0, y0 = math.floor(box[0]), math.floor(box[1])
        x1, y1 = min(math.ceil(box[2]), media.width), min(math.ceil(box[3]), media.height)
        if min(x1 - x0, y1 - y0) < _LEAST_SIDE:
            raise InvalidCall(
                f"the object is {x1 - x0}x{y1 - y0} pixels: tracking needs at least "
                f"{_LEAST_SIDE}x{_LEAST_SIDE}"
            )
        points = [TrackPoint(box, True, 1.0)]
        try:
            worker = Worker(Path(serve.__file__), _KINDS[self.algorithm], timeout_s=_TIMEOUT_S)
            place = (x0, y0, x1 - x0, y1 - y0)
            worker.ask(_request(media, indices[0], place), timeout_s=_TIMEOUT_S)
            for index in indices[1:]:
                answer = worker.ask(_request(media, index, (0, 0, 0, 0)), timeout_s=_TIMEOUT_S)
                points.append(_point(serve.PLACE.unpack(answer), media, points[-1].box))
            worker.stop()
        except WorkerError as error:
            raise InvalidCall(
                "the tracker fails on this box: draw it closely around the object"
            ) from error
        return points


def _request(media: Media, index: int, place: tuple[int, int, int, int]) -> bytes:
    frame = np.ascontiguousarray(media.frame(index)[:, :, ::-1])
    return serve.FRAME.pack(media.height, media.width, *place) + frame.tobytes()


def _point(answer: tuple[bool, int, int, int, int], media: Media, last: Box) -> TrackPoint:
    """A place in a frame, of which what lies outside the frame is cut off."""
    found, x, y, width, height = answer
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(media.width, x + width), min(media.height, y + height)
    if not found or x0 >= x1 or y0 >= y1:
        return TrackPoint(last, False, 0.0)
    return TrackPoint((float(x0), float(y0), float(x1), float(y1)), True, 1.0)
