"""Updates of a policy by episodes that it played, as every phase of reinforcement makes them.

Episodes are dealt out to optimizer steps and micro-batches once; their tokens are scored by the
policy before the update and by the reference that it is held near; then each share makes a step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from pixelis_agent.losses import importance_weights, k3, policy_loss
from pixelis_agent.models.batch import Batch, make_batch, token_log_probs
from pixelis_agent.models.processor import Processor
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.rewards import spread
from pixelis_agent.rollout import Rollout

Tensor = torch.Tensor
Shares = list[list[list[int]]]
"""Which episodes make each optimizer step, in micro-batches."""


class Settings(Protocol):
    """What an update needs of a phase's settings.

    Attributes:
        minibatches: Optimizer steps that the episodes are dealt out to.
        micro_batch: Episodes in memory at a time, a process.
        max_grad_norm: Longer gradients are shortened to this.
        clip_low: How far a token's probability may fall before its gradient stops, as a share.
        clip_high: How far it may rise.
        seed: Of the order of episodes.
    """

    @property
    def minibatches(self) -> int: ...  # noqa: D102
    @property
    def micro_batch(self) -> int: ...  # noqa: D102
    @property
    def max_grad_norm(self) -> float: ...  # noqa: D102
    @property
    def clip_low(self) -> float: ...  # noqa: D102
    @property
    def clip_high(self) -> float: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


class TokenScorer(nn.Module):
    """Log-probabilities of written tokens, as a module that data-parallel training can wrap."""

    def __init__(self, model: Any, processor: Processor, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.processor, self._temperature = processor, temperature

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `token_log_probs`."""
        return token_log_probs(self.model, self.processor, batch, temperature=self._temperature)


def deal(episodes: int, settings: Settings, step: int, accelerator: Any) -> Shares:
    """Which episodes this process takes in each optimizer step, in micro-batches."""
    order = np.random.default_rng([settings.seed, step]).permutation(episodes)
    shares = []
    for part in np.array_split(order, settings.minibatches):
        own = part[accelerator.process_index :: accelerator.num_processes].tolist()
        size = settings.micro_batch
        shares.append([own[k : k + size] for k in range(0, len(own), size)])
    return shares


def batch_of(policy: TokenScorer, rollouts: Sequence[Rollout], vision: VisionCache) -> Batch:
    """Rollouts as the model takes them."""
    return make_batch(policy.model, policy.processor, rollouts, vision.inputs)


@torch.no_grad()
def score(
    policy: TokenScorer,
    rollouts: Sequence[Rollout],
    shares: Shares,
    vision: VisionCache,
) -> list[list[Tensor]]:
    """Log-probabilities of the written tokens, by optimizer step and micro-batch."""
    scores: list[list[Tensor]] = []
    for share in shares:
        scores.append([])
        for micro in share:
            log_probs, written = policy(batch_of(policy, [rollouts[k] for k in micro], vision))
            scores[-1].append(log_probs[written])
    return scores


def divergence(
    own: Sequence[Sequence[Tensor]], anchored: Sequence[Sequence[Tensor]], accelerator: Any
) -> float:
    """The mean of k3 over all tokens that were sampled."""
    total = torch.zeros(2)
    for pairs in zip(own, anchored, strict=True):
        for ours, theirs in zip(*pairs, strict=True):
            total += torch.tensor([float(k3(ours, theirs).sum()), len(ours)])
    summed = accelerator.reduce(total.to(accelerator.device), "sum")
    return float(summed[0] / summed[1])


def update(
    policy: Any,
    optimizer: Any,
    batches: Iterable[Batch],
    gains: Sequence[Tensor],
    before: Sequence[Tensor],
    anchored: Sequence[Tensor],
    beta: float,
    settings: Settings,
    accelerator: Any,
) -> tuple[Tensor, float]:
    """One optimizer step on a part of the episodes.

    Args:
        policy: A `TokenScorer`, maybe wrapped for data-parallel training.
        optimizer: Its optimizer.
        batches: Micro-batches, B episodes each; made one by one, they are in memory one by one.
        gains: Of each: float32 (B, S), the advantage of every step.
        before: Of each: float32 (W,), log-probabilities of its written tokens before the update.
        anchored: The same under the anchor.
        beta: Weight of the divergence from the anchor.
        settings: Bounds of the ratio and of the gradient.
        accelerator: What the policy was prepared by.

    Returns:
        float32 (2,): tokens beyond the bounds of the ratio, and all written ones; and the
        gradient's norm before it was bounded.
    """
    policy.train()
    count = torch.tensor(float(sum(len(own) for own in before)), device=accelerator.device)
    # Gradients are averaged over processes: each divides by the tokens that one has on average.
    total = float(accelerator.reduce(count, "mean"))
    clipped = torch.zeros(2)
    for batch, gain, own, reference in zip(batches, gains, before, anchored, strict=True):
        wait = contextlib.nullcontext() if own is before[-1] else accelerator.no_sync(policy)
        with wait, accelerator.autocast():
            log_probs, written = policy(batch)
            gained = spread(gain.to(written.device), batch.turns, written)
            loss, beyond = policy_loss(
                log_probs[written],
                own,
                gained[written],
                clip_low=settings.clip_low,
                clip_high=settings.clip_high,
                weights=importance_weights(own, batch.log_probs[written]),
                total=total,
            )
            away = k3(log_probs[written], reference).sum() / total
            accelerator.backward(loss + beta * away)
        clipped += torch.tensor([float(beyond.sum()), float(written.sum())])
    norm = float(accelerator.clip_grad_norm_(policy.parameters(), settings.max_grad_norm))
    optimizer.step()
    optimizer.zero_grad()
    return clipped, norm


def improve(
    policy: TokenScorer,
    parallel: Any,
    optimizer: Any,
    rollouts: Sequence[Rollout],
    gains: Tensor,
    shares: Shares,
    before: Sequence[Sequence[Tensor]],
    references: Sequence[Sequence[Tensor]],
    beta: float,
    vision: VisionCache,
    settings: Settings,
    accelerator: Any,
) -> dict[str, float]:
    """An optimizer step for each share.

    Args:
        policy: What is trained.
        parallel: The same as data-parallel training wraps it.
        optimizer: Its optimizer.
        rollouts: E episodes.
        gains: float32 (E, S), the advantage of every step.
        shares: Of `deal`.
        before: Of `score`, by the policy.
        references: Of `score`, by what it is held near.
        beta: Weight of the divergence from it.
        vision: The features of the frozen tower.
        settings: Of the phase.
        accelerator: What the policy was prepared by.

    Returns:
        `clip_fraction` of all tokens, and the mean `grad_norm`.
    """
    clipped, norms = torch.zeros(2), []
    for share, own, reference in zip(shares, before, references, strict=True):
        batches = (batch_of(policy, [rollouts[k] for k in micro], vision) for micro in share)
        counts, norm = update(
            parallel,
            optimizer,
            batches,
            [gains[micro] for micro in share],
            own,
            reference,
            beta,
            settings,
            accelerator,
        )
        clipped += counts
        norms.append(norm)
    summed = accelerator.reduce(clipped.to(accelerator.device), "sum")
    return {"clip_fraction": float(summed[0] / summed[1]), "grad_norm": float(np.mean(norms))}
