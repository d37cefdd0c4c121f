"""Curves as SVG that takes its colours from the page, so that they follow light and dark.

Matplotlib draws with stand-in colours, which are then replaced by the page's CSS variables; text
stays text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pixelis_agent.learning.corridor import Corridor
from pixelis_env.errors import MissingExtra
from pixelis_env.metrics.selective import RiskCoverage

SERIES = 6
"""Colours of runs, `--run-0` .. `--run-5` of the page; further runs begin anew."""

Curve = tuple[Sequence[float], Sequence[float]]
"""Steps, and a value each."""

_SIZE = (4.2, 2.4)  # inches: in a phone's width the figure's letters are about the page's
_LONG = 60
"""Points from which a curve is shown by its moving mean, itself in the background."""

_INK, _MUTED, _LINE, _BAND, _BAD = "#010101", "#020202", "#030303", "#040404", "#050505"
_RUNS = tuple(f"#0606{k:02x}" for k in range(SERIES))
_ON_PAGE = dict(
    zip(
        (_INK, _MUTED, _LINE, _BAND, _BAD, *_RUNS),
        ("ink", "muted", "line", "band", "bad", *(f"run-{k}" for k in range(SERIES))),
        strict=True,
    )
)
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.5,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "lines.linewidth": 1.6,
}


def metric(name: str, of_runs: Mapping[int, Curve]) -> str:
    """A metric over the steps of training, a line each run.

    Args:
        name: Of the metric.
        of_runs: By the run's place, which chooses the colour.
    """

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for place, (steps, values) in of_runs.items():
            _line(axes, steps, values, _RUNS[place % SERIES])
        _over_steps(axes)

    return _svg(f"metric {name} {list(of_runs)}", draw)


def divergence(place: int, kl: Curve, beta: Curve, kept: Curve, bounds: Corridor) -> str:
    """The divergence with its corridor and hard limit, and below it the weight that holds it.

    Args:
        place: The run's.
        kl: In nats a token.
        beta: The weight of the divergence term.
        kept: 1 where an update stood, 0 where it was skipped or rolled back.
        bounds: The corridor.
    """

    def draw(figure: Any) -> None:
        figure.set_size_inches(_SIZE[0], 1.4 * _SIZE[1])
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        above.axhspan(bounds.low, bounds.high, color=_BAND, linewidth=0)
        above.axhline(bounds.limit, color=_BAD, linewidth=1, linestyle=":")
        _line(above, *kl, _RUNS[place % SERIES])
        fate = dict(zip(*kept, strict=True))
        undone = [(step, value) for step, value in zip(*kl, strict=True) if not fate.get(step, 1)]
        above.plot(*zip(*undone, strict=True) if undone else ((), ()), "x", color=_BAD)
        above.set_ylim(0, max(1.15 * bounds.limit, 1.05 * max(kl[1])))
        above.set_ylabel("KL, nats a token")
        _line(below, *beta, _RUNS[place % SERIES])
        below.set_yscale("log")
        below.yaxis.set_major_formatter("{x:g}")
        below.set_ylabel("β")
        _over_steps(below)

    return _svg(f"divergence {place}", draw)


def risk_coverage(of_runs: Mapping[int, RiskCoverage]) -> str:
    """The risk of the answers that are given over their share, a line each run."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for place, curve in of_runs.items():
            axes.plot(curve.coverage, curve.risk, ".-", color=_RUNS[place % SERIES], markersize=4)
        axes.set(xlim=(0, 1.02), ylim=(0, None), xlabel="coverage", ylabel="risk")

    return _svg("risk and coverage", draw)


def _line(axes: Any, steps: Sequence[float], values: Sequence[float], colour: str) -> None:
    long = len(values) >= _LONG
    mark = "." if len(values) <= 12 else ""
    axes.plot(steps, values, marker=mark, color=colour, alpha=0.3 if long else 1.0)
    if long:
        window = len(values) // 20
        mean = np.convolve(values, np.ones(window) / window, "valid")
        axes.plot(steps[window - 1 :], mean, color=colour)


def _over_steps(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _svg(name: str, draw: Callable[[Any], None]) -> str:
    """A figure to stand in a page; the same drawing gives the same text.

    Raises:
        MissingExtra: Matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("the report", "report") from None
    # The ids of a figure's parts are hashes: its own salt keeps them apart from another's.
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=_SIZE, layout="constrained")
        draw(figure)
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # In a page, namespaces are known and the size is the page's; other ids than hashes would
    # stand there twice.
    text = re.sub(r' (?:xmlns(?::\w+)?|width|height|version)="[^"]*"', "", text, count=5)
    text = re.sub(r' id="[A-Za-z][\w.]*_\d+"', "", text)
    text = re.sub(r"<style.*?</style>| font-family: [^;]*;", "", text, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text)
    for stand_in, variable in _ON_PAGE.items():
        text = text.replace(stand_in, f"var(--{variable})")
    return text
