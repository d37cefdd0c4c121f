"""What was decided of what an agent remembers, update by update: a table of the memory's record."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from pixelis_agent.memory.rows import writing


class Ledger:
    """The ledger of a memory.

    Args:
        record: The memory's database.
    """

    def __init__(self, record: sqlite3.Connection) -> None:
        self._record = record

    def write(self, step: int, row: Mapping[str, Any]) -> None:
        """Adds a row, JSON, of an update; it is on the disk when this returns."""
        with writing(self._record) as db:
            db.execute("INSERT INTO updates (step, said) VALUES (?, ?)", (step, json.dumps(row)))

    def rows(self) -> list[dict[str, Any]]:
        """All of them, the oldest first."""
        said = self._record.execute("SELECT said FROM updates ORDER BY number")
        return [json.loads(row) for (row,) in said]

    def forget_after(self, step: int) -> None:
        """Forgets the rows of later updates: of a run that goes on from before they were made."""
        with writing(self._record) as db:
            db.execute("DELETE FROM updates WHERE step > ?", (step,))
