"""What a policy becomes by the rollouts it is given: the updates of test-time learning.

The same rollouts and gains in the same order make the same adapter, to the last bit: so a ledger of
them can be played again (`pixelis_agent.ttrl.ledger`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from pixelis_agent.config import TTRLConfig
from pixelis_agent.learning.aims import Aim, Gradient, Teacher
from pixelis_agent.learning.parts import TokenScorer
from pixelis_agent.learning.training import LastGood, make_optimizer
from pixelis_agent.learning.updates import HeldUpdates
from pixelis_agent.models.anchor import load_with_ema
from pixelis_agent.models.batch import base_model
from pixelis_agent.models.digest import adapter_digest
from pixelis_agent.models.load import Lora
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.rollout import Rollout
from pixelis_agent.ttrl.home import align

Tensor = torch.Tensor
ABSTAIN = "abstain"
WARM_UP = 3
"""Optimizer steps until the learning rate is whole: Adam's first ones are as large whatever the
gradient is."""


@dataclass(frozen=True)
class Decision:
    """What came of an update.

    Attributes:
        decision: "keep", "skip" (only the average pulled), "roll back", or "abstain" where there
            was nothing to learn from.
        kl_before: The divergence per token of the policy from the average before it, nats.
        kl_after: That of the average from the policy after it.
        beta: Weight of the divergence.
        figures: Of the optimizer steps.
    """

    decision: str
    kl_before: float = 0.0
    kl_after: float = 0.0
    beta: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)


class Learner:
    """A policy, its moving average, and how the one is moved while it is held near the other.

    Args:
        config: Of the run.

    Attributes:
        model: The policy.
        processor: Its processor.
        average: Its moving average.
        vision: The features of its frozen tower.
        parts: What a checkpoint holds.
    """

    def __init__(self, config: TTRLConfig) -> None:
        from accelerate import Accelerator

        torch.manual_seed(config.seed)
        self._config = config
        loaded, self.average = load_with_ema(
            config.model,
            Lora(config.lora_rank, 2 * config.lora_rank),
            config.decay,
            dtype=config.dtype,
            gradient_checkpointing=config.gradient_checkpointing,
        )
        align(loaded, config)
        self.model, self.processor = loaded.model, loaded.processor
        base_model(self.model).visual.requires_grad_(False)
        self.vision = VisionCache(self.model, self.processor)
        self._policy = TokenScorer(self.model, self.processor, config.temperature)
        self._optimizer = make_optimizer(self._policy, config.learning_rate, config.weight_decay)
        self._held = HeldUpdates(
            self._policy,
            self._optimizer,
            self.average,
            self.vision,
            config,
            Accelerator(cpu=not torch.accelerator.is_available()),
        )
        self.parts: dict[str, Any] = {**self._held.parts, "average": self.average}
        self._held.prepare()

    def learn(self, rollouts: Sequence[Rollout], gains: Tensor, step: int) -> Decision:
        """One update, after which the average follows.

        Args:
            rollouts: E rollouts; without any the average follows alone.
            gains: float32 (E, S), the advantage of every step, or the trust in it: as
                `judging.gains` says for the same settings.
            step: The update's number: of the order in which rollouts are taken.
        """
        made = self._learn(rollouts, gains, step) if rollouts else Decision(ABSTAIN)
        self.average.step()
        return made

    @property
    def digest(self) -> str:
        """The adapter's, as of `adapter_digest`."""
        return adapter_digest(self.model)

    def last_good(self) -> LastGood:
        """What the policy is now, to go back to."""
        return LastGood(self._policy, self._optimizer, self.average)

    def _learn(self, rollouts: Sequence[Rollout], gains: Tensor, step: int) -> Decision:
        made = max((int(state["step"]) for state in self._optimizer.state.values()), default=0)
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.learning_rate * min(1.0, (made + 1) / WARM_UP)
        moved = self._held.move(rollouts, self._aim(gains), step)
        after = self._held.divergence_after(moved, rollouts)
        return Decision(moved.verdict.value, moved.kl, after, moved.beta, moved.figures)

    def _aim(self, gains: Tensor) -> Aim:
        if self._config.learn == "gradient":
            return Gradient(gains, self._config)
        return Teacher(gains, self.average, self._config.teacher_temperature)
