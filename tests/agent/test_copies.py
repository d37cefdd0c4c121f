"""A policy that travels plays as the model here, with the weights that it had when it left."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from pixelis_agent.collect import Collector
from pixelis_agent.models.anchor import load_to_adapt
from pixelis_agent.models.load import TINY, Loaded, Lora
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.policies.copies import CopiedPolicy, Recipe
from pixelis_agent.policies.vlm import VLMPolicy
from tests.agent.small import small_kwargs

RECIPE = Recipe(TINY, Lora(rank=4, alpha=8))
WAYS: Any = {"temperature": 1.0, "max_new_tokens": 12}


def moved(model: Any, seed: int) -> None:
    """What is trained, at other values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.3 * torch.randn(weight.shape, generator=generator)


def here(loaded: Loaded) -> VLMPolicy:
    """The policy that need not travel."""
    look = VisionCache(loaded.model, loaded.processor).inputs
    return VLMPolicy(loaded.model, loaded.processor, look=look, **WAYS)


def said(policy: Any) -> list[tuple[list[int], list[float]]]:
    """What a policy writes in two small episodes, asked about one at a time."""
    with Collector("Pixelis-v0", {**small_kwargs(), "max_steps": 3}, workers=0) as collector:
        played = sorted(collector.run(policy, [0, 1], batch=1), key=lambda one: one.position)
    rollouts = [one.episode.rollout for one in played]
    return [(rollout.tokens, rollout.log_probs) for rollout in rollouts if rollout is not None]


def test_it_plays_with_the_weights_that_it_left_with() -> None:
    loaded, _ = load_to_adapt(RECIPE.model, RECIPE.lora)
    moved(loaded.model, 0)
    first = pickle.dumps(CopiedPolicy(RECIPE, loaded.model, **WAYS))
    before = said(here(loaded))
    moved(loaded.model, 1)
    second, after = pickle.dumps(CopiedPolicy(RECIPE, loaded.model, **WAYS)), said(here(loaded))
    assert before != after
    assert said(pickle.loads(first)) == before
    assert said(pickle.loads(second)) == after
    # What is frozen stays where it is.
    frozen = sum(p.numel() for p in loaded.model.parameters() if not p.requires_grad)
    assert len(first) < 2 * frozen


def test_another_model_under_that_name_is_refused() -> None:
    loaded, _ = load_to_adapt(RECIPE.model, RECIPE.lora)
    policy = CopiedPolicy(Recipe(TINY, Lora(rank=8, alpha=16)), loaded.model, **WAYS)
    with pytest.raises(ValueError, match=r"is another model here .*lora_A.* does not fit"):
        said(policy)
