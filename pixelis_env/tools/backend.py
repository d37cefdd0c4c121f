"""What a backend of each operation must offer.

A backend does the seeing; the operation around it (one file each in this package) gives arguments
their meaning and turns results into evidence. Backends get the medium and frame numbers rather
than pixels, so that one may use truth that the medium carries (`oracle`) or batch its decoding.

All backends share the rules of the environment: the same medium and arguments give the same
result whatever the global random state, the process or the thread; nothing given is changed; and
what cannot be done raises `InvalidCall` with a message an agent can act on. What no agent could
mend (weights that do not fit, a missing program) is a `BackendError`, raised at construction where
it shows there. They are pickled with the environment, so heavy handles are made on first use and
dropped on pickling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Box, Point, Region
from pixelis_env.evidence import RLE, TextLine
from pixelis_env.media.base import Media

BoolMask = NDArray[np.bool_]
"""bool (height, width) of the whole frame."""


class Backend(Protocol):
    """A named, versioned implementation. A change of results is a change of `version`."""

    name: str
    version: str


class Segmenter(Backend, Protocol):
    """Outlines one object."""

    def segment(
        self, media: Media, index: int, *, box: Box | None, point: Point | None
    ) -> tuple[BoolMask, float]:
        """The mask of the object that `box` encloses or `point` lies on, and a score in 0..1.

        Exactly one of `box` and `point` is given, in source pixels of frame `index`. The mask is
        not empty, and it contains `point`.
        """
        ...


class TrackPoint(NamedTuple):
    """An object in one frame. Where it is not visible, `box` is the last one seen."""

    box: Box
    visible: bool
    score: float


class Tracker(Backend, Protocol):
    """Follows one object from frame to frame."""

    def track(
        self, media: Media, indices: Sequence[int], box: Box, mask: BoolMask | None
    ) -> list[TrackPoint]:
        """One point for each of `indices`; the first one is the prompt itself.

        `box` (and `mask`, where there is one) show the object in frame `indices[0]`; the other
        frames follow one by one, forwards or backwards in time.
        """
        ...


class Reader(Backend, Protocol):
    """Reads text."""

    def read(self, media: Media, index: int, region: Region) -> list[TextLine]:
        """The lines of text in `region` of frame `index`, quads in source pixels, in any order."""
        ...


@dataclass(frozen=True)
class Sight:
    """Look for the object that `box` (source pixels; `rle` where known) shows in frame `index`."""

    index: int
    box: Box
    rle: RLE | None

    def mask(self) -> BoolMask | None:
        """The object's mask in its frame."""
        return None if self.rle is None else self.rle.decode()


@dataclass(frozen=True)
class Wording:
    """Look for `text` with the help of `reader`."""

    text: str
    reader: Reader


@dataclass(frozen=True)
class Scenes:
    """Look for the stretches between cuts."""


Query = Sight | Wording | Scenes


class Found(NamedTuple):
    """A stretch of frames, both ends included, and how sure it is (0..1)."""

    first: int
    last: int
    score: float


class Localizer(Backend, Protocol):
    """Finds when something is visible."""

    def localize(self, media: Media, query: Query, first: int, last: int) -> list[Found]:
        """The disjoint stretches within frames `first`..`last` that answer `query`, in order."""
        ...
