"""What up-weighting of acting tokens and the auxiliary heads are worth in supervised fine-tuning.

``python benchmarks/sft_ablation.py --data DIR... --model DIR`` fine-tunes the same untrained model
four ways, with several seeds each, and plays held-out tasks with every result. Runs are kept under
`--runs`, so a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import Table, mean_interval, save

ARMS: dict[str, list[str]] = {
    "full": [],
    "no up-weighting": ["--op-weight", "1", "--argument-weight", "1"],
    "no heads": ["--no-heads"],
    "neither": ["--op-weight", "1", "--argument-weight", "1", "--no-heads"],
}

MEASURES = {
    "score": "score",
    "op_accuracy": "op accuracy",
    "argument_iou": "argument IoU",
    "invalid_rate": "invalid calls",
}


def run_arm(name: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Trains one arm with one seed and plays the held-out tasks; a finished run is only read."""
    out = args.runs / f"{name.replace(' ', '-')}-{seed}"
    result = out / "result.json"
    if not result.exists():
        pixelis = [sys.executable, "-m", "pixelis_agent.cli"]
        train = ["sft", "--out", str(out), "--model", str(args.model), "--seed", str(seed)]
        train += ["--epochs", str(args.epochs), "--data", *map(str, args.data), *ARMS[name]]
        play = ["eval", "--policy", str(out), "--episodes", str(args.episodes), "--json"]
        play += ["--out", str(out / "eval"), "--types", *args.types, "--workers", "1"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        log = (out.parent / f"{out.name}.log").open("w")
        subprocess.run([*pixelis, *train], check=True, env=environment, stderr=log, stdout=log)
        said = subprocess.run(
            [*pixelis, *play], check=True, env=environment, stderr=log, stdout=subprocess.PIPE
        ).stdout
        result.write_bytes(said.splitlines()[-1] + b"\n")
    row: dict[str, Any] = json.loads(result.read_text())
    return row


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="corpora")
    parser.add_argument("--model", type=Path, required=True, help="what every arm starts from")
    parser.add_argument("--types", nargs="+", required=True, help="question types that are played")
    parser.add_argument("--runs", type=Path, default=Path("runs/sft_ablation"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=300, help="held-out tasks a run")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    args = parser.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)
    cells = [(name, seed) for seed in range(args.seeds) for name in ARMS]
    with ThreadPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(lambda cell: run_arm(*cell, args), cells))
    raw: dict[str, Any] = {name: {} for name in ARMS}
    for (name, seed), row in zip(cells, rows, strict=True):
        raw[name][seed] = {key: row[key] for key in (*MEASURES, "per_type", "n")}
    title = f"Fine-tuning ablation: {args.seeds} seeds, {args.episodes} unseen tasks each"
    table = Table(title, ["loss", *MEASURES.values()])
    for name in ARMS:
        row = [name]
        for key in MEASURES:
            mean, low, high = mean_interval([raw[name][s][key] for s in range(args.seeds)])
            row.append(f"{mean:.3f} [{low:.3f}, {high:.3f}]")
        table.rows.append(row)
    save("sft_ablation", list(range(args.seeds)), [table], raw)
    return 0


if __name__ == "__main__":
    sys.exit(main())
