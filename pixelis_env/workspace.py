"""The growing evidence of an episode, and what an evidence id stands for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Region, snap
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import Evidence, Mask, Medium, TextLines, Tracklet, View
from pixelis_env.media.base import Media


class ViewRef(NamedTuple):
    """A region of a frame: what an operation looks at."""

    frame_index: int
    region: Region


class Workspace:
    """The medium and the evidence gathered so far. It only grows.

    The evidence of step k has the id `ek`; `e0` is the medium.
    """

    def __init__(self, media: Media) -> None:
        self.media = media
        self._evidence: list[Evidence] = [
            Medium(
                size=(media.width, media.height),
                n_frames=media.n_frames,
                duration=media.duration,
                media_digest=media.digest,
            )
        ]

    def __len__(self) -> int:
        return len(self._evidence)

    @property
    def bounds(self) -> Region:
        """The full frame."""
        return Region(0, 0, self.media.width, self.media.height)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """All evidence in order of its ids."""
        return tuple(self._evidence)

    @property
    def last(self) -> Evidence:
        """The newest evidence."""
        return self._evidence[-1]

    def add(self, evidence: Evidence) -> str:
        """Appends evidence and returns its id."""
        self._evidence.append(evidence)
        return f"e{len(self._evidence) - 1}"

    def get(self, evidence_id: str) -> Evidence:
        """The evidence with this id.

        Raises:
            InvalidCall: There is none yet.
        """
        number = int(evidence_id[1:])
        if number >= len(self._evidence):
            raise InvalidCall(f"there is no evidence {evidence_id}; there is e0..e{len(self) - 1}")
        return self._evidence[number]

    def look(self, evidence_id: str, time: float | None = None) -> ViewRef:
        """The frame and region that an operation on `evidence_id` looks at.

        The medium is its whole frame; a view its region; a mask, tracklet or text the smallest
        region that holds it. `time` moves the look to another frame with the same region (a
        tracklet: with its box then); the default is the evidence's own time: e0's start, a
        tracklet's end.

        Raises:
            InvalidCall: No such evidence, evidence without a place (a measurement, an error), or
                a time outside the medium.
        """
        evidence = self.get(evidence_id)
        if isinstance(evidence, Medium):
            return ViewRef(0 if time is None else self.frame_at(time), self.bounds)
        if isinstance(evidence, Tracklet):
            wanted = evidence.frame_indices[-1] if time is None else self.frame_at(time)
            nearest = int(np.argmin(np.abs(np.asarray(evidence.frame_indices) - wanted)))
            return ViewRef(wanted, snap(evidence.boxes[nearest], self.bounds))
        if isinstance(evidence, (View, TextLines)):
            region = evidence.region
        elif isinstance(evidence, Mask):
            region = snap(evidence.box, self.bounds)
        else:
            raise InvalidCall(
                f"{evidence_id} is a {evidence.kind}, which has no place in the frame; "
                "name a medium, view, mask, tracklet or text"
            )
        return ViewRef(evidence.frame_index if time is None else self.frame_at(time), region)

    def frame_at(self, time: float) -> int:
        """The index of the frame on show at `time` seconds.

        Raises:
            InvalidCall: The time is outside the medium.
        """
        if not 0 <= time <= self.media.duration:
            raise InvalidCall(
                f"time {time:g} s is outside the medium: give 0..{self.media.duration:g}"
            )
        # Times are written to the millisecond: 2.333 means the frame that starts at 2.33333.
        return self.media.index_at(min(time + 1e-3, self.media.duration))

    def pixels(self, ref: ViewRef) -> NDArray[np.uint8]:
        """The native pixels of a look: uint8 (height, width, 3), read-only."""
        x0, y0, x1, y1 = ref.region
        return self.media.frame(ref.frame_index)[y0:y1, x0:x1]
