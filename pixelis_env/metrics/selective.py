"""Answers that may be withheld: how wrong are the ones that are given, the fewer there are?

Sources: El-Yaniv and Wiener, "On the foundations of noise-free selective classification" (2010);
Geifman and El-Yaniv, "Selective classification for deep neural networks" (2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RiskCoverage:
    """The risk–coverage curve.

    Attributes:
        coverage: float64 (K,), rising to 1: the share that is answered. One point for each
            different confidence: what is equally sure is answered together.
        risk: float64 (K,), the mean loss among what is answered.
    """

    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]

    @property
    def area(self) -> float:
        """The area under the curve (AURC), 0..1 for losses in 0..1; the risk before its first
        point counts as that of the first point."""
        widths = np.diff(self.coverage, prepend=0.0)
        return float((widths * self.risk).sum())

    def at(self, coverage: float) -> float:
        """The risk where at least this share is answered.

        Raises:
            ValueError: `coverage` is not in 0..1.
        """
        if not 0 <= coverage <= 1:
            raise ValueError(f"coverage must be in 0..1, not {coverage}")
        return float(self.risk[np.searchsorted(self.coverage, coverage - 1e-12)])


def risk_coverage(confidence: Sequence[float], score: Sequence[float]) -> RiskCoverage:
    """The curve of answers that are given in the order of their confidence.

    Args:
        confidence: Of each answer; any numbers, larger is surer.
        score: Of each, 0..1; its loss is 1 - score.

    Raises:
        ValueError: There is none, or other confidences than scores.
    """
    sure, loss = np.asarray(confidence, np.float64), 1 - np.asarray(score, np.float64)
    if len(sure) != len(loss) or not len(sure):
        raise ValueError(f"{len(sure)} confidences and {len(loss)} scores: give one each, not none")
    order = np.argsort(-sure, kind="stable")
    last = np.append(np.flatnonzero(np.diff(sure[order])), len(sure) - 1)
    given = last + 1
    return RiskCoverage(given / len(sure), np.cumsum(loss[order])[last] / given)
