"""Turns a trained run into the files that are shipped: float16 on disk, float32 when loaded.

``python -m pixelis_agent.tiny.export --run DIR --out pixelis_agent/tiny/weights --card RESULTS
STORY`` writes weights, tokenizer and, from the results of `pixelis eval`, the model card.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pixelis_agent.tally import as_text

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


def write_card(out: Path, evaluation: Path, story: Path, direct: Path | None = None) -> None:
    """Writes `card.json`, and `README.md` with its figures under a text about the making.

    Args:
        out: The model's folder.
        evaluation: `results.json` of the model.
        story: Markdown: data, seeds, commands, limits.
        direct: `results.json` of a model of its size that answers the same questions without tools.
    """
    acting = json.loads(evaluation.read_text())
    card = {
        "types": sorted(acting["per_type"]),
        "evaluation": {
            **{key: acting[key] for key in ("env", "env_kwargs", "seed", *FIGURES_ALL)},
            "per_type": {
                name: {key: row[key] for key in FIGURES} for name, row in acting["per_type"].items()
            },
        },
    }
    columns = ["type", "n", "score [95 %]", "box IoU", "operations"]
    rows = [_cells(name, row) for name, row in {**acting["per_type"], "all": acting}.items()]
    if direct is not None:
        silent = json.loads(direct.read_text())
        said = {name: row["score"] for name, row in silent["per_type"].items()}
        kept = ("n", "score", "score_ci95", "solved")
        card["direct"] = {**{key: silent[key] for key in kept}, "per_type": said}
        columns.append("without tools")
        for row in rows:
            row.append(f"{silent['score'] if row[0] == 'all' else said[row[0]]:.3f}")
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    lines = [columns, ["---"] * len(columns), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    table += f"\n\nSteps that could not be carried out: {100 * acting['invalid_rate']:.1f} %."
    (out / "README.md").write_text(story.read_text().replace("FIGURES", table))


def _cells(name: str, row: dict[str, Any]) -> list[str]:
    """A row of the card: "operations" is how much of the oracle's chain was gone through."""
    score, iou = as_text(row["score"], row["score_ci95"]), as_text(row["argument_iou"], digits=2)
    return [name, str(row["n"]), score, iou, as_text(row["op_accuracy"], digits=2)]


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
        nargs="+",
        metavar="FILE",
        help="results.json of the model; markdown with the word FIGURES; results.json of a model "
        "without tools (may be left out)",
    )
    given = parser.parse_args(arguments)
    if given.card is not None and len(given.card) not in (2, 3):
        parser.error(
            f"--card takes 2 or 3 files, not {len(given.card)}: RESULTS STORY [WITHOUT_TOOLS]"
        )
    print(f"{export(given.run, given.out) / 2**20:.1f} MiB")
    if given.card is not None:
        write_card(given.out, *given.card)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
