"""What a query is remembered by: one vector of its words and its pixels.

Each part is brought to length 1 before they are joined, so that the inner product of two vectors is
``share * cos(words) + (1 - share) * cos(pixels)``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Vector = NDArray[np.float32]


class Encoder(Protocol):
    """Turns a thing into numbers.

    Attributes:
        name: Tells encoders apart whose vectors do not compare.
        size: Numbers that it gives.
    """

    name: str
    size: int

    def __call__(self, given: Any) -> Vector:
        """float32 (size,), of any length; zeros where there is nothing to encode."""
        ...


class WordLlamaWords:
    """Text by WordLlama's static embeddings (MIT), whose weights are in its wheel.

    Args:
        size: 64, 128 or 256.
    """

    def __init__(self, size: int = 128) -> None:
        # Its import would set up the logging of the whole process.
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        import wordllama

        root.handlers[:] = handlers
        root.setLevel(level)
        # Its tokenizer is in the wheel too, but looked for in a cache only: that is its folder.
        home = Path(wordllama.__file__).parent
        self._model = wordllama.WordLlama.load(
            cache_dir=home, trunc_dim=None if size == 256 else size, disable_download=True
        )
        self.name, self.size = f"wordllama-l2-{size}", size

    def __call__(self, given: str) -> Vector:
        """As of `Encoder`."""
        if not given.strip():
            return np.zeros(self.size, np.float32)
        vector: Vector = self._model.embed([given])[0].astype(np.float32)
        return vector


class HybridEncoder:
    """Joins an encoder of words and one of images.

    Args:
        words: Encodes the question.
        pixels: Encodes the list of images.
        share: Of the words in the similarity, 0..1.

    Attributes:
        name: Of what it is made.
        size: Numbers of a vector.

    Raises:
        ValueError: `share` is out of range.
    """

    def __init__(self, words: Encoder, pixels: Encoder, share: float = 0.5) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share must be in 0..1, not {share}")
        self._words, self._pixels, self._share = words, pixels, share
        self.name = f"{share:g} {words.name} + {1 - share:g} {pixels.name}"
        self.size = words.size + pixels.size

    def __call__(self, question: str, images: Sequence[Image.Image]) -> Vector:
        """float32 (size,): of length 1 where there are words and images, shorter else."""
        words, pixels = _unit(self._words(question)), _unit(self._pixels(list(images)))
        joined = [np.sqrt(self._share) * words, np.sqrt(1 - self._share) * pixels]
        return np.concatenate(joined).astype(np.float32)


def _unit(vector: Vector) -> Vector:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector
