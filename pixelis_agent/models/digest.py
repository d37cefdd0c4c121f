"""Weights known again by a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch

from pixelis_agent.models.align import alignment_of


def adapter_digest(model: Any) -> str:
    """Hex SHA-256 of the weights of a model that are trained."""
    weights = model.named_parameters()
    return _digest((name, weight) for name, weight in weights if weight.requires_grad)


def weights_digest(model: Any) -> str | None:
    """Hex SHA-256 of what a model computes with: weights, adapters, and how images are aligned.

    None of a model whose weights are not all in memory.
    """
    tensors = dict(model.state_dict())
    aligned = alignment_of(model)
    if aligned is not None:  # its moments are no part of the model's own state
        moments = dict(aligned.named_buffers()) | {"strength": torch.tensor(aligned.strength)}
        tensors |= {f"alignment.{name}": tensor for name, tensor in moments.items()}
    if any(tensor.is_meta for tensor in tensors.values()):
        return None
    return _digest(tensors.items())


def _digest(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
