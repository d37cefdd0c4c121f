"""Is a stream apart from the tasks of the exams? What was learned from must not judge.

Tasks of rooms have indices of their own for either, but that says nothing of what they show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

from pixelis_agent.config import TTRLConfig
from pixelis_agent.memory import Entry
from pixelis_agent.splits import VALIDATION
from pixelis_agent.task_settings import env_arguments
from pixelis_env.env import PixelisEnv
from pixelis_env.leakage import Fingerprint, leaks
from pixelis_env.making import make_env

LEAKS = "leaks"
"""Of a row of the ledger: the queries that are, or look like, tasks of the exams."""


class Judges:
    """The tasks of a run's exams, by what they show.

    Args:
        config: Of the run.
    """

    def __init__(self, config: TTRLConfig) -> None:
        self._config = config

    def among(self, met: Iterable[Entry]) -> list[str]:
        """Which queries that were met show what a task of the exams shows, and how alike it is.

        Raises:
            MissingExtra: imagehash is not installed.
        """
        shown = [Fingerprint.of(one.task_id, one.media_digest, one.images) for one in met]
        return [str(leak) for leak in leaks(shown, self._known)]

    @cached_property
    def _known(self) -> list[Fingerprint]:
        """With the shift and without, as they are played."""
        known = []
        for shift in dict.fromkeys((self._config.shift, "none")):
            env = make_env(self._config.env, env_arguments(replace(self._config, shift=shift)))
            for index in VALIDATION[: self._config.evaluate_episodes]:
                seen, _ = env.reset(options={"index": index})
                task = cast(PixelisEnv, env.unwrapped).task
                known.append(Fingerprint.of(task.id, task.media.digest, seen["images"]))
            env.close()
        return known


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
