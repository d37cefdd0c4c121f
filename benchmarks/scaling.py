"""Episodes a second with one and two workers: worker processes and Ray actors.

The oracle plays rooms with exact tools, so that nothing but environments takes time; each worker
has one core's worth of it. All four are started first and then take turns with the same tasks, in
another order each round, so that what else the machine does touches all alike. The ratio to one
worker is taken within a round; 2.00 would be no loss.

`python benchmarks/scaling.py [--quick]`
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import ray
from common import Table, save, with_interval

from pixelis_agent.collect import Collector, RayCollector
from pixelis_agent.policies.scripted import OraclePolicy

ENV, KWARGS = "Pixelis-v0", {"tools": "oracle"}
EACH = 3
"""Environments of each worker."""


def main() -> None:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="a few episodes, to try it")
    episodes, rounds = (4, 2) if parser.parse_args().quick else (12, 5)

    # Ray makes its workers nice, which on a machine that does something else is a handicap.
    config = {"worker_niceness": 0}
    ray.init(
        "local", num_cpus=3, include_dashboard=False, log_to_driver=False, _system_config=config
    )
    collectors: dict[tuple[str, int], Collector | RayCollector] = {}
    for workers in (1, 2):
        made = {"workers": workers, "envs_per_worker": EACH}
        collectors["worker processes", workers] = Collector(ENV, KWARGS, **made)
        collectors["Ray actors", workers] = RayCollector(ENV, KWARGS, **made)
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in collectors}
    in_env: list[float] = []
    rng, loads = np.random.default_rng(0), []
    for collector in collectors.values():
        list(collector.run(OraclePolicy(), range(2 * EACH)))
    for number in range(rounds):
        tasks = range(100 * (number + 1), 100 * (number + 1) + episodes)
        for place in rng.permutation(len(collectors)):
            key, collector = list(collectors.items())[place]
            started = time.perf_counter()
            played = sorted(collector.run(OraclePolicy(), tasks), key=lambda one: one.position)
            seconds[key].append(time.perf_counter() - started)
            if len(played) != episodes or any(one.score != 1.0 for one in played):
                raise SystemExit(f"{key} played {len(played)} episodes, not all of them right")
            if key == ("worker processes", 1):
                in_env += [one.env_seconds for one in played]
        loads.append(os.getloadavg()[0])
    for collector in collectors.values():
        collector.close()
    ray.shutdown()

    table = Table(
        f"The oracle in rooms, {episodes} episodes a round; mean of {rounds} interleaved rounds "
        f"[95 % interval]; load of the machine {min(loads):.1f} to {max(loads):.1f}",
        ["", "workers", "episodes/s", "times one worker", "efficiency"],
    )
    speed_up: dict[str, list[float]] = {}
    for (name, workers), taken in seconds.items():
        ratios = [one / own for one, own in zip(seconds[name, 1], taken, strict=True)]
        if workers > 1:
            speed_up[name] = ratios
        rates = with_interval([episodes / t for t in taken], 2)
        efficiency = f"{100 * float(np.mean(ratios)) / workers:.0f} %"
        table.rows.append([name, str(workers), rates, with_interval(ratios, 2), efficiency])
    raw = {
        "episodes": episodes,
        "seconds": {f"{name}, {workers}": taken for (name, workers), taken in seconds.items()},
        "speed_up": speed_up,
        "env_seconds": in_env,
        "load": loads,
    }
    save("scaling", [0], [table], raw)


if __name__ == "__main__":
    main()
