"""What test-time learning decided, update by update, and the same made again from the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from pixelis_agent.config import TTRLConfig
from pixelis_agent.corridor import Corridor
from pixelis_agent.learner import Learner
from pixelis_agent.memory import Memory

LEDGER = "ledger.jsonl"


class Ledger:
    """What was decided, a line of JSON an update; what came after `step` is dropped."""

    def __init__(self, path: Path, step: int) -> None:
        kept = [row for row in read_ledger(path) if row["update"] <= step]
        path.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._file = path.open("a", buffering=1)

    def write(self, row: dict[str, Any]) -> None:
        """Adds a line."""
        self._file.write(json.dumps(row) + "\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """Its rows; a line that was not finished is left out."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def config_of(run: str | Path) -> TTRLConfig:
    """The settings that a run of test-time learning was made with.

    Raises:
        ValueError: It is no such run.
    """
    path = Path(run) / "config.json"
    try:
        said = json.loads(path.read_text())
        said["corridor"] = Corridor(**said["corridor"])
        return TTRLConfig(**said | {"out": Path(run), "types": tuple(said["types"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{run} is no run of `pixelis ttrl`: {error}") from None


def replay_ledger(config: TTRLConfig) -> dict[str, Any]:
    """Makes every update of a run again, from the rollouts that its memory holds.

    Args:
        config: Of the run.

    Returns:
        `updates` that were made again, and the `adapter`'s digest at their end.

    Raises:
        ValueError: There is no ledger, an update came out different, or the memory no longer holds
            what one was made of.
    """
    rows = read_ledger(Path(config.out) / LEDGER)
    if not rows:
        raise ValueError(f"there is no {LEDGER} in {config.out}")
    learner = Learner(config)
    with Memory(Path(config.out) / "memory") as memory:
        for step, row in enumerate(rows):
            learner.vision.clear()
            rollouts = []
            for query in row["queries"]:
                if not query["learned_from"]:
                    continue
                try:
                    held = [voted.rollout for voted in memory.get(query["entry"]).rollouts]
                except KeyError:
                    held = [None]
                rollouts += [rollout for rollout in held if rollout is not None]
                if None in held:
                    raise ValueError(
                        f"update {row['update']} was made of entry {query['entry']}, which the "
                        "memory has forgotten: it cannot be made again"
                    )
            made = learner.learn(rollouts, torch.tensor(row["gains"]), step)
            found = {"decision": made.decision, "kl_before": made.kl_before, "beta": made.beta}
            found |= {"kl_after": made.kl_after, "adapter": learner.digest}
            for name, value in found.items():
                if value != row[name]:
                    raise ValueError(
                        f"update {row['update']} came out different: {name} is {value}, the ledger "
                        f"says {row[name]}"
                    )
    return {"updates": len(rows), "adapter": learner.digest}
