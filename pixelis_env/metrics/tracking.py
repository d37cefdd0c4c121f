"""Tracking against the truth: HOTA, and the older CLEAR-MOT and identity measures.

Tracks are given frame by frame, each frame a mapping from track id to xyxy box. The matching of
boxes is SciPy's, which comes with the extra `metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Box
from pixelis_env.errors import MissingExtra
from pixelis_env.metrics.figures import Figures
from pixelis_env.metrics.overlap import box_iou

Frames = Sequence[Mapping[int, Box]]

_ALPHAS = np.arange(0.05, 0.99, 0.05)


class Hota(NamedTuple):
    """HOTA and its parts, each 0..1, means over the localisation thresholds .05, .10 … .95."""

    hota: float
    det_a: float
    ass_a: float
    loc_a: float


class ClearMot(NamedTuple):
    """`mota` is at most 1 and may be negative; `idf1` is in 0..1."""

    mota: float
    idf1: float
    id_switches: int


class _HotaCounts(NamedTuple):
    """Sums of one or more sequences, float64 (thresholds,) each, but for the two counts."""

    matches: NDArray[np.float64]
    association: NDArray[np.float64]
    similarity: NDArray[np.float64]
    truths: int
    found: int


class _MotCounts(NamedTuple):
    """Sums of one or more sequences."""

    matches: int
    similarity: float
    switches: int
    agreed: float
    truths: int
    found: int


class TrackingScores:
    """HOTA and CLEAR-MOT of many sequences, as TrackEval combines them: counts are added up.

    `hota`, `det_a`, `ass_a`, `loc_a` (see `Hota`), `mota`, `motp` (mean IoU of the matches),
    `idf1`, and the counts `id_switches`, `misses`, `false_positives`.

    Args:
        threshold: The IoU from which a box counts as matched, of CLEAR-MOT and IDF1.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self._threshold = threshold
        self._hota: list[_HotaCounts] = []
        self._mot: list[_MotCounts] = []

    def update(self, truth: Frames, predicted: Frames) -> None:
        """Adds a sequence.

        Raises:
            ValueError: The two differ in length.
            MissingExtra: SciPy is not installed.
        """
        tables = _Tables(truth, predicted)
        self._hota.append(_hota_counts(tables))
        self._mot.append(_mot_counts(tables, self._threshold))

    def compute(self) -> Figures:
        """The figures so far; of no sequence, those of empty ones."""
        parts = _hota_of(self._hota)
        mot = _summed(self._mot)
        return Figures(
            "tracks",
            len(self._mot),
            {
                **parts._asdict(),
                "mota": _mota(mot),
                "motp": mot.similarity / max(mot.matches, 1),
                "idf1": _idf1(mot),
                "id_switches": float(mot.switches),
                "misses": float(mot.truths - mot.matches),
                "false_positives": float(mot.found - mot.matches),
            },
        )


def hota(truth: Frames, predicted: Frames) -> Hota:
    """Higher order tracking accuracy (Luiten et al., IJCV 2021) of one sequence.

    Raises:
        ValueError: The two sequences differ in length.
        MissingExtra: SciPy is not installed.
    """
    return _hota_of([_hota_counts(_Tables(truth, predicted))])


def _hota_counts(tables: _Tables) -> _HotaCounts:
    shape = tables.potential.shape
    total = tables.truth_count[:, None] + tables.predicted_count[None, :]
    alignment = tables.potential / np.maximum(total - tables.potential, 1e-12)
    matches = np.zeros((len(_ALPHAS), *shape))
    similarity = np.zeros(len(_ALPHAS))
    for rows, columns, ious in tables.frames:
        pairs = _assign(alignment[np.ix_(rows, columns)] * ious)
        for row, column in zip(*pairs, strict=True):
            passed = ious[row, column] >= _ALPHAS - 1e-9
            matches[passed, rows[row], columns[column]] += 1
            similarity[passed] += ious[row, column]
    association = matches / np.maximum(total[None] - matches, 1)
    return _HotaCounts(
        matches.sum(axis=(1, 2)),
        (matches * association).sum(axis=(1, 2)),
        similarity,
        int(tables.truth_count.sum()),
        int(tables.predicted_count.sum()),
    )


def _hota_of(sequences: Sequence[_HotaCounts]) -> Hota:
    boxes = sum(one.truths + one.found for one in sequences)
    if boxes == 0:
        return Hota(1.0, 1.0, 1.0, 1.0)
    matches = np.sum([one.matches for one in sequences], axis=0)
    association = np.sum([one.association for one in sequences], axis=0)
    similarity = np.sum([one.similarity for one in sequences], axis=0)
    det_a = matches / np.maximum(boxes - matches, 1)
    ass_a = association / np.maximum(matches, 1)
    # Where nothing matches there is nothing to be localised wrongly.
    loc_a = np.where(matches > 0, similarity / np.maximum(matches, 1), 1.0)
    return Hota(
        float(np.sqrt(det_a * ass_a).mean()),
        float(det_a.mean()),
        float(ass_a.mean()),
        float(loc_a.mean()),
    )


def clear_mot(truth: Frames, predicted: Frames, threshold: float = 0.5) -> ClearMot:
    """MOTA (Bernardin & Stiefelhagen 2008) and IDF1 (Ristani et al. 2016) at an IoU threshold.

    Raises:
        ValueError: The two sequences differ in length.
        MissingExtra: SciPy is not installed.
    """
    counts = _mot_counts(_Tables(truth, predicted), threshold)
    return ClearMot(_mota(counts), _idf1(counts), counts.switches)


def _mot_counts(tables: _Tables, threshold: float) -> _MotCounts:
    matched = switches = 0
    similarity = 0.0
    last: dict[int, int] = {}  # truth id -> the track that followed it last
    previous: dict[int, int] = {}  # the same, in the frame before only
    for rows, columns, ious in tables.frames:
        kept = np.array(
            [[previous.get(int(r)) == int(c) for c in columns] for r in rows], float
        ).reshape(ious.shape)
        # A pair that holds from the frame before goes first, whatever else overlaps more.
        scores = np.where(ious >= threshold, 1000.0 * kept + ious, 0.0)
        previous = {}
        for row, column in zip(*_assign(scores), strict=True):
            if scores[row, column] > 0:
                matched += 1
                similarity += float(ious[row, column])
                a, b = int(rows[row]), int(columns[column])
                switches += a in last and last[a] != b
                last[a] = previous[a] = b
    overlaps = np.zeros(tables.potential.shape)
    for rows, columns, ious in tables.frames:
        overlaps[np.ix_(rows, columns)] += ious >= threshold
    agreed = float(overlaps[_assign(overlaps)].sum()) if overlaps.size else 0.0
    truths, found = int(tables.truth_count.sum()), int(tables.predicted_count.sum())
    return _MotCounts(matched, similarity, int(switches), agreed, truths, found)


def _summed(sequences: Sequence[_MotCounts]) -> _MotCounts:
    columns = zip(_MotCounts(0, 0.0, 0, 0.0, 0, 0), *sequences, strict=True)
    return _MotCounts(*map(sum, columns))


def _mota(counts: _MotCounts) -> float:
    if counts.truths + counts.found == 0:
        return 1.0
    right = 2 * counts.matches - counts.found - counts.switches
    return right / max(counts.truths, 1)


def _idf1(counts: _MotCounts) -> float:
    boxes = counts.truths + counts.found
    return 2 * counts.agreed / boxes if boxes else 1.0


class _Tables:
    """The IoUs of a sequence, with ids replaced by row and column numbers."""

    def __init__(self, truth: Frames, predicted: Frames) -> None:
        if len(truth) != len(predicted):
            raise ValueError(f"{len(truth)} true frames against {len(predicted)} predicted ones")
        rows = {name: i for i, name in enumerate(sorted({n for frame in truth for n in frame}))}
        columns = {
            name: i for i, name in enumerate(sorted({n for frame in predicted for n in frame}))
        }
        self.truth_count = np.zeros(len(rows))
        self.predicted_count = np.zeros(len(columns))
        self.potential = np.zeros((len(rows), len(columns)))
        self.frames: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
        for true, found in zip(truth, predicted, strict=True):
            r = np.array([rows[name] for name in true], np.int64)
            c = np.array([columns[name] for name in found], np.int64)
            ious = np.array(
                [[box_iou(a, b) for b in found.values()] for a in true.values()], float
            ).reshape(len(r), len(c))
            self.truth_count[r] += 1
            self.predicted_count[c] += 1
            around = ious.sum(axis=0, keepdims=True) + ious.sum(axis=1, keepdims=True) - ious
            self.potential[np.ix_(r, c)] += np.where(around > 1e-12, ious / (around + 1e-300), 0.0)
            self.frames.append((r, c, ious))


def _assign(scores: NDArray[np.float64]) -> Any:
    """The one-to-one pairs (rows, columns) with the highest sum of scores."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise MissingExtra("the matching of tracks", "metrics") from None
    return linear_sum_assignment(-scores)
