"""Random generators that depend on what they are for and on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.random import Generator


def generator(*key: object) -> Generator:
    """A generator that is seeded by the key's text, the same in every process."""
    digest = hashlib.sha256(" ".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
