"""What is left of test-time learning whose processes are killed at random moments.

``python benchmarks/kills.py`` lets agents answer streams of queries while another process learns
from them (`pixelis ttrl --beside`), and kills, with signal 9, now the process that learns, now the
one that answers, now both, at moments drawn at random, start-up among them. A stream that comes to
its end all the same is learned again from its ledger; then the next begins, until all kills are
done; a benchmark that was stopped goes on with the next stream. After each kill of who answers the
memory is opened: what had been written before must be there, and its index must be what its record
says. The memory by itself, killed while it writes, is a test (``pytest -m slow
tests/agent/test_memory.py``).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from common import Table, median_range, save

from pixelis_agent.log import METRICS, read_metrics
from pixelis_agent.memory import InvalidMemory, Memory, verify
from pixelis_agent.models.digest import adapter_digest
from pixelis_agent.models.load import TINY, load_model
from pixelis_agent.ttrl.ledger import config_of, read_ledger
from pixelis_agent.ttrl.replay import replay_ledger

LEARNER, SERVER, BOTH = "the one that learns", "the one that answers", "both"
LONGEST = 25.0
"""Seconds until the next kill, at the most: the processes need a third of them to start."""
QUERIES = 2


class Life:
    """A server with its updater.

    Args:
        command: That starts it.
        log: File of what it says.
    """

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log.open("ab")
        self._server = subprocess.Popen(
            command, stdout=self._log, stderr=self._log, start_new_session=True
        )

    def over_within(self, seconds: float) -> bool:
        """Waits; whether the stream came to its end meanwhile.

        Raises:
            RuntimeError: The server died, though nobody killed it.
        """
        try:
            status = self._server.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if status:
            raise RuntimeError(f"the server ended with status {status}: see {self._log.name}")
        return True

    def kill_learner(self) -> bool:
        """Kills the process that learns; False where there is none."""
        for child in psutil.Process(self._server.pid).children():
            try:
                if "pixelis_agent.ttrl.beside" in child.cmdline():
                    child.kill()
                    return True
            except psutil.NoSuchProcess:
                continue
        return False

    def kill(self, everything: bool) -> None:
        """Kills the server, or whatever it has started with it; raises as `over_within`."""
        self.over_within(0)
        if everything:
            os.killpg(self._server.pid, signal.SIGKILL)
        else:
            self._server.kill()
        self._server.wait()
        self._log.close()


def held(run: Path) -> tuple[int, list[str]]:
    """How many queries a run remembers, and what is wrong with its index."""
    try:
        memory = Memory(run / "memory")
    except InvalidMemory as error:
        begun = not any(sign in str(error) for sign in ("is missing", "was never begun"))
        return 0, [str(error)] if begun else []
    with memory:
        return len(memory), verify(memory)


def stream(run: Path, rounds: int, most: int, seed: int) -> dict[str, Any]:
    """Lets a stream be answered and learned from, and kills.

    Args:
        run: Its folder.
        rounds: Of `QUERIES` queries.
        most: Kills, after which it is left alone.
        seed: Of the stream and of the moments.

    Returns:
        `kills` of each kind, answers that were `lost`, memories that were `broken`, how often the
        one that learns was `given_up`, seconds of the `rounds`, and whether the stream is `whole`:
        every query was learned from once, and the ledger makes the adapter that was served.
    """
    chance = random.Random(seed)
    words = ["ttrl", "--model", TINY, "--out", str(run), "--types", "text_read", "--beside"]
    words += ["--shift", "lighting", "--tools", "oracle", "--updates", str(rounds)]
    words += ["--queries", str(QUERIES), "--group", "3", "--least-margin", "0.05"]
    words += ["--learning-rate", "1e-3", "--max-tokens", "96", "--workers", "1", "--batch", "6"]
    words += ["--checkpoint-every", "2", "--seed", str(seed)]
    command = [sys.executable, "-m", "pixelis_agent.cli", *words]
    kills = {LEARNER: 0, SERVER: 0, BOTH: 0}
    lost = broken = given_up = 0
    life = Life(command, run.with_suffix(".log"))
    while sum(kills.values()) < most and not life.over_within(LONGEST * chance.random()):
        before, _ = held(run)
        who = chance.choices([LEARNER, SERVER, BOTH], [3, 1, 1])[0]
        if who == LEARNER:
            kills[LEARNER] += life.kill_learner()
            continue
        life.kill(everything=who == BOTH)
        kills[who] += 1
        after, wrong = held(run)
        lost += max(0, before - after)
        broken += bool(wrong)
        life = Life(command, run.with_suffix(".log"))
    while True:
        while not life.over_within(60):
            pass
        rows = read_ledger(run)
        places = [query["place"] for row in rows for query in row["queries"]]
        if len(places) >= QUERIES * rounds:
            break
        # Killed too often before it could learn anything, it was left alone, and the rest of the
        # stream answered without it; the same command learns from that too.
        given_up += 1
        life = Life(command, run.with_suffix(".log"))
    try:
        again = replay_ledger(config_of(run))["adapter"]
    except ValueError as error:
        again = str(error)
    served = load_model(run).model
    return {
        "kills": kills,
        "lost": lost,
        "broken": broken + bool(held(run)[1]),
        "given_up": given_up,
        "whole": sorted(places) == list(range(QUERIES * rounds))
        and again == adapter_digest(served),
        "rounds": [row["seconds"] for row in read_metrics(run / METRICS)],
    }


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=24, help=f"of {QUERIES} queries, a stream")
    parser.add_argument("--runs", type=Path, default=Path("runs/kills"))
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    args.runs.mkdir(parents=True, exist_ok=True)
    found = [json.loads(file.read_text()) for file in sorted(args.runs.glob("*.json"))]
    while (left := args.kills - sum(sum(one["kills"].values()) for one in found)) > 0:
        run = args.runs / f"{len(found):03d}"
        shutil.rmtree(run, ignore_errors=True)
        found.append(stream(run, args.rounds, left, len(found)))
        run.with_suffix(".json").write_text(json.dumps(found[-1]))
        print(f"stream {len(found)}: {found[-1]}", file=sys.stderr)
    of = {kind: sum(one["kills"][kind] for one in found) for kind in (LEARNER, SERVER, BOTH)}
    opened = {key: str(sum(one[key] for one in found)) for key in ("lost", "broken")}
    table = Table(
        "Killed at random moments",
        ["killed", "times", "answers lost", "memories whose index is not its record"],
        [
            [LEARNER, str(of[LEARNER]), "–", "–"],
            [f"{SERVER}, or both", str(of[SERVER] + of[BOTH]), *opened.values()],
        ],
    )
    ends = Table(
        "The streams that were cut so",
        [
            "streams",
            "each query learned from once, same adapter by the ledger",
            "its learner was given up",
            "s a round",
        ],
        [
            [
                str(len(found)),
                *(str(sum(one[key] for one in found)) for key in ("whole", "given_up")),
                median_range([s for one in found for s in one["rounds"]], 1),
            ]
        ],
    )
    save("kills", list(range(len(found))), [table, ends], {"streams": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
