"""An evaluation that was written down, read again: for reports, and to go on from its episodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pixelis_agent.evaluate import DIALOGUES, RESULTS
from pixelis_agent.log import read_metrics
from pixelis_agent.tally import Summary
from pixelis_env import __version__


class RunError(ValueError):
    """A folder that is not what a command wrote; the message says why and what to give instead."""


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


def read_evaluation(folder: Path) -> Evaluation:
    """What `pixelis eval --out` wrote into a folder.

    Raises:
        RunError: Nothing was, it is damaged, or a version wrote it whose files say something else.
    """
    path = folder / RESULTS
    said = read_json(path)
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


def _foreign(path: Path, written_by: str, what: str) -> RunError:
    return RunError(
        f"{path} does not say what this version (pixelis {__version__}) writes: {what}. It was "
        f"written by pixelis {written_by}: evaluate again, or make the report with that version"
    )


def _dialogues(path: Path) -> dict[tuple[int, int], list[str]]:
    return {
        (row["index"], row["sample"]): [str(words) for words in row["said"]]
        for row in read_metrics(path)
    }


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        RunError: There is none.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise RunError(f"{path} is damaged, it is no JSON: {error}") from None
    if not isinstance(said, dict):
        raise RunError(f"{path} is damaged: it holds no JSON object")
    return said
