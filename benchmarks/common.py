"""What every benchmark shares: the machine, intervals, and one JSON layout for results."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pixelis_env.metrics.interval import mean_interval

_STARTED = time.monotonic()
ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


@dataclass
class Table:
    """A table of the README: cells are text, as they will be read."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)


def save(
    name: str,
    seeds: Sequence[int],
    tables: Sequence[Table],
    raw: dict[str, Any],
    commits: Sequence[str] = (),
    machines: Sequence[dict[str, Any]] = (),
    seconds: float | None = None,
) -> None:
    """Writes `benchmarks/results/<name>.json` and prints the tables.

    Args:
        name: Of the benchmark.
        seeds: Its seeds.
        tables: What it came to.
        raw: What they are made of.
        commits: At which it was measured; default: this one.
        machines: On which it was measured, as of `machine`; default: this one.
        seconds: That it took; default: since this process began.
    """
    result = {
        "name": name,
        "command": shlex.join(["python", *sys.argv]),
        "commit": ", ".join(commits) or commit(),
        "machine": _both(machines or [machine()]),
        "seeds": list(seeds),
        "seconds": round(time.monotonic() - _STARTED if seconds is None else seconds),
        "tables": [vars(table) for table in tables],
        "raw": raw,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    for table in tables:
        print(f"\n{markdown(table)}")
    print(f"\nwritten: {path.relative_to(ROOT)}")


def markdown(table: Table) -> str:
    """A table as Markdown."""
    lines = [f"**{table.title}**", "", "| " + " | ".join(table.columns) + " |"]
    lines.append("|" + "---|" * len(table.columns))
    lines += ["| " + " | ".join(row) + " |" for row in table.rows]
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "os": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _both(machines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several machines in the form of one."""
    if all(one == machines[0] for one in machines):
        return machines[0]
    named = {key: dict.fromkeys(str(one[key]) for one in machines) for key in machines[0]}
    return {key: " / ".join(found) for key, found in named.items()}


def with_interval(values: Sequence[float], digits: int = 3) -> str:
    """`mean [low, high]`, or a dash for no values."""
    if not len(values):
        return "–"
    mean, low, high = mean_interval(values)
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def over_seeds(values: Sequence[float], digits: int = 3) -> str:
    """`mean [low, high]` by Student's t: a bootstrap of a few runs would be too narrow.

    A single value has no interval.
    """
    mean = float(np.mean(values))
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    from scipy.stats import t

    reach = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return f"{mean:.{digits}f} [{mean - reach:.{digits}f}, {mean + reach:.{digits}f}]"


def median_range(values: Sequence[float], digits: int = 0) -> str:
    """`median (lowest-highest)`."""
    middle = f"{np.median(values):,.{digits}f}"
    return f"{middle} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def commit() -> str:
    """The commit, with a plus where files have been changed since; records of runs are none."""
    changed = _git("diff", "HEAD", "--", ".", ":!benchmarks/results/studies")
    return _git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()
