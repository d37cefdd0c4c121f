"""The charts of the docs, from `benchmarks/results`: made by `docs/make_docs.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
FIGURE = re.compile(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]")


def draw(out: Path) -> None:
    """Writes every chart whose result there is into the folder `out`."""
    out.mkdir(exist_ok=True)
    charts = {
        "voting": ("voting", votes),
        "ttrl": ("ttrl", adapting),
        "ttrl_stream": ("ttrl", met),
        "ccrft_ablation": ("ccrft_ablation", divergence),
    }
    for name, (result, chart) in charts.items():
        file = RESULTS / f"{result}.json"
        if file.exists():
            chart(json.loads(file.read_text())).savefig(out / f"{name}.png")


def votes(result: dict[str, Any]) -> Any:
    """How error falls where fewer queries are answered, for each way to vote, over all shifts."""
    table = next(t for t in result["tables"] if t["title"].startswith("Votes, all"))
    columns = [i for i, name in enumerate(table["columns"]) if name.startswith("error at ")]
    coverage = [float(table["columns"][i].split()[-1].rstrip("%")) / 100 for i in columns]
    figure, (axes,) = _figure(1)
    for row in table["rows"]:
        if row[columns[0]] != "–":
            axes.plot(coverage, [float(row[i]) for i in columns], marker="o", label=row[0])
    axes.set(
        xlabel="share of queries answered", ylabel="error", title=table["title"], ylim=(0, None)
    )
    axes.legend(fontsize=8)
    return figure


def adapting(result: dict[str, Any]) -> Any:
    """What each arm of test-time learning gained under the shifts and without, with intervals."""
    tables = {table["title"]: table for table in result["tables"]}
    shifts = {shift: tables[f"Change by adapting to {shift}"] for shift in result["raw"]}
    (mean,) = (table for title, table in tables.items() if title.startswith("Change by adapting, "))
    places = [
        ("all shifts", mean, "gain with the shift"),
        *((shift, table, "gain with the shift") for shift, table in shifts.items()),
        ("unshifted", mean, "change without the shift"),
    ]
    figure, axes = _figure(2)
    for own, asked in zip(axes, ("sampled", "greedy"), strict=True):
        rows = [
            (place, arm, figures[table["columns"].index(head) - 2])
            for place, table, head in places
            for arm, play, *figures in table["rows"]
            if play == asked
        ]
        _bars(own, rows)
        own.set(title=f"change of the score, {asked}")
    axes[1].tick_params(labelleft=False)
    axes[1].legend(fontsize=8)
    figure.set_figheight(max(3.6, 0.9 + 0.22 * len(rows)))
    return figure


def met(result: dict[str, Any]) -> Any:
    """How the stream went: scores of what was met so far, all arms on the same queries."""
    figure, axes = _figure(2)
    streams = [shift["streams"] for shift in result["raw"].values()]
    for own, (key, whose) in zip(
        axes, {"score": "rollouts", "vote_score": "their vote"}.items(), strict=True
    ):
        for arm in streams[0]:
            runs = [[row[key] for row in run] for shift in streams for run in shift[arm]]
            steps = np.arange(1, len(runs[0]) + 1)
            own.plot(steps, np.mean(np.cumsum(runs, 1) / steps, 0), marker=".", label=arm)
        own.set(xlabel="updates", ylabel="mean score so far", title=whose)
    axes[1].legend(fontsize=8)
    return figure


def divergence(result: dict[str, Any]) -> Any:
    """How far each arm of CC-RFT went from its start: the mean of its runs, and their range."""
    figure, (axes,) = _figure(1)
    for arm, runs in result["raw"]["divergence"].items():
        paths = np.array([path[: min(map(len, runs))] for path in runs])
        steps = np.arange(1, paths.shape[1] + 1)
        axes.plot(steps, paths.mean(0), label=arm)
        axes.fill_between(steps, paths.min(0), paths.max(0), alpha=0.25)
    axes.axhspan(0.1, 0.2, color="gray", alpha=0.15, label="corridor")
    axes.set(xlabel="iteration", ylabel="KL per token from the start, nats", ylim=(0, None))
    axes.legend(fontsize=8)
    return figure


def _bars(axes: Any, rows: Sequence[tuple[str, str, str]]) -> None:
    """Figures with intervals as points with bars, the first on top.

    Args:
        axes: Where.
        rows: Of each its group, which is written once, its series, which has a colour, and the
            figure.
    """
    series = list(dict.fromkeys(name for _, name, _ in rows))
    for place, (_, name, text) in enumerate(rows):
        found = FIGURE.match(text)
        mean, low, high = map(float, found.groups()) if found else [float(text)] * 3
        colour = f"C{series.index(name)}"
        label = name if place < len(series) else None
        reach = [[mean - low], [high - mean]]
        axes.errorbar(mean, -place, xerr=reach, fmt="o", color=colour, capsize=3, label=label)
    groups = [group for group, _, _ in rows]
    firsts = [place for place, group in enumerate(groups) if group not in groups[:place]]
    middles = [-(first + (groups.count(groups[first]) - 1) / 2) for first in firsts]
    axes.set_yticks(middles, [groups[first] for first in firsts])
    for first in firsts[1:]:
        axes.axhline(0.5 - first, color="lightgray", linewidth=0.6)
    axes.axvline(0, color="gray", linewidth=0.8)


def _figure(columns: int) -> tuple[Any, Any]:
    figure = Figure(figsize=(7 if columns == 1 else 10, 3.6), dpi=110, layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]
