"""Which task indices are for what: nothing is evaluated on a task that may have been trained on.

An endless source has a task for every index in 0..2**62-1. Training takes its tasks from `TRAIN`
and decides by those of `VALIDATION`, e.g. when to stop; `evaluation_indices` starts at 2 * 10**9,
and each seed has a million indices of its own there.
"""

from __future__ import annotations

TRAIN = range(10**9)
"""Indices that training may use."""

VALIDATION = range(10**9, 2 * 10**9)
"""Indices by which training may be steered."""

EVALUATION_START = 2 * 10**9
EVALUATION_BLOCK = 10**6
"""Indices of one evaluation seed."""

EPISODES = 500
"""Tasks of an evaluation that says of no other number."""

_MAX_SEED = (2**62 - EVALUATION_START) // EVALUATION_BLOCK - 1


def evaluation_indices(seed: int, episodes: int | None = None, size: int | None = None) -> range:
    """The task indices of an evaluation.

    Args:
        seed: Of the evaluation; those of two seeds are disjoint.
        episodes: How many, 1..1,000,000; None: all of a finite source, else `EPISODES`.
        size: How many tasks the source has; None: it is endless. A finite source is a test set
            as a whole: its first rows are taken, whatever the seed, at most all of them.

    Raises:
        ValueError: A number out of range.
    """
    if episodes is None:
        episodes = EPISODES if size is None else max(size, 1)
    if not 1 <= episodes <= EVALUATION_BLOCK:
        raise ValueError(f"episodes must be in 1..{EVALUATION_BLOCK}, not {episodes}")
    if not 0 <= seed <= _MAX_SEED:
        raise ValueError(f"seed must be in 0..{_MAX_SEED}, not {seed}")
    if size is not None:
        return range(min(episodes, size))
    start = EVALUATION_START + seed * EVALUATION_BLOCK
    return range(start, start + episodes)
