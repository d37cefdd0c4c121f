"""Which task indices are for what: nothing is evaluated on a task that may have been trained on.

An endless source has a task for every index in 0..2**62-1. Training takes its tasks from `TRAIN`
and decides by those of `VALIDATION`, e.g. when to stop; `evaluation_indices` starts at 2 * 10**9,
and each seed has a million indices of its own there.
"""

from __future__ import annotations

TRAIN = range(10**9)
"""Indices that training may use."""

DEMONSTRATED = TRAIN[: 4 * 10**8]
"""Those of demonstrations (`pixelis cota`)."""
REWARDED = TRAIN[4 * 10**8 : 7 * 10**8]
"""Those that phase 2 plays for rewards."""
STREAMED = TRAIN[7 * 10**8 :]
"""Those that phase 3 meets without answers."""

VALIDATION = range(10**9, 2 * 10**9)
"""Indices by which training may be steered."""

EVALUATION_START = 2 * 10**9
BLOCK = 10**6
"""Indices of one seed, of an evaluation or of a run."""

EPISODES = 500
"""Tasks of an evaluation that says of no other number."""

_MAX_SEED = (2**62 - EVALUATION_START) // BLOCK - 1


def training_index(span: range, seed: int, number: int) -> int:
    """The index of a run's training task of a number: runs with other seeds have other tasks.

    Args:
        span: Of the phase.
        seed: Of the run, 0 or more; after 300 seeds tasks come again.
        number: 0 or more; after a million tasks they come again.
    """
    blocks = len(span) // BLOCK
    return span[seed % blocks * BLOCK + number % BLOCK]


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
    if not 1 <= episodes <= BLOCK:
        raise ValueError(f"episodes must be in 1..{BLOCK}, not {episodes}")
    if not 0 <= seed <= _MAX_SEED:
        raise ValueError(f"seed must be in 0..{_MAX_SEED}, not {seed}")
    if size is not None:
        return range(min(episodes, size))
    start = EVALUATION_START + seed * BLOCK
    return range(start, start + episodes)
