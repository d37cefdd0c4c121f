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
    for name, chart in {"voting": votes, "ttrl": adapting, "ccrft_ablation": divergence}.items():
        file = RESULTS / f"{name}.json"
        if file.exists():
            figure = chart(json.loads(file.read_text()))
            figure.savefig(out / f"{name}.png")


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
    """What each arm of test-time learning gained under each shift, with intervals."""
    heads = {"gain with the shift": "with it", "change without the shift": "without"}
    tables = {table["title"]: table for table in result["tables"]}
    figure, axes = _figure(2)
    for own, asked in zip(axes, ("sampled", "greedy"), strict=True):
        rows = [
            (f"{arm}, {shift}: {heads[head]}", figures[k])
            for shift in result["raw"]
            if (table := tables.get(f"Change by adapting to {shift}"))
            for arm, play, *figures in table["rows"]
            for k, head in enumerate(table["columns"][2:])
            if play == asked and head in heads
        ]
        _bars(own, [name for name, _ in rows], [text for _, text in rows])
        own.set(title=f"change of the score, {asked}")
    axes[1].tick_params(labelleft=False)
    figure.set_figheight(max(3.6, 0.9 + 0.22 * len(rows)))
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


def _bars(axes: Any, names: Sequence[str], texts: Sequence[str]) -> None:
    """Figures with intervals as points with bars, the first on top."""
    for place, text in enumerate(reversed(texts)):
        found = FIGURE.match(text)
        mean, low, high = map(float, found.groups()) if found else [float(text)] * 3
        axes.errorbar(
            mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color="C0", capsize=3
        )
    axes.set_yticks(range(len(names)), list(reversed(names)), fontsize=8)
    axes.axvline(0, color="gray", linewidth=0.8)


def _figure(columns: int) -> tuple[Any, Any]:
    figure = Figure(figsize=(7 if columns == 1 else 10, 3.6), dpi=110, layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]
