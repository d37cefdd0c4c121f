"""Curiosity: what a step's result holds that a learned model of the tools did not foresee.

A dynamics model f(s_t, a_t) foresees the encoding of the next observation and how far off it will
be. A step is worth the squared error beyond the error that the model itself expects

    r_t = max(0, mean_d (o_d - mu_d)^2 - sigma_d^2)

so that noise, which no model foresees but whose size it learns, stops paying, while what is new
pays until it is known (prediction-error curiosity, arXiv 1705.05363; minus the expected error as in
arXiv 2102.04399). Rewards are scaled as in random network distillation (arXiv 1810.12894), but by
the largest deviation so far: by the present one, what has stopped to surprise would be blown up to
the size of what once did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pixelis_agent.config import CuriosityConfig
from pixelis_agent.rewards.moments import Moments
from pixelis_env.actions import OPS, Action, Malformed

Tensor = torch.Tensor

ACTION_SIZE = len(OPS) + 16
"""Numbers that describe an action."""

_LEAST_LOG_VARIANCE, _MOST_LOG_VARIANCE = -8.0, 4.0


def action_features(action: Action | Malformed) -> Tensor:
    """A typed action as numbers, float32 (ACTION_SIZE,), each -1..2, and 0..1 if it is in range.

    Which operation it is, then box, point, time, span, how many pieces of evidence it names and
    which is the first, each with a flag that says whether it is there.
    """
    kind = torch.zeros(len(OPS))
    if action.op in OPS:
        kind[OPS.index(action.op)] = 1
    scale = {"rel1000": 1000.0, "unit": 1.0, "px": 1000.0}.get(getattr(action, "frame", ""), 1.0)
    box, point = getattr(action, "box", None), getattr(action, "point", None)
    time, span = getattr(action, "time", None), getattr(action, "span", None)
    refs = [getattr(action, name, None) for name in ("source", "target")]
    names = [ref for ref in refs if ref] + list(getattr(action, "targets", ()))
    first = int(names[0][1:]) if names else 0
    text = getattr(action, "text", None) or ""
    numbers = [
        *([float(v) / scale for v in box] if box else [0.0] * 4),
        float(box is not None),
        *([float(v) / scale for v in point] if point else [0.0] * 2),
        float(point is not None),
        math.tanh((time or 0.0) / 10),
        float(time is not None),
        *([math.tanh(v / 10) for v in span] if span else [0.0] * 2),
        float(span is not None),
        min(len(names), 8) / 8,
        math.tanh(first / 4),
        math.tanh(len(text) / 16),
    ]
    # What a policy writes may be any number, and one of 26 digits would be infinite here.
    bounded = [min(max(number, -1.0), 2.0) for number in numbers]
    return torch.cat([kind, torch.tensor(bounded, dtype=torch.float32)])


def dynamics_inputs(encodings: Tensor, actions: Sequence[Action | Malformed]) -> Tensor:
    """What the dynamics model is given at each step of an episode.

    Args:
        encodings: float32 (S + 1, D): of the observation at the start and after each step.
        actions: S of them.

    Returns:
        float32 (S, 2 D + ACTION_SIZE): the mean of what was seen so far, the last of it, and the
        action.
    """
    before = encodings[:-1]
    counts = torch.arange(1, len(before) + 1)[:, None]
    told = torch.stack([action_features(action) for action in actions])
    return torch.cat([before.cumsum(0) / counts, before, told], 1)


class Dynamics(nn.Module):
    """Foresees an encoding and its own error.

    Args:
        size: D, of an encoding.
        inputs: Of what it is given; default: `dynamics_inputs`' 2 D + ACTION_SIZE.
        hidden: Width.
    """

    def __init__(self, size: int, inputs: int | None = None, hidden: int = 256) -> None:
        super().__init__()
        given = 2 * size + ACTION_SIZE if inputs is None else inputs
        self.body = nn.Sequential(
            nn.Linear(given, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )
        self.mean = nn.Linear(hidden, size)
        self.log_variance = nn.Linear(hidden, size)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, float32 (N, D) each, of inputs (N, inputs)."""
        seen = self.body(inputs)
        # A smooth bound: a hard one would leave no gradient to come back by.
        half = (_MOST_LOG_VARIANCE - _LEAST_LOG_VARIANCE) / 2
        middle = (_MOST_LOG_VARIANCE + _LEAST_LOG_VARIANCE) / 2
        return self.mean(seen), middle + half * torch.tanh(self.log_variance(seen) / half)

    def loss(self, inputs: Tensor, outcomes: Tensor) -> Tensor:
        """The negative log-likelihood, each term weighted by the variance to the power 1/2.

        Without the weight, what is hard to foresee is given a large variance and learned no
        further (beta-NLL, arXiv 2203.09168).

        Args:
            inputs: float32 (N, inputs).
            outcomes: float32 (N, D).

        Returns:
            A scalar.
        """
        mean, log_variance = self(inputs)
        terms = ((outcomes - mean) ** 2 * (-log_variance).exp() + log_variance) / 2
        return ((log_variance / 2).exp().detach() * terms).mean()

    @torch.no_grad()
    def surprise(self, inputs: Tensor, outcomes: Tensor) -> Tensor:
        """The squared error beyond the one expected, float32 (N,), >= 0."""
        mean, log_variance = self(inputs)
        return ((outcomes - mean) ** 2 - log_variance.exp()).mean(-1).clamp_min(0)


class RewardScale:
    """Divides rewards by the running deviation of their forward-filtered returns.

    R_t = discount R_{t-1} + r_t runs forwards over the rewards in the order they come, as in
    arXiv 1810.12894, section 2.4; the deviation is of all R_t up to an iteration, the largest of
    those so far.

    Args:
        discount: 0 up to 1.
        most: Scaled rewards are clipped here, > 0.
    """

    def __init__(self, discount: float = 0.99, most: float = 5.0) -> None:
        if not 0 <= discount < 1 or most <= 0:
            raise ValueError(f"discount {discount} must be in 0..1 and most {most} above 0")
        self._discount, self._most = discount, most
        self._returns, self._deviation = Moments(), 0.0

    def __call__(self, episodes: Sequence[Tensor]) -> list[Tensor]:
        """Takes in the rewards of episodes, float32 (S,) each, and returns them scaled."""
        for rewards in episodes:
            filtered = 0.0
            for reward in rewards.tolist():
                filtered = self._discount * filtered + reward
                self._returns.add([filtered])
        self._deviation = max(self._deviation, self._returns.deviation)
        scale = self._deviation + 1e-8
        return [(rewards / scale).clamp(0, self._most) for rewards in episodes]

    def state_dict(self) -> dict[str, Any]:
        """What it remembers."""
        return {"returns": self._returns.state_dict(), "deviation": self._deviation}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self._returns.load_state_dict(state["returns"])
        self._deviation = float(state["deviation"])


class Curiosity:
    """Dynamics model, its optimizer and the scale of its rewards.

    Args:
        size: D, of an encoding.
        config: Settings.

    Attributes:
        spread: The largest deviation that the pay of an iteration's steps has had: what its
            advantages are measured by (`credit.normalised`).
    """

    def __init__(self, size: int, config: CuriosityConfig) -> None:
        self.spread = 0.0
        self._config = config
        self.dynamics = Dynamics(size, hidden=config.hidden)
        self._optimizer = torch.optim.Adam(self.dynamics.parameters(), config.learning_rate)
        self._scale = RewardScale(config.discount, config.most)
        self._iterations = 0

    def rewards(
        self,
        encodings: Sequence[Tensor],
        actions: Sequence[Sequence[Action | Malformed]],
        valid: Sequence[Tensor],
    ) -> list[Tensor]:
        """What each step of some episodes pays; then the dynamics model learns from them.

        Args:
            encodings: float32 (S + 1, D) an episode: of what was observed at the start and after
                each step.
            actions: S an episode.
            valid: bool (S,) an episode: an invalid step pays nothing and teaches nothing.

        Returns:
            float32 (S,) an episode, 0..`most`; all 0 during the warm-up.
        """
        inputs = [dynamics_inputs(e, a) for e, a in zip(encodings, actions, strict=True)]
        surprises = [
            torch.where(right, self.dynamics.surprise(given, seen[1:]), 0.0)
            for given, seen, right in zip(inputs, encodings, valid, strict=True)
        ]
        rewards = self._scale(surprises)
        kept = torch.cat(list(valid))
        self._learn(torch.cat(inputs)[kept], torch.cat([e[1:] for e in encodings])[kept])
        self._iterations += 1
        if self._iterations <= self._config.warm_up:
            return [torch.zeros_like(r) for r in rewards]
        paid = torch.cat(rewards)[kept]
        if len(paid) > 1:
            self.spread = max(self.spread, float(paid.std()))
        return rewards

    def _learn(self, inputs: Tensor, outcomes: Tensor) -> None:
        if not len(inputs):
            return
        for _ in range(self._config.passes):
            self._optimizer.zero_grad()
            self.dynamics.loss(inputs, outcomes).backward()
            self._optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {
            "dynamics": self.dynamics.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scale": self._scale.state_dict(),
            "spread": self.spread,
            "iterations": self._iterations,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self.dynamics.load_state_dict(state["dynamics"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scale.load_state_dict(state["scale"])
        self.spread = float(state["spread"])
        self._iterations = int(state["iterations"])
