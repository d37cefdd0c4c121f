"""A bounded cache of decoded frames."""

from __future__ import annotations

from collections import OrderedDict

from pixelis_env.media.base import Frame


class FrameCache:
    """The frames used last, never more than `limit` bytes of them (0 keeps none)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames: OrderedDict[int, Frame] = OrderedDict()
        self.n_bytes = 0

    def get(self, index: int) -> Frame | None:
        """The frame kept under `index`, if it still is."""
        frame = self._frames.get(index)
        if frame is not None:
            self._frames.move_to_end(index)
        return frame

    def put(self, index: int, frame: Frame) -> None:
        """Keep `frame` under an `index` not kept yet, and drop the ones unused for longest."""
        self._frames[index] = frame
        self.n_bytes += frame.nbytes
        while self.n_bytes > self._limit:
            _, dropped = self._frames.popitem(last=False)
            self.n_bytes -= dropped.nbytes
