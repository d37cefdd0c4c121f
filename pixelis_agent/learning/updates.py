"""Updates of a policy by episodes that it played, as every phase of reinforcement makes them.

Episodes are dealt out to optimizer steps and micro-batches once (`parts`); their tokens are scored
by the policy before the update and by the reference that it is held near; then each share makes a
step towards an aim (`aims`).
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from pixelis_agent.learning.aims import Aim, Stage
from pixelis_agent.learning.corridor import Corridor, CorridorController, Verdict
from pixelis_agent.learning.losses import k3
from pixelis_agent.learning.parts import Dealing, Part, Shares, TokenScorer, deal, score
from pixelis_agent.learning.training import LastGood
from pixelis_agent.models.anchor import Anchor, Ema
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.rollout import Rollout

Tensor = torch.Tensor


class Settings(Dealing, Protocol):
    """What an update needs of a phase's settings.

    Attributes:
        max_grad_norm: Longer gradients are shortened to this.
        anchor: Hold the policy near its reference.
        corridor: In which the divergence per token from it is held.
    """

    @property
    def max_grad_norm(self) -> float: ...  # noqa: D102
    @property
    def anchor(self) -> bool: ...  # noqa: D102
    @property
    def corridor(self) -> Corridor: ...  # noqa: D102


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


def descend(
    policy: Any,
    optimizer: Any,
    aim: Aim,
    part: Part,
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
        aim: Where to.
        part: The episodes.
        before: Of each micro-batch: float32 (W,), log-probabilities of its written tokens before
            the update.
        anchored: The same under the reference.
        beta: Weight of the divergence from the reference.
        settings: Bound of the gradient.
        accelerator: What the policy was prepared by.

    Returns:
        float32 (2,): what the aim noted of all written tokens, and their number; and the
        gradient's norm before it was bounded.
    """
    policy.train()
    written = float(sum(len(own) for own in before))
    # Gradients are averaged over processes: each divides by the tokens that one has on average.
    count = torch.tensor(written, device=accelerator.device)
    total = float(accelerator.reduce(count, "mean"))
    noted = 0.0

    def quiet() -> Any:
        return accelerator.no_sync(policy)

    losses = aim.losses(Stage(policy, part, before, anchored, beta, total))
    for left in reversed(range(len(part))):
        last = not left and not part.beginnings
        with contextlib.nullcontext() if last else quiet(), accelerator.autocast():
            loss, found = next(losses)
            accelerator.backward(loss)
        noted += found
    with accelerator.autocast():
        part.beginnings.backward(part.reader(policy), quiet)
    norm = float(accelerator.clip_grad_norm_(policy.parameters(), settings.max_grad_norm))
    # A scaler of half-precision gradients leaves such a step out by itself, and must be told.
    if math.isfinite(norm) or accelerator.scaler is not None:
        optimizer.step()
    else:
        warnings.warn(f"a gradient's norm is {norm}: this step is left out", stacklevel=2)
    optimizer.zero_grad()
    return torch.tensor([noted, written]), norm


@dataclass(frozen=True)
class Moved:
    """What came of an update.

    Attributes:
        verdict: Of the corridor.
        kl: The divergence per token from the reference before it, nats.
        beta: Weight of the divergence.
        figures: The aim's measure, a mean over all tokens, and the mean `grad_norm`; empty after a
            roll-back.
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
        # An average that followed a policy astray goes back with it.
        follower = reference if isinstance(reference, Ema) else None
        self._good = LastGood(policy, optimizer, follower)
        self.parts: dict[str, Any] = {
            "policy": policy,
            "optimizer": optimizer,
            "good": self._good,
            "corridor": self._corridor,
        }

    def prepare(self) -> None:
        """Readies it for data-parallel training; once."""
        self._parallel, self._optimizer = self._accelerator.prepare(self._policy, self._optimizer)

    def move(self, rollouts: Sequence[Rollout], aim: Aim, step: int) -> Moved:
        """An update: an optimizer step for each share of the episodes.

        What sampling reported may come from older weights or another engine, so the policy's own
        scores are computed anew.

        Args:
            rollouts: E episodes.
            aim: Where to.
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
            aim = aim.nothing()
        noted, norms = torch.zeros(2), []
        for share, befores, anchored in zip(shares, own, references, strict=True):
            counts, norm = descend(
                self._parallel,
                self._optimizer,
                aim,
                Part(self._policy, rollouts, share, self._vision, settings),
                befores,
                anchored,
                beta,
                settings,
                accelerator,
            )
            noted += counts
            norms.append(norm)
        summed = accelerator.reduce(noted.to(accelerator.device), "sum")
        figures = {
            aim.measure: float(summed[0] / summed[1]),
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
