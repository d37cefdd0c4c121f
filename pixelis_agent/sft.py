"""Phase 1: supervised fine-tuning on chain-of-thought-action traces.

    L = sum_t w(label_t) CE_t / sum_t w(label_t)  +  sum_h lambda_h L_h  +  nu L_number

where tokens that were fed count nothing and those of operations and arguments count twice, and
the heads h say from a hidden state what the arguments should be (Pixelis, arXiv 2603.25091,
phase 1; the dense pointing head is ours). L_number, off by default, says how far an argument's
numbers are from the right ones. Read `train` from top to bottom.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pixelis_agent.config import SFTConfig
from pixelis_agent.cota.examples import Examples
from pixelis_agent.learning.heads import LOSS_WEIGHTS, Heads, HeadTargets, gather_targets
from pixelis_agent.learning.losses import imitation_loss, number_loss, token_weights
from pixelis_agent.learning.sharding import (
    Layout,
    PartsOfAll,
    WholeMoments,
    WholeWeights,
    check_launch,
    launched,
    layout_of,
    whole_state,
)
from pixelis_agent.learning.training import (
    Checkpoints,
    keep_best,
    learning_curve,
    make_optimizer,
    one_thread,
    save_model,
)
from pixelis_agent.log import Log, write_settings
from pixelis_agent.models.batch import Batch, base_model, make_batch, next_token_scores
from pixelis_agent.models.load import Lora, hidden_size, load_model
from pixelis_agent.models.processor import Processor
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.spans import LABEL_WEIGHTS, Label

Tensor = torch.Tensor


@dataclass
class Progress:
    """How far a run has come; saved with every checkpoint."""

    step: int = 0
    best_score: float = -1.0
    worse_in_a_row: int = 0


class Objective(nn.Module):
    """Model and heads as one module, so that data-parallel training averages both's gradients.

    Args:
        model: What is trained.
        processor: The model's.
        heads: Trained with it.
        numbers: Compute the loss "number" of the arguments' numbers too.
        split: Something of it is split over processes.
    """

    _values: Tensor
    _number_ids: Tensor

    def __init__(
        self,
        model: Any,
        processor: Processor,
        heads: Heads | None,
        *,
        numbers: bool = False,
        split: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.heads = heads
        self._split = split
        self._processor = processor
        # The value of every token that is a number, NaN for the others.
        values = torch.full((len(processor.tokenizer),), torch.nan)
        for token, value in processor.numbers().items() if numbers else ():
            values[token] = value
        self._numbers = numbers
        self.register_buffer("_values", values, persistent=False)
        self.register_buffer("_number_ids", values.isnan().logical_not().nonzero()[:, 0], False)

    def forward(
        self, batch: Batch, weights: Tensor, total: float, targets: HeadTargets
    ) -> dict[str, Tensor]:
        """The losses of a batch by name.

        Args:
            batch: Rollouts.
            weights: float32 (B, T), each token's in the imitation loss.
            total: What the weighted sum is divided by: the weights of the whole step.
            targets: Of the heads.
        """
        hidden = base_model(self.model)(**batch.inputs(), use_cache=False).last_hidden_state
        counted = weights[:, 1:] > 0
        scores = next_token_scores(self.model, self._processor, hidden[:, :-1][counted])
        written, weight = batch.input_ids[:, 1:][counted], weights[:, 1:][counted]
        log_probs = scores.gather(-1, written[:, None])[:, 0]
        losses = {"imitation": imitation_loss(log_probs, weight, total)}
        if self._numbers:
            ids, said = self._number_ids, self._values[written]
            meant = (batch.labels[:, 1:][counted] == int(Label.ARGUMENT)) & ~said.isnan()
            losses["number"] = number_loss(
                scores[meant][:, ids], self._values[ids], said[meant], weight[meant], total
            )
        if self.heads is not None:
            # Coordinates and overlaps need all their digits, whatever the model computes in.
            with torch.autocast(hidden.device.type, enabled=False):
                losses |= self.heads.losses(hidden, targets)
                if self._split:
                    # All processes must send the gradients of the same weights.
                    idle = torch.stack([weight.sum() for weight in self.heads.parameters()]).sum()
                    losses["imitation"] = losses["imitation"] + 0.0 * idle
        return losses


def train(config: SFTConfig) -> dict[str, Any]:
    """Trains; a run that was stopped continues from its last checkpoint, bit for bit.

    Writes to `config.out`: `config.json`, `metrics.jsonl`, TensorBoard events, checkpoints, and
    `model/`, which `load_model` reads: the best by held-out score where one is measured, else the
    last.

    Raises:
        ValueError: The corpora do not fill one batch, a setting does not fit, or it was launched
            with FSDP 1, ZeRO 0 or ZeRO 3.
    """
    from accelerate.utils import DistributedDataParallelKwargs

    one_thread()
    check_launch()
    # A head without a target in a process' share of the step takes no part in its backward pass.
    some_idle = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = launched(config.mixed_precision, some_idle)
    is_main, out = accelerator.is_main_process, Path(config.out)
    if is_main:
        means = {"micro_batch", "gradient_checkpointing"}
        write_settings(config, out, means | {"epochs", "evaluate_every", "patience"})
    torch.manual_seed(config.seed)

    # 1. The model, its heads, and the data.
    loaded = load_model(
        config.model,
        lora=Lora(config.lora_rank, 2 * config.lora_rank) if config.lora_rank else None,
        dtype=config.dtype,
        gradient_checkpointing=config.gradient_checkpointing,
    )
    model, processor, look, tower = loaded.model, loaded.processor, None, None
    if config.freeze_vision:
        tower = base_model(model).visual.requires_grad_(False)
        look = VisionCache(model, processor).inputs
    layout = layout_of(accelerator, tower, config.max_grad_norm)
    _check(config, layout, model, accelerator.num_processes)
    heads = Heads(hidden_size(model)) if config.heads else None
    examples = Examples(config.data, processor, direct=config.direct)
    steps = list(steps_of(config, examples.levels()))
    if not steps:
        raise ValueError(f"{len(examples)} episodes do not fill one batch of {config.batch}")

    # 2. The optimizer, and where the run stands.
    objective = Objective(
        model,
        processor,
        heads,
        numbers=config.number_weight > 0,
        split=layout is not Layout.WHOLE,
    )
    optimizer = make_optimizer(
        objective, config.learning_rate, config.weight_decay, config.optimizer
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: learning_curve(k, len(steps)))
    label_weights = {
        **LABEL_WEIGHTS,
        Label.OP: config.op_weight,
        Label.ARGUMENT: config.argument_weight,
    }
    tokens = {"imitation": 1.0, "number": config.number_weight}
    factors = tokens | LOSS_WEIGHTS
    parts: dict[str, Any] = {"objective": objective, "optimizer": optimizer, "schedule": schedule}
    parallel, prepared = accelerator.prepare(objective, optimizer)
    if layout is Layout.SPLIT:
        parts["objective"] = WholeWeights(parallel)
        parts["optimizer"] = WholeMoments(parallel, optimizer)
    elif layout is Layout.ZERO:
        parts["optimizer"] = PartsOfAll(accelerator, prepared)
    checkpoints, progress = Checkpoints(out, parts), Progress()
    checkpoints.load(progress)
    log = Log(out, len(steps), progress.step, on=is_main)

    # 3. The loop.
    while progress.step < len(steps) and progress.worse_in_a_row < config.patience:
        parallel.train()
        mine = steps[progress.step][accelerator.process_index :: accelerator.num_processes]
        rows = sorted((examples[k] for k in mine), key=lambda row: len(row.rollout))
        micros = [rows[k : k + config.micro_batch] for k in range(0, len(rows), config.micro_batch)]
        batches = [make_batch(model, processor, [row.rollout for row in m], look) for m in micros]
        weights = [token_weights(b.labels, b.learn, label_weights) for b in batches]
        # Gradients are averaged over processes: each divides by what one of them has on average.
        counted = torch.stack([w.sum() for w in weights]).sum()
        total = float(accelerator.reduce(counted, "mean"))
        targets = [HeadTargets() for _ in micros]
        if heads is not None:
            targets = [
                gather_targets(batch, [row.targets for row in micro], processor.image_id)
                for micro, batch in zip(micros, batches, strict=True)
            ]
        aimed = torch.tensor([[float(t.count(name)) for name in LOSS_WEIGHTS] for t in targets])
        aimed = accelerator.reduce(aimed.sum(0).to(accelerator.device), "mean").tolist()
        of_step = dict(zip(LOSS_WEIGHTS, aimed, strict=True))
        logged: dict[str, float] = {}
        for batch, weight, target in zip(batches, weights, targets, strict=True):
            last = batch is batches[-1]
            # DeepSpeed's engine makes its step within the last backward pass, and must be told.
            accelerator.sync_gradients = last
            wait = contextlib.nullcontext() if last else accelerator.no_sync(parallel)
            with wait, accelerator.autocast():
                losses = parallel(batch, weight, total, target)
                # The tokens' losses are parts of the step's; the heads' are means over targets.
                parts_of = {
                    name: loss if name in tokens else loss * (target.count(name) / of_step[name])
                    for name, loss in losses.items()
                }
                accelerator.backward(
                    torch.stack([factors[n] * v for n, v in parts_of.items()]).sum()
                )
            for name, part in parts_of.items():
                logged[name] = logged.get(name, 0.0) + float(part.detach())
        norm = accelerator.clip_grad_norm_(parallel.parameters(), config.max_grad_norm)
        prepared.step()
        schedule.step()
        prepared.zero_grad()
        progress.step += 1
        logged |= {"grad_norm": float(norm), "learning_rate": float(schedule.get_last_lr()[0])}
        log.write(progress.step, logged, ("imitation", "box", "pointing"))

        # 4. What is kept.
        done = progress.step == len(steps)
        due = config.evaluate_every and progress.step % config.evaluate_every == 0
        if config.evaluate_episodes and (due or done):
            better = keep_best(
                lambda: held_out_score(model, processor, examples, config),
                lambda: save_model(model, processor, out / "model"),
                progress,
                log,
                on=is_main,
            )
            progress.worse_in_a_row = 0 if better else progress.worse_in_a_row + 1
        if done or progress.step % config.checkpoint_every == 0:
            checkpoints.save(progress, write=is_main)
    state = whole_state(model) if layout is Layout.SPLIT else None
    if is_main and not config.evaluate_episodes:
        save_model(model, processor, out / "model", state)
    log.close()
    return {"steps": progress.step, "score": progress.best_score}


def _check(config: SFTConfig, layout: Layout, model: nn.Module, processes: int) -> None:
    if config.dtype == "nf4" and not hasattr(model, "peft_config"):
        raise ValueError("weights in 4 bits are not trained: add --lora-rank, or give an adapter")
    alike = {
        "the optimizer adamw (Muon needs whole matrices)": config.optimizer == "adamw",
        "another dtype than nf4": config.dtype != "nf4",
    }
    evaluate = "evaluate_episodes 0 (one process cannot play with its part of a model)"
    dtypes = {parameter.dtype for parameter in model.parameters()}
    rules = {
        Layout.WHOLE: {},
        Layout.SPLIT: {evaluate: config.evaluate_episodes == 0, **alike},
        Layout.ZERO: {
            **alike,
            f"a batch that {processes} processes share alike": config.batch % processes == 0,
            "mixed_precision bf16, or no with float32 weights": (
                config.mixed_precision == "bf16"
                or (config.mixed_precision == "no" and dtypes == {torch.float32})
            ),
        },
    }
    kinds = {Layout.SPLIT: "split weights (FSDP)", Layout.ZERO: "DeepSpeed"}
    for rule, holds in rules[layout].items():
        if not holds:
            raise ValueError(f"training with {kinds[layout]} needs {rule}")


def held_out_score(
    model: Any, processor: Processor, examples: Examples, config: SFTConfig
) -> float:
    """The mean score on tasks like the corpora's that neither training nor evaluation uses."""
    from pixelis_agent.evaluate import validate

    env_id, kwargs = examples.played()
    report = validate(model, processor, env_id, kwargs, config.evaluate_episodes)
    return report.summary.score or 0.0


def steps_of(config: SFTConfig, levels: Sequence[int]) -> Iterator[list[int]]:
    """The episodes of every step of a run, in order; the same for the same settings."""
    for epoch in range(config.epochs):
        order = epoch_order(levels, epoch, config)
        for start in range(0, len(order) - config.batch + 1, config.batch):
            yield order[start : start + config.batch]


def epoch_order(levels: Sequence[int], epoch: int, config: SFTConfig) -> list[int]:
    """Which episodes an epoch shows, in which order.

    With the curriculum, epoch e of E shows the lowest ceil((e + 1) L / E) of the L levels.
    """
    kinds = sorted(set(levels))
    if config.curriculum:
        kinds = kinds[: math.ceil((epoch + 1) * len(kinds) / config.epochs)]
    chosen = [k for k, level in enumerate(levels) if level in kinds]
    order = np.random.default_rng([config.seed, epoch]).permutation(len(chosen))
    return [chosen[k] for k in order]
