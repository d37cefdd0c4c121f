"""How results are drawn, with matplotlib (extra `metrics`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pixelis_env.errors import MissingExtra

Bar = tuple[str, "float | None", "tuple[float, float] | None"]
"""Name, value and 95 % interval."""


def bars(items: Sequence[Bar], title: str, axes: Any = None) -> Any:
    """Horizontal bars with their intervals; what has no value has no bar.

    Args:
        items: From the top.
        title: Of the axes.
        axes: Matplotlib axes to draw on; default: those of a new figure.

    Returns:
        The axes: `axes.figure.savefig("result.png")` keeps them.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    axes = new_axes() if axes is None else axes
    for row, (_, value, interval) in enumerate(items):
        if value is None:
            continue
        reach = None if interval is None else [[value - interval[0]], [interval[1] - value]]
        axes.barh(row, value, xerr=reach, color="tab:blue", ecolor="black", capsize=2)
    axes.set_yticks(range(len(items)), [name for name, _, _ in items])
    axes.invert_yaxis()
    axes.set_title(title)
    return axes


def new_axes() -> Any:
    """The axes of a new figure that no window shows.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("plotting", "metrics") from None
    return Figure(layout="constrained").subplots()
