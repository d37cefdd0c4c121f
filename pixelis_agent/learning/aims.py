"""What an update makes of the episodes it is given: an aim is the loss of its micro-batches.

`Gradient` moves the policy towards what gained more than the rest of its group, by the tokens that
were sampled. `Teacher` moves it, along episodes that are trusted, towards what its reference would
say there if it were surer of itself, over the whole vocabulary. Both hold it near the reference by
the divergence of the sampled tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Protocol

import torch

from pixelis_agent.learning.losses import (
    importance_weights,
    k3,
    policy_loss,
    sharpened,
    teacher_loss,
)
from pixelis_agent.learning.parts import Part
from pixelis_agent.models.anchor import Anchor
from pixelis_agent.models.batch import Batch
from pixelis_agent.rewards.credit import even, spread
from pixelis_agent.rollout import Rollout

Tensor = torch.Tensor
DUAL_CLIP = 3.0
"""How often a token that is to become rarer counts at the most. A step can make a token that hardly
ever comes ten thousand times likelier; where it was bad, it alone would make the next step."""


class Stage(NamedTuple):
    """Where a part stands before its optimizer step.

    Attributes:
        policy: A `TokenScorer`, maybe wrapped for data-parallel training.
        part: The episodes.
        own: Of each micro-batch: float32 (W,), log-probabilities of its written tokens before the
            update.
        anchored: The same under the reference.
        beta: Weight of the divergence from the reference.
        total: Written tokens of the part, over all processes on average.
    """

    policy: Any
    part: Part
    own: Sequence[Tensor]
    anchored: Sequence[Tensor]
    beta: float
    total: float

    def pull(self, micro: int, log_probs: Tensor) -> Tensor:
        """What a micro-batch's written tokens, (W,), cost by their distance from the reference."""
        return self.beta * k3(log_probs, self.anchored[micro]).sum() / self.total


class Aim(Protocol):
    """What an update is for.

    Attributes:
        measure: The name of what is noted: its mean over all written tokens is logged.
    """

    measure: ClassVar[str]

    def losses(self, stage: Stage) -> Iterator[tuple[Tensor, float]]:
        """Of each micro-batch, one by one: its share of the part's loss, and what is noted."""
        ...

    def nothing(self) -> Aim:
        """The same without a wish of its own: only the reference pulls."""
        ...


class Bounds(Protocol):
    """How far a token's probability may fall and rise in an update, as shares."""

    @property
    def clip_low(self) -> float: ...  # noqa: D102
    @property
    def clip_high(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class Gradient:
    """The clipped policy gradient: every episode counts the same, however long it is.

    Attributes:
        gains: float32 (E, S), the advantage of every step of all episodes.
        bounds: Of the ratio; the share of tokens beyond them is noted.
    """

    gains: Tensor
    bounds: Bounds
    measure: ClassVar[str] = "clip_fraction"

    def losses(self, stage: Stage) -> Iterator[tuple[Tensor, float]]:
        """See `Aim`."""
        gains = _evened(self.gains, stage.part.rollouts)
        for k, (micro, batch) in enumerate(stage.part.batches()):
            log_probs, written = stage.policy(batch)
            gained = spread(gains[micro].to(written.device), batch.turns, written)
            loss, beyond = policy_loss(
                log_probs[written],
                stage.own[k],
                gained[written],
                clip_low=self.bounds.clip_low,
                clip_high=self.bounds.clip_high,
                dual_clip=DUAL_CLIP,
                weights=importance_weights(stage.own[k], batch.log_probs[written]),
                total=stage.total,
            )
            yield loss + stage.pull(k, log_probs[written]), float(beyond.sum())

    def nothing(self) -> Gradient:
        """See `Aim`."""
        return replace(self, gains=torch.zeros_like(self.gains))


@dataclass(frozen=True)
class Teacher:
    """A mean teacher: the reference at a lower temperature, where an episode is trusted.

    Attributes:
        trust: float32 (E, S), >= 0, in every step of all episodes.
        reference: The teacher.
        temperature: Of the teacher's distribution, > 0; below 1 it is surer than the policy. How
            far the policy is from it, weighed by the trust, is noted, nats.
    """

    trust: Tensor
    reference: Anchor
    temperature: float
    measure: ClassVar[str] = "from_teacher"

    def losses(self, stage: Stage) -> Iterator[tuple[Tensor, float]]:
        """See `Aim`."""
        trust = _evened(self.trust, stage.part.rollouts)
        with self.reference.active():
            taught = stage.part.again()  # it reads the beginnings by its own weights
        for k, (micro, batch) in enumerate(stage.part.batches()):
            same = replace(batch, kept=taught.kept(micro))
            yield self._loss(stage, k, batch, taught.policy, same, trust[micro])

    def _loss(
        self, stage: Stage, micro: int, batch: Batch, teacher: Any, same: Batch, trust: Tensor
    ) -> tuple[Tensor, float]:
        """Of a micro-batch; `same` is what the teacher is given of it."""
        written = batch.written
        weights = spread(trust.to(written.device), batch.turns, written)[written]
        rows = weights > 0
        if not rows.any():
            log_probs, _ = stage.policy(batch)
            return stage.pull(micro, log_probs[written]), 0.0
        # A vocabulary is wide: only what is trusted is compared over all of it.
        with self.reference.active():
            taught = sharpened(teacher(same, whole=True)[rows], self.temperature)
        scores = stage.policy(batch, whole=True)
        loss = teacher_loss(scores[rows], taught, weights[rows], stage.total)
        pull = stage.pull(micro, scores.gather(-1, batch.written_ids[:, None])[:, 0])
        return loss + pull, float(loss.detach()) * stage.total

    def nothing(self) -> Teacher:
        """See `Aim`."""
        return replace(self, trust=torch.zeros_like(self.trust))


def _evened(steps: Tensor, rollouts: Sequence[Rollout]) -> Tensor:
    written = torch.tensor([float((r.label_array() >= 2).sum()) for r in rollouts])
    return even(steps, written)
