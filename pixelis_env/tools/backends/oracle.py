"""Exact answers on rooms, from geometry and instance ids; for fast training and upper bounds.

With `noise` in 0..1 they are spoilt in stated ways, so that a policy can meet imperfect tools at no
cost. The noise is a function of the medium and the arguments: asked again, it errs the same way.

At noise n

- segment: the mask is dilated or eroded by up to round(6 n) pixels, either being as likely;
- track: every corner coordinate is off by a normal error of 0.1 n of that side, and a frame in
  which the object is visible is reported as unseen with probability 0.2 n;
- read_text: every letter and digit is replaced by another with probability 0.2 n;
- localize: both ends of an interval are off by up to round(5 n) frames.

The prompt itself is never spoilt: a track starts with its box, a mask contains its point.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pixelis_env.coordinates import Box, Point, Region, snap
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import TextLine
from pixelis_env.media.base import Media
from pixelis_env.metrics.text import containment
from pixelis_env.tools.backend import BoolMask, Found, Query, Scenes, Sight, TrackPoint

if TYPE_CHECKING:
    from pixelis_env.rooms import RoomVideo

_LEAST_SHARE = 0.5  # of a sign's visible pixels: with fewer in the region it is not read
_LEAST_TEXT = 12  # px of a sign: with fewer on show it cannot be read
_SAME_TEXT = 0.8  # similarity of a sign's text to the one that is looked for


class _Oracle:
    """What the oracle's four backends share."""

    name = "oracle"
    version = "1"

    def __init__(self, noise: float = 0.0) -> None:
        if not 0.0 <= noise <= 1.0:
            raise ValueError(f"noise {noise} of the oracle: must lie within 0 and 1")
        self.noise = noise

    def _rng(self, media: Media, *arguments: Hashable) -> np.random.Generator:
        """Noise that depends on nothing but what was asked."""
        asked = repr((media.digest, self.noise, *arguments)).encode("utf-8")
        return np.random.default_rng(int.from_bytes(hashlib.sha256(asked).digest()[:16], "big"))


class OracleSegmenter(_Oracle):
    """The instance mask of the object that fits the box best, or lies under the point."""

    def segment(
        self, media: Media, index: int, *, box: Box | None, point: Point | None
    ) -> tuple[BoolMask, float]:
        """See `Segmenter.segment`. The score is the IoU with the exact mask.

        Raises:
            InvalidCall: The medium is no room, or only walls, floor or ceiling are there.
        """
        room = _room(media)
        ids = room.ids(index)
        if point is not None:
            instance = int(ids[int(point[1]), int(point[0])])
            if instance == 0:
                raise InvalidCall("the point lies on the room itself: choose one on an object")
        else:
            assert box is not None
            instance = _best_instance(room, index, box)
        truth: BoolMask = ids == instance
        mask = self._spoil(truth, media, index, box, point)
        if point is not None and not mask[int(point[1]), int(point[0])]:
            mask = truth
        return mask, float((mask & truth).sum() / (mask | truth).sum())

    def _spoil(self, mask: BoolMask, media: Media, *asked: Hashable) -> BoolMask:
        reach = round(6 * self.noise)
        step = int(self._rng(media, "segment", *asked).integers(-reach, reach + 1))
        if step == 0:
            return mask
        import cv2

        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(step) + 1,) * 2)
        change = cv2.dilate if step > 0 else cv2.erode
        changed: BoolMask = change(mask.astype(np.uint8), disk) > 0
        return changed if changed.any() else mask


class OracleTracker(_Oracle):
    """The exact box of the object's visible pixels in every frame."""

    def track(
        self, media: Media, indices: Sequence[int], box: Box, mask: BoolMask | None
    ) -> list[TrackPoint]:
        """See `Tracker.track`.

        Raises:
            InvalidCall: The medium is no room, or the prompt shows no object.
        """
        room = _room(media)
        instance = _best_instance(room, indices[0], box, mask)
        rng = self._rng(media, "track", indices[0], indices[-1], box, instance)
        points = [TrackPoint(box, True, 1.0)]
        for index in indices[1:]:
            seen = _shown_box(room, index, instance)
            error, dropped = rng.normal(size=4), rng.random() < 0.2 * self.noise
            if seen is None or dropped:
                points.append(TrackPoint(points[-1].box, False, 0.0))
            else:
                points.append(TrackPoint(self._jitter(seen, error, media), True, 1.0))
        return points

    def _jitter(self, box: Box, error: np.ndarray, media: Media) -> Box:
        if self.noise == 0:
            return box
        sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
        x0, y0, x1, y1 = (float(v) for v in np.array(box) + 0.1 * self.noise * sides * error)
        x0, y0 = min(max(x0, 0.0), media.width - 1.0), min(max(y0, 0.0), media.height - 1.0)
        return (
            x0,
            y0,
            min(max(x1, x0 + 1.0), float(media.width)),
            min(max(y1, y0 + 1.0), float(media.height)),
        )


class OracleReader(_Oracle):
    """The texts of the signs of which most that can be seen lies in the region."""

    def read(self, media: Media, index: int, region: Region) -> list[TextLine]:
        """See `Reader.read`. A quad is the box of what can be seen of its sign."""
        room = _room(media)
        ids = room.ids(index)
        inside = ids[region.y0 : region.y1, region.x0 : region.x1]
        lines = []
        for placed in room.scene.room.objects:
            if not placed.text:
                continue
            shown, here = int((ids == placed.id).sum()), int((inside == placed.id).sum())
            seen = _shown_box(room, index, placed.id)
            if seen is None or shown < _LEAST_TEXT or here < _LEAST_SHARE * shown:
                continue
            x0, y0, x1, y1 = seen
            text = self._misread(placed.text, media, index, region, placed.id)
            quad = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
            lines.append(TextLine(text=text, quad=quad, confidence=1.0 - 0.2 * self.noise))
        return lines

    def _misread(self, text: str, media: Media, *asked: Hashable) -> str:
        if self.noise == 0:
            return text
        rng = self._rng(media, "read_text", *asked)
        letters = []
        for letter in text:
            kind = next(
                (
                    alphabet
                    for alphabet in (
                        string.ascii_lowercase,
                        string.ascii_uppercase,
                        string.digits,
                    )
                    if letter in alphabet
                ),
                "",
            )
            if kind and rng.random() < 0.2 * self.noise:
                letter = kind.replace(letter, "")[int(rng.integers(len(kind) - 1))]
            letters.append(letter)
        return "".join(letters)


class OracleLocalizer(_Oracle):
    """When an object or a sign with the text is on show. A room has no cuts: it is one scene."""

    def localize(self, media: Media, query: Query, first: int, last: int) -> list[Found]:
        """See `Localizer.localize`."""
        room = _room(media)
        if isinstance(query, Scenes):
            return [Found(first, last, 1.0)]
        if isinstance(query, Sight):
            wanted = [_best_instance(room, query.index, query.box, query.mask())]
        else:
            wanted = [
                placed.id
                for placed in room.scene.room.objects
                if placed.text and containment(query.text, placed.text) >= _SAME_TEXT
            ]
        seen = room.visible()[first : last + 1, wanted].any(axis=1)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], seen.astype(np.int8), [0]])))
        runs = [(first + int(a), first + int(b) - 1) for a, b in edges.reshape(-1, 2)]
        asked = query if isinstance(query, Sight) else query.text
        return self._shake(runs, media, asked, first, last)

    def _shake(
        self, runs: list[tuple[int, int]], media: Media, asked: Hashable, first: int, last: int
    ) -> list[Found]:
        reach = round(5 * self.noise)
        rng = self._rng(media, "localize", asked)
        found: list[Found] = []
        for a, b in runs:
            da, db = (int(v) for v in rng.integers(-reach, reach + 1, 2))
            a, b = min(max(a + da, first), last), min(max(b + db, first), last)
            if found:
                a = max(a, found[-1].last + 1)
            if a <= b:
                found.append(Found(a, b, 1.0 - 0.2 * self.noise))
        return found


def _room(media: Media) -> RoomVideo:
    from pixelis_env.rooms import RoomVideo

    if not isinstance(media, RoomVideo):
        raise InvalidCall(
            f"the oracle backend knows the truth about rooms only, and {media.name} is none: "
            "use another backend for it"
        )
    return media


def _shown_box(room: RoomVideo, index: int, instance: int) -> Box | None:
    """The box of an object's visible pixels."""
    box = room.object_box(index, instance)
    if box is None:
        return None
    x0, y0, x1, y1 = (float(v) for v in box)
    return x0, y0, x1, y1


def _best_instance(room: RoomVideo, index: int, box: Box, mask: BoolMask | None = None) -> int:
    """The object whose visible pixels overlap the prompt best.

    Raises:
        InvalidCall: No object is there.
    """
    ids = room.ids(index)
    if mask is None:
        x0, y0, x1, y1 = snap(box, Region(0, 0, room.width, room.height))
        prompted = ids[y0:y1, x0:x1].ravel()
    else:
        prompted = ids[mask]
    shared = np.bincount(prompted, minlength=1)
    overlap = {
        int(instance): shared[instance]
        / (np.count_nonzero(ids == instance) + len(prompted) - shared[instance])
        for instance in np.flatnonzero(shared)
        if instance
    }
    if not overlap:
        raise InvalidCall("only walls, floor and ceiling are there: choose a place with an object")
    return max(overlap, key=lambda instance: overlap[instance])
