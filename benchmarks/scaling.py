"""Episodes a second with one and two workers: worker processes and Ray actors.

First the oracle plays rooms with exact tools, so that nothing but environments takes time. Then a
model samples groups, as CC-RFT does: it plays in one process, whose worker processes hold the
environments, or in Ray actors, a copy in each. All are started first and then take turns with the
same tasks, in another order each round, so that what else the machine does touches all alike. The
ratio to the first is taken within a round; 2.00 would be no loss.

`python benchmarks/scaling.py [--quick]`
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import ray
from common import Table, save, with_interval

from pixelis_agent.collect import AnyCollector, Collector, RayCollector, collector_for
from pixelis_agent.learning.training import one_thread
from pixelis_agent.models.anchor import load_to_adapt
from pixelis_agent.models.load import TINY, Lora
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.policies.copies import CopiedPolicy, Recipe
from pixelis_agent.policies.scripted import OraclePolicy
from pixelis_agent.policies.vlm import VLMPolicy

ENV, KWARGS = "Pixelis-v0", {"tools": "oracle"}
EACH = 3
"""Environments of each worker that the oracle plays in."""
GROUP, BATCH = 8, 32
"""Episodes on each task that a model samples, and of how many it is asked at once."""

Kind = tuple[str, int]
"""Where is played, and how many workers."""


def main() -> None:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="a few episodes, to try it")
    episodes, rounds = (4, 2) if parser.parse_args().quick else (12, 5)

    one_thread()
    # Ray makes its workers nice, which on a machine that does something else is a handicap.
    config = {"worker_niceness": 0}
    ray.init(
        "local", num_cpus=3, include_dashboard=False, log_to_driver=False, _system_config=config
    )
    oracle, in_env = environments(episodes, rounds)
    sampled = samples(episodes // 3, rounds)
    ray.shutdown()
    rest = f"mean of {rounds} interleaved rounds"
    title = f"The oracle in rooms, {episodes} episodes a round; {rest}"
    ratios = {kind: over(taken, oracle[kind[0], 1]) for kind, taken in oracle.items()}
    tables = [table(title, oracle, ratios, episodes)]
    played = GROUP * (episodes // 3)
    title = f"pixelis-tiny samples groups of {GROUP}, {played} episodes a round; {rest}"
    own = {kind: over(taken, sampled["one process", 1]) for kind, taken in sampled.items()}
    tables.append(table(title, sampled, own, played))
    raw = {
        "episodes": episodes,
        "seconds": {f"{name}, {workers}": t for (name, workers), t in oracle.items()},
        "speed_up": {name: times for (name, workers), times in ratios.items() if workers > 1},
        "sampled": {f"{name}, {workers}": t for (name, workers), t in sampled.items()},
        "env_seconds": in_env,
        "load": os.getloadavg()[0],
    }
    save("scaling", [0], tables, raw)


def environments(episodes: int, rounds: int) -> tuple[dict[Kind, list[float]], list[float]]:
    """Seconds of each round with the oracle, and those of each episode in its environment."""
    collectors: dict[Kind, AnyCollector] = {}
    for workers in (1, 2):
        made: Any = {"workers": workers, "envs_per_worker": EACH}
        collectors["worker processes", workers] = Collector(ENV, KWARGS, **made)
        collectors["Ray actors", workers] = RayCollector(ENV, KWARGS, **made)
    in_env: list[float] = []

    def play(kind: Kind, number: int) -> None:
        tasks = range(100 * (number + 1), 100 * (number + 1) + episodes)
        played = list(collectors[kind].run(OraclePolicy(), tasks))
        if len(played) != episodes or any(one.score != 1.0 for one in played):
            raise SystemExit(f"{kind} played {len(played)} episodes, not all of them right")
        if number >= 0 and kind == ("worker processes", 1):
            in_env.extend(one.env_seconds for one in played)

    seconds = in_turns(play, list(collectors), rounds)
    for collector in collectors.values():
        collector.close()
    return seconds, in_env


def samples(tasks: int, rounds: int) -> dict[Kind, list[float]]:
    """Seconds of each round with a model."""
    lora = Lora(rank=16, alpha=32)
    loaded, _ = load_to_adapt(TINY, lora)
    look = VisionCache(loaded.model, loaded.processor)
    ways: Any = {"temperature": 1.0, "max_new_tokens": 96}
    here = VLMPolicy(loaded.model, loaded.processor, look=look.inputs, **ways)
    there = CopiedPolicy(Recipe(TINY, lora), loaded.model, **ways)
    collectors: dict[Kind, AnyCollector] = {
        ("one process", 1): collector_for(ENV, KWARGS, workers=1, batch=BATCH)
    }
    for actors in (1, 2):
        collectors["Ray actors", actors] = collector_for(
            ENV, KWARGS, workers=0, ray=actors, batch=BATCH
        )

    def play(kind: Kind, number: int) -> None:
        look.clear()
        first = 1000 + tasks * number
        indices = [index for index in range(first, first + tasks) for _ in range(GROUP)]
        alone = kind[0] == "one process"
        policy = here if alone else there
        # In lockstep as CC-RFT does, which Ray cannot.
        played = len(list(collectors[kind].run(policy, indices, batch=BATCH, lockstep=alone)))
        if played != len(indices):
            raise SystemExit(f"{kind} played {played} episodes, not {len(indices)}")

    seconds = in_turns(play, list(collectors), rounds)
    for collector in collectors.values():
        collector.close()
    return seconds


def in_turns(
    play: Callable[[Kind, int], None], kinds: Sequence[Kind], rounds: int
) -> dict[Kind, list[float]]:
    """Seconds that each kind takes for each round; round -1 starts what it plays with."""
    seconds: dict[Kind, list[float]] = {kind: [] for kind in kinds}
    for kind in kinds:
        play(kind, -1)
    rng = np.random.default_rng(0)
    for number in range(rounds):
        for place in rng.permutation(len(kinds)):
            started = time.perf_counter()
            play(kinds[place], number)
            seconds[kinds[place]].append(time.perf_counter() - started)
    return seconds


def over(taken: Sequence[float], base: Sequence[float]) -> list[float]:
    """How many times as quick each round was as that of another kind."""
    return [one / own for one, own in zip(base, taken, strict=True)]


def table(
    title: str,
    seconds: Mapping[Kind, Sequence[float]],
    ratios: Mapping[Kind, Sequence[float]],
    episodes: int,
) -> Table:
    """Rates, and how many times those of one worker they are."""
    made = Table(
        f"{title} [95 % interval]; load of the machine {os.getloadavg()[0]:.1f}",
        ["", "workers", "episodes/s", "times one", "efficiency"],
    )
    for (name, workers), taken in seconds.items():
        times = ratios[name, workers]
        rates = with_interval([episodes / t for t in taken], 2)
        efficiency = f"{100 * float(np.mean(times)) / workers:.0f} %"
        made.rows.append([name, str(workers), rates, with_interval(times, 2), efficiency])
    return made


if __name__ == "__main__":
    main()
