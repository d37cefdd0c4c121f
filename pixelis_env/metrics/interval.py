"""Confidence intervals by resampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
_CHUNK = 100  # resamples at a time: all of them of a large benchmark take gigabytes


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


def mean_of_means_interval(
    groups: Sequence[Sequence[float]], weights: Sequence[float], seed: int = 0
) -> tuple[float, float, float]:
    """The weighted mean of groups' means and its 95 % percentile-bootstrap interval.

    Each group is resampled on its own, so that every one keeps its size.

    Args:
        groups: The values of each group, at least one.
        weights: Of each group; they are scaled to a sum of 1.
        seed: Of the resamples.

    Raises:
        ValueError: There is no group, one without values, or other weights than groups.
    """
    if len(groups) != len(weights) or not groups or not all(groups) or not sum(weights) > 0:
        raise ValueError(
            f"{len(groups)} groups and {len(weights)} weights: give one each, and no empty group"
        )
    rng = np.random.default_rng(seed)
    mean, drawn = 0.0, np.zeros(RESAMPLES)
    for group, weight in zip(groups, np.asarray(weights, np.float64) / sum(weights), strict=True):
        values = np.asarray(group, np.float64)
        mean += weight * float(values.mean())
        for start in range(0, RESAMPLES, _CHUNK):
            rows = rng.integers(len(values), size=(min(_CHUNK, RESAMPLES - start), len(values)))
            drawn[start : start + len(rows)] += weight * values[rows].mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return mean, float(low), float(high)
