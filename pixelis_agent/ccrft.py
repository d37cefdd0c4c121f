"""Phase 2: curiosity-coherence reward fine-tuning.

    r = task for the whole episode; an operation's surprise, its fit to the one before, its cost
    A = sum_c weight_c (r_c - mean of the group) / deviation of the group, for the step's own tokens
    L = - mean_e mean_t min(ratio_t A_t, clip(ratio_t) A_t)  +  beta mean k3

where k3 estimates the divergence from the model that training began with and beta holds it in a
corridor (Pixelis, arXiv 2603.25091, phase 2; GRPO, arXiv 2402.03300). Read `train` from top to
bottom.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pixelis_agent.collect import collector_for
from pixelis_agent.config import CCRFTConfig
from pixelis_agent.evaluate import validate
from pixelis_agent.learning.aims import Gradient
from pixelis_agent.learning.corridor import Verdict
from pixelis_agent.learning.groups import figures, sample_groups
from pixelis_agent.learning.parts import TokenScorer
from pixelis_agent.learning.sharding import Layout, launched, layout_of
from pixelis_agent.learning.training import (
    Checkpoints,
    keep_best,
    learning_curve,
    make_optimizer,
    one_thread,
    save_model,
)
from pixelis_agent.learning.updates import HeldUpdates
from pixelis_agent.log import Log, write_settings
from pixelis_agent.models.anchor import load_with_anchor
from pixelis_agent.models.batch import base_model
from pixelis_agent.models.load import Lora
from pixelis_agent.models.processor import Processor
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.policies.copies import CopiedPolicy, Recipe
from pixelis_agent.policies.vlm import VLMPolicy
from pixelis_agent.rewards.coherence import Coherence
from pixelis_agent.rewards.credit import (
    Watch,
    advantages,
    efficiency,
    normalised,
    operations,
    pad_steps,
    valid_steps,
)
from pixelis_agent.rewards.curiosity import Curiosity
from pixelis_agent.rewards.encode import ObservationEncoder
from pixelis_agent.task_settings import env_arguments

Tensor = torch.Tensor


@dataclass
class Progress:
    """How far a run has come; saved with every checkpoint. `task`: the next one to play."""

    step: int = 0
    task: int = 0
    best_score: float = -1.0


def train(config: CCRFTConfig) -> dict[str, Any]:
    """Trains; a run that was stopped continues from its last checkpoint (without Ray bit for bit).

    Writes to `config.out`: `config.json`, `metrics.jsonl`, TensorBoard events, checkpoints, and
    `model/`, the adapter, which `load_model` reads: the best by held-out score where one is
    measured, else the last.

    Raises:
        ValueError: A setting is out of range, or the tasks have no known answers.
    """
    one_thread()
    accelerator = launched(config.mixed_precision)
    _check(config, accelerator)
    is_main, out = accelerator.is_main_process, Path(config.out)
    if is_main:
        means = {"batch", "lockstep", "micro_batch", "gradient_checkpointing"}
        means |= {"ray", "ray_gpus", "cluster"}
        write_settings(config, out, means | {"iterations", "evaluate_every"})
    torch.manual_seed(config.seed)

    # 1. The policy, its anchor, and who judges its steps.
    lora = Lora(config.lora_rank, 2 * config.lora_rank)
    loaded, anchor = load_with_anchor(
        config.model,
        lora,
        dtype=config.dtype,
        gradient_checkpointing=config.gradient_checkpointing,
    )
    model, processor = loaded.model, loaded.processor
    base_model(model).visual.requires_grad_(False)
    vision = VisionCache(model, processor)
    encoder = ObservationEncoder(model, processor, vision)
    curiosity, coherence = Curiosity(encoder.size, config.curiosity), Coherence()
    watch = Watch(config.rewards.patience)
    weights = {
        "task": config.rewards.task,
        "curiosity": config.rewards.curiosity,
        "coherence": config.rewards.coherence,
        "efficiency": config.rewards.efficiency,
    }

    # 2. The optimizer, and where the run stands.
    policy = TokenScorer(model, processor, config.temperature)
    optimizer = make_optimizer(policy, config.learning_rate, config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: learning_curve(k, config.iterations)
    )
    held = HeldUpdates(policy, optimizer, anchor, vision, config, accelerator)
    parts = {**held.parts, "schedule": schedule}
    parts |= {"curiosity": curiosity, "coherence": coherence, "watch": watch}
    checkpoints, progress = Checkpoints(out, parts), Progress()
    checkpoints.load(progress)
    held.prepare()
    folder = Path(config.model)
    where = str(folder.resolve()) if folder.exists() else config.model
    recipe = Recipe(where, lora, config.dtype, accelerated=config.ray_gpus > 0)
    ways: Any = {"temperature": config.temperature, "max_new_tokens": config.max_tokens}
    player = VLMPolicy(model, processor, look=vision.inputs, **ways)
    log = Log(out, config.iterations, progress.step, on=is_main)
    env_kwargs = env_arguments(config)

    # 3. The loop.
    with collector_for(
        config.env,
        env_arguments(config, config.max_steps),
        workers=config.workers,
        batch=config.batch,
        ray=config.ray,
        gpus=config.ray_gpus,
        cluster=config.cluster,
    ) as collector:
        if config.evaluate_episodes and collector.size is not None:
            raise ValueError(
                f"all {collector.size} tasks of {config.env} are trained on, none is held out: set "
                "evaluate_episodes to 0 and evaluate on another environment"
            )
        while progress.step < config.iterations:
            started = time.perf_counter()
            vision.clear()
            player.model.eval()

            # a. Groups of episodes, each on one task; silent groups are replaced.
            who = CopiedPolicy(recipe, model, **ways) if config.ray else player
            lived, played = sample_groups(collector, who, encoder, progress, config, accelerator)
            sampled = time.perf_counter()

            # b. What each step pays, and the advantage of each. Every process judges them all.
            valid = [valid_steps(episode.steps) for episode in lived]
            seen = [episode.encodings for episode in lived]
            actions = [[step.action for step in episode.steps] for episode in lived]
            shown = pad_steps([operations(episode.steps) for episode in lived]) == 1
            components = {
                "task": torch.tensor([episode.score for episode in lived]),
                "curiosity": pad_steps(curiosity.rewards(seen, actions, valid)),
                "coherence": pad_steps(coherence.rewards(seen, valid)),
                "efficiency": pad_steps(
                    [efficiency(episode.steps, config.rewards) for episode in lived]
                ),
            }
            # An answer shows nothing that could surprise or cohere.
            for name in ("curiosity", "coherence"):
                components[name] = components[name].masked_fill(~shown, torch.nan)
            groups = torch.tensor([episode.group for episode in lived])
            relative = {
                name: normalised(
                    paid, groups, least=curiosity.spread if name == "curiosity" else 0.0
                )
                for name, paid in components.items()
            }
            dead = watch.look(relative, weights)
            lengths = torch.tensor([len(episode.steps) for episode in lived])
            gains = advantages(relative, weights, lengths)

            # c. The update, held near where the policy began.
            rollouts = [episode.rollout for episode in lived]
            made = held.move(rollouts, Gradient(gains, config), progress.step)
            schedule.step()
            progress.step += 1

            # d. What is logged and kept.
            logged = played | figures(lived, components) | made.figures
            logged |= {f"dead_{name}": 1.0 for name in dead}
            logged |= {"kl": made.kl, "beta": made.beta}
            logged |= {"kept": float(made.verdict is Verdict.KEEP)}
            seconds = time.perf_counter() - started
            logged |= {
                "learning_rate": float(schedule.get_last_lr()[0]),
                "seconds": seconds,
                "sampling_seconds": sampled - started,
                "tokens_per_second": logged["tokens"] * len(lived) / seconds,
            }
            log.write(progress.step, logged, ("score", "kl", "beta"))
            done = progress.step == config.iterations
            due = config.evaluate_every and progress.step % config.evaluate_every == 0
            if config.evaluate_episodes and (due or done):
                keep_best(
                    lambda: _held_out_score(model, processor, config, env_kwargs),
                    lambda: save_model(model, processor, out / "model"),
                    progress,
                    log,
                    on=is_main,
                )
            if is_main and (done or progress.step % config.checkpoint_every == 0):
                checkpoints.save(progress)
    if is_main and not config.evaluate_episodes:
        save_model(model, processor, out / "model")
    log.close()
    return {"iterations": progress.step, "score": progress.best_score}


def _check(config: CCRFTConfig, accelerator: Any) -> None:
    episodes, processes = config.tasks * config.group, accelerator.num_processes
    rules = {
        "group >= 2 (an advantage is relative to the rest of the group)": config.group >= 2,
        "tasks >= 1": config.tasks >= 1,
        "temperature > 0 (greedy episodes on a task are all the same)": config.temperature > 0,
        f"1 <= minibatches <= tasks x group / processes ({processes})": (
            1 <= config.minibatches <= episodes // processes
        ),
        "micro_batch >= 1": config.micro_batch >= 1,
        "evaluate_episodes 0 with another source than rooms, all of which is trained on": (
            config.source == "rooms" or config.evaluate_episodes == 0
        ),
        "one process, or several with whole models (DDP)": (
            layout_of(accelerator, None, config.max_grad_norm) is Layout.WHOLE
        ),
        "ray >= 0, and with cluster or ray_gpus at least 1": (
            config.ray >= (config.cluster is not None or config.ray_gpus > 0)
        ),
        "cluster, the Ray in which the actors of several processes are": (
            not config.ray or processes == 1 or config.cluster is not None
        ),
    }
    for rule, holds in rules.items():
        if not holds:
            raise ValueError(f"CC-RFT needs {rule}")


def _held_out_score(
    model: Any, processor: Processor, config: CCRFTConfig, env_kwargs: Mapping[str, Any]
) -> float:
    """The mean score of greedy play on tasks that neither training nor evaluation uses."""
    report = validate(
        model,
        processor,
        config.env,
        env_kwargs,
        config.evaluate_episodes,
        max_tokens=config.max_tokens,
        workers=config.workers,
        batch=config.batch,
    )
    return report.summary.score or 0.0
