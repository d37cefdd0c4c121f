"""Updates of a policy by episodes that it played, as every phase of reinforcement makes them.

Episodes are dealt out to optimizer steps and micro-batches once; their tokens are scored by the
policy before the update and by the reference that it is held near; then each share makes a step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from pixelis_agent.corridor import Corridor, CorridorController, Verdict
from pixelis_agent.losses import importance_weights, k3, policy_loss
from pixelis_agent.models.anchor import Anchor
from pixelis_agent.models.batch import Batch, make_batch, token_log_probs
from pixelis_agent.models.beginnings import Beginnings, Read, read
from pixelis_agent.models.kept import Kept
from pixelis_agent.models.processor import Processor
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.rewards import even, spread
from pixelis_agent.rollout import Rollout
from pixelis_agent.training import LastGood

Tensor = torch.Tensor
DUAL_CLIP = 3.0
"""How often a token that is to become rarer counts at the most. A step can make a token that hardly
ever comes ten thousand times likelier; where it was bad, it alone would make the next step."""

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
        gradient_checkpointing: Trade time for memory: each episode is then read as a whole, since
            layers that are computed again keep nothing.
        anchor: Hold the policy near its reference.
        corridor: In which the divergence per token from it is held.
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
    @property
    def gradient_checkpointing(self) -> bool: ...  # noqa: D102
    @property
    def anchor(self) -> bool: ...  # noqa: D102
    @property
    def corridor(self) -> Corridor: ...  # noqa: D102


class TokenScorer(nn.Module):
    """Log-probabilities of written tokens, as a module that data-parallel training can wrap."""

    def __init__(self, model: Any, processor: Processor, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.processor, self._temperature = processor, temperature

    def forward(self, batch: Batch, reading: bool = False) -> tuple[Any, ...]:
        """See `token_log_probs`; or, only reading, `beginnings.read`."""
        if reading:
            return read(self.model, batch)
        return token_log_probs(self.model, self.processor, batch, temperature=self._temperature)


def deal(lengths: Sequence[int], settings: Settings, step: int, accelerator: Any) -> Shares:
    """Which episodes this process takes in each optimizer step, in micro-batches.

    Which of them make a step is drawn; among those, micro-batches hold episodes of like length,
    since each is padded to its longest.

    Args:
        lengths: Tokens of each episode.
        settings: Of the phase.
        step: The update's number.
        accelerator: Of the run.
    """
    order = np.random.default_rng([settings.seed, step]).permutation(len(lengths))
    shares = []
    for part in np.array_split(order, settings.minibatches):
        by_length = part[np.argsort(np.array(lengths)[part], kind="stable")]
        own = by_length[accelerator.process_index :: accelerator.num_processes].tolist()
        size = settings.micro_batch
        shares.append([own[k : k + size] for k in range(0, len(own), size)])
    return shares


class Part:
    """The episodes of an optimizer step, as the policy takes them.

    Args:
        policy: What scores them.
        rollouts: All episodes.
        share: Which of them, in micro-batches.
        vision: The features of the frozen tower.
        settings: Of the phase.
    """

    def __init__(
        self,
        policy: TokenScorer,
        rollouts: Sequence[Rollout],
        share: Sequence[Sequence[int]],
        vision: VisionCache,
        settings: Settings,
    ) -> None:
        self._policy, self._rollouts, self._share = policy, rollouts, share
        self._vision = vision
        shared = () if settings.gradient_checkpointing else (k for micro in share for k in micro)
        self.beginnings = Beginnings(
            {k: rollouts[k] for k in shared},
            policy.processor,
            self.reader(policy),
            settings.micro_batch,
        )

    def batches(self) -> Iterator[Batch]:
        """The micro-batches; made one by one, they are in memory one by one."""
        for micro in self._share:
            kept = [self.beginnings.of(k) for k in micro]
            yield self._batch([self._rollouts[k] for k in micro], kept)

    def reader(self, policy: Any) -> Callable[[Sequence[Rollout]], Read]:
        """Reads rollouts by a policy, which may be wrapped for data-parallel training."""
        return lambda rollouts: policy(self._batch(rollouts), reading=True)

    def _batch(self, rollouts: Sequence[Rollout], kept: Sequence[Kept] = ()) -> Batch:
        model, processor = self._policy.model, self._policy.processor
        return make_batch(model, processor, rollouts, self._vision.inputs, kept)


@torch.no_grad()
def score(
    policy: TokenScorer,
    rollouts: Sequence[Rollout],
    shares: Shares,
    vision: VisionCache,
    settings: Settings,
) -> list[list[Tensor]]:
    """Log-probabilities of the written tokens, by optimizer step and micro-batch."""
    scores: list[list[Tensor]] = []
    for share in shares:
        scores.append([])
        for batch in Part(policy, rollouts, share, vision, settings).batches():
            log_probs, written = policy(batch)
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
    part: Part,
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
        part: The episodes.
        gains: Of each micro-batch: float32 (B, S), the advantage of every step.
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

    def quiet() -> Any:
        return accelerator.no_sync(policy)

    for batch, gain, own, reference in zip(part.batches(), gains, before, anchored, strict=True):
        last = own is before[-1] and not part.beginnings
        with contextlib.nullcontext() if last else quiet(), accelerator.autocast():
            log_probs, written = policy(batch)
            gained = spread(gain.to(written.device), batch.turns, written)
            loss, beyond = policy_loss(
                log_probs[written],
                own,
                gained[written],
                clip_low=settings.clip_low,
                clip_high=settings.clip_high,
                dual_clip=DUAL_CLIP,
                weights=importance_weights(own, batch.log_probs[written]),
                total=total,
            )
            away = k3(log_probs[written], reference).sum() / total
            accelerator.backward(loss + beta * away)
        clipped += torch.tensor([float(beyond.sum()), float(written.sum())])
    with accelerator.autocast():
        part.beginnings.backward(part.reader(policy), quiet)
    norm = float(accelerator.clip_grad_norm_(policy.parameters(), settings.max_grad_norm))
    optimizer.step()
    optimizer.zero_grad()
    return clipped, norm


@dataclass(frozen=True)
class Moved:
    """What came of an update.

    Attributes:
        verdict: Of the corridor.
        kl: The divergence per token from the reference before it, nats.
        beta: Weight of the divergence.
        figures: `clip_fraction` of all tokens and the mean `grad_norm`; empty after a roll-back.
        shares: How the episodes were dealt out.
        references: Of `score`, by the reference.
    """

    verdict: Verdict
    kl: float
    beta: float
    figures: dict[str, float]
    shares: Shares
    references: list[list[Tensor]]


class HeldUpdates:
    """Updates of a policy that a corridor holds near a reference.

    Args:
        policy: What is trained.
        optimizer: Of its weights.
        reference: What it is held near.
        vision: The features of its frozen tower.
        settings: Of the phase.
        accelerator: Of the run.

    Attributes:
        parts: What a checkpoint holds of it.
    """

    def __init__(
        self,
        policy: TokenScorer,
        optimizer: Any,
        reference: Anchor,
        vision: VisionCache,
        settings: Settings,
        accelerator: Any,
    ) -> None:
        self._policy, self._optimizer, self._reference = policy, optimizer, reference
        self._vision, self._settings, self._accelerator = vision, settings, accelerator
        self._corridor = CorridorController(settings.corridor)
        self._good = LastGood(policy, optimizer)
        self.parts: dict[str, Any] = {
            "policy": policy,
            "optimizer": optimizer,
            "good": self._good,
            "corridor": self._corridor,
        }

    def prepare(self) -> None:
        """Readies it for data-parallel training; once."""
        self._parallel, self._optimizer = self._accelerator.prepare(self._policy, self._optimizer)

    def move(self, rollouts: Sequence[Rollout], gains: Tensor, step: int) -> Moved:
        """An update: an optimizer step for each share of the episodes.

        What sampling reported may come from older weights or another engine, so the policy's own
        scores are computed anew. Every episode counts the same, however long it is.

        Args:
            rollouts: E episodes.
            gains: float32 (E, S), the advantage of every step.
            step: The update's number: of the order in which episodes are taken.
        """
        settings, accelerator = self._settings, self._accelerator
        shares = deal(list(map(len, rollouts)), settings, step, accelerator)
        own = score(self._policy, rollouts, shares, self._vision, settings)
        with self._reference.active():
            references = score(self._policy, rollouts, shares, self._vision, settings)
        kl = divergence(own, references, accelerator)
        verdict, beta = Verdict.KEEP, 0.0
        if settings.anchor:
            verdict, beta = self._corridor.update(kl), self._corridor.beta
        if kl <= settings.corridor.high or not settings.anchor:
            self._good.take()
        if verdict is Verdict.ROLL_BACK:
            self._good.restore()
            return Moved(verdict, kl, beta, {}, shares, references)
        if verdict is Verdict.SKIP:
            gains = torch.zeros_like(gains)
        clipped, norms = torch.zeros(2), []
        written = torch.tensor([float((r.label_array() >= 2).sum()) for r in rollouts])
        gains = even(gains, written)
        for share, befores, anchored in zip(shares, own, references, strict=True):
            counts, norm = update(
                self._parallel,
                self._optimizer,
                Part(self._policy, rollouts, share, self._vision, settings),
                [gains[micro] for micro in share],
                befores,
                anchored,
                beta,
                settings,
                accelerator,
            )
            clipped += counts
            norms.append(norm)
        summed = accelerator.reduce(clipped.to(accelerator.device), "sum")
        figures = {
            "clip_fraction": float(summed[0] / summed[1]),
            "grad_norm": float(np.mean(norms)),
        }
        return Moved(verdict, kl, beta, figures, shares, references)

    def divergence_after(self, moved: Moved, rollouts: Sequence[Rollout]) -> float:
        """The divergence per token of the reference from the policy as it is now.

        The tokens were sampled near the reference, not from what the policy has become: of those
        it now shuns, the estimate in the other direction would be without bounds.
        """
        now = score(self._policy, rollouts, moved.shares, self._vision, self._settings)
        return divergence(moved.references, now, self._accelerator)
