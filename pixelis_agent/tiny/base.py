"""`pixelis-tiny` before it has learned to act: its tokenizer, and weights with a warmed tower.

``python -m pixelis_agent.tiny.base --data DIR... --tower FILE --out DIR`` trains the tokenizer on
the corpora's texts and writes a folder that `load_model` reads.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelis_agent.cota.record import Corpus
from pixelis_agent.models.processor import Processor
from pixelis_agent.tiny.config import IMAGE, build_tiny
from pixelis_agent.tiny.tokenizer import NUMBERS, token_ids, train_tokenizer

NUMBER_SCALES = (5.0, 500.0)
"""The least and the largest distance over which embeddings of numbers stop being alike."""

MOST_TEXTS = 3000
"""Episodes of each corpus that the tokenizer is trained on: more change nothing."""


def corpus_texts(folders: Sequence[Path]) -> Iterator[str]:
    """What is said in the episodes of corpora."""
    for folder in folders:
        corpus = Corpus(folder)
        for k in range(0, len(corpus), max(1, len(corpus) // MOST_TEXTS)):
            for turn in corpus[k].turns:
                yield turn.text


def order_numbers(embeddings: Any, tokenizer: Any, seed: int) -> None:
    """Makes the first embeddings of numbers alike where the numbers are near, in place.

    A number from 10 up is a token of its own. From unrelated embeddings a model has to see every
    coordinate to be able to write it; from these, what it learns of 400 holds for 410. Half of each
    embedding are random Fourier features of the number (Rahimi and Recht, 2007), at scales of
    `NUMBER_SCALES`; the other half stays random, so that near numbers can be told apart.

    Args:
        embeddings: float32 (vocabulary, hidden), the input embeddings (and, tied, the output's).
        tokenizer: Tells which tokens are numbers.
        seed: Of the features.
    """
    import torch

    words = tokenizer.get_vocab()
    numbers = {int(text): words[text] for text in NUMBERS}  # a digit is rather a letter
    values = np.array(sorted(numbers))
    rng = np.random.default_rng(seed)
    size = embeddings.shape[1] // 2
    low, high = np.log(NUMBER_SCALES)
    scales = np.exp(rng.uniform(low, high, size))
    waves = np.cos(values[:, None] / scales + rng.uniform(0, 2 * np.pi, size))
    with torch.no_grad():
        rows = torch.tensor([numbers[value] for value in values])
        features = torch.from_numpy(np.sqrt(2) * waves).float()
        embeddings[rows, :size] = float(embeddings.std()) * features


def make_base(data: Sequence[Path], tower: Path | None, out: Path, seed: int = 0) -> None:
    """Writes the untrained model.

    Args:
        data: Corpora for the tokenizer.
        tower: Weights of the vision tower (`pixelis_agent.tiny.warmup`); None: random ones.
        out: The folder.
        seed: Of the weights.
    """
    from safetensors.torch import load_file
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer = train_tokenizer(corpus_texts(data))
    model = build_tiny(len(tokenizer), token_ids(tokenizer), seed)
    order_numbers(model.get_input_embeddings().weight, tokenizer, seed)
    if tower is not None:
        model.model.visual.load_state_dict(load_file(tower))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(out)
    Processor(tokenizer, Qwen2VLImageProcessorPil(**IMAGE)).save(out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m pixelis_agent.tiny.base", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="corpora")
    parser.add_argument("--tower", type=Path, help="weights of the vision tower")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    given = parser.parse_args(arguments)
    make_base(given.data, given.tower, given.out, given.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
