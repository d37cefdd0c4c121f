"""The whole making of `pixelis-tiny`, from nothing to the files that are shipped.

``python -m pixelis_agent.tiny.train --out DIR`` goes through the stages below. Each writes into its
own folder under DIR and goes on where it was, so the command may be stopped and given again. About
seven hours of one core; the stages that write data use ``--workers`` processes.

1. pictures of rooms with what each pixel shows (`tiny.frames`);
2. the vision tower learns to tell class, colour, depth and box from every token (`tiny.warmup`);
3. dialogues that outline named things (`tiny.find`), demonstrations of the tasks (`pixelis cota`);
4. a tokenizer and an untrained model with that tower (`tiny.base`);
5. single frames: the language model learns which name means which tokens: the "early" model;
6. demonstrations, among them videos and frames in which things are outlined: `pixelis sft`;
7. 500 unseen tasks, and the same for a model of this size that answers without tools;
8. the files that are shipped, with the card (`tiny.export`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixelis_agent.config import SFTConfig
from pixelis_agent.cota.generate import CotaConfig

TYPES = (
    "text_read",
    "text_nearest",
    "search_number",
    "search_color",
    "time_first",
    "time_interval",
    "motion_direction",
    "obj_appearance_order",
)
"""What the demonstrations are about; a type is shipped as trained for if the card names it."""

ROOMS, WARM_STEPS, EPISODES = 1400, 5000, 7000


def make(out: Path, workers: int, seed: int) -> dict[str, Any]:
    """Goes through the stages; returns the evaluation that the card reports."""
    from pixelis_agent.cota.generate import run as write_demonstrations
    from pixelis_agent.evaluate import EvalConfig
    from pixelis_agent.evaluate import run as evaluate
    from pixelis_agent.sft import train
    from pixelis_agent.tiny import frames, warmup
    from pixelis_agent.tiny.base import make_base
    from pixelis_agent.tiny.export import export, write_card
    from pixelis_agent.tiny.find import write_corpus

    rooms, tower, base = out / "frames", out / "tower", out / "base"
    glance, find, demonstrations = out / "glance", out / "find", out / "demonstrations"
    frames.main(["--rooms", f"{ROOMS}", "--seed", f"{seed}", "--out", f"{rooms}"])
    warmup.main(["--data", f"{rooms}", "--out", f"{tower}", "--steps", f"{WARM_STEPS}"])
    write_corpus(rooms, glance, seed, asked=0)
    write_corpus(rooms, find, seed)
    write_demonstrations(
        CotaConfig(demonstrations, types=TYPES, episodes=EPISODES, variants=3, workers=workers)
    )
    if not (base / "config.json").exists():
        make_base([demonstrations, find, glance], tower / "warm.safetensors", base, seed)
    early = SFTConfig(
        (glance,),
        out / "early",
        str(base),
        epochs=1,
        batch=32,
        micro_batch=32,
        learning_rate=2e-3,
        seed=seed,
    )
    acting = replace(
        early,
        data=(demonstrations, find, glance),
        out=out / "acting",
        model=str(early.out),
        epochs=2,
        micro_batch=4,
        learning_rate=1.5e-3,
    )
    silent = replace(acting, data=(demonstrations,), out=out / "direct", direct=True)
    for stage in (early, acting, silent):
        if not (stage.out / "model").exists():
            train(stage)
    judged, compared = out / "evaluation", out / "evaluation-direct"
    judge = EvalConfig(str(acting.out), types=TYPES, workers=workers, out=judged)
    evaluate(replace(judge, policy=str(silent.out), out=compared))
    result = evaluate(judge)
    shipped = out / "shipped"
    export(early.out, shipped / "early")
    export(acting.out, shipped / "weights")
    story = Path(__file__).with_name("card.md")
    write_card(shipped / "weights", judged / "results.json", compared / "results.json", story)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m pixelis_agent.tiny.train", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="folder of all stages")
    parser.add_argument("--workers", type=int, default=2, help="processes that write data")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    print(json.dumps(make(given.out, given.workers, given.seed)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
