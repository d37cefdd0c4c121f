"""The updates of a test-time run made again, from its ledger and its memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pixelis_agent.config import TTRLConfig
from pixelis_agent.memory import Memory
from pixelis_agent.ttrl.learner import Learner
from pixelis_agent.ttrl.ledger import STOP, read_ledger
from pixelis_agent.ttrl.updater import learn_from


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
    rows = read_ledger(config.out)
    if not rows:
        raise ValueError(f"the run in {config.out} has made no update yet: its ledger is empty")
    learner = Learner(config)
    start = learner.digest
    with Memory(Path(config.out) / "memory") as memory:
        for step, row in enumerate(rows):
            if row["decision"] == STOP:
                _check_stop(row, rows[:step], start)
                break
            learner.vision.clear()
            try:
                entries = [memory.get(query["entry"]) for query in row["queries"]]
            except KeyError as error:
                raise ValueError(
                    f"update {row['update']} cannot be made again: the memory has forgotten what "
                    f"it was made of ({error})"
                ) from None
            made = learn_from(learner, entries, step)
            found = {"decision": made.decision, "kl_before": made.kl_before, "beta": made.beta}
            found |= {"kl_after": made.kl_after, "adapter": learner.digest}
            for name, value in found.items():
                if value != row[name]:
                    raise ValueError(
                        f"update {row['update']} came out different: {name} is {value}, the ledger "
                        f"says {row[name]}"
                    )
    updates = sum(row["decision"] != STOP for row in rows)
    stopped = updates < len(rows)  # with an adapter that an update had made before
    return {"updates": updates, "adapter": rows[-1]["adapter"] if stopped else learner.digest}


def _check_stop(stop: dict[str, Any], before: Sequence[dict[str, Any]], start: str) -> None:
    """A run that stopped went back to what it once was."""
    if stop["adapter"] not in {start, *(row["adapter"] for row in before)}:
        raise ValueError(
            f"the run stopped after update {stop['update']} with the adapter {stop['adapter']}, "
            "which no update made"
        )
