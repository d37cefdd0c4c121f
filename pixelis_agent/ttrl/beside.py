"""Test-time learning in two processes: one answers queries, one learns from them.

The one that answers (`serve`) never waits for the other: it puts what it meets into the memory and
takes over new versions of the adapter between queries. The one that learns
(``python -m pixelis_agent.ttrl.beside RUN SERVER``) reads the memory, and goes on from its last
checkpoint when it has died and was started again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pixelis_agent.config import TTRLConfig
from pixelis_agent.learning.training import one_thread, save_model
from pixelis_agent.log import Log
from pixelis_agent.memory import Memory
from pixelis_agent.models.anchor import load_to_adapt
from pixelis_agent.models.batch import base_model
from pixelis_agent.models.load import Lora
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.ttrl.actor import Actor
from pixelis_agent.ttrl.apart import apart
from pixelis_agent.ttrl.home import align
from pixelis_agent.ttrl.judging import figures
from pixelis_agent.ttrl.ledger import STOP, config_of, read_ledger
from pixelis_agent.ttrl.updater import Updater
from pixelis_agent.ttrl.versions import Versions

PATIENCE = 5
"""Deaths in a row, without a new version between them, after which it is not started again."""
PAUSE = 0.2
"""Seconds between looks at what there is to learn from."""


class Supervised:
    """A process that is started again when it dies.

    Args:
        command: What runs; it ends with status 0 when it is done.
        versions: What it makes: something new shows that it works.
        log: File of its output.
    """

    def __init__(self, command: Sequence[str], versions: Versions, log: Path) -> None:
        self._command, self._versions, self._log = list(command), versions, log
        self.deaths = self._in_a_row = 0
        self._seen = versions.newest
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    @property
    def pid(self) -> int | None:
        """Of the process; None where it was given up."""
        return None if self._process is None else self._process.pid

    def look(self) -> bool:
        """Starts it again if it has died; False once it is done or given up."""
        if self._process is None:
            return False
        status = self._process.poll()
        if status is None:
            return True
        if status == 0:
            return False
        self.deaths += 1
        self._in_a_row = self._in_a_row + 1 if self._versions.newest == self._seen else 1
        self._seen = self._versions.newest
        if self._in_a_row >= PATIENCE:
            self._process = None
            warnings.warn(
                f"the updater died {PATIENCE} times without an update between (status {status}); "
                f"it is not started again, queries are still answered. What it said: {self._log}",
                stacklevel=2,
            )
            return False
        self._start()
        return True

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)


def serve(config: TTRLConfig) -> dict[str, Any]:
    """Answers the queries of the stream while another process learns from them.

    A run that was stopped goes on with the query after the last that it remembers. Unlike
    `pixelis_agent.ttrl.train` it does not come out the same each time: which version answers which
    query depends on who is quicker. What was learned from what is in the ledger, and can be made
    again.

    Args:
        config: Of the run, whose folder holds it.
    """
    out = Path(config.out)
    done = _end(out)
    done.unlink(missing_ok=True)
    loaded, _ = load_to_adapt(
        config.model, Lora(config.lora_rank, 2 * config.lora_rank), dtype=config.dtype
    )
    align(loaded, config)
    base_model(loaded.model).visual.requires_grad_(False)
    versions, version, deaths = Versions(out / "versions"), -1, 0
    with Actor(
        loaded.model, loaded.processor, VisionCache(loaded.model, loaded.processor), config
    ) as actor:
        log = Log(out, config.updates, actor.memory.next_place // config.queries)
        updater = Supervised(
            [sys.executable, "-m", "pixelis_agent.ttrl.beside", str(out), str(os.getpid())],
            versions,
            out / "updater.log",
        )
        try:
            while (first := actor.memory.next_place) < config.updates * config.queries:
                started = time.perf_counter()
                if not updater.look() and updater.pid is not None:
                    # It has ended by itself: nobody else forgets what there is no room for.
                    actor.memory.prune(config.capacity)
                if versions.newest > version:
                    version = versions.load(loaded.model)
                judged, _ = actor.meet(first)
                logged = figures(judged, config) | {"version": float(version)}
                logged["seconds"] = time.perf_counter() - started
                log.write(first // config.queries + 1, logged, ("vote_score", "version"))
            done.touch()
            while updater.look():
                time.sleep(PAUSE)
        finally:
            deaths = updater.deaths
            updater.stop()
            log.close()
    rows = read_ledger(out)
    learned = [row for row in rows if row["decision"] != STOP]
    if versions.newest >= 0:
        versions.load(loaded.model)
        save_model(loaded.model, loaded.processor, out / "model")
    adapter = rows[-1]["adapter"] if rows else None
    result = {"updates": len(learned), "adapter": adapter, "updater_deaths": deaths}
    result |= apart(config, rows)
    return result | ({"stopped": rows[-1]["why"]} if len(learned) < len(rows) else {})


def learn(run: Path, server: int) -> None:
    """Learns from what a run's memory holds, until all of its stream was met and learned from.

    It ends, too, when the process that started it is gone.

    Args:
        run: The run's folder.
        server: The id of that process.
    """
    from filelock import FileLock

    one_thread()
    config = config_of(run)
    # One of a server that was killed may still be at its last update.
    with FileLock(run / "updater.lock"), Memory(run / "memory") as memory:
        updater, versions = Updater(config), Versions(run / "versions")
        progress = updater.progress
        updater.begin(memory)
        if progress.step > max(versions.newest, 0):  # it died before it could publish it
            versions.publish(updater.learner.model, progress.step)
        while os.getppid() == server and not progress.stopped:
            over = _end(run).exists()  # before the look: what came until then is seen by it
            entries = memory.after(progress.remembered, config.queries)
            if len(entries) < config.queries and not (over and entries):
                if over:
                    break
                time.sleep(PAUSE)
                continue
            updater.learner.vision.clear()
            updater.update(entries, memory)
            versions.publish(updater.learner.model, progress.step)
        updater.save(memory)


def _end(run: Path) -> Path:
    """A file that says that the stream has ended."""
    return run / "stream.ended"


if __name__ == "__main__":
    learn(Path(sys.argv[1]), int(sys.argv[2]))
