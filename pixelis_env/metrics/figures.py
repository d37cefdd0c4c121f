"""What a metric came to: figures by name, which print and plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixelis_env.metrics.interval import ratio_interval
from pixelis_env.metrics.plotting import bars

Groups = tuple[list[float], list[float]]
"""Of each update: the sum of its values, and how many there are."""


class Figures(dict[str, float]):
    """Figures by name.

    Args:
        title: What they are about.
        n: How many updates they come from.
        values: The figures.
        groups: Of the figures that are ratios of sums, the updates they are taken of: they have
            an interval.

    Attributes:
        title: As above.
        n: As above.
    """

    def __init__(
        self,
        title: str,
        n: int,
        values: Mapping[str, float],
        groups: Mapping[str, Groups] | None = None,
    ) -> None:
        super().__init__(values)
        self.title, self.n = title, n
        self._groups = dict(groups or {})

    def interval(self, name: str) -> tuple[float, float] | None:
        """The 95 % bootstrap interval of a figure over updates; None where it has none.

        Raises:
            KeyError: There is no such figure.
        """
        if name not in self:
            raise KeyError(f"no figure {name!r}; there are {', '.join(self)}")
        sums, counts = self._groups.get(name, ([], []))
        if not sum(counts) > 0:
            return None
        _, low, high = ratio_interval(sums, counts)
        return low, high

    def __str__(self) -> str:
        width = max(map(len, self), default=0)
        lines = [f"{self.title}, n = {self.n}"]
        for name, value in self.items():
            interval = self.interval(name)
            reach = "" if interval is None else f"  [{interval[0]:.3f}, {interval[1]:.3f}]"
            lines.append(f"{name:<{width}}  {value:.3f}{reach}")
        return "\n".join(lines)

    def plot(self, axes: Any = None) -> Any:
        """Bars with their intervals, a figure each, on matplotlib axes, which are returned.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        items = [(name, value, self.interval(name)) for name, value in self.items()]
        return bars(items, f"{self.title}, n = {self.n}", axes)


class Ratios:
    """Ratios of sums over updates: what most metrics are.

    Args:
        title: What they are about.
        names: The figures, in order.
    """

    def __init__(self, title: str, names: tuple[str, ...]) -> None:
        self._title = title
        self._groups: dict[str, Groups] = {name: ([], []) for name in names}

    def add(self, **values: tuple[float, float]) -> None:
        """Counts an update: of each figure its sum and its count."""
        for name, (total, count) in values.items():
            sums, counts = self._groups[name]
            sums.append(float(total))
            counts.append(float(count))

    def figures(self) -> Figures:
        """The figures so far; one that nothing was counted for is 0."""
        values = {
            name: sum(sums) / sum(counts) if sum(counts) else 0.0
            for name, (sums, counts) in self._groups.items()
        }
        n = max((len(sums) for sums, _ in self._groups.values()), default=0)
        # Copies: more updates must not change what was computed before.
        groups = {name: (list(sums), list(counts)) for name, (sums, counts) in self._groups.items()}
        return Figures(self._title, n, values, groups)
