"""The frozen encoder of observations, by which curiosity and coherence judge a step.

Pixels go through the policy's own vision tower, words through its own embeddings, both of which
adapters leave as they are; each part is averaged, projected by a fixed random matrix and brought to
a mean square of 1, so that encodings of different models have one size and neither part drowns the
other.
The id of a new piece of evidence is left out: the same result twice is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from pixelis_agent.images import Picture
from pixelis_agent.models.processor import Processor
from pixelis_agent.models.vision import VisionCache
from pixelis_env.describe import OWN_ID

Tensor = torch.Tensor


class ObservationEncoder:
    """Encodes what the environment said and showed.

    Args:
        model: A model whose embeddings are not trained (e.g. with an adapter).
        processor: Its processor.
        vision: The features of its frozen tower.
        size: Numbers an encoding has: half for pixels, half for words.
        seed: Of the projections.
    """

    def __init__(
        self,
        model: Any,
        processor: Processor,
        vision: VisionCache,
        size: int = 128,
        seed: int = 0,
    ) -> None:
        self.size = size
        self._embeddings, self._processor, self._vision = (
            model.get_input_embeddings(),
            processor,
            vision,
        )
        generator = torch.Generator().manual_seed(seed)
        hidden = self._embeddings.weight.shape[1]
        # The tower's output has the size of the words' embeddings: it stands among them.
        self._words = torch.randn(hidden, size // 2, generator=generator)
        self._pixels = torch.randn(hidden, size - size // 2, generator=generator)

    @torch.no_grad()
    def __call__(self, observation: dict[str, Any]) -> Tensor:
        """An observation of `pixelis_env.wrappers.ToolCall` as float32 (size,), on the CPU.

        What is not there, pixels or words, is zeros.
        """
        words = torch.zeros(self._words.shape[1])
        tokens = self._processor.tokenizer.encode(
            OWN_ID.sub("", observation["text"]), add_special_tokens=False
        )
        if tokens:
            given = torch.tensor(tokens, device=self._embeddings.weight.device)
            mean = self._embeddings(given).float().mean(0).cpu()
            words = _unit(mean @ self._words)
        return torch.cat([self._seen(observation["images"]), words])

    def pictures(self) -> Pictures:
        """What it does with pixels, as an encoder of a memory."""
        return Pictures(self._seen, self._pixels.shape[1])

    def _seen(self, images: Sequence[Picture]) -> Tensor:
        if not images:
            return torch.zeros(self._pixels.shape[1])
        means = [self._vision.features(image)[0].mean(0) for image in images]
        return _unit(torch.stack(means).mean(0).cpu() @ self._pixels)


class Pictures:
    """A frozen tower as `pixelis_agent.memory.vectors.Encoder`."""

    def __init__(self, seen: Callable[[Sequence[Picture]], Tensor], size: int) -> None:
        self._seen = seen
        self.name, self.size = f"tower-{size}", size

    @torch.no_grad()
    def __call__(self, given: Sequence[Picture]) -> NDArray[np.float32]:
        """float32 (size,); zeros without images."""
        vector: NDArray[np.float32] = self._seen(given).float().numpy()
        return vector


def _unit(part: Tensor) -> Tensor:
    """The same direction with a mean square of 1: what the dynamics model begins by expecting."""
    return normalize(part, dim=0) * len(part) ** 0.5
