"""`pixelis memory`: look after a memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from pixelis_agent.memory.store import Memory
from pixelis_agent.memory.upkeep import export, stats, verify


@dataclass(frozen=True)
class MemoryConfig:
    """Settings of the command.

    Attributes:
        action: "stats" prints what it holds; "verify" checks that it holds together; "prune"
            forgets all but the most valuable entries; "export" writes them as lines of JSON;
            "ledger" prints what was decided, a line of JSON an update.
        folder: The memory's.
        keep: Entries that "prune" leaves.
        out: File that "export" writes.
    """

    action: Positional[Literal["stats", "verify", "prune", "export", "ledger"]]
    folder: Positional[Path]
    keep: int = 10_000
    out: Path = Path("memory.jsonl")


def run(config: MemoryConfig) -> dict[str, Any]:
    """Does as `config` says, prints it, and returns it.

    Raises:
        InvalidMemory: There is no memory, or "verify" found that it does not hold together.
        ValueError: A number out of range.
    """
    with Memory(config.folder) as memory:
        if config.action == "verify":
            wrong = verify(memory)
            if wrong:
                raise ValueError(f"{config.folder} does not hold together:\n" + "\n".join(wrong))
            said: dict[str, Any] = {"verified": len(memory)}
        elif config.action == "prune":
            said = {"forgotten": len(memory.prune(config.keep)), "kept": len(memory)}
        elif config.action == "export":
            said = {"written": export(memory, config.out), "file": str(config.out)}
        elif config.action == "ledger":
            rows = memory.ledger.rows()
            for row in rows:
                print(json.dumps(row))
            return {"rows": len(rows)}
        else:
            said = stats(memory)
    print(json.dumps(said, indent=1))
    return said
