"""Confidence intervals by resampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000


def mean_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean and its 95 % percentile-bootstrap interval (Efron 1979).

    Args:
        values: Independent values, e.g. one score an episode.
        seed: Of the resamples; the same seed gives the same interval.

    Raises:
        ValueError: There are no values.
    """
    return ratio_interval(values, [1.0] * len(values), seed)


def ratio_interval(
    sums: Sequence[float], counts: Sequence[float], seed: int = 0
) -> tuple[float, float, float]:
    """``sum(sums) / sum(counts)`` and its 95 % percentile-bootstrap interval over the pairs.

    For values that come in groups which are not independent inside, such as the calls of an
    episode: a group is resampled as a whole.

    Args:
        sums: The sum of each group's values.
        counts: How many values each group has; groups of none are allowed.
        seed: Of the resamples.

    Raises:
        ValueError: There are no values, or other sums than counts.
    """
    above, below = np.asarray(sums, np.float64), np.asarray(counts, np.float64)
    if len(above) != len(below):
        raise ValueError(f"{len(above)} sums but {len(below)} counts")
    if not below.sum() > 0:
        raise ValueError("no values: an interval needs at least one")
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(above), size=(RESAMPLES, len(above)))
    drawn = below[rows].sum(1)
    means = above[rows].sum(1)[drawn > 0] / drawn[drawn > 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(above.sum() / below.sum()), float(low), float(high)
