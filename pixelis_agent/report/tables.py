"""What the numbers of runs are: tables whose cells are text, and bars that are shares."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pixelis_agent.learning.corridor import Corridor
from pixelis_agent.report.episodes import Shown
from pixelis_agent.report.runs import Run, Training
from pixelis_agent.tally import COLUMNS, Interval, as_cells, as_text
from pixelis_env.actions import OPS
from pixelis_env.metrics.interval import mean_interval
from pixelis_env.metrics.selective import RiskCoverage, risk_coverage

CALLS = (*OPS, "invalid")
"""What a step can be, in the order of the legend; a turn that is no call is invalid too."""


class Table(NamedTuple):
    """Columns and rows of text; the first column names the row."""

    columns: Sequence[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Bar:
    """A run's mean with its 95 % interval, all in 0..1. `run`: its place among the runs."""

    run: int
    n: int
    value: float
    interval: Interval
    text: str


class Part(NamedTuple):
    """An operation's part of a run's calls."""

    op: str
    calls: int
    share: float


def summary(runs: Sequence[Run]) -> Table:
    """A row each evaluation, with the columns of `pixelis eval`."""
    rows = []
    for run in runs:
        if (played := run.evaluation) is not None:
            where = [played.env, *(f"{k}={_plain(v)}" for k, v in played.env_kwargs.items())]
            cells = as_cells(run.name, played.summary)
            rows.append([cells[0], played.policy, " ".join(where), *cells[1:]])
    return Table(["run", "policy", "environment", *COLUMNS[1:]], rows)


def paired(runs: Sequence[Run]) -> Table:
    """How much better each run is than the first on the tasks that both played."""
    scores = [(run.name, _scores(run)) for run in runs if run.evaluation is not None]
    rows = []
    for name, own in scores[1:]:
        first = scores[0][1]
        gains = [own[task] - first[task] for task in first if task in own]
        if gains:
            mean, low, high = mean_interval(gains)
            better, worse = sum(g > 0 for g in gains), sum(g < 0 for g in gains)
            text = as_text(mean, (low, high))
            rows.append([f"{name} − {scores[0][0]}", str(len(gains)), text, f"{better} / {worse}"])
    return Table(["score", "tasks of both", "difference [95 %]", "better / worse"], rows)


def per_type(runs: Sequence[Run]) -> dict[str, list[Bar]]:
    """The score of each question type, a bar each run."""
    bars = defaultdict[str, list[Bar]](list)
    for place, run in enumerate(runs):
        parts = {} if run.evaluation is None else run.evaluation.per_type
        for kind, part in parts.items():
            if part.score is not None and part.score_ci95 is not None:
                text = as_text(part.score, part.score_ci95)
                bars[kind].append(Bar(place, part.n, part.score, part.score_ci95, text))
    return dict(sorted(bars.items()))


def tool_mix(episodes: Sequence[Shown]) -> list[Part]:
    """What a run's steps were; empty where there are no traces."""
    counts = sum((shown.ops for shown in episodes), Counter[str]())
    total = counts.total()
    return [Part(op, counts[op], counts[op] / total) for op in CALLS if counts[op]]


def episode_rewards(names: Sequence[str], episodes: Mapping[int, Sequence[Shown]]) -> Table:
    """The mean of each reward term, an episode, with its interval.

    Args:
        names: Of the runs.
        episodes: Of the runs that have traces, by the run's place.
    """
    sums = {
        place: [_paid(shown) for shown in own if shown.moments] for place, own in episodes.items()
    }
    terms = sorted({term for own in sums.values() for paid in own for term in paid})
    rows = []
    for place, own in sums.items():
        if own:
            cells = []
            for term in terms:
                mean, low, high = mean_interval([paid[term] for paid in own])
                cells.append(as_text(mean, (low, high)))
            rows.append([names[place], str(len(own)), *cells])
    return Table(["run", "episodes", *terms], rows)


def training(runs: Sequence[Run]) -> Table:
    """A row each training run."""
    rows = []
    for run in runs:
        if (learned := run.training) is None:
            continue
        rows.append(
            [
                run.name,
                learned.phase,
                str(learned.settings.get("model", "–")),
                str(int(max((row["step"] for row in learned.rows), default=0))),
                _from_to(learned, "score"),
                _from_to(learned, "held_out_score"),
                _from_to(learned, "imitation"),
                as_text(inside(learned), digits=2),
            ]
        )
    columns = ["run", "phase", "began with", "steps", "score", "held-out score"]
    return Table([*columns, "imitation loss", "KL in corridor"], rows)


def curves(learned: Training, names: Sequence[str]) -> Table:
    """First, last, lowest and highest value of each metric."""
    rows = []
    for name in names:
        steps, values = learned.curve(name)
        ends = (values[0], values[-1], min(values), max(values))
        rows.append([name, str(len(steps)), *(f"{value:.4g}" for value in ends)])
    return Table(["metric", "values", "first", "last", "lowest", "highest"], rows)


def corridor(learned: Training) -> Corridor | None:
    """The corridor that a run's divergence was held in; None without one."""
    said = learned.settings.get("corridor")
    return None if said is None or not learned.curve("kl")[0] else Corridor(**said)


def inside(learned: Training) -> float | None:
    """The share of updates whose divergence lay in the corridor."""
    bounds = corridor(learned)
    if bounds is None:
        return None
    return float(np.mean([bounds.low <= kl <= bounds.high for kl in learned.curve("kl")[1]]))


def selective(run: Run) -> RiskCoverage | None:
    """How wrong a run's answers are, the surest first; None where it is not known.

    Of an evaluation: by the probability of the answers' tokens; an episode without an answer comes
    last. Of test-time learning: by the votes' confidence; where it abstained, no answer was given.
    """
    if run.evaluation is not None:
        rows = [r for r in run.evaluation.episodes if r["score"] is not None]
        if any(row.get("confidence") is not None for row in rows):
            sure = [-1.0 if r.get("confidence") is None else r["confidence"] for r in rows]
            return risk_coverage(sure, [row["score"] for row in rows])
    given = [vote for vote in run.votes if vote.score is not None]
    if given:
        curve = risk_coverage([v.confidence for v in given], [v.score or 0.0 for v in given])
        return RiskCoverage(curve.coverage * (len(given) / len(run.votes)), curve.risk)
    return None


def risk(names: Sequence[str], found: Mapping[int, RiskCoverage]) -> Table:
    """What the curves come to."""
    rows = [
        [
            names[place],
            f"{curve.coverage[-1]:.2f}",
            f"{curve.risk[-1]:.3f}",
            as_text(curve.at(0.5) if curve.coverage[-1] >= 0.5 else None),
            f"{curve.area:.3f}",
        ]
        for place, curve in found.items()
    ]
    return Table(["run", "answered", "risk of all", "risk at coverage 0.5", "AURC"], rows)


def audits(runs: Sequence[Run]) -> Iterator[tuple[str, Table]]:
    """The causal audits: the share of answers that changed, by operation and change."""
    for run in runs:
        if run.audit is None:
            continue
        changes = list(dict.fromkeys(how for parts in run.audit.values() for how in parts))
        rows = [
            [op, *(_changed(parts.get(how)) for how in changes)] for op, parts in run.audit.items()
        ]
        yield run.name, Table(["operation", *changes], rows)


def _changed(part: Mapping[str, float | None] | None) -> str:
    if part is None or part["causal_rapr"] is None:
        return "–"
    low, high = part["low"], part["high"]
    assert low is not None
    assert high is not None
    return f"{as_text(part['causal_rapr'], (low, high), digits=2)} of {part['n']}"


def _scores(run: Run) -> dict[str, float]:
    """By task, the mean over its episodes."""
    assert run.evaluation is not None
    found = defaultdict[str, list[float]](list)
    for row in run.evaluation.episodes:
        if row["score"] is not None:
            found[row["task_id"]].append(row["score"])
    return {task: float(np.mean(scores)) for task, scores in found.items()}


def _paid(shown: Shown) -> Counter[str]:
    """The sum of each reward term over an episode."""
    paid = Counter[str]()
    for moment in shown.moments:
        paid.update(moment.rewards)
    return paid


def _from_to(learned: Training, name: str) -> str:
    values = learned.curve(name)[1]
    if not values:
        return "–"
    return f"{values[0]:.3f}" if len(values) == 1 else f"{values[0]:.3f} → {values[-1]:.3f}"


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
