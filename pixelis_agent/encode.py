"""The frozen encoder of observations, by which curiosity and coherence judge a step.

Pixels go through the policy's own vision tower, words through its own embeddings, both of which
adapters leave as they are; each part is averaged, projected by a fixed random matrix and brought to
a mean square of 1, so that encodings of different models have one size and neither part drowns the
other.
The id of a new piece of evidence is left out: the same result twice is the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import normalize

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
        pixels = torch.zeros(self._pixels.shape[1])
        if observation["images"]:
            means = [self._vision.features(image)[0].mean(0) for image in observation["images"]]
            pixels = _unit(torch.stack(means).mean(0).cpu() @ self._pixels)
        return torch.cat([pixels, words])


def _unit(part: Tensor) -> Tensor:
    """The same direction with a mean square of 1: what the dynamics model begins by expecting."""
    return normalize(part, dim=0) * len(part) ** 0.5
