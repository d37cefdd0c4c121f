"""What up-weighting of acting tokens and the auxiliary heads are worth in supervised fine-tuning.

``python benchmarks/sft_ablation.py`` writes demonstrations, fine-tunes the early checkpoint on them
four ways, with several seeds each, and plays held-out tasks with every result.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from common import save
from playing import Place, Play
from study import KEPT, Run, Study, by_play, cell_name, made_at, table

from pixelis_agent.cota.generate import CotaConfig
from pixelis_agent.cota.generate import run as write_demonstrations
from pixelis_agent.demo import trained_types
from pixelis_agent.models.load import EARLY
from pixelis_agent.tiny.config import GRID

PLAIN = ("--op-weight", "1", "--argument-weight", "1")
ARMS = {
    "full": (),
    "no up-weighting": PLAIN,
    "no heads": ("--no-heads",),
    "neither": (*PLAIN, "--no-heads"),
}

MEASURES = {
    "score": "score",
    "solved": "solved",
    "op_accuracy": "op accuracy",
    "argument_iou": "argument IoU",
    "zoom_iou": "zoom IoU",
    "invalid_rate": "invalid calls",
}


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demonstrations", type=int, default=320, help="of each question type")
    parser.add_argument("--model", default=EARLY, help="what every arm starts from")
    parser.add_argument("--types", nargs="+", default=trained_types(), help="of questions")
    parser.add_argument("--runs", type=Path, default=Path("runs/sft_ablation"))
    parser.add_argument("--kept", type=Path, default=KEPT / "sft_ablation", help="what is known")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=300, help="held-out tasks a run")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    args = parser.parse_args()
    corpus = CotaConfig(
        args.runs / "demonstrations",
        types=tuple(args.types),
        episodes=args.demonstrations * len(args.types),
        variants=1,
        workers=args.jobs,
        tools="oracle",
        grid=GRID,
    )
    train = ("sft", "--epochs", str(args.epochs), "--optimizer", "muon", "--data", str(corpus.out))
    plays = {"unseen": Play(Place(tuple(args.types), args.episodes))}
    made_of = {k: v for k, v in vars(corpus).items() if k not in ("out", "workers")}
    study = Study(
        args.runs,
        args.kept,
        args.model,
        note=lambda _: {},
        jobs=args.jobs,
        prepare=lambda: write_demonstrations(corpus),
    )
    seeds = range(args.seeds)
    runs = {
        (arm, seed): Run(
            cell_name(arm, seed),
            (*train, "--seed", str(seed), *words),
            plays,
            made_of=made_of,
        )
        for seed in seeds
        for arm, words in ARMS.items()
    }
    found: dict[str, dict[str, Any]] = {}
    for seed in seeds:
        found |= study.records([run for (_, own), run in runs.items() if own == seed])
    rows = by_play({cell: found[run.name]["plays"] for cell, run in runs.items()})["unseen"]
    title = f"Fine-tuning ablation: {args.seeds} seeds, {args.episodes} unseen tasks each"
    save("sft_ablation", seeds, [table(title, rows, MEASURES)], {}, **made_at(found.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
