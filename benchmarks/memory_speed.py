"""How fast a memory recalls and remembers, and what an entry takes on the disk.

``python benchmarks/memory_speed.py`` fills memories with vectors in clusters (questions of a type,
videos of a place) and asks them for the eight nearest of others from the same clusters.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
from common import Table, save
from PIL import Image

from pixelis_agent.memory import Entry, Memory, Voted
from pixelis_agent.memory.index import MemoryIndex
from pixelis_env.observation import overview_indices

SIZE, CLUSTERS, NEAREST = 192, 400, 8


def vectors(count: int, rng: np.random.Generator, centres: np.ndarray) -> np.ndarray:
    """float32 (count, SIZE) of length 1, around the centres."""
    drawn = centres[rng.integers(len(centres), size=count)]
    drawn = drawn + 0.7 * rng.normal(size=(count, SIZE)) / SIZE**0.5
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def search(entries: int, queries: int, seed: int) -> dict[str, float]:
    """Times of single searches in ms, and the share of the true nearest that they find."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLUSTERS, SIZE))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    held, asked = vectors(entries, rng, centres), vectors(queries, rng, centres)
    index = MemoryIndex(SIZE)
    started = time.perf_counter()
    for start in range(0, entries, 500):
        part = held[start : start + 500]
        index.add(range(start, start + len(part)), part)
    built = time.perf_counter() - started
    times, found = [], 0
    for vector in asked:
        started = time.perf_counter()
        near = index.nearest(vector, NEAREST)
        times.append(1000 * (time.perf_counter() - started))
        true = set(np.argsort(-(held @ vector))[:NEAREST].tolist())
        found += len(true & {number for number, _ in near})
    p50, p99 = np.percentile(times, [50, 99])
    recall = found / (NEAREST * queries)
    return {"built": built, "p50": float(p50), "p99": float(p99), "recall": recall}


def disk(entries: int, rollouts: int, seed: int) -> dict[str, float]:
    """Bytes an entry of real episodes on rooms, and ms to remember one."""
    rng = np.random.default_rng(seed)
    times = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Memory(folder, "benchmark", SIZE) as memory,
        gym.make("Pixelis-v0", tools="oracle") as env,
    ):
        pixelis = env.unwrapped
        for k in range(entries):
            env.reset(seed=seed, options={"index": k})
            media = pixelis.task.media
            images = tuple(Image.fromarray(media.frame(i)) for i in overview_indices(media))
            for action in pixelis.oracle():
                env.step(action)
            voted = (Voted(pixelis.trace(), 1.0, 1.0),) * rollouts
            entry = Entry(
                task_id=f"room {k}",
                task_type=pixelis.task.type,
                question=pixelis.task.prompt,
                media_digest=media.digest,
                images=images,
                rollouts=voted,
                answer="A",
                confidence=1.0,
                margin=1.0,
                exemplar=0,
            )
            vector = rng.normal(size=SIZE).astype(np.float32)
            started = time.perf_counter()
            memory.add(entry, vector / np.linalg.norm(vector))
            times.append(1000 * (time.perf_counter() - started))
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    return {"bytes": size / entries, "p50": float(np.median(times))}


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, nargs="+", default=[1_000, 20_000, 100_000])
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--rollouts", type=int, default=8)
    args = parser.parse_args()
    found = {count: search(count, args.queries, 0) for count in args.entries}
    shown = {"p50": 2, "p99": 2, "recall": 3, "built": 1}
    table = Table(
        f"Recalling {NEAREST} of a memory (one thread, vectors of {SIZE})",
        ["entries", "p50, ms", "p99, ms", "recall", "made anew in, s"],
        [
            [f"{n:,}", *(f"{r[key]:.{digits}f}" for key, digits in shown.items())]
            for n, r in found.items()
        ],
    )
    kept = disk(args.episodes, args.rollouts, 0)
    entry = Table(
        f"An entry: 8 frames of 320 x 240 and {args.rollouts} traces",
        ["kB on the disk", "ms to remember (on the disk when it returns)"],
        [[f"{kept['bytes'] / 1000:.0f}", f"{kept['p50']:.1f}"]],
    )
    save("memory_speed", [0], [table, entry], {"search": found, "entry": kept})
    return 0


if __name__ == "__main__":
    sys.exit(main())
