"""Weights known again by a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch


def adapter_digest(model: Any) -> str:
    """Hex SHA-256 of the weights of a model that are trained."""
    weights = model.named_parameters()
    return _digest((name, weight) for name, weight in weights if weight.requires_grad)


def weights_digest(model: Any) -> str:
    """Hex SHA-256 of all that a model computes with: weights, adapters, buffers that are saved."""
    return _digest(model.state_dict().items())


def _digest(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
