"""The folders that the commands write, read and checked: what a report is made of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pixelis_agent.evaluate import RESULTS
from pixelis_agent.evaluated import Evaluation, RunError, read_evaluation, read_json
from pixelis_agent.log import METRICS, SETTINGS, read_metrics

AUDIT = "audit.json"
_SIGNS = (RESULTS, METRICS, AUDIT)

Phase = Literal["sft", "ccrft", "ttrl"]


@dataclass(frozen=True)
class Training:
    """What a training phase wrote.

    Attributes:
        phase: Which.
        settings: Its `config.json`.
        rows: Its `metrics.jsonl`.
    """

    phase: Phase
    settings: dict[str, Any]
    rows: list[dict[str, float]]

    def curve(self, name: str) -> tuple[list[float], list[float]]:
        """The steps at which a metric was logged, and its values."""
        points = [(row["step"], row[name]) for row in self.rows if name in row]
        return [step for step, _ in points], [value for _, value in points]

    @property
    def names(self) -> list[str]:
        """The metrics that were logged, in order of their first appearance."""
        return list(dict.fromkeys(n for row in self.rows for n in row if n != "step"))


class Vote(NamedTuple):
    """A query of test-time learning: how sure its vote was, and the score of the answer that won.

    `score` is None where it abstained or the right answer is unknown.
    """

    confidence: float
    score: float | None


@dataclass(frozen=True)
class Run:
    """A folder; it may hold the results of several commands.

    Attributes:
        name: What the report calls it, unique in the report.
        folder: Where it is.
        evaluation: None where nothing was evaluated into it.
        training: None where nothing was trained in it.
        audit: The figures of `audit.json`, or None.
        votes: Of test-time learning, as its memory holds them.
    """

    name: str
    folder: Path
    evaluation: Evaluation | None
    training: Training | None
    audit: dict[str, Any] | None
    votes: tuple[Vote, ...] = ()


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Reads runs. A folder that is none stands for the runs that lie in it.

    Args:
        folders: As they were given; one that comes again is read once.

    Raises:
        RunError: None was given, or one is no run, is damaged, or was written by a version
            whose files say something else.
    """
    if not folders:
        raise RunError("give at least one run: a folder that a command wrote with --out")
    found: dict[Path, None] = {}
    for folder in folders:
        found |= dict.fromkeys(_runs_in(folder))
    return [_read(folder, name) for folder, name in zip(found, _names(list(found)), strict=True)]


def _runs_in(folder: Path) -> list[Path]:
    if not folder.exists():
        raise RunError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise RunError(f"{folder} is a file: give the folder that it lies in")
    folder = folder.resolve()
    inside = [p for p in sorted(folder.iterdir()) if p.is_dir()]
    own = [p for p in (folder, *inside) if any((p / sign).is_file() for sign in _SIGNS)]
    if not own:
        raise RunError(
            f"{folder} is no run and holds none: there is neither {', '.join(_SIGNS[:-1])} nor "
            f"{_SIGNS[-1]} in it. Give what eval, sft, ccrft, ttrl or audit wrote with --out"
        )
    return own[:1] if own[0] == folder else own


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of paths that tell them apart."""
    names = []
    for folder in folders:
        depth, others = 1, [other for other in folders if other != folder]
        while any(other.parts[-depth:] == folder.parts[-depth:] for other in others):
            depth += 1
        names.append(os.path.join(*folder.parts[-depth:]))
    return names


def _read(folder: Path, name: str) -> Run:
    present = {sign for sign in _SIGNS if (folder / sign).is_file()}
    return Run(
        name=name,
        folder=folder,
        evaluation=read_evaluation(folder) if RESULTS in present else None,
        training=_training(folder) if METRICS in present else None,
        audit=_audit(folder / AUDIT) if AUDIT in present else None,
        votes=_votes(folder / "memory") if METRICS in present else (),
    )


def _training(folder: Path) -> Training:
    settings = read_json(folder / SETTINGS)
    phases: dict[str, Phase] = {"data": "sft", "iterations": "ccrft", "updates": "ttrl"}
    phase = next((phase for key, phase in phases.items() if key in settings), None)
    if phase is None:
        raise RunError(
            f"{folder / SETTINGS} is of no training phase: it has none of {', '.join(phases)}"
        )
    rows = read_metrics(folder / METRICS)
    if any(not isinstance(row, dict) or "step" not in row for row in rows):
        raise RunError(f"{folder / METRICS} has a line without a step: it is no run's log")
    return Training(phase, settings, rows)


def _votes(folder: Path) -> tuple[Vote, ...]:
    """The votes that a memory holds; none where there is no memory."""
    if not (folder / "memory.sqlite").is_file():
        return ()
    from pixelis_agent.memory import Memory

    with Memory(folder) as memory:
        rows = memory.record.execute(
            "SELECT query, CASE WHEN learned THEN answer END, confidence FROM votes ORDER BY query"
        ).fetchall()
        traces = {number: memory.traces(number) for number, *_ in rows}
    return tuple(
        Vote(sure, next((t.score for t in traces[number] if t.answer == answer), None))
        if answer is not None
        else Vote(sure, None)
        for number, answer, sure in rows
    )


def _audit(path: Path) -> dict[str, Any]:
    figures = read_json(path).get("figures")
    if not isinstance(figures, dict):
        raise RunError(f"{path} holds no figures: it is not what `pixelis audit --out` writes")
    return figures
