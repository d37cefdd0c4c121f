"""What up-weighting of acting tokens and the auxiliary heads are worth in supervised fine-tuning.

``python benchmarks/sft_ablation.py`` writes demonstrations, fine-tunes the early checkpoint on them
four ways, with several seeds each, and plays held-out tasks with every result.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from common import save
from playing import Place, Play
from study import Study, table

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
    write_demonstrations(corpus)
    train = ["sft", "--epochs", str(args.epochs), "--optimizer", "muon", "--data", str(corpus.out)]
    place = Place(tuple(args.types), args.episodes)
    study = Study(args.runs, args.model, train, args.seeds, args.jobs)
    rows = study.results(ARMS, {"unseen": Play(place)})["unseen"]
    title = f"Fine-tuning ablation: {args.seeds} seeds, {args.episodes} unseen tasks each"
    raw = {
        arm: {s: {key: row[key] for key in (*MEASURES, "per_type", "n")} for s, row in own.items()}
        for arm, own in rows.items()
    }
    save("sft_ablation", list(range(args.seeds)), [table(title, rows, MEASURES)], raw)
    return 0


if __name__ == "__main__":
    sys.exit(main())
