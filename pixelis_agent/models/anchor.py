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
            self._model.set_adapter(_ANCHOR, inference_mode=True)
            try:
                yield
            finally:
                self._model.set_adapter("default")


def load_with_anchor(name_or_path: str | Path, lora: Lora, **options: Any) -> tuple[Loaded, Anchor]:
    """A model to train by an adapter, and what it is now as its anchor.

    Args:
        name_or_path: As of `load_model`. An adapter is trained on, and its copy is the anchor; a
            whole model is given a fresh adapter, and is the anchor itself.
        lora: The fresh adapter's settings.
        options: As of `load_model`.
    """
    folder = Path(resolve(name_or_path))
    adapted = (folder / "adapter_config.json").is_file()
    if adapted:
        loaded = load_model(folder, **options)
    else:
        loaded = load_model(folder if folder.is_dir() else name_or_path, lora=lora, **options)
    anchor = Anchor(loaded.model, folder if adapted else None)
    # What is scored before an update and in it must be the same function.
    for module in loaded.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return loaded, anchor
