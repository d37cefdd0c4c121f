"""How fast a memory recalls and remembers, and what an entry takes on the disk.

``python benchmarks/memory_speed.py`` fills memories with vectors in clusters (questions of a type,
videos of a place) and asks them (`Memory.recall`) for the eight nearest of others from the same
clusters. What an entry takes is measured on a run of `pixelis ttrl`, and on the rollouts that it
remembers.
"""

from __future__ import annotations

import argparse
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import Table, save

from pixelis_agent.demo import trained_types
from pixelis_agent.memory import Memory
from pixelis_agent.models.load import TINY

SIZE, CLUSTERS, NEAREST = 192, 400, 8
QUERIES = 4


def vectors(count: int, rng: np.random.Generator, centres: np.ndarray) -> np.ndarray:
    """float32 (count, SIZE) of length 1, around the centres."""
    drawn = centres[rng.integers(len(centres), size=count)]
    drawn = drawn + 0.7 * rng.normal(size=(count, SIZE)) / SIZE**0.5
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def search(entries: int, queries: int, seed: int) -> dict[str, float]:
    """Times of single recalls in ms, and the share of the true nearest that they find."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLUSTERS, SIZE))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    held, asked = vectors(entries, rng, centres), vectors(queries, rng, centres)
    with tempfile.TemporaryDirectory() as folder:
        Memory(folder, "benchmark", SIZE).close()
        record = sqlite3.connect(Path(folder) / "memory.sqlite")
        with record:
            record.executemany(
                "INSERT INTO queries (id, created, place, task_id, task_type, question,"
                " media_digest, vector) VALUES (?, 0, ?, 'room', 'text_read', 'What?', ?, ?)",
                ((k + 1, k, f"{k:032x}", held[k].tobytes()) for k in range(entries)),
            )
            record.executemany(
                "INSERT INTO votes VALUES (?, 'A', 0.5, 0.5, 0, 'zoom read_text', '1 2 3', 1)",
                ((k + 1,) for k in range(entries)),
            )
        record.close()
        started = time.perf_counter()
        with Memory(folder) as memory:
            opened = time.perf_counter() - started
            times, busy, found = [], [], 0
            for vector in asked:
                started = time.perf_counter()
                near = memory.recall(vector, NEAREST)
                times.append(1000 * (time.perf_counter() - started))
                true = set(np.argsort(-(held @ vector))[:NEAREST].tolist())
                found += len(true & {one.id - 1 for one in near})
            with Memory(folder) as learner:
                for step, vector in enumerate(asked):
                    learner.ledger.write(step, {"update": step})
                    started = time.perf_counter()
                    memory.recall(vector, NEAREST)
                    busy.append(1000 * (time.perf_counter() - started))
    p50, p99 = np.percentile(times, [50, 99])
    return {
        "opened": opened,
        "p50": float(p50),
        "p99": float(p99),
        "p99_busy": float(np.percentile(busy, 99)),
        "recall": found / (NEAREST * queries),
    }


def disk(queries: int, group: int, seed: int) -> dict[str, float]:
    """Bytes an entry of a run of test-time learning, and ms to remember one anew."""
    updates = queries // QUERIES
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = ["ttrl", "--model", TINY, "--out", str(out), "--learning-rate", "0"]
        words += ["--updates", str(updates), "--queries", str(QUERIES), "--group", str(group)]
        words += ["--tools", "oracle", "--max-steps", "8", "--batch", "32", "--seed", str(seed)]
        words += ["--types", *trained_types()]
        subprocess.run([sys.executable, "-m", "pixelis_agent.cli", *words], check=True)
        times = []
        with Memory(out / "memory") as memory, Memory(Path(folder) / "copy", "", SIZE) as copy:
            size = sum(file.stat().st_size for file in memory.folder.iterdir())
            count = len(memory)
            for number in memory.after(0, count):
                entry = memory.get(number)
                vector = np.eye(1, SIZE, number % SIZE, dtype=np.float32)[0]
                started = time.perf_counter()
                copy.add(entry, vector)
                times.append(1000 * (time.perf_counter() - started))
    return {"bytes": size / count, "p50": float(np.median(times))}


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, nargs="+", default=[1_000, 20_000, 100_000])
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--remembered", type=int, default=16, help="queries of the run")
    parser.add_argument("--group", type=int, default=8, help="its rollouts on each")
    args = parser.parse_args()
    found = {count: search(count, args.queries, 0) for count in args.entries}
    shown = {"p50": 2, "p99": 2, "p99_busy": 2, "recall": 3, "opened": 1}
    table = Table(
        f"Recalling {NEAREST} of a memory (one thread, vectors of {SIZE})",
        [
            "entries",
            "p50, ms",
            "p99, ms",
            "p99 after another process wrote, ms",
            "recall",
            "opened without its index in, s",
        ],
        [
            [f"{n:,}", *(f"{r[key]:.{digits}f}" for key, digits in shown.items())]
            for n, r in found.items()
        ],
    )
    kept = disk(args.remembered, args.group, 0)
    entry = Table(
        f"An entry: a question, its frames, and {args.group} rollouts with all they saw and wrote",
        ["kB on the disk", "ms to remember (on the disk when it returns)"],
        [[f"{kept['bytes'] / 1000:.0f}", f"{kept['p50']:.1f}"]],
    )
    save("memory_speed", [0], [table, entry], {"search": found, "entry": kept})
    return 0


if __name__ == "__main__":
    sys.exit(main())
