"""How faithful evidence is to the truth, added up: boxes, masks, texts and spans of time.

Each class takes pairs with `update` and gives their figures with `compute`; a figure that nothing
was counted for is 0. Tracks are in `metrics.tracking`, the process in `metrics.process`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Box
from pixelis_env.metrics.figures import Figures, Ratios
from pixelis_env.metrics.overlap import (
    Span,
    boundary_f1,
    box_giou,
    box_iou,
    interval_iou,
    mask_iou,
    temporal_iou,
)
from pixelis_env.metrics.text import edits, plain

RECALL_AT = (0.3, 0.5, 0.7)
"""Temporal IoUs from which a span counts as found, those of the moment-retrieval benchmarks."""


class BoxOverlap:
    """Means of `iou` (0..1) and `giou` (-1..1) of boxes."""

    def __init__(self) -> None:
        self._ratios = Ratios("boxes", ("iou", "giou"))

    def update(self, predicted: Box, truth: Box) -> None:
        """Adds a pair of xyxy boxes."""
        self._ratios.add(iou=(box_iou(predicted, truth), 1), giou=(box_giou(predicted, truth), 1))

    def compute(self) -> Figures:
        """The figures so far."""
        return self._ratios.figures()


class MaskOverlap:
    """Means of `iou` (DAVIS's J), `boundary_f1` (its F) and `j_and_f`, the mean of both; 0..1."""

    def __init__(self) -> None:
        self._ratios = Ratios("masks", ("iou", "boundary_f1", "j_and_f"))

    def update(self, predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
        """Adds a pair of bool (H, W) masks of one shape.

        Raises:
            ValueError: Their shapes differ.
        """
        if predicted.shape != truth.shape:
            raise ValueError(f"masks of two shapes: {predicted.shape} and {truth.shape}")
        region, outline = mask_iou(predicted, truth), boundary_f1(predicted, truth)
        self._ratios.add(
            iou=(region, 1), boundary_f1=(outline, 1), j_and_f=((region + outline) / 2, 1)
        )

    def compute(self) -> Figures:
        """The figures so far."""
        return self._ratios.figures()


class TextErrors:
    """`cer` and `wer`: edits of characters and of words, over all that should have been read.

    Sums over the pairs, as jiwer has them, so a long text weighs more than a short one; above 1
    where far too much was read. `exact`: share of pairs that agree but for case and spaces.
    """

    def __init__(self) -> None:
        self._ratios = Ratios("texts", ("cer", "wer", "exact"))

    def update(self, predicted: str, truth: str) -> None:
        """Adds a pair of texts."""
        words = truth.split()
        self._ratios.add(
            cer=(edits(predicted, truth), len(truth)),
            wer=(edits(predicted.split(), words), len(words)),
            exact=(plain(predicted) == plain(truth), 1),
        )

    def compute(self) -> Figures:
        """The figures so far."""
        return self._ratios.figures()


class TemporalLocalization:
    """`tiou`, the mean IoU of sets of spans, and recall: the share of true spans that are found.

    A true span is found at 0.5 where a predicted one has a temporal IoU of 0.5 or more with it;
    `recall_0.3`, `recall_0.5`, `recall_0.7`.
    """

    def __init__(self) -> None:
        self._ratios = Ratios("spans", ("tiou", *(f"recall_{level}" for level in RECALL_AT)))

    def update(self, predicted: Sequence[Span], truth: Sequence[Span]) -> None:
        """Adds what was found and the truth of a query, (start, end) in seconds, disjoint."""
        best = [max((temporal_iou(one, span) for one in predicted), default=0.0) for span in truth]
        found = {
            f"recall_{level}": (sum(iou >= level for iou in best), len(truth))
            for level in RECALL_AT
        }
        self._ratios.add(tiou=(interval_iou(sorted(predicted), sorted(truth)), 1), **found)

    def compute(self) -> Figures:
        """The figures so far."""
        return self._ratios.figures()
