"""Rollouts as one padded batch of model inputs; positions are the same whoever computes them.

Shapes: B rollouts, T tokens of the longest, of those that follow what is kept already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pixelis_agent.images import Picture
from pixelis_agent.models.kept import Kept, stack
from pixelis_agent.models.processor import Processor
from pixelis_agent.rollout import Rollout

Tensor = torch.Tensor


def token_positions(model: Any, processor: Processor, rollout: Rollout) -> Tensor:
    """Rotary positions of every token of a rollout.

    Computed by the model's own rule from the whole rollout, so that a token has the same position
    in a cached continuation, in a padded batch and alone. (`generate` without
    `mm_token_type_ids` would silently use others.)

    Returns:
        int64 (3, T) for models with positions in time, height and width, else (1, T).

    Raises:
        ValueError: There are other image tokens than the rollout's images have features.
    """
    tokens = torch.tensor([rollout.tokens])
    is_image = (tokens == processor.image_id).int()
    expected = sum(processor.image_tokens(image) for image in rollout.images)
    if int(is_image.sum()) != expected:
        raise ValueError(
            f"{int(is_image.sum())} image tokens for images of {expected} features: the rollout "
            "was made by another processor, or its record is damaged"
        )
    rule = getattr(base_model(model), "get_rope_index", None)
    if rule is None:
        return torch.arange(len(rollout))[None]
    grids = [(1, *processor.image_grid(image)) for image in rollout.images]
    positions: Tensor = rule(
        tokens,
        mm_token_type_ids=is_image,
        image_grid_thw=torch.tensor(grids) if grids else None,
        attention_mask=torch.ones_like(tokens),
    )[0]
    return positions[:, 0]


def base_model(model: Any) -> Any:
    """The model without its output head, from under any adapters."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner.model


@dataclass
class Batch:
    """Right-padded rollouts.

    Attributes:
        input_ids: int64 (B, T).
        attention_mask: int64 (B, T), 1 at tokens.
        position_ids: int64 (3 or 1, B, T).
        labels: int64 (B, T), `spans.Label`; 0 at padding.
        learn: bool (B, T), tokens that may carry loss.
        turns: int64 (B, T); -1 at padding.
        log_probs: float32 (B, T), as sampled.
        pixels: The model's inputs for all images in order (`pixel_values` and `image_grid_thw`,
            or features); may be empty.
        kept: What the model keeps of the tokens before these, of each row; default: there are
            none before.
    """

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    labels: Tensor
    learn: Tensor
    turns: Tensor
    log_probs: Tensor
    pixels: dict[str, Any]
    kept: Sequence[Kept] = ()

    @property
    def written(self) -> Tensor:
        """Which tokens the model wrote, bool (B, T)."""
        return self.labels >= 2

    @property
    def written_ids(self) -> Tensor:
        """The written tokens one after another, int64 (W,)."""
        return self.input_ids[:, 1:][self.written[:, 1:]]

    def inputs(self) -> dict[str, Any]:
        """Keyword arguments of the model.

        No mask where nothing is kept: a causal model's tokens never look at the padding to their
        right, and attention without a mask takes two thirds of the time.
        """
        positions = self.position_ids if len(self.position_ids) == 3 else self.position_ids[0]
        inputs = {"input_ids": self.input_ids, "position_ids": positions, **self.pixels}
        if any(map(len, self.kept)):
            cache, mask = stack(self.kept)
            mask = torch.cat([mask.to(self.attention_mask.device), self.attention_mask], 1)
            inputs |= {"past_key_values": cache, "attention_mask": mask}
        return inputs


def make_batch(
    model: Any,
    processor: Processor,
    rollouts: Sequence[Rollout],
    look: Callable[[Sequence[Picture]], dict[str, Any]] | None = None,
    kept: Sequence[Kept] = (),
) -> Batch:
    """Pads rollouts on the right into one batch, on the model's device.

    Args:
        model: With or without adapters.
        processor: Its processor.
        rollouts: At least one.
        look: Makes the model's inputs of images; default: `processor.pixels`.
        kept: What the model keeps of each rollout's first tokens, which are then left out;
            default: nothing.
    """
    device = next(model.parameters()).device
    starts = [len(part) for part in kept] or [0] * len(rollouts)
    images = [
        image
        for rollout, start in zip(rollouts, starts, strict=True)
        for image in later_images(processor, rollout, start)
    ]
    pixels = (look or processor.pixels)(images)
    if look is None:
        pixels = {key: value.to(device) for key, value in pixels.items()}
    length = max(len(rollout) - start for rollout, start in zip(rollouts, starts, strict=True))

    def pad(rows: list[list[Any]], fill: Any, dtype: torch.dtype) -> Tensor:
        cut = [row[start:] for row, start in zip(rows, starts, strict=True)]
        padded = [row + [fill] * (length - len(row)) for row in cut]
        return torch.tensor(padded, dtype=dtype, device=device)

    positions = [token_positions(model, processor, rollout) for rollout in rollouts]
    # Padding counts on: positions that begin anew would be taken for another sequence.
    position_ids = torch.arange(length).repeat(len(positions[0]), len(rollouts), 1)
    for row, (position, start) in enumerate(zip(positions, starts, strict=True)):
        position_ids[:, row, : position.shape[1] - start] = position[:, start:]
    return Batch(
        input_ids=pad([r.tokens for r in rollouts], processor.pad_id, torch.int64),
        attention_mask=pad([[1] * len(r) for r in rollouts], 0, torch.int64),
        position_ids=position_ids.to(device),
        labels=pad([[int(label) for label in r.labels] for r in rollouts], 0, torch.int64),
        learn=pad([r.learn for r in rollouts], False, torch.bool),
        turns=pad([r.turns for r in rollouts], -1, torch.int64),
        log_probs=pad([r.log_probs for r in rollouts], 0.0, torch.float32),
        pixels=pixels,
        kept=kept,
    )


def later_images(processor: Processor, rollout: Rollout, start: int) -> list[Picture]:
    """The images whose tokens are not among a rollout's first `start`."""
    count = sum(token == processor.image_id for token in rollout.tokens[start:])
    images: list[Picture] = []
    for image in reversed(rollout.images):
        if count <= 0:
            break
        count -= processor.image_tokens(image)
        images.insert(0, image)
    return images


def next_token_scores(
    model: Any, processor: Processor, hidden: Tensor, temperature: float = 1.0
) -> Tensor:
    """Log-probabilities of the next token, float32 (..., vocabulary).

    The one place that turns hidden states into a distribution, so that what was sampled and what
    is learned from are the same: tokens that must not be written have none.
    """
    logits = model.get_output_embeddings()(hidden).float()
    logits[..., processor.unwritable] = -torch.inf
    return (logits / temperature).log_softmax(-1)


def written_scores(
    model: Any, processor: Processor, batch: Batch, *, temperature: float = 1.0
) -> Tensor:
    """The whole distribution that the model gives each written token of a batch from.

    Only positions before a written token go through the output head: with a large vocabulary the
    logits of image tokens would cost more memory than the model.

    Args:
        model: With or without adapters.
        processor: The model's.
        batch: On the model's device.
        temperature: Of the distribution, > 0.

    Returns:
        float32 (W, vocabulary): log-probabilities; W written tokens in the order of `written_ids`.
    """
    hidden = base_model(model)(**batch.inputs(), use_cache=False).last_hidden_state
    before = batch.written[:, 1:]
    return next_token_scores(model, processor, hidden[:, :-1][before], temperature)


def token_log_probs(
    model: Any, processor: Processor, batch: Batch, *, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Log-probabilities that the model gives to the written tokens of a batch.

    Args:
        model: With or without adapters.
        processor: The model's.
        batch: On the model's device.
        temperature: Of the distribution, > 0.

    Returns:
        float32 (B, T): at written tokens their log-probability, 0.0 elsewhere; and bool (B, T),
        which tokens are written.
    """
    written = batch.written
    scores = written_scores(model, processor, batch, temperature=temperature)
    log_probs = torch.zeros(written.shape, dtype=torch.float32, device=scores.device)
    log_probs[:, 1:][written[:, 1:]] = scores.gather(-1, batch.written_ids[:, None])[:, 0]
    return log_probs, written
