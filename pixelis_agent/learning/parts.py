"""Episodes as an update takes them: dealt out to optimizer steps and micro-batches, and scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from pixelis_agent.models.batch import Batch, make_batch, token_log_probs, written_scores
from pixelis_agent.models.beginnings import Beginnings, Read, read
from pixelis_agent.models.kept import Kept
from pixelis_agent.models.processor import Processor
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.rollout import Rollout

Tensor = torch.Tensor
Shares = list[list[list[int]]]
"""Which episodes make each optimizer step, in micro-batches."""


class Dealing(Protocol):
    """What dealing needs of a phase's settings.

    Attributes:
        minibatches: Optimizer steps that the episodes are dealt out to.
        micro_batch: Episodes in memory at a time, a process.
        seed: Of the order of episodes.
        gradient_checkpointing: Trade time for memory: each episode is then read as a whole, since
            layers that are computed again keep nothing.
    """

    @property
    def minibatches(self) -> int: ...  # noqa: D102
    @property
    def micro_batch(self) -> int: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def gradient_checkpointing(self) -> bool: ...  # noqa: D102


class TokenScorer(nn.Module):
    """What a policy says of written tokens, as a module that data-parallel training can wrap.

    Args:
        model: The policy.
        processor: Its processor.
        temperature: Of its distribution, > 0.
    """

    def __init__(self, model: Any, processor: Processor, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.processor, self._temperature = processor, temperature

    def forward(self, batch: Batch, *, reading: bool = False, whole: bool = False) -> Any:
        """See `token_log_probs`; `whole`: `written_scores`; only `reading`: `beginnings.read`."""
        if reading:
            return read(self.model, batch)
        made = written_scores if whole else token_log_probs
        return made(self.model, self.processor, batch, temperature=self._temperature)


def deal(lengths: Sequence[int], settings: Dealing, step: int, accelerator: Any) -> Shares:
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

    Attributes:
        policy: The same.
        rollouts: The same.
        beginnings: What several of the share begin with, as the policy read it now.
    """

    def __init__(
        self,
        policy: TokenScorer,
        rollouts: Sequence[Rollout],
        share: Sequence[list[int]],
        vision: VisionCache,
        settings: Dealing,
    ) -> None:
        self.policy, self.rollouts = policy, rollouts
        self._share, self._vision, self._settings = share, vision, settings
        shared = () if settings.gradient_checkpointing else (k for micro in share for k in micro)
        self.beginnings = Beginnings(
            {k: rollouts[k] for k in shared},
            policy.processor,
            self.reader(policy),
            settings.micro_batch,
        )

    def __len__(self) -> int:
        return len(self._share)

    def again(self) -> Part:
        """The same as the policy reads it now, whose weights are others."""
        return Part(self.policy, self.rollouts, self._share, self._vision, self._settings)

    def batches(self) -> Iterator[tuple[list[int], Batch]]:
        """The micro-batches and which episodes each holds; one by one they are in memory."""
        for micro in self._share:
            yield micro, self._batch([self.rollouts[k] for k in micro], self.kept(micro))

    def kept(self, micro: Sequence[int]) -> list[Kept]:
        """What was kept of the beginnings of a micro-batch."""
        return [self.beginnings.of(k) for k in micro]

    def reader(self, policy: Any) -> Callable[[Sequence[Rollout]], Read]:
        """Reads rollouts by a policy, which may be wrapped for data-parallel training."""
        return lambda rollouts: policy(self._batch(rollouts), reading=True)

    def _batch(self, rollouts: Sequence[Rollout], kept: Sequence[Kept] = ()) -> Batch:
        model, processor = self.policy.model, self.policy.processor
        return make_batch(model, processor, rollouts, self._vision.inputs, kept)


@torch.no_grad()
def score(
    policy: TokenScorer,
    rollouts: Sequence[Rollout],
    shares: Shares,
    vision: VisionCache,
    settings: Dealing,
) -> list[list[Tensor]]:
    """Log-probabilities of the written tokens, by optimizer step and micro-batch."""
    scores: list[list[Tensor]] = []
    for share in shares:
        scores.append([])
        for _, batch in Part(policy, rollouts, share, vision, settings).batches():
            log_probs, written = policy(batch)
            scores[-1].append(log_probs[written])
    return scores
