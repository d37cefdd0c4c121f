"""A real server for tests: `transformers serve` with a tiny Qwen3-VL that knows two turns by heart.

The stock processor of Qwen3-VL needs torchvision for videos, which the tests' CPU build of torch
does not have; so one without videos is registered in its place.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoProcessor,
    BatchFeature,
    ProcessorMixin,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from pixelis_agent.models.processor import Processor
from pixelis_agent.tiny.config import tiny_config
from pixelis_agent.tiny.tokenizer import token_ids

CALL = '<tool_call>{"name": "zoom", "arguments": {"box": [0, 250, 500, 750]}}</tool_call>'
ANSWER = "<answer>A</answer>"
FIRST = f"<think>It is small.</think>I look. {CALL}"


class ImagesOnly(ProcessorMixin):
    """Text and images to model inputs."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None):
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def __call__(self, text=None, images=None, **_: Any) -> BatchFeature:
        own = Processor(self.tokenizer, self.image_processor)
        nested = self.image_processor.fetch_images(images or [])
        flat = [i for group in nested for i in (group if isinstance(group, list) else [group])]
        fed = own.feed(text if isinstance(text, str) else text[0], flat)
        ids = torch.tensor([fed.tokens])
        return BatchFeature(
            {
                "input_ids": ids,
                "attention_mask": torch.ones_like(ids),
                "mm_token_type_ids": (ids == own.image_id).int(),
                **own.pixels(fed.images),
            }
        )


def save_parrot(
    processor: Processor, prompts: list[tuple[str, list[Any], str]], path: Path
) -> None:
    """Trains a very small Qwen3-VL to continue each prompt with its turn, and saves it.

    Args:
        processor: Its processor.
        prompts: Text up to the turn, its images, the turn.
        path: Where to.
    """
    config = tiny_config(len(processor.tokenizer), token_ids(processor.tokenizer))
    text, vision = config.text_config, config.vision_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 96, 192, 2
    vision.hidden_size, vision.intermediate_size, vision.depth = 32, 64, 1
    vision.num_heads, vision.out_hidden_size, vision.deepstack_visual_indexes = 2, 96, []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3VLForConditionalGeneration(config).float()
    model.model.visual.requires_grad_(False)
    examples = []
    for prompt, images, turn in prompts:
        fed = processor.feed(prompt, images)
        written = [*processor.tokenizer.encode(turn, add_special_tokens=False), processor.end_id]
        ids = torch.tensor([fed.tokens + written])
        kinds = (ids == processor.image_id).int()
        inputs = {"input_ids": ids, "mm_token_type_ids": kinds, **processor.pixels(images)}
        examples.append((inputs, torch.tensor(written)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
    for _ in range(300):
        losses = []
        for inputs, written in examples:
            logits = model(**inputs, logits_to_keep=len(written) + 1).logits[0, :-1]
            losses.append(torch.nn.functional.cross_entropy(logits, written, reduction="none"))
        # Whatever else it would write has less than half of the probability.
        if max(loss.max().item() for loss in losses) < 0.5:
            break
        optimizer.zero_grad()
        sum(loss.mean() for loss in losses).backward()
        optimizer.step()
    else:
        raise AssertionError("the model does not learn its turns")
    model.save_pretrained(path)
    processor.save(path)


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """The address of a running `transformers serve` with the model at `path`."""
    from transformers.cli.serve import Serve

    AutoProcessor.register(Qwen3VLConfig, ImagesOnly, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Serve(
        force_model=str(path), device="cpu", host="127.0.0.1", port=port, non_blocking=True
    )
    try:
        deadline = time.monotonic() + 30
        while not server.server.started:
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill_server()
