"""From what the steps of grouped episodes paid to the advantage of every token.

Each component is normalised within its group, the episodes on one task, before the components are
weighted and summed; a step's advantage is that of the tokens of its own turn (Pixelis,
arXiv 2603.25091, phase 2; group normalisation as in GRPO, arXiv 2402.03300).

A step for which a component has nothing to say is NaN, not 0: an answer shows nothing, and paid 0
by curiosity and coherence it would stand below every operation of its group, right or wrong.

Shapes: E episodes, S steps of the longest, B rollouts, T tokens.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch

from pixelis_agent.config import RewardConfig
from pixelis_env.evidence import ToolError
from pixelis_env.trace import Step

Tensor = torch.Tensor

COMPONENTS = ("task", "curiosity", "coherence", "efficiency")


def valid_steps(steps: Sequence[Step]) -> Tensor:
    """Which steps were carried out and returned evidence: bool (S,). The answer is none."""
    return torch.tensor([step.valid for step in steps], dtype=torch.bool)


def operations(steps: Sequence[Step]) -> Tensor:
    """Which steps called an operation, in vain or not: bool (S,). The answer is none."""
    return torch.tensor([step.evidence is not None for step in steps], dtype=torch.bool)


def efficiency(steps: Sequence[Step], config: RewardConfig) -> Tensor:
    """What each step costs, float32 (S,), <= 0.

    Operation number n costs `step_cost` / `free_steps` where n > `free_steps`, and any step that
    could not be carried out `invalid_cost` more.
    """
    costs, done = [], 0
    for step in steps:
        failed = isinstance(step.evidence, ToolError)
        done += step.evidence is not None
        beyond = step.evidence is not None and done > config.free_steps
        costs.append(
            -config.step_cost / max(config.free_steps, 1) * beyond - config.invalid_cost * failed
        )
    return torch.tensor(costs, dtype=torch.float32)


def pad_steps(episodes: Sequence[Tensor]) -> Tensor:
    """Rewards of episodes, (S,) each, as float32 (E, S), with NaN where there was no step."""
    return torch.nn.utils.rnn.pad_sequence(
        [rewards.float() for rewards in episodes], batch_first=True, padding_value=float("nan")
    )


def normalised(
    rewards: Tensor, groups: Tensor, *, least: float = 0.0, floor: float = 1e-4
) -> Tensor:
    """Rewards minus their group's mean, over its deviation.

    Args:
        rewards: float32 (E,) or (E, S); NaN where there is none.
        groups: int64 (E,), the group of each episode.
        least: Deviations below it count as this, so that rewards which have become small stay so.
        floor: A group whose deviation is below it says nothing: its rewards become 0.

    Returns:
        The same shape, NaN replaced by 0; each group sums to 0.

    Raises:
        ValueError: A reward is infinite.
    """
    if rewards.isinf().any():
        raise ValueError("a reward is infinite")
    out = torch.zeros_like(rewards)
    for group in groups.unique():
        mine = rewards[groups == group]
        there = ~mine.isnan()
        values = mine[there].double()
        if len(values) < 2 or float(values.std()) < floor:
            continue
        scaled = torch.zeros_like(mine)
        scaled[there] = ((values - values.mean()) / values.std().clamp_min(least)).to(mine.dtype)
        out[groups == group] = scaled
    return out


def advantages(
    components: Mapping[str, Tensor], weights: Mapping[str, float], lengths: Tensor
) -> Tensor:
    """The advantage of every step, float32 (E, S).

    Args:
        components: By name, normalised: float32 (E,) for one that is paid to the whole episode,
            (E, S) for one that is paid to steps.
        weights: Of each component.
        lengths: int64 (E,), the steps of each episode; the largest is S.

    Raises:
        ValueError: A component has no weight.
    """
    unknown = sorted(set(components) - set(weights))
    if unknown:
        raise ValueError(f"no weight is given for {', '.join(unknown)}")
    total = torch.zeros(len(lengths), int(lengths.max()))
    for name, rewards in components.items():
        total = total + weights[name] * (rewards[:, None] if rewards.ndim == 1 else rewards)
    return total * (torch.arange(total.shape[1]) < lengths[:, None])


def even(steps: Tensor, tokens: Tensor) -> Tensor:
    """Advantages with which every episode counts the same in a mean over all tokens.

    So GRPO weighs (arXiv 2402.03300). Counted by tokens (DAPO, arXiv 2503.14476), the long and
    mostly failed episodes outweigh the others.

    Args:
        steps: float32 (E, S), the advantage of each step.
        tokens: float32 (E,), what the model wrote in each episode, >= 1.
    """
    return steps * (tokens.mean() / tokens)[:, None]


def spread(steps: Tensor, turns: Tensor, written: Tensor) -> Tensor:
    """The advantage of every token: that of its turn, 0 for what was fed; float32 (B, T).

    Args:
        steps: float32 (B, S), the advantage of each step; turn k is step k.
        turns: int64 (B, T), the turn of each token, -1 at padding.
        written: bool (B, T), tokens that the model wrote.
    """
    return steps.gather(1, turns.clamp(0, steps.shape[1] - 1)) * written


def silent_groups(scores: Tensor, groups: Tensor, floor: float = 1e-4) -> Tensor:
    """Groups whose episodes all score the same: they teach nothing about the task.

    Args:
        scores: float32 (E,).
        groups: int64 (E,).
        floor: The least deviation that counts.

    Returns:
        int64, those groups.
    """
    ids = groups.unique()
    same = [bool(scores[groups == g].std(correction=0) < floor) for g in ids]
    return ids[torch.tensor(same, dtype=torch.bool)]


class Watch:
    """Warns of components that are constant within their groups: a dead reward must be seen.

    Args:
        patience: Iterations in a row before a warning.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._still: dict[str, int] = {}

    def look(self, components: Mapping[str, Tensor], weights: Mapping[str, float]) -> list[str]:
        """Looks at what is left of an iteration's rewards in their groups, that is normalised.

        Returns:
            Those that are dead; it has warned of them.
        """
        dead = []
        for name, rewards in components.items():
            moves = bool((rewards.abs() > 1e-6).any())
            self._still[name] = 0 if moves or not weights[name] else self._still.get(name, 0) + 1
            if self._still[name] >= self._patience:
                dead.append(name)
            if self._still[name] == self._patience:
                warnings.warn(
                    f"the reward {name!r} was constant in every group for {self._patience} "
                    "iterations: it teaches nothing; look at its values in metrics.jsonl, or give "
                    "it the weight 0",
                    stacklevel=2,
                )
        return dead

    def state_dict(self) -> dict[str, int]:
        """How long each has been still."""
        return dict(self._still)

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Goes on from there."""
        self._still = dict(state)
