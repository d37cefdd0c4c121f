"""Temporal localisation by scanning: sampled frames first, then the edges of what was found."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelis_env.media.base import Media
from pixelis_env.tools.backend import Found, Query, Scenes, Template, Wording
from pixelis_env.tools.backends.matching import WorkFrames, sample, similarity

_GAP = 3  # frames: shorter disappearances are bridged ...
_SHORTEST = 3  # ... and shorter appearances dropped

_TEMPLATE_SIDE = 20.0  # work pixels
_TEMPLATE_SIZES = (1.0, 0.8, 1.25, 0.64, 1.56)
_TEMPLATE_HIGH, _TEMPLATE_LOW = 0.7, 0.6  # correlation: to be found, and to stay so
_TEMPLATE_SAMPLES = 512

_TEXT_HIGH, _TEXT_LOW = 0.8, 0.7  # similarity 0..1
_TEXT_SAMPLES = 24  # reading a frame takes a quarter of a second

_CUT_SIZE = 64  # px: the longer side of the frames that are compared
_CUT_LEAST = 0.3  # Bhattacharyya distance of successive hue-saturation-value histograms
_CUT_TIMES = 3.0  # how far a cut stands out from the changes around it
_CUT_AROUND = 5  # frames on either side


class ScanLocalizer:
    """Templates by correlation, texts by reading, scenes by histogram cuts.

    Frames are sampled on a grid that belongs to the medium and not to the span, so that
    searching an interval again finds the same interval.
    """

    name = "scan"
    version = "1"

    def localize(self, media: Media, query: Query, first: int, last: int) -> list[Found]:
        """See `Localizer.localize`."""
        if isinstance(query, Scenes):
            return _scenes(media, first, last)
        if isinstance(query, Template):
            score = partial(_template_score, *_template(media, query))
            stride = max(_GAP, -(-media.n_frames // _TEMPLATE_SAMPLES))
            return _scan(score, first, last, stride, _TEMPLATE_HIGH, _TEMPLATE_LOW)
        score = partial(_text_score, media, query)
        stride = max(_GAP, -(-media.n_frames // _TEXT_SAMPLES))
        return _scan(score, first, last, stride, _TEXT_HIGH, _TEXT_LOW)


def _scan(
    score: Callable[[int], float], first: int, last: int, stride: int, high: float, low: float
) -> list[Found]:
    """Stretches of `first`..`last` where `score` stays above `low` and somewhere reaches `high`.

    The edge between a sampled frame inside and one outside is found by bisection.
    """
    known: dict[int, float] = {}

    def inside(index: int) -> bool:
        if index not in known:
            known[index] = score(index)
        return known[index] >= low

    grid = sorted({first, last, *range(-(-first // stride) * stride, last + 1, stride)})
    edges: list[tuple[int, int]] = []  # stretches between sampled frames
    start = first
    for before, after in pairwise(grid):
        if inside(before) and not inside(after):
            edges.append((start, _bisect(inside, before, after)))
        elif inside(after) and not inside(before):
            start = _bisect(inside, after, before)
    if inside(grid[-1]):
        edges.append((start, last))
    joined: list[tuple[int, int]] = []
    for a, b in edges:
        if joined and a - joined[-1][1] - 1 <= _GAP:
            a = joined.pop()[0]
        joined.append((a, b))
    found = []
    for a, b in joined:
        scores = [value for index, value in known.items() if a <= index <= b and value >= low]
        if max(scores) >= high and b - a + 1 >= min(_SHORTEST, last - first + 1):
            found.append(Found(a, b, float(np.mean(sorted(scores)))))
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


def _template(media: Media, query: Template) -> tuple[WorkFrames, list[NDArray[np.float32]]]:
    """The reduced frames, and the template at every size that is tried."""
    frames = WorkFrames(media, query.box, _TEMPLATE_SIDE)
    x0, y0, x1, y1 = (v * frames.scale for v in query.box)
    shown = frames[query.index]
    sizes = [
        (max(3, round((x1 - x0) * factor)), max(3, round((y1 - y0) * factor)))
        for factor in _TEMPLATE_SIZES
    ]
    return frames, [sample(shown, (x0, y0, x1, y1), size) for size in dict.fromkeys(sizes)]


def _template_score(frames: WorkFrames, templates: list[NDArray[np.float32]], index: int) -> float:
    """The best correlation (at most 1) of any template with any place of frame `index`."""
    frame = frames[index]
    best = 0.0
    for template in templates:
        if template.shape[0] <= frame.shape[0] and template.shape[1] <= frame.shape[1]:
            best = max(best, float(similarity(frame, template).max()))
    return min(1.0, best)


def _text_score(media: Media, query: Wording, index: int) -> float:
    """How well the text of frame `index` contains the wording, 0..1."""
    from pixelis_env.coordinates import Region

    lines = query.reader.read(media, index, Region(0, 0, media.width, media.height))
    return containment(query.text, " ".join(line.text for line in lines))


def containment(wanted: str, text: str) -> float:
    """How nearly `text` contains `wanted` (0..1), whatever the case, spaces and punctuation."""
    from rapidfuzz import fuzz

    wanted, text = (re.sub(r"[\W_]+", "", part.casefold()) for part in (wanted, text))
    if len(text) < len(wanted):
        # A partial ratio would find the whole of a short text within the wanted one.
        return fuzz.ratio(wanted, text) / 100
    return fuzz.partial_ratio(wanted, text) / 100


def _scenes(media: Media, first: int, last: int) -> list[Found]:
    """The stretches between cuts; a scene's score is how sure its cuts are."""
    cuts = [(index, score) for index, score in _cuts(media) if first < index <= last]
    starts = [first, *(index for index, _ in cuts)]
    ends = [*(index - 1 for index, _ in cuts), last]
    sure = [1.0, *(score for _, score in cuts), 1.0]
    return [
        Found(a, b, min(sure[i], sure[i + 1]))
        for i, (a, b) in enumerate(zip(starts, ends, strict=True))
    ]


def _cuts(media: Media) -> list[tuple[int, float]]:
    """The first frame of every scene but the first, and the histogram distance across the cut."""
    histograms = [_histogram(media.thumbnail(i, _CUT_SIZE)) for i in range(media.n_frames)]
    change = np.array(
        [cv2.compareHist(a, b, cv2.HISTCMP_BHATTACHARYYA) for a, b in pairwise(histograms)]
    )
    cuts = []
    for i, value in enumerate(change):
        around = np.concatenate(
            [change[max(0, i - _CUT_AROUND) : i], change[i + 1 : i + 1 + _CUT_AROUND]]
        )
        usual = float(np.median(around)) if around.size else 0.0
        if value > max(_CUT_LEAST, _CUT_TIMES * usual):
            cuts.append((i + 1, min(1.0, float(value))))
    return cuts


def _histogram(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, [12, 6, 6], [0, 180, 0, 256, 0, 256])
    return np.asarray(counts / counts.sum(), np.float32)
