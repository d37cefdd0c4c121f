"""The corridor controller: keeps the divergence from an anchor policy between two bounds.

Pixelis (arXiv 2603.25091) reports a divergence per token within [0.10, 0.20]. The controller moves
the weight beta of the divergence term on a log scale, and says when an update went too far:

    KL > high:  log beta += rate (KL - high) / high
    KL < low:   log beta -= rate (low - KL) / low, once KL has been as high as `low`

Training begins at the anchor, where the divergence is 0: a weight that fell from there on would be
gone when it is needed.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Verdict(Enum):
    """What to do with an update.

    Attributes:
        KEEP: It may stand.
        SKIP: The divergence is above the hard limit: let the anchor alone pull.
        ROLL_BACK: It was there several times in a row: return to the last good state.
    """

    KEEP = "keep"
    SKIP = "skip"
    ROLL_BACK = "roll back"


@dataclass(frozen=True)
class Corridor:
    """Where the divergence should be, and how it is held there.

    Attributes:
        low: Lower bound of the divergence per token, nats, > 0.
        high: Upper bound, > `low`.
        beta: Weight of the divergence term at the start.
        least: The smallest weight, > 0.
        most: The largest.
        rate: How fast the weight moves, > 0.
        step: The largest change of log beta at once, > 0: one outlier moves it no further.
        limit: The hard limit of the divergence, >= `high`.
        patience: Skips in a row after which to roll back, >= 1.

    Raises:
        ValueError: A number outside its range.
    """

    low: float = 0.10
    high: float = 0.20
    beta: float = 0.04
    least: float = 1e-4
    most: float = 10.0
    rate: float = 0.3
    step: float = 0.5
    limit: float = 0.6
    patience: int = 3

    def __post_init__(self) -> None:
        right = {
            "0 < low < high <= limit": 0 < self.low < self.high <= self.limit,
            "0 < least <= beta <= most": 0 < self.least <= self.beta <= self.most,
            "rate > 0 and step > 0": self.rate > 0 and self.step > 0,
            "patience >= 1": self.patience >= 1,
        }
        for rule, holds in right.items():
            if not holds:
                raise ValueError(f"a corridor needs {rule}; got {asdict(self)}")


class CorridorController:
    """The state machine: give it the divergence of each update.

    Args:
        corridor: Its settings.

    Attributes:
        beta: The weight of the divergence term now.
    """

    def __init__(self, corridor: Corridor) -> None:
        self._corridor = corridor
        self.beta = corridor.beta
        self._skipped = 0
        self._arrived = False

    def update(self, divergence: float) -> Verdict:
        """Moves beta by the divergence that was measured and judges the update.

        A divergence that is no number counts as above the hard limit and leaves beta alone.
        """
        bounds = self._corridor
        if math.isfinite(divergence):
            self._arrived |= divergence >= bounds.low
            move = 0.0
            if divergence > bounds.high:
                move = bounds.rate * (divergence - bounds.high) / bounds.high
            elif divergence < bounds.low and self._arrived:
                move = -bounds.rate * (bounds.low - divergence) / bounds.low
            if move:
                moved = self.beta * math.exp(min(max(move, -bounds.step), bounds.step))
                self.beta = min(max(moved, bounds.least), bounds.most)
        if divergence <= bounds.limit:  # False for NaN
            self._skipped = 0
            return Verdict.KEEP
        self._skipped += 1
        if self._skipped < bounds.patience:
            return Verdict.SKIP
        self._skipped = 0
        return Verdict.ROLL_BACK

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        return {"beta": self.beta, "skipped": self._skipped, "arrived": self._arrived}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self.beta, self._skipped = float(state["beta"]), int(state["skipped"])
        self._arrived = bool(state["arrived"])
