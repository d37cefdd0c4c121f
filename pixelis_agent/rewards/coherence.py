"""Coherence: a step should follow from the one before, neither repeating it nor jumping away.

The cosine of the encodings of adjacent observations, z-scored by its running mean and deviation,
pays 1 inside a band and falls to -1 outside it, on either side: too like (a repeat) and too unlike
(a jump) both lose. A step whose result was seen before in the episode pays -1 whatever its cosine.
(Pixelis, arXiv 2603.25091, adjacent-step coherence; the band and the repeat rule are ours.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pixelis_agent.rewards.moments import Moments

Tensor = torch.Tensor

BAND = 1.0
"""Deviations around the mean within which a step is coherent."""

SAME = 1 - 1e-5
"""From this cosine on two observations are the same."""


def cosines(encodings: Tensor) -> Tensor:
    """Of adjacent encodings (S + 1, D): float32 (S,), -1..1."""
    return torch.cosine_similarity(encodings[:-1], encodings[1:], dim=-1).clamp(-1, 1)


def in_band(z: Tensor, band: float = BAND) -> Tensor:
    """1 where |z| <= band, falling linearly to -1 at three times the band; symmetric in z."""
    return (2 - z.abs() / band).clamp(-1, 1)


def repeated(encodings: Tensor) -> Tensor:
    """Which steps show what was shown before: bool (S,) of encodings (S + 1, D)."""
    unit = torch.nn.functional.normalize(encodings, dim=-1)
    alike = unit @ unit.T >= SAME
    return alike.tril(-1).any(-1)[1:]


class Coherence:
    """Pays adjacent steps; remembers mean and deviation of the cosines that it has met."""

    def __init__(self) -> None:
        self._met = Moments()

    def rewards(self, encodings: Sequence[Tensor], valid: Sequence[Tensor]) -> list[Tensor]:
        """What each step pays.

        Args:
            encodings: float32 (S + 1, D) an episode: of what was observed at the start and after
                each step.
            valid: bool (S,) an episode: an invalid step pays nothing.

        Returns:
            float32 (S,) an episode, -1..1.
        """
        near = [cosines(seen) for seen in encodings]
        for episode, right in zip(near, valid, strict=True):
            self._met.add(episode[right].tolist())
        mean, deviation = self._met.mean, self._met.deviation + 1e-6
        return [
            torch.where(repeated(seen), -1.0, in_band((cosine - mean) / deviation)) * right
            for cosine, seen, right in zip(near, encodings, valid, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """What it remembers."""
        return self._met.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self._met.load_state_dict(state)
