"""Scorers by the name of their protocol: how answers are read, and how scores add up.

A figure is comparable with a published one only if both were read and added up in one way. So a
`Result` carries its protocol's name and version, and every row that was due is in it: one that
could not be asked counts 0 and is named.

Sources: VSI-Bench, "Thinking in Space" (Yang et al., CVPR 2025) and its evaluation code;
InfographicVQA (Mathew et al., WACV 2022); MMBench's CircularEval (Liu et al., ECCV 2024); MMMU
(Yue et al., CVPR 2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from pixelis_env.metrics.interval import mean_interval, mean_of_means_interval
from pixelis_env.metrics.plotting import bars
from pixelis_env.tasks.benchmarks.rows import Fault

UNKNOWN = "(type unknown)"
_SHOWN = 20


@dataclass(frozen=True)
class Protocol:
    """A way to read answers and to add up their scores.

    Attributes:
        name: E.g. "vsi-official".
        version: Changes whenever a score can.
        reading: How an answer is read (`Task.reading`).
        tasks: The question types that make up each task, by its name: types are averaged to a task
            and tasks to the overall score. None: the overall score is the mean over rows.
        units: Whether the rows of a unit count once, as the worst of them.
    """

    name: str
    version: str
    reading: Literal["official", "lenient"]
    tasks: Mapping[str, tuple[str, ...]] | None = None
    units: bool = False


_VSI_TASKS: Mapping[str, tuple[str, ...]] = {
    "object_counting": ("object_counting",),
    "object_abs_distance": ("object_abs_distance",),
    "object_size_estimation": ("object_size_estimation",),
    "room_size_estimation": ("room_size_estimation",),
    "object_rel_distance": ("object_rel_distance",),
    "object_rel_direction": (
        "object_rel_direction_easy",
        "object_rel_direction_medium",
        "object_rel_direction_hard",
    ),
    "route_planning": ("route_planning",),
    "obj_appearance_order": ("obj_appearance_order",),
}

PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("vsi-official", "1", "official", _VSI_TASKS),
        Protocol("vsi-lenient", "1", "lenient", _VSI_TASKS),
        Protocol("anls", "1", "lenient"),
        Protocol("letter-accuracy", "1", "lenient"),
        Protocol("circular-accuracy", "1", "lenient", units=True),
        Protocol("mmmu-accuracy", "1", "lenient"),
        Protocol("metric-mean", "1", "official"),
    )
}
"""By name. `circular-accuracy` is `letter-accuracy` of rows that come in every rotation of their
options and count as right together; `metric-mean` is each task's own metric, read officially."""


class Scored(NamedTuple):
    """A row that was played. `score` is None where the right answer is not known."""

    type: str
    unit: str
    score: float | None


@dataclass(frozen=True)
class Line:
    """A line of a result, scores from 0 to 100.

    Attributes:
        name: A question type, or a task that several types make up.
        n: Units: rows, or groups of rows that count once.
        skipped: How many of them could not be asked; they count 0.
        score: The mean; None where no right answer is known.
        score_ci95: Its 95 % bootstrap interval.
    """

    name: str
    n: int
    skipped: int
    score: float | None
    score_ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Result:
    """What a benchmark came to.

    Attributes:
        source: The benchmark.
        scorer: The protocol's name.
        version: The protocol's version.
        n: Units, the skipped ones among them.
        unscored: Of these, those whose right answer is not known: they are in no mean.
        score: Overall, 0..100; None where no right answer is known.
        score_ci95: Its 95 % bootstrap interval; where types are averaged, each is resampled alone.
        lines: The parts in the benchmark's own order.
        skipped: The rows that could not be asked, and why.
    """

    source: str
    scorer: str
    version: str
    n: int
    unscored: int
    score: float | None
    score_ci95: tuple[float, float] | None
    lines: tuple[Line, ...]
    skipped: tuple[Fault, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            **asdict(self),
            "lines": [asdict(line) for line in self.lines],
            "skipped": [
                {"id": f.id, "where": f.where, "type": f.type, "reason": f.reason}
                for f in self.skipped
            ],
        }

    def __str__(self) -> str:
        cells = [["type", "n", "skipped", "score [95 %]"]]
        cells += [
            [line.name, str(line.n), str(line.skipped), _figure(line.score, line.score_ci95)]
            for line in self.lines
        ]
        total = [str(self.n), str(len(self.skipped)), _figure(self.score, self.score_ci95)]
        cells.append(["overall", *total])
        widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
        lines = [
            "  ".join(
                cell.rjust(w) if k else cell.ljust(w)
                for k, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in cells
        ]
        lost = [f"skipped {fault}" for fault in self.skipped[:_SHOWN]]
        if len(self.skipped) > _SHOWN:
            lost.append(f"skipped {len(self.skipped) - _SHOWN} more")
        return "\n".join([f"{self.source} by {self.scorer} v{self.version}", *lines, *lost])

    def plot(self, axes: Any = None) -> Any:
        """Bars with their intervals, a line each, on matplotlib axes, which are returned.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return bars(
            [(line.name, line.score, line.score_ci95) for line in (*self.lines, self._overall())],
            f"{self.source} by {self.scorer} v{self.version}",
            axes,
        )

    def _overall(self) -> Line:
        return Line("overall", self.n, len(self.skipped), self.score, self.score_ci95)


def add_up(
    protocol: Protocol,
    source: str,
    rows: Iterable[Scored],
    skipped: Sequence[Fault] = (),
    types: Sequence[str] | None = None,
) -> Result:
    """The result of a benchmark's rows.

    Args:
        protocol: How they add up.
        source: The benchmark's name.
        rows: What was played.
        skipped: What was due and could not be asked: it counts 0 in its type, and overall; one
            whose type is not known is in no mean over tasks.
        types: The question types in the benchmark's own order; others follow as they come.
    """
    units: dict[tuple[str, str], list[float | None]] = {}
    for row in rows:
        units.setdefault((row.type, row.unit), []).append(row.score)
    lost: dict[str, int] = {}
    for fault in skipped:
        name = fault.type or UNKNOWN
        if types and name not in types:
            name = UNKNOWN
        lost[name] = lost.get(name, 0) + 1
        unit = fault.unit if protocol.units and fault.unit else fault.id
        units.setdefault((name, unit), []).append(0.0)
    scores: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    for (name, _), values in units.items():
        counts[name] = counts.get(name, 0) + 1
        known = [value for value in values if value is not None]
        scores.setdefault(name, []).extend([min(known)] if known else [])
    order = [name for name in types or () if name in counts]
    order += [name for name in counts if name not in order]
    lines, parts, weights = [], [], []
    for task, members in _tasks(protocol, order).items():
        groups = [scores[name] for name in members if scores[name]]
        lines.append(_line(task, members, counts, lost, groups))
        if len(members) > 1:
            lines += [_line(name, [name], counts, lost, [scores[name]]) for name in members]
        parts += groups
        weights += [0.0 if task == UNKNOWN else 1 / len(groups) for _ in groups]
    if protocol.tasks is None:
        weights = [float(len(group)) for group in parts]
    score, interval = _mean(parts, weights)
    return Result(
        source=source,
        scorer=protocol.name,
        version=protocol.version,
        n=sum(counts.values()),
        unscored=sum(counts.values()) - sum(map(len, scores.values())),
        score=score,
        score_ci95=interval,
        lines=tuple(lines),
        skipped=tuple(skipped),
    )


def _tasks(protocol: Protocol, order: Sequence[str]) -> dict[str, list[str]]:
    """The types of each task, in order; a type of no task is one by itself."""
    tasks = protocol.tasks or {}
    found = {task: [name for name in order if name in own] for task, own in tasks.items()}
    taken = {name for names in found.values() for name in names}
    found |= {name: [name] for name in order if name not in taken}
    kept = {task: names for task, names in found.items() if names}
    return dict(sorted(kept.items(), key=lambda item: order.index(item[1][0])))


def _line(
    name: str,
    members: Sequence[str],
    counts: Mapping[str, int],
    lost: Mapping[str, int],
    groups: Sequence[Sequence[float]],
) -> Line:
    groups = [group for group in groups if group]
    score, interval = _mean(groups, [1.0] * len(groups))
    n = sum(counts[member] for member in members)
    return Line(name, n, sum(lost.get(member, 0) for member in members), score, interval)


def _mean(
    groups: Sequence[Sequence[float]], weights: Sequence[float]
) -> tuple[float | None, tuple[float, float] | None]:
    """A weighted mean of means on a scale of 100, and its interval."""
    if not groups:
        return None, None
    if len(groups) == 1:
        mean, low, high = mean_interval(groups[0])
    else:
        mean, low, high = mean_of_means_interval(groups, weights)
    return 100 * mean, (100 * low, 100 * high)


def _figure(score: float | None, interval: tuple[float, float] | None) -> str:
    if score is None or interval is None:
        return "–"
    return f"{score:.1f} [{interval[0]:.1f}, {interval[1]:.1f}]"
