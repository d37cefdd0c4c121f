"""What an evaluation counts: per episode, and summed over a group of them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pixelis_agent.collect import Finished
from pixelis_agent.spans import Label
from pixelis_env.metrics.interval import ratio_interval
from pixelis_env.metrics.pointing import Aim
from pixelis_env.metrics.process import ProcessMetrics, chain_match
from pixelis_env.trace import final_answer

SOLVED = 0.9
"""The score from which an episode counts as solved."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Summary:
    """A group of episodes. A figure is None where there is nothing to take it of.

    Attributes:
        n: Episodes.
        score: Mean over the episodes whose answer is known, 0..1.
        score_ci95: Its 95 % bootstrap interval over tasks.
        best: Mean over tasks of the best score among a task's episodes, 0..1: where a score is 0
            or 1, pass@k of k episodes a task.
        solved: Share of them that score `SOLVED` or more.
        op_accuracy: How much of the oracle's chain of operations an episode went through in order
            (`chain_match`; the better of the oracle that sees everything and the one that saw the
            overview only), mean over episodes whose chain has any.
        argument_iou: IoU of the boxes of valid `segment` calls with the target that each fits
            best, mean over calls; 0 for a frame in which no target is in view.
        argument_iou_ci95: Its 95 % bootstrap interval over tasks.
        zoom_iou: The same of `zoom` calls, whose boxes are wider on purpose.
        point_accuracy: Share of the points of valid `segment` calls inside a target's box.
        in_view: Share of calls with a box or point whose frame has a target in view.
        chain_length: Valid operations an episode.
        invalid_rate: Share of steps that could not be carried out.
        answer_rate: Share of episodes that ended with an answer.
        rapr: Share of answers backed by at least one operation.
        racpr: Share of answers backed by two or more distinct, linked ones.
        tokens: Written by the policy, an episode.
        context_tokens: Of the whole dialogue, an episode; of policies that keep a token record.
        env_seconds: In the environment, an episode.
        policy_seconds: The episode's share of the policy's time.
    """

    n: int
    score: float | None
    score_ci95: Interval | None
    best: float | None
    solved: float | None
    op_accuracy: float | None
    argument_iou: float | None
    argument_iou_ci95: Interval | None
    zoom_iou: float | None
    point_accuracy: float | None
    in_view: float | None
    chain_length: float
    invalid_rate: float
    answer_rate: float
    rapr: float
    racpr: float
    tokens: float
    context_tokens: float | None
    env_seconds: float
    policy_seconds: float


@dataclass(frozen=True)
class Row:
    """One episode.

    `op_match`: its share of the oracle's chain; seconds as of `Finished`. `confidence`: of a policy
    that keeps a token record, the geometric mean of the probabilities of its answer's tokens, 0..1.
    `sample`: which of the episodes on its task, from 0.
    """

    index: int
    sample: int
    task_id: str
    task_type: str
    score: float | None
    answer: str | None
    confidence: float | None
    steps: int
    op_match: float | None
    aims: tuple[Aim, ...]
    tokens: int
    context_tokens: int | None
    env_seconds: float
    policy_seconds: float

    @classmethod
    def of(cls, finished: Finished, sample: int) -> Row:
        """The row of a finished episode."""
        chains = [chain for chain in finished.oracle_ops if chain]
        rollout = finished.episode.rollout
        answer = final_answer(finished.steps)
        said = None
        if rollout is not None and answer is not None:
            said = rollout.mean_log_prob({Label.ANSWER})
        return cls(
            index=finished.episode.index,
            sample=sample,
            task_id=finished.task_id,
            task_type=finished.task_type,
            score=finished.score,
            answer=answer,
            confidence=None if said is None else math.exp(said),
            steps=len(finished.steps),
            op_match=max((chain_match(finished.steps, c) for c in chains), default=None),
            aims=finished.aims,
            tokens=finished.n_tokens,
            context_tokens=None if rollout is None else len(rollout),
            env_seconds=finished.env_seconds,
            policy_seconds=finished.policy_seconds,
        )


class Tally:
    """Adds up episodes in any order; the summary does not depend on it."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._process = ProcessMetrics()

    def add(self, finished: Finished, sample: int = 0) -> None:
        """Counts an episode, the `sample`-th on its task."""
        self._rows[finished.position] = Row.of(finished, sample)
        self._process.update(finished.steps)

    @property
    def rows(self) -> list[Row]:
        """The episodes in the order of their indices' positions."""
        return [self._rows[position] for position in sorted(self._rows)]

    def summary(self) -> Summary:
        """The figures of all episodes so far.

        Raises:
            ValueError: There are none.
        """
        rows = self.rows
        if not rows:
            raise ValueError("no episode was played")
        scores = [row.score for row in rows if row.score is not None]
        of_tasks = scores_of_tasks(rows).values()
        score, score_ci95 = _with_interval(
            rows, lambda row: [] if row.score is None else [row.score]
        )
        argument_iou, argument_iou_ci95 = _with_interval(
            rows, lambda row: _scores(row, "segment", "box")
        )
        process = self._process.compute()
        return Summary(
            n=len(rows),
            score=score,
            score_ci95=score_ci95,
            best=_mean([max(own) for own in of_tasks]),
            solved=_mean([float(score >= SOLVED) for score in scores]),
            op_accuracy=_mean([row.op_match for row in rows if row.op_match is not None]),
            argument_iou=argument_iou,
            argument_iou_ci95=argument_iou_ci95,
            zoom_iou=_mean([v for row in rows for v in _scores(row, "zoom", "box")]),
            point_accuracy=_mean([v for row in rows for v in _scores(row, "segment", "point")]),
            in_view=_mean([float(aim.target is not None) for row in rows for aim in row.aims]),
            chain_length=process["chain_length"],
            invalid_rate=process["invalid_rate"],
            answer_rate=process["answer_rate"],
            rapr=process["rapr"],
            racpr=process["racpr"],
            tokens=float(np.mean([row.tokens for row in rows])),
            context_tokens=_mean(
                [row.context_tokens for row in rows if row.context_tokens is not None]
            ),
            env_seconds=float(np.mean([row.env_seconds for row in rows])),
            policy_seconds=float(np.mean([row.policy_seconds for row in rows])),
        )


def scores_of_tasks(rows: Sequence[Row]) -> dict[int, list[float]]:
    """By index, the scores of the episodes on that task; without those that nobody can score."""
    found = defaultdict[int, list[float]](list)
    for row in rows:
        if row.score is not None:
            found[row.index].append(row.score)
    return dict(found)


def _scores(row: Row, op: str, form: str) -> list[float]:
    return [aim.score for aim in row.aims if aim.op == op and aim.form == form]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _with_interval(
    rows: Sequence[Row], values: Callable[[Row], Sequence[float]]
) -> tuple[float | None, Interval | None]:
    """The mean of what episodes have, and its interval; those on one task hang together."""
    by_task = defaultdict[int, list[float]](list)
    for row in rows:
        by_task[row.index] += values(row)
    found = list(by_task.values())
    if not any(found):
        return None, None
    mean, low, high = ratio_interval(list(map(sum, found)), list(map(len, found)))
    return mean, (low, high)


def as_text(value: float | None, interval: Interval | None = None, digits: int = 3) -> str:
    """A figure as the tables show it: "0.631 [0.591, 0.668]"; a dash where there is none."""
    if value is None:
        return "–"
    low_high = "" if interval is None else f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"
    return f"{value:.{digits}f}{low_high}"


def as_cells(name: str, summary: Summary) -> list[str]:
    """A summary as a row of the table whose columns are `COLUMNS`."""
    seconds = f"{summary.policy_seconds:.2f} + {summary.env_seconds:.2f}"
    return [
        name,
        str(summary.n),
        as_text(summary.score, summary.score_ci95),
        as_text(summary.solved, digits=2),
        as_text(summary.op_accuracy, digits=2),
        as_text(summary.argument_iou, digits=2),
        as_text(summary.zoom_iou, digits=2),
        f"{summary.rapr:.2f} / {summary.racpr:.2f}",
        f"{summary.chain_length:.1f}",
        f"{summary.invalid_rate:.3f}",
        f"{summary.tokens:.0f}",
        seconds,
    ]


COLUMNS = (
    "type",
    "n",
    "score [95 %]",
    "solved",
    "op acc.",
    "IoU",
    "zoom IoU",
    "RaPR / RaCPR",
    "ops",
    "invalid",
    "tokens",
    "s policy + env",
)
