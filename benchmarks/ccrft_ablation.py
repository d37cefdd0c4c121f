"""What each reward of CC-RFT is worth, and what its anchor is.

``python benchmarks/ccrft_ablation.py`` starts from the shipped agent, trains it with the task's
reward alone, with curiosity, with coherence, with all, and with all but the anchor, several seeds
each, and plays held-out rooms of two levels with every result and with the start itself: greedily,
and four times each, sampled as in training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from common import Table, over_seeds, save
from playing import Place, Play
from study import KEPT, Rows, Run, Study, by_play, cell_name, made_at, table

from pixelis_agent.demo import trained_types
from pixelis_agent.log import read_metrics
from pixelis_agent.models.load import TINY

NO = ("--rewards.curiosity", "0", "--rewards.coherence", "0", "--rewards.efficiency", "0")
ARMS = {
    "SFT": None,
    "task reward only": NO,
    "+ curiosity": (*NO[2:],),
    "+ coherence": (*NO[:2], *NO[4:]),
    "full": (),
    "full without anchor": ("--no-anchor",),
}

TOOLS = ("--tools", "oracle")
PLAYS: dict[str, dict[str, Any]] = {
    "level 1": {"level": 1},
    "level 1, sampled": {"level": 1, "temperature": 1.0, "samples": 4},
    "level 2": {"level": 2},
    "level 2, sampled": {"level": 2, "temperature": 1.0, "samples": 4},
}

AUDIT = "audit"

MEASURES = {
    "score": "score",
    "chain_length": "operations",
    "rapr": "RaPR",
    "racpr": "RaCPR",
    "invalid_rate": "invalid calls",
}


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=TINY, help="what every arm starts from")
    parser.add_argument("--types", nargs="+", default=trained_types())
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--plays", nargs="+", default=[*PLAYS, AUDIT], choices=[*PLAYS, AUDIT])
    parser.add_argument("--runs", type=Path, default=Path("runs/ccrft_ablation"))
    parser.add_argument("--kept", type=Path, default=KEPT / "ccrft_ablation", help="what is known")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--episodes", type=int, default=300, help="held-out tasks a run and level")
    parser.add_argument("--audited", type=int, default=30, help="held-out episodes audited a run")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    args = parser.parse_args()
    types = ("--types", *args.types)
    train = ("ccrft", "--iterations", str(args.iterations), "--workers", "1", *types)
    train += ("--learning-rate", "1e-3", "--max-steps", "8", "--redraws", "0")
    train += ("--batch", "64", "--micro-batch", "8", *TOOLS)
    plays = {name: play(args, **how) for name, how in PLAYS.items() if name in args.plays}
    audits = {}
    if AUDIT in args.plays:
        words = ("--episodes", str(args.audited), "--workers", "1", "--seed", "3", *types, *TOOLS)
        audits = {AUDIT: words}
    study = Study(args.runs, args.kept, args.model, noted, args.jobs)
    runs = {
        (arm, seed): Run(
            cell_name(arm, seed),
            None if (words := ARMS[arm]) is None else (*train, "--seed", str(seed), *words),
            plays,
            audits,
        )
        for seed in range(args.seeds)
        for arm in args.arms
        if ARMS[arm] is not None or seed == 0
    }
    found: dict[str, dict[str, Any]] = {}
    for seed in range(args.seeds):
        found |= study.records([run for (_, own), run in runs.items() if own == seed])
    records = {cell: found[run.name] for cell, run in runs.items()}
    results = by_play({cell: record["plays"] for cell, record in records.items()})
    tables = [table(f"CC-RFT on unseen rooms, {name}", results[name], MEASURES) for name in plays]
    if "SFT" in args.arms:
        tables.append(gains(results))
    if audits:
        of_all = {
            cell: {AUDIT: row["audits"][AUDIT]["all"]["all"]} for cell, row in records.items()
        }
        measure = {"causal_rapr": "causal RaPR"}
        tables.append(table("Causal RaPR on unseen rooms", by_play(of_all)[AUDIT], measure))
    paths = {
        arm: [records[arm, seed]["note"]["kl"] for seed in range(args.seeds)]
        for arm in args.arms
        if ARMS[arm] is not None
    }
    tables.append(divergence(paths))
    raw = {"divergence": paths}
    save("ccrft_ablation", range(args.seeds), tables, raw, **made_at(found.values()))
    return 0


def play(args: argparse.Namespace, level: int, temperature: float = 0.0, samples: int = 1) -> Play:
    """Held-out rooms of a level."""
    return Play(Place(tuple(args.types), args.episodes, level), temperature, samples)


def gains(plays: Mapping[str, Rows]) -> Table:
    """How much more each arm scores than its start, as a share of the start's score."""
    made = Table("Gain, a share of the start's score", ["play", "arm", "gain"])
    for play, rows in plays.items():
        (start,) = rows["SFT"].values()
        for arm, own in rows.items():
            if arm != "SFT":
                shares = [row["score"] / start["score"] - 1 for row in own.values()]
                made.rows.append([play, arm, over_seeds(shares)])
    return made


def divergence(paths: dict[str, list[list[float]]]) -> Table:
    """How far each arm went from its start, and whether it stayed where it should be."""
    made = Table(
        "Divergence per token from the start, nats",
        ["arm", "largest", "mean of the last ten", "iterations in 0.10-0.20 once there"],
    )
    for arm, runs in paths.items():
        firsts = [next((k for k, kl in enumerate(path) if kl >= 0.1), None) for path in runs]
        there = [path[k:] for path, k in zip(runs, firsts, strict=True) if k is not None]
        shares = [float(np.mean([0.1 <= kl <= 0.2 for kl in path])) for path in there]
        never = len(runs) - len(there)
        said = f"{never} of {len(runs)} never there" if never else over_seeds(shares, 2)
        ends = [float(np.mean(path[-10:])) for path in runs]
        made.rows.append([arm, over_seeds(list(map(max, runs))), over_seeds(ends), said])
    return made


def noted(run: Path) -> dict[str, Any]:
    """What is kept of a run: the divergence after each iteration."""
    return {"kl": [line["kl"] for line in read_metrics(run / "metrics.jsonl") if "kl" in line]}


if __name__ == "__main__":
    sys.exit(main())
