"""Is a stream apart from the tasks of the exams? What was learned from must not judge.

Tasks of rooms have indices of their own for either, but that says nothing of what they show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pixelis_agent.config import TTRLConfig
from pixelis_agent.memory import Entry
from pixelis_env.leakage import Fingerprint, leaks

LEAKS = "leaks"
"""Of a row of the ledger: the queries that are, or look like, tasks of the exams."""


def leaks_among(met: Iterable[Entry], judges: Sequence[Fingerprint]) -> list[str]:
    """Which queries that were met show what a task of the exams shows, and how alike it is.

    Args:
        met: The queries.
        judges: The fingerprints of the exams' tasks.

    Raises:
        MissingExtra: imagehash is not installed.
    """
    shown = [Fingerprint.of(one.task_id, one.media_digest, one.images) for one in met]
    return [str(leak) for leak in leaks(shown, judges)]


def packed(one: Fingerprint) -> dict[str, Any]:
    """A fingerprint for a line of JSON."""
    bits = [np.packbits(frame).tobytes().hex() for frame in one.bits]
    return {"task_id": one.task_id, "media_digest": one.media_digest, "bits": bits}


def unpacked(said: dict[str, Any]) -> Fingerprint:
    """What `packed` was given."""
    frames = [np.frombuffer(bytes.fromhex(frame), np.uint8) for frame in said["bits"]]
    bits = np.array([np.unpackbits(frame) for frame in frames], bool).reshape(len(frames), 64)
    return Fingerprint(said["task_id"], said["media_digest"], bits)


def apart(config: TTRLConfig, ledger: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Prints and returns what a run's ledger says of it; nothing of a run without exams."""
    if not config.evaluate_every:
        return {}
    compared = [row for row in ledger if LEAKS in row]
    queries = sum(len(row["queries"]) for row in compared)
    found = [leak for row in compared for leak in row[LEAKS]]
    print(
        f"{queries} queries were compared with the {config.evaluate_episodes} tasks of the exams: "
        f"{'; '.join(found) if found else 'none is one of them, or looks like one'}"
    )
    return {"apart": {"queries": queries, "held_out": config.evaluate_episodes, LEAKS: found}}
