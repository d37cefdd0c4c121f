"""Turns a trained run into the files that are shipped: float16 on disk, float32 when loaded.

``python -m pixelis_agent.tiny.export --run DIR --out pixelis_agent/tiny/weights --card EVAL DIRECT
STORY`` writes weights, tokenizer and, from the results of `pixelis eval`, the model card.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

WEIGHTS_LIMIT = 16 * 2**20
"""The shipped weights together are at most this large, bytes."""


FIGURES = ("n", "score", "score_ci95", "argument_iou", "argument_iou_ci95", "op_accuracy")
FIGURES_ALL = (*FIGURES, "solved", "invalid_rate", "answer_rate", "chain_length", "rapr", "racpr")


def export(run: str | Path, out: Path) -> int:
    """Writes a model as package data.

    Half precision halves the size; computing in it would be slow on a CPU and round the
    log-probabilities, so the configuration asks for float32.

    Args:
        run: What `load_model` reads.
        out: The folder, replaced.

    Returns:
        Size of the weights, bytes.

    Raises:
        ValueError: They are larger than `WEIGHTS_LIMIT`.
    """
    from pixelis_agent.models.load import load_model

    loaded = load_model(run, dtype="float32")
    shutil.rmtree(out, ignore_errors=True)
    loaded.model.half().save_pretrained(out)
    loaded.processor.save(out)
    config = json.loads((out / "config.json").read_text())
    for part in (config, config["text_config"], config["vision_config"]):
        part["dtype"] = "float32"
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    size = sum(file.stat().st_size for file in out.glob("*.safetensors"))
    if size > WEIGHTS_LIMIT:
        raise ValueError(f"{out} has {size} bytes of weights, more than {WEIGHTS_LIMIT}")
    return size


def write_card(out: Path, evaluation: Path, direct: Path, story: Path) -> None:
    """Writes `card.json`, and `README.md` with its figures under a text about the making.

    Args:
        out: The model's folder.
        evaluation: `results.json` of the model.
        direct: That of a model of its size that answers the same questions without tools.
        story: Markdown: data, seeds, commands, limits.
    """
    results = [json.loads(path.read_text()) for path in (evaluation, direct)]
    acting, silent = results
    card = {
        "types": sorted(acting["per_type"]),
        "evaluation": {
            **{key: acting[key] for key in ("env", "env_kwargs", "seed", *FIGURES_ALL)},
            "per_type": {
                name: {key: row[key] for key in FIGURES} for name, row in acting["per_type"].items()
            },
        },
        "direct": {
            **{key: silent[key] for key in FIGURES[:3]},
            "per_type": {name: row["score"] for name, row in silent["per_type"].items()},
        },
    }
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    rows = ["| type | n | score [95 %] | without tools | box IoU | operations |"]
    rows.append("|---|---|---|---|---|---|")
    whole = {**acting["per_type"], "all": acting}
    for name, row in whole.items():
        said = silent if name == "all" else silent["per_type"][name]
        low, high = row["score_ci95"]
        iou = "–" if row["argument_iou"] is None else f"{row['argument_iou']:.2f}"
        rows.append(
            f"| {name} | {row['n']} | {row['score']:.3f} [{low:.3f}, {high:.3f}] "
            f"| {said['score']:.3f} | {iou} | {row['op_accuracy']:.2f} |"
        )
    rows.append(f"\nSteps that could not be carried out: {100 * acting['invalid_rate']:.1f} %.")
    (out / "README.md").write_text(story.read_text().replace("FIGURES", "\n".join(rows)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pixelis_agent.tiny.export", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--run", type=Path, required=True, help="a run's or model's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, replaced")
    parser.add_argument(
        "--card",
        type=Path,
        nargs=3,
        metavar=("EVALUATION", "DIRECT", "STORY"),
        help="results.json of the model and of one without tools; markdown with the word FIGURES",
    )
    given = parser.parse_args(arguments)
    print(f"{export(given.run, given.out) / 2**20:.1f} MiB")
    if given.card is not None:
        write_card(given.out, *given.card)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
