"""Turns a trained run into the files that are shipped: float16 on disk, float32 when loaded.

``python -m pixelis_agent.tiny.export --run DIR --out pixelis_agent/tiny/weights --card FILE``
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

WEIGHTS_LIMIT = 16 * 2**20
"""The shipped weights together are at most this large, bytes."""


def export(run: str | Path, out: Path, card: Path | None = None) -> int:
    """Writes a model as package data.

    Half precision halves the size; computing in it would be slow on a CPU and round the
    log-probabilities, so the configuration asks for float32.

    Args:
        run: What `load_model` reads.
        out: The folder, replaced.
        card: `card.json` of the model, copied beside it.

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
    if card is not None:
        shutil.copy(card, out / "card.json")
    size = sum(file.stat().st_size for file in out.glob("*.safetensors"))
    if size > WEIGHTS_LIMIT:
        raise ValueError(f"{out} has {size} bytes of weights, more than {WEIGHTS_LIMIT}")
    return size


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pixelis_agent.tiny.export", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--run", type=Path, required=True, help="a run's or model's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, replaced")
    parser.add_argument("--card", type=Path, help="card.json to put beside it")
    given = parser.parse_args(arguments)
    print(f"{export(given.run, given.out, given.card) / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
