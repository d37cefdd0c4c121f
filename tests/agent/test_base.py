"""The first weights of `pixelis-tiny`."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cosine_similarity

from pixelis_agent.models.processor import Processor
from pixelis_agent.tiny.base import order_numbers
from pixelis_agent.tiny.tokenizer import NUMBERS


def test_near_numbers_are_alike_and_words_are_left_alone(processor: Processor) -> None:
    tokenizer: Any = processor.tokenizer
    first = torch.randn(len(tokenizer), 192, generator=torch.Generator().manual_seed(0)) * 0.02
    ordered = first.clone()
    order_numbers(ordered, tokenizer, seed=0)

    def alike(a: int, b: int) -> float:
        rows = ordered[torch.tensor(tokenizer.convert_tokens_to_ids([str(a), str(b)]))]
        return float(cosine_similarity(rows[0], rows[1], dim=0))

    for number in (20, 310, 480, 900):
        assert alike(number, number + 2) > alike(number, number + 100) + 0.2
        assert alike(number, number + 2) < 0.95  # and can be told apart
        assert alike(number, number + 2) > alike(number, 10 + (number + 450) % 980) + 0.4
    words = torch.tensor([id for t, id in tokenizer.get_vocab().items() if t not in NUMBERS])
    assert torch.equal(ordered[words], first[words])
    assert 0.8 < float(ordered.std() / first.std()) < 1.25
