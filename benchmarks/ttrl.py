"""What test-time learning gains in a new place, and what each part of it is worth.

``python benchmarks/ttrl.py`` adapts an agent to each shift of the rooms, with the whole method,
with each of its parts left out, and with two methods of others, several seeds each; it plays
held-out rooms of that shift (did it help?) and unshifted ones (did it harm?) with every result and
with the agent as it was.

"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from common import Table, save, with_interval
from study import Rows, Study, table

from pixelis_agent.demo import trained_types
from pixelis_agent.log import read_metrics
from pixelis_agent.models.load import TINY

ARMS = {
    "frozen": None,
    "entropy (as TENT)": ("--vote", "entropy"),
    "majority of answers (TTRL)": ("--vote", "majority", "--least-margin", "0"),
    "whole": (),
    "without retrieval": ("--neighbours", "0"),
    "without behaviour": ("--no-by-behaviour", "--behaviour", "0"),
    "without fidelity": ("--no-by-fidelity",),
    "without abstention": ("--least-margin", "0"),
    "without the anchor": ("--no-anchor",),
}
MEASURES = {"score": "score", "solved": "solved", "chain_length": "operations"}
GUARD = "unshifted"


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=TINY, help="what adapts")
    parser.add_argument("--types", nargs="+", default=trained_types())
    parser.add_argument("--shifts", nargs="+", default=["lighting", "blur", "fonts"])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--runs", type=Path, default=Path("runs/ttrl"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--episodes", type=int, default=300, help="held-out tasks a run and play")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    args = parser.parse_args()
    arms = {name: ARMS[name] for name in args.arms}
    tables, raw = [], {}
    for shift in args.shifts:
        train = ["ttrl", "--shift", shift, "--updates", str(args.updates), "--workers", "1"]
        train += ["--learning-rate", str(args.learning_rate), "--tools", "oracle"]
        train += ["--types", *args.types]
        play = ["eval", "--seed", "3", "--episodes", str(args.episodes), "--workers", "1"]
        play += ["--tools", "oracle", "--types", *args.types]
        plays = {shift: [*play, "--shift", shift], GUARD: play}
        study = Study(args.runs / shift, args.model, train, plays, args.seeds, args.jobs)
        results = study.results(arms)
        tables += [table(f"Adapted to {shift}: held-out rooms with it", results[shift], MEASURES)]
        tables += [change(f"Adapted to {shift}: change of the score", results, shift)]
        streams = {
            arm: [read_metrics(study.folder(arm, s) / "metrics.jsonl") for s in range(args.seeds)]
            for arm, words in arms.items()
            if words is not None
        }
        tables.append(stream_table(f"The stream of {shift}", streams))
        raw[shift] = {"plays": results, "streams": streams}
    save("ttrl", list(range(args.seeds)), tables, raw)
    return 0


def change(title: str, results: dict[str, Rows], shift: str) -> Table:
    """What each arm gained under its shift and lost without, against the frozen agent."""
    made = Table(title, ["arm", "gain with the shift", "relative", "change without the shift"])
    for arm, rows in results[shift].items():
        if arm == "frozen" or "frozen" not in results[shift]:
            continue
        (start,), (guard,) = (results[play]["frozen"].values() for play in (shift, GUARD))
        gains = [row["score"] - start["score"] for row in rows.values()]
        kept = [row["score"] - guard["score"] for row in results[GUARD][arm].values()]
        relative = [gain / start["score"] for gain in gains]
        made.rows.append([arm, *map(with_interval, (gains, relative, kept))])
    return made


def stream_table(title: str, streams: dict[str, list[list[dict]]]) -> Table:
    """How the votes on the stream went: prequential scores, divergence, abstentions."""
    made = Table(title, ["arm", "rollouts", "votes", "abstained", "KL in 0.10-0.20"])
    for arm, runs in streams.items():

        def mean(key: str, runs: list[list[dict]] = runs) -> str:
            return with_interval([float(np.mean([row[key] for row in run])) for run in runs])

        inside = [float(np.mean([0.1 <= row["kl"] <= 0.2 for row in run])) for run in runs]
        shares = with_interval(inside, 2)
        made.rows.append([arm, mean("score"), mean("vote_score"), mean("abstained"), shares])
    return made


if __name__ == "__main__":
    sys.exit(main())
