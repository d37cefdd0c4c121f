"""Running mean and deviation of what comes in one by one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any


class Moments:
    """Welford's algorithm: stable, and a few numbers to keep however much came in.

    Attributes:
        count: Of values so far.
        mean: Their mean; 0.0 before the first.
    """

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, values: Iterable[float]) -> None:
        """Takes in some values.

        Raises:
            ValueError: One is no finite number: it would spoil all that come after.
        """
        for value in values:
            if not math.isfinite(value):
                raise ValueError(f"{value} is no finite number")
            self.count += 1
            off = value - self.mean
            self.mean += off / self.count
            self._squares += off * (value - self.mean)

    @property
    def deviation(self) -> float:
        """The standard deviation of a sample, 0.0 before the second value."""
        return math.sqrt(self._squares / max(self.count - 1, 1))

    def state_dict(self) -> dict[str, Any]:
        """What it holds."""
        return {"count": self.count, "mean": self.mean, "squares": self._squares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self.count = int(state["count"])
        self.mean, self._squares = float(state["mean"]), float(state["squares"])
