"""The folders that the commands write, read and checked: what a report is made of."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pixelis_agent.evaluate import DIALOGUES, RESULTS
from pixelis_agent.log import METRICS, SETTINGS, read_metrics
from pixelis_agent.tally import Summary
from pixelis_env import __version__

AUDIT = "audit.json"
_SIGNS = (RESULTS, METRICS, AUDIT)

Phase = Literal["sft", "ccrft", "ttrl"]


class ReportError(ValueError):
    """A folder of which no report can be made; the message says why and what to give instead."""


@dataclass(frozen=True)
class Evaluation:
    """What `pixelis eval --out` wrote.

    Attributes:
        policy: Who played.
        env: The environment.
        env_kwargs: Its arguments.
        seed: Of the evaluation.
        summary: All episodes.
        per_type: Those of each question type.
        episodes: The rows of `results.json`, see `tally.Row`.
        played_with: What the policy said that it plays with.
        versions: Of what the results depend on.
        traces: The folder of traces.
        dialogues: What was said in each episode, by its index and sample.
    """

    policy: str
    env: str
    env_kwargs: dict[str, Any]
    seed: int
    summary: Summary
    per_type: dict[str, Summary]
    episodes: list[dict[str, Any]]
    played_with: dict[str, Any]
    versions: dict[str, str]
    traces: Path
    dialogues: dict[tuple[int, int], list[str]]


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
        ReportError: None was given, or one is no run, is damaged, or was written by a version
            whose files say something else.
    """
    if not folders:
        raise ReportError("give at least one run: a folder that a command wrote with --out")
    found: dict[Path, None] = {}
    for folder in folders:
        found |= dict.fromkeys(_runs_in(folder))
    return [_read(folder, name) for folder, name in zip(found, _names(list(found)), strict=True)]


def _runs_in(folder: Path) -> list[Path]:
    if not folder.exists():
        raise ReportError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise ReportError(f"{folder} is a file: give the folder that it lies in")
    folder = folder.resolve()
    inside = [p for p in sorted(folder.iterdir()) if p.is_dir()]
    own = [p for p in (folder, *inside) if any((p / sign).is_file() for sign in _SIGNS)]
    if not own:
        raise ReportError(
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
        evaluation=_evaluation(folder) if RESULTS in present else None,
        training=_training(folder) if METRICS in present else None,
        audit=_audit(folder / AUDIT) if AUDIT in present else None,
        votes=_votes(folder / "memory") if METRICS in present else (),
    )


def _evaluation(folder: Path) -> Evaluation:
    path = folder / RESULTS
    said = _json(path)
    written_by = str(said.get("versions", {}).get("pixelis", "an unknown version"))
    needed = {"policy": str, "env": str, "seed": int, "per_type": dict, "episodes": list}
    for key, kind in needed.items():
        if not isinstance(said.get(key), kind):
            raise _foreign(path, written_by, f"its {key!r} is missing or no {kind.__name__}")
    rows = said["episodes"]
    row_keys = {"index", "sample", "task_id", "task_type", "score", "answer"}
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or row_keys - row.keys():
            raise _foreign(path, written_by, f"episode {number} lacks one of {sorted(row_keys)}")
    return Evaluation(
        policy=said["policy"],
        env=said["env"],
        env_kwargs=said.get("env_kwargs", {}),
        seed=said["seed"],
        summary=_summary(said, path, written_by),
        per_type={
            kind: _summary(part, path, written_by)
            for kind, part in sorted(said["per_type"].items())
        },
        episodes=rows,
        played_with=said.get("played_with", {}),
        versions=said.get("versions", {}),
        traces=folder / "traces",
        dialogues=_dialogues(folder / DIALOGUES),
    )


def _summary(said: Mapping[str, Any], path: Path, written_by: str) -> Summary:
    names = [field.name for field in fields(Summary)]
    missing = [name for name in names if name not in said]
    if missing:
        raise _foreign(path, written_by, f"it lacks {', '.join(missing)}")
    return Summary(**{name: said[name] for name in names})


def _foreign(path: Path, written_by: str, what: str) -> ReportError:
    return ReportError(
        f"{path} does not say what this version (pixelis {__version__}) writes: {what}. It was "
        f"written by pixelis {written_by}: evaluate again, or make the report with that version"
    )


def _dialogues(path: Path) -> dict[tuple[int, int], list[str]]:
    return {
        (row["index"], row["sample"]): [str(words) for words in row["said"]]
        for row in read_metrics(path)
    }


def _training(folder: Path) -> Training:
    settings = _json(folder / SETTINGS)
    phases: dict[str, Phase] = {"data": "sft", "iterations": "ccrft", "updates": "ttrl"}
    phase = next((phase for key, phase in phases.items() if key in settings), None)
    if phase is None:
        raise ReportError(
            f"{folder / SETTINGS} is of no training phase: it has none of {', '.join(phases)}"
        )
    rows = read_metrics(folder / METRICS)
    if any(not isinstance(row, dict) or "step" not in row for row in rows):
        raise ReportError(f"{folder / METRICS} has a line without a step: it is no run's log")
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
    figures = _json(path).get("figures")
    if not isinstance(figures, dict):
        raise ReportError(f"{path} holds no figures: it is not what `pixelis audit --out` writes")
    return figures


def _json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ReportError(f"{path} is damaged, it is no JSON: {error}") from None
    if not isinstance(said, dict):
        raise ReportError(f"{path} is damaged: it holds no JSON object")
    return said
