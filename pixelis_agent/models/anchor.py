"""A policy and the policy that it must stay near, as adapters over one base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pixelis_agent.models.load import Loaded, Lora, load_model, resolve

_ANCHOR = "anchor"


class Anchor:
    """Lets a model compute as it did before training: no second copy of its weights.

    Args:
        model: A peft model.
        adapter: The adapter that it began with; None: none, its base is the anchor.
    """

    def __init__(self, model: Any, adapter: Path | None) -> None:
        self._model, self._adapter = model, adapter
        if adapter is not None:
            model.load_adapter(adapter, _ANCHOR, is_trainable=False)
            model.set_adapter("default")

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within it the model is the anchor; without gradients."""
        with torch.no_grad():
            if self._adapter is None:
                with self._model.disable_adapter():
                    yield
                return
            with _as_anchor(self._model):
                yield


class Ema(Anchor):
    """The moving average of a policy's adapter, as a second adapter over the same base.

    Args:
        model: A peft model; the average begins as its adapter.
        decay: Share of the average that a step leaves, 0..1.
    """

    def __init__(self, model: Any, decay: float) -> None:
        self._model, self._adapter, self._decay = model, None, decay
        model.add_adapter(_ANCHOR, model.peft_config["default"])
        model.set_adapter("default")
        own = dict(model.named_parameters())
        self._pairs = {
            name: (own[name.replace(f".{_ANCHOR}.", ".default.")], average)
            for name, average in own.items()
            if f".{_ANCHOR}." in name
        }
        self._move(0.0)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within it the model is the average; without gradients."""
        with torch.no_grad(), _as_anchor(self._model):
            yield

    def step(self) -> None:
        """Moves the average towards the policy."""
        self._move(self._decay)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The average, for a checkpoint."""
        return {name: average.detach().clone() for name, (_, average) in self._pairs.items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """From a checkpoint."""
        with torch.no_grad():
            for name, (_, average) in self._pairs.items():
                average.copy_(state[name])

    @torch.no_grad()
    def _move(self, decay: float) -> None:
        for own, average in self._pairs.values():
            average.lerp_(own, 1 - decay)


@contextmanager
def _as_anchor(model: Any) -> Iterator[None]:
    model.set_adapter(_ANCHOR, inference_mode=True)
    try:
        yield
    finally:
        model.set_adapter("default")


def load_to_adapt(
    name_or_path: str | Path, lora: Lora, **options: Any
) -> tuple[Loaded, Path | None]:
    """A model to train by an adapter: its own where it is one, else a fresh one.

    What is scored before an update and in it must be the same function: there is no dropout.

    Args:
        name_or_path: As of `load_model`.
        lora: The fresh adapter's settings.
        options: As of `load_model`.

    Returns:
        The model, and the folder of the adapter that it began with; of a fresh one there is none.
    """
    folder = Path(resolve(name_or_path))
    adapted = (folder / "adapter_config.json").is_file()
    if adapted:
        loaded = load_model(folder, **options)
    else:
        loaded = load_model(folder if folder.is_dir() else name_or_path, lora=lora, **options)
    for module in loaded.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return loaded, folder if adapted else None


def load_with_anchor(name_or_path: str | Path, lora: Lora, **options: Any) -> tuple[Loaded, Anchor]:
    """A model to train by an adapter, and what it is now as its anchor.

    Args:
        name_or_path: As of `load_model`. An adapter is trained on, and its copy is the anchor; a
            whole model is given a fresh adapter, and is the anchor itself.
        lora: The fresh adapter's settings.
        options: As of `load_model`.
    """
    loaded, adapter = load_to_adapt(name_or_path, lora, **options)
    return loaded, Anchor(loaded.model, adapter)


def load_with_ema(
    name_or_path: str | Path, lora: Lora, decay: float, **options: Any
) -> tuple[Loaded, Ema]:
    """As `load_with_anchor`, with the moving average of the adapter as its anchor."""
    loaded, _ = load_to_adapt(name_or_path, lora, **options)
    return loaded, Ema(loaded.model, decay)
