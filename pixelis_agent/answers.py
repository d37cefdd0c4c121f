"""What an answer means: so that equal answers are counted as one, however they are written."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Union

from pixelis_env.metrics.overlap import temporal_iou
from pixelis_env.metrics.text import plain
from pixelis_env.scoring import read_span

Meaning = Union[float, tuple[float, float], str]
"""A number, a span in seconds, or words (an option's letter among them)."""

CLOSE = 0.05
"""Measured numbers this near, relatively, are the same answer: each would score 1 as the other's
mean relative accuracy."""
OVERLAP = 0.7
"""Spans of time with this temporal IoU are the same answer."""

_WORDS = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen", "twenty"),
]
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)


def meaning(answer: str | None, metric: str, n_options: int = 0) -> Meaning | None:
    """What an answer says, read more leniently than a grader does.

    Args:
        answer: As an agent wrote it.
        metric: The metric that the task's answers are scored by (`pixelis_env.scoring.METRICS`):
            it says what an answer is, not which is right.
        n_options: How many options there are, of `letter`; 0 = not known, then 26.

    Returns:
        The meaning; None where there is no answer of that kind in it.

    Raises:
        ValueError: There is no such metric.
    """
    if metric not in _READ:
        raise ValueError(f"no metric is called {metric!r}; the metrics are {', '.join(_READ)}")
    if answer is None or not answer.strip():
        return None
    if metric == "letter":
        return _letter(answer, n_options or len(string.ascii_lowercase))
    return _READ[metric](answer)


def equivalent(one: Meaning, other: Meaning) -> bool:
    """Whether two answers say the same.

    Whole numbers and words are equal or not; of two measured numbers the larger is at most
    `CLOSE` beyond the smaller; two spans overlap by `OVERLAP`.
    """
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    if isinstance(one, tuple) or isinstance(other, tuple):
        spans = isinstance(one, tuple) and isinstance(other, tuple)
        return spans and temporal_iou(one, other) >= OVERLAP  # type: ignore[arg-type]
    if one.is_integer() and other.is_integer():
        return one == other
    return one * other > 0 and abs(one - other) <= CLOSE * min(abs(one), abs(other))


def clusters(meanings: Sequence[Meaning | None]) -> list[list[int]]:
    """Groups of positions whose answers say the same, directly or by way of others.

    What could not be read (None) is in no group. Groups, and positions in them, are in order.
    """
    left = [k for k, one in enumerate(meanings) if one is not None]
    found = []
    while left:
        group, frontier = [], [left.pop(0)]
        while frontier:
            mine = frontier.pop()
            group.append(mine)
            near = [k for k in left if equivalent(meanings[mine], meanings[k])]  # type: ignore[arg-type]
            frontier += near
            left = [k for k in left if k not in near]
        found.append(sorted(group))
    return found


def _letter(answer: str, n_options: int) -> str | None:
    token = plain(answer).split(" ")[0].strip("().:,")
    return token if token in tuple(string.ascii_lowercase[:n_options]) else None


def _number(answer: str) -> float | None:
    token = plain(answer).split(" ")[0].rstrip(".,")
    if token in _WORDS:
        return float(_WORDS.index(token))
    return float(token) if _NUMBER.fullmatch(token) else None


_READ: Mapping[str, Callable[..., Meaning | None]] = {
    "letter": _letter,
    "mra": _number,
    "anls": plain,
    "open": plain,
    "tiou": read_span,
}
