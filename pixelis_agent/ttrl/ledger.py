"""What test-time learning decided, update by update."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

from pixelis_agent.config import TTRLConfig
from pixelis_agent.learning.corridor import Corridor
from pixelis_agent.memory.ledger import Ledger
from pixelis_agent.memory.schema import RECORD, open_record

STOP = "stop"
"""The decision of the last row where a run has stopped itself; it names no queries."""


def check_ledger(run: str | Path) -> None:
    """Refuses a run whose ledger is not where it is now.

    Raises:
        ValueError: Another version made it.
    """
    old = Path(run) / "ledger.jsonl"
    if old.exists():
        raise ValueError(
            f"the run in {run} was made by another version, which kept its ledger in {old.name}: "
            "begin another run in another folder"
        )


def read_ledger(run: str | Path) -> list[dict[str, Any]]:
    """The rows of a run's ledger; none where nothing is remembered yet.

    Raises:
        ValueError: As of `check_ledger`.
    """
    check_ledger(run)
    file = Path(run) / "memory" / RECORD
    if not file.is_file():
        return []
    with closing(open_record(file)) as record:
        return Ledger(record).rows()


def config_of(run: str | Path) -> TTRLConfig:
    """The settings that a run of test-time learning was made with.

    Raises:
        ValueError: It is no such run.
    """
    path = Path(run) / "config.json"
    try:
        said = json.loads(path.read_text())
        missing = sorted({own.name for own in fields(TTRLConfig)} - said.keys())
        if missing:
            raise ValueError(f"another version made it, which had no {', '.join(missing)}")
        said["corridor"] = Corridor(**said["corridor"])
        said["root"] = None if said["root"] is None else Path(said["root"])
        said |= {name: tuple(said[name]) for name in ("types", "where")}
        return TTRLConfig(**said | {"out": Path(run)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{run} is no run of `pixelis ttrl`: {error}") from None
