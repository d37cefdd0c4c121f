"""Our update step beside that of TRL's GRPO: the same episodes, model, adapter and loss.

``python benchmarks/update_throughput.py`` plays groups of episodes with the shipped agent, then
updates a fresh adapter on them with both, in turn: the policy's log-probabilities before the
update, those of the anchor, and one optimizer step. TRL's GRPOTrainer is given the episodes as its
rollouts would be. Peak memory is that of a process that does the one thing only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Table, median_range, save

from pixelis_agent.collect import Collector
from pixelis_agent.config import CCRFTConfig
from pixelis_agent.learning.aims import Gradient
from pixelis_agent.learning.losses import k3
from pixelis_agent.learning.parts import Part, TokenScorer, score
from pixelis_agent.learning.training import make_optimizer, one_thread
from pixelis_agent.learning.updates import descend
from pixelis_agent.models.anchor import load_with_anchor
from pixelis_agent.models.load import TINY, Lora
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.policies.vlm import VLMPolicy
from pixelis_agent.rollout import Rollout
from pixelis_agent.splits import TRAIN

RATE, BETA = 1e-4, 0.04
WHO = ("ours", "TRL")
GROUP = 8


def play(episodes: int) -> list[Rollout]:
    """Groups of episodes of reading signs, sampled."""
    loaded, _ = load_with_anchor(TINY, Lora(16, 32))
    player = VLMPolicy(loaded.model, loaded.processor, temperature=1.0)
    tasks = [task for task in TRAIN[: episodes // GROUP] for _ in range(GROUP)]
    env = {"types": ["text_read"], "tools": "oracle"}
    with Collector("Pixelis-v0", env, workers=0) as collector:
        done = sorted(collector.run(player, tasks), key=lambda finished: finished.position)
    return [finished.episode.rollout for finished in done if finished.episode.rollout is not None]


def our_step(rollouts: list[Rollout], micro: int) -> Callable[[], float]:
    """A function that updates once and returns the mean divergence from the anchor."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    config = CCRFTConfig(TINY, Path("unused"), micro_batch=micro)
    loaded, anchor = load_with_anchor(TINY, Lora(16, 32))
    vision = VisionCache(loaded.model, loaded.processor)
    policy = TokenScorer(loaded.model, loaded.processor, 1.0)
    optimizer = make_optimizer(policy, RATE, 0.0)
    share = [list(range(len(rollouts)))[k : k + micro] for k in range(0, len(rollouts), micro)]
    written = torch.tensor([float((r.label_array() >= 2).sum()) for r in rollouts])
    # An aim counts every episode alike; TRL, in the way that is compared, every token.
    gains = torch.cat([_gains(len(part)) for part in share]) * (written / written.mean())[:, None]

    def step() -> float:
        # Images are new in every iteration of training, but seen already when they were sampled.
        (before,) = score(policy, rollouts, [share], vision, config)
        with anchor.active():
            (anchored,) = score(policy, rollouts, [share], vision, config)
        part, aim = Part(policy, rollouts, share, vision, config), Gradient(gains, config)
        descend(policy, optimizer, aim, part, before, anchored, BETA, config, accelerator)
        return float(torch.cat([k3(*pair) for pair in zip(before, anchored, strict=True)]).mean())

    return step


def their_step(rollouts: list[Rollout], micro: int) -> Callable[[], float]:
    """The same with TRL's trainer."""
    os.environ["CI"] = "1"  # no telemetry
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from pixelis_agent.trl_env import trl_processor

    loaded, _ = load_with_anchor(TINY, Lora(16, 32))
    processor = loaded.processor
    trainer = GRPOTrainer(
        loaded.model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        train_dataset=Dataset.from_list([{"prompt": "-"}]),
        processing_class=trl_processor(processor),
        args=GRPOConfig(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=micro,
            num_generations=micro,
            epsilon=0.2,
            epsilon_high=0.28,
            beta=BETA,
            loss_type="dapo",
            use_bias_correction_kl=False,
            gradient_checkpointing=False,
            report_to="none",
            use_cpu=not torch.accelerator.is_available(),
            bf16=False,
        ),
    )
    trainer.current_gradient_accumulation_steps = 1  # set by its own loop
    model = trainer.model
    optimizer = make_optimizer(model, RATE, 0.0)
    parts = [rollouts[k : k + micro] for k in range(0, len(rollouts), micro)]

    def inputs(part: list[Rollout]) -> dict[str, Any]:
        """What TRL's rollouts hand to its loss."""
        starts = [int((r.label_array() >= 2).argmax()) for r in part]
        prompts = [r.tokens[:start] for r, start in zip(part, starts, strict=True)]
        rest = [r.tokens[start:] for r, start in zip(part, starts, strict=True)]
        masks = [
            (r.label_array()[start:] >= 2).astype(int)
            for r, start in zip(part, starts, strict=True)
        ]
        prompt_ids, prompt_mask = _padded(prompts, processor.pad_id, left=True)
        completion_ids, completion_mask = _padded(rest, processor.pad_id, left=False)
        pixels = processor.pixels([image for r in part for image in r.images])
        ids = torch.cat([prompt_ids, completion_ids], 1)
        return {
            "prompt_ids": prompt_ids,
            "prompt_mask": prompt_mask,
            "completion_ids": completion_ids,
            "completion_mask": completion_mask,
            "tool_mask": _padded([list(mask) for mask in masks], 0, left=False)[0],
            "advantages": _gains(len(part))[:, 0],
            "num_images": [len(r.images) for r in part],
            "num_items_in_batch": torch.tensor(sum(int(m.sum()) for m in masks)),
            "mm_token_type_ids": (ids == model.config.image_token_id).long(),
            **pixels,
        }

    def scores(given: dict[str, Any]) -> torch.Tensor:
        keys = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")
        found, *_ = trainer._get_per_token_logps_and_entropies(
            model,
            torch.cat([given["prompt_ids"], given["completion_ids"]], 1),
            torch.cat([given["prompt_mask"], given["completion_mask"]], 1),
            given["completion_ids"].shape[1],
            **{key: given[key] for key in keys},
        )
        return found

    def step() -> float:
        batches, away = [inputs(part) for part in parts], []
        for given in batches:
            with torch.no_grad():
                given["old_per_token_logps"] = scores(given)
                with model.disable_adapter():
                    given["ref_per_token_logps"] = scores(given)
            pair = given["old_per_token_logps"], given["ref_per_token_logps"]
            away.append(k3(*pair)[given["tool_mask"] > 0])
        model.train()
        for given in batches:
            (trainer._compute_loss(model, given) / len(batches)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(torch.cat(away).mean())

    return step


def _gains(episodes: int) -> torch.Tensor:
    """Advantages (episodes, 1): one a rollout, as TRL has them."""
    drawn = torch.randn(episodes, 1, generator=torch.Generator().manual_seed(0))
    return drawn.expand(-1, 32)


def _padded(rows: list[list[int]], fill: int, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as one tensor, and where they are."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), fill)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for k, row in enumerate(rows):
        place = slice(width - len(row), None) if left else slice(len(row))
        ids[k, place], mask[k, place] = torch.tensor(row), 1
    return ids, mask


def _peak() -> float:
    """The most memory that this process had, MiB; `getrusage` would count its parent's, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--alone", choices=WHO, help="only this one; prints its peak memory, MiB")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    one_thread()
    rollouts = play(args.episodes)
    make = {"ours": our_step, "TRL": their_step}
    names = WHO if args.alone is None else (args.alone,)
    steps = {name: make[name](rollouts, args.micro_batch) for name in names}
    for step in steps.values():
        step()
    if args.alone is not None:
        steps[args.alone]()
        print(_peak())
        return 0
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(args.repeats):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - started)
    memory = {}
    for name in names:
        words = [sys.executable, __file__, "--alone", name, "--episodes", str(args.episodes)]
        words += ["--micro-batch", str(args.micro_batch)]
        said = subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout
        memory[name] = float(said.splitlines()[-1])
    tokens = sum(map(len, rollouts))
    rates = {name: [tokens / s for s in own] for name, own in seconds.items()}
    table = Table("Update step", ["who", "tokens a second, median (range)", "peak memory, MiB"])
    for name in names:
        table.rows.append([name, median_range(rates[name]), f"{memory[name]:.0f}"])
    ratios = (np.array(rates["ours"]) / np.array(rates["TRL"])).tolist()
    table.rows.append(
        ["ours ÷ TRL", median_range(ratios, 2), f"{memory['ours'] / memory['TRL']:.2f}"]
    )
    save(
        "update_throughput", [0], [table], {"seconds": seconds, "memory": memory, "tokens": tokens}
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
