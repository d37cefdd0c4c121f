"""Temporal localisation: objects by tracking, texts by reading, scenes by histogram cuts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Region
from pixelis_env.media.base import Media
from pixelis_env.metrics.text import containment
from pixelis_env.tools.backend import Found, Query, Scenes, Sight, Wording
from pixelis_env.tools.backends.cuts import find_cuts
from pixelis_env.tools.backends.flow import FlowTracker

_GAP = 3  # frames: shorter disappearances are bridged ...
_SHORTEST = 3  # ... and shorter appearances dropped
_SIDE = 28.0  # work pixels: to tell whether an object is there it need not be seen sharply
_FOLLOWED = 300  # frames of a medium: of longer ones every second, third ... is looked at
_READ = 24  # frames of a medium: reading one takes a quarter of a second
_TEXT_HIGH, _TEXT_LOW = 0.8, 0.7  # similarity (0..1) for a text to be found, and to stay so


class ScanLocalizer:
    """Looks through the frames of a medium.

    Which frames are looked at depends on the medium and not on the span, so that searching an
    interval again finds the same interval.
    """

    name = "scan"
    version = "2"

    def localize(self, media: Media, query: Query, first: int, last: int) -> list[Found]:
        """See `Localizer.localize`."""
        if isinstance(query, Scenes):
            return _scenes(media, first, last)
        if isinstance(query, Sight):
            return _in_sight(media, query, first, last)
        stride = max(_GAP, -(-media.n_frames // _READ))
        return _scan(partial(_text_score, media, query), first, last, stride)


def _in_sight(media: Media, query: Sight, first: int, last: int) -> list[Found]:
    """When a tracker sees the object on its ways from the prompt to the ends of the span."""
    stride = 1 + media.n_frames // _FOLLOWED
    seen, scores = np.zeros(media.n_frames, bool), np.zeros(media.n_frames)
    tracker, start = FlowTracker(_SIDE), query.index
    forth = range(start, max(last, start) + 1, stride)
    back = range(start, min(first, start) - 1, -stride)
    for way in (forth, back):
        points = tracker.track(media, way, query.box, query.mask())
        for index, point in zip(way, points, strict=True):
            # A frame that is looked at speaks for those up to the next one.
            covered = slice(index, index + stride)
            if way is back:
                covered = slice(max(0, index - stride + 1), index + 1)
            seen[covered], scores[covered] = point.visible, point.score
    found = []
    for a, b in _joined(_runs(seen)):
        a, b = max(a, first), min(b, last)
        if _long_enough(a, b, first, last):
            found.append(Found(a, b, float(scores[a : b + 1][seen[a : b + 1]].mean())))
    return found


def _scan(score: Callable[[int], float], first: int, last: int, stride: int) -> list[Found]:
    """Stretches of `first`..`last` where `score` stays above the low mark and reaches the high.

    Frames on a grid are scored; the edge between one inside and one outside by bisection.
    """
    known: dict[int, float] = {}

    def inside(index: int) -> bool:
        if index not in known:
            known[index] = score(index)
        return known[index] >= _TEXT_LOW

    grid = sorted({first, last, *range(-(-first // stride) * stride, last + 1, stride)})
    runs: list[tuple[int, int]] = []
    start = first
    for before, after in pairwise(grid):
        if inside(before) and not inside(after):
            runs.append((start, _bisect(inside, before, after)))
        elif inside(after) and not inside(before):
            start = _bisect(inside, after, before)
    if inside(grid[-1]):
        runs.append((start, last))
    found = []
    for a, b in _joined(runs):
        scores = [known[i] for i in sorted(known) if a <= i <= b and inside(i)]
        if max(scores) >= _TEXT_HIGH and _long_enough(a, b, first, last):
            found.append(Found(a, b, float(np.mean(scores))))
    return found


def _bisect(inside: Callable[[int], bool], good: int, bad: int) -> int:
    """The frame nearest to `bad` that is still inside, between the two."""
    while abs(bad - good) > 1:
        middle = (good + bad) // 2
        if inside(middle):
            good = middle
        else:
            bad = middle
    return good


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


def _joined(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The runs with short gaps bridged."""
    joined: list[tuple[int, int]] = []
    for a, b in runs:
        if joined and a - joined[-1][1] - 1 <= _GAP:
            a = joined.pop()[0]
        joined.append((a, b))
    return joined


def _long_enough(a: int, b: int, first: int, last: int) -> bool:
    return b - a + 1 >= min(_SHORTEST, last - first + 1)


def _text_score(media: Media, query: Wording, index: int) -> float:
    """How well the text of frame `index` contains the wording, 0..1."""
    lines = query.reader.read(media, index, Region(0, 0, media.width, media.height))
    return containment(query.text, " ".join(line.text for line in lines))


def _scenes(media: Media, first: int, last: int) -> list[Found]:
    """The stretches between cuts; a scene's score is how sure its cuts are."""
    cuts = [(index, score) for index, score in find_cuts(media) if first < index <= last]
    starts = [first, *(index for index, _ in cuts)]
    ends = [*(index - 1 for index, _ in cuts), last]
    sure = [1.0, *(score for _, score in cuts), 1.0]
    return [
        Found(a, b, min(sure[i], sure[i + 1]))
        for i, (a, b) in enumerate(zip(starts, ends, strict=True))
    ]
