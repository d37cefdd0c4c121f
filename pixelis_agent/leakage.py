"""Is what an agent adapts to kept apart from what it is judged by?

Two tasks leak into each other when their media are the same by content, or look the same: a
difference hash (N. Krawetz, "Kind of like that", 2013) of each frame that an agent is shown,
compared frame by frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 8, 8
NEAR = 0.2
"""Share of a medium's bits that may differ in near duplicates. Of 16 rooms no two differ in less
than 0.39; the same room in other light differs in 0.02, with other walls and floor in 0.18."""


@dataclass(frozen=True)
class Fingerprint:
    """What a task's medium is known by.

    Attributes:
        task_id: The task's.
        media_digest: Of the medium's content.
        bits: bool (frames, 64), whether each cell of a coarse picture is darker than the next.
    """

    task_id: str
    media_digest: str
    bits: NDArray[np.bool_]

    @classmethod
    def of(cls, task_id: str, media_digest: str, images: Sequence[Image.Image]) -> Fingerprint:
        """The fingerprint of a task that begins with these images."""
        coarse = [
            np.asarray(
                image.convert("L").resize((WIDTH + 1, HEIGHT), Image.Resampling.BOX), np.int16
            )
            for image in images
        ]
        bits = [(picture[:, 1:] > picture[:, :-1]).ravel() for picture in coarse]
        return cls(task_id, media_digest, np.array(bits, bool).reshape(len(bits), -1))


@dataclass(frozen=True)
class Leak:
    """A pair of tasks that are not kept apart; `difference` is the share of bits that differ."""

    adapted: str
    held_out: str
    same_content: bool
    difference: float


def leaks(
    adapted: Iterable[Fingerprint], held_out: Sequence[Fingerprint], near: float = NEAR
) -> list[Leak]:
    """The pairs whose media are the same, or look the same.

    Args:
        adapted: Of the tasks that were adapted to.
        held_out: Of those that judge.
        near: Largest difference of near duplicates, 0..1.
    """
    found = []
    for one in adapted:
        for other in held_out:
            same = one.media_digest == other.media_digest
            difference = 1.0
            if one.bits.shape == other.bits.shape and one.bits.size:
                difference = float((one.bits != other.bits).mean())
            if same or difference <= near:
                found.append(Leak(one.task_id, other.task_id, same, difference))
    return found
