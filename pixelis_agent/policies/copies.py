"""A policy that is trained here and plays elsewhere: only what is trained travels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from pixelis_agent.config import Dtype
from pixelis_agent.models.anchor import load_to_adapt
from pixelis_agent.models.load import Loaded, Lora
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.policies.base import Episode, Turn
from pixelis_agent.policies.vlm import VLMPolicy


@dataclass(frozen=True)
class Recipe:
    """How a process comes to the weights that are not trained.

    Attributes:
        model: As of `load_to_adapt`; a path must exist, as it is, wherever the policy plays.
        lora: As of `load_to_adapt`.
        dtype: As of `load_to_adapt`.
        accelerated: Play on the accelerator of the process, instead of its CPU.
    """

    model: str
    lora: Lora
    dtype: Dtype = "auto"
    accelerated: bool = False


class CopiedPolicy:
    """Plays as a model did when this was made, in whatever process it is unpickled.

    The first of a process loads the frozen weights, which stay for those that follow.

    Args:
        recipe: Of what is frozen.
        model: Made by that recipe, and trained since. Its vision tower is frozen.
        temperature: As of `VLMPolicy`.
        max_new_tokens: As of `VLMPolicy`.
    """

    needs_oracle = False
    name = "vlm"

    def __init__(
        self, recipe: Recipe, model: Any, *, temperature: float, max_new_tokens: int
    ) -> None:
        self._recipe = recipe
        self._weights = {
            name: weight.detach().cpu().clone()
            for name, weight in model.named_parameters()
            if weight.requires_grad
        }
        self._temperature, self._max_new_tokens = temperature, max_new_tokens
        self._player: VLMPolicy | None = None

    def act(self, episodes: Sequence[Episode]) -> list[Turn]:
        """As of `Policy`.

        Raises:
            ValueError: What the recipe loads here is another model.
        """
        if self._player is None:
            self._player = self._play()
        return self._player.act(episodes)

    def finish(self, episode: Episode) -> None:
        """As of `Policy`."""
        episode.state = None

    def __getstate__(self) -> dict[str, Any]:
        """All but the player, which each process makes for itself."""
        return self.__dict__ | {"_player": None}

    def _play(self) -> VLMPolicy:
        loaded, vision = _frozen(self._recipe)
        _put(self._weights, loaded.model, self._recipe)
        vision.clear()
        return VLMPolicy(
            loaded.model,
            loaded.processor,
            temperature=self._temperature,
            max_new_tokens=self._max_new_tokens,
            look=vision.inputs,
        )


@lru_cache(maxsize=1)
def _frozen(recipe: Recipe) -> tuple[Loaded, VisionCache]:
    loaded, _ = load_to_adapt(recipe.model, recipe.lora, dtype=recipe.dtype)
    if recipe.accelerated:
        loaded.model.to(torch.accelerator.current_accelerator())
    return loaded, VisionCache(loaded.model, loaded.processor)


def _put(weights: Mapping[str, torch.Tensor], model: Any, recipe: Recipe) -> None:
    own = dict(model.named_parameters())
    for name, weight in weights.items():
        if name not in own or own[name].shape != weight.shape:
            raise ValueError(
                f"{recipe.model!r} is another model here than where it is trained: {name} of shape "
                f"{tuple(weight.shape)} does not fit"
            )
        with torch.no_grad():
            own[name].copy_(weight)
