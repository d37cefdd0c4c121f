"""Features of images moved towards what those looked like that a model was trained on.

In a place with other looks a vision tower's features have other means and deviations, and the
language model behind it no longer knows them. Each image's features are normalised again, channel
by channel, with moments that lie between the image's own and the known ones: covariate shift
adaptation (Schneider et al., 2020, arXiv 2006.16971) of single images. It takes no answers and no
gradient, and what becomes of an image depends on that image alone: bad ones harm no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pixelis_agent.images import Picture
from pixelis_agent.models.batch import base_model

Tensor = torch.Tensor
ALIGNMENT = "alignment.safetensors"
"""What it is called in a model's folder."""
_NAME = "alignment"
_LEAST = 1e-6  # a channel that never changes is left as it is


class Alignment(nn.Module):
    """Known moments of a vision tower's features, and how features are moved towards them.

    Args:
        means: Of each channel, float32 (hidden,), of the tower's output and then of each layer
            that is fed early (deepstack).
        deviations: The same.
        strength: How far, 0..1: 1 takes the moments of an image for those of its place, 0 trusts
            the known ones and changes nothing.

    Raises:
        ValueError: The strength is out of range.
    """

    def __init__(
        self, means: Iterable[Tensor], deviations: Iterable[Tensor], strength: float
    ) -> None:
        super().__init__()
        if not 0 <= strength <= 1:
            raise ValueError(f"strength {strength} must lie in 0..1")
        self.strength, self._layers = strength, 0
        for k, pair in enumerate(zip(means, deviations, strict=True)):
            self._layers = k + 1
            for name, value in zip(("mean", "deviation"), pair, strict=True):
                self.register_buffer(f"{name}_{k}", value, persistent=False)

    def forward(self, features: Tensor, layer: int) -> Tensor:
        """The features of one image moved, (tokens, hidden).

        y = (x - m) / d * deviation + mean, where m and d lie between mean and deviation of x
        (`strength`) and the known ones.

        Args:
            features: float (tokens, hidden).
            layer: 0 for the tower's output, k for the k-th early one.
        """
        x, a = features.float(), self.strength
        known, spread = (moment.to(x.device, x.dtype) for moment in self._moments(layer))
        mean = known.lerp(x.mean(0), a)
        deviation = spread.lerp(x.std(0, correction=0), a)
        moved = (x - mean) / deviation.clamp_min(_LEAST) * spread + known
        return torch.where(spread > _LEAST, moved, x).to(features.dtype)

    def attach(self, model: Any) -> None:
        """Aligns what the model's vision tower says from now on, whoever asks it.

        Raises:
            ValueError: The model has no tower of Qwen-VL's kind, or one of another size, or is
                aligned already.
        """
        tower = getattr(base_model(model), "visual", None)
        if tower is None:
            raise ValueError("only a model with a vision tower of Qwen-VL's kind can be aligned")
        if alignment_of(model) is not None:
            raise ValueError("the model is aligned already")
        size = model.config.get_text_config().hidden_size
        layers = 1 + len(getattr(tower, "deepstack_merger_list", ()))
        sizes = {len(mean) for mean, _ in map(self._moments, range(self._layers))}
        if sizes != {size} or self._layers != layers:
            raise ValueError(
                f"these moments are of {self._layers} layers of {sorted(sizes)} channels, the "
                f"tower has {layers} of {size}: they are another model's"
            )
        tower.add_module(_NAME, self)
        tower.register_forward_hook(self._after, with_kwargs=True)

    def save(self, path: Path) -> None:
        """Writes it to a file."""
        from safetensors.torch import save_file

        tensors = {name: value.cpu() for name, value in self.named_buffers()}
        save_file(tensors | {"strength": torch.tensor(self.strength, dtype=torch.double)}, path)

    @classmethod
    def load(cls, folder: Path) -> Alignment | None:
        """What is in a folder; None where nothing is."""
        from safetensors.torch import load_file

        if not (folder / ALIGNMENT).exists():
            return None
        found = load_file(folder / ALIGNMENT)
        layers = range(sum(name.startswith("mean_") for name in found))
        means, deviations = (
            [found[f"{name}_{k}"] for k in layers] for name in ("mean", "deviation")
        )
        return cls(means, deviations, float(found["strength"]))

    def _moments(self, layer: int) -> tuple[Tensor, Tensor]:
        return getattr(self, f"mean_{layer}"), getattr(self, f"deviation_{layer}")

    def _after(self, tower: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        """Aligns the tower's output, in which images lie one after another."""
        grids = kwargs["grid_thw"] if "grid_thw" in kwargs else args[1]
        sizes = (grids.prod(-1) // tower.config.spatial_merge_size**2).tolist()

        def each(features: Tensor, layer: int) -> Tensor:
            return torch.cat([self(image, layer) for image in features.split(sizes)])

        seen.pooler_output = each(seen.pooler_output, 0)
        early = getattr(seen, "deepstack_features", None)
        if early:
            seen.deepstack_features = [each(found, k + 1) for k, found in enumerate(early)]
        return seen


def alignment_of(model: Any) -> Alignment | None:
    """What a model was aligned by; None where it was not."""
    found: Alignment | None = getattr(getattr(base_model(model), "visual", None), _NAME, None)
    return found


def measured(
    look: Callable[[Picture], Sequence[Tensor]], images: Iterable[Picture], strength: float
) -> Alignment:
    """An alignment to images that the model knows.

    Args:
        look: Makes of an image its features, (tokens, hidden) for each layer, before alignment:
            `VisionCache.features`.
        images: At least one, such as the model was trained on.
        strength: Of the alignment.

    Raises:
        ValueError: There are no images.
    """
    sums: list[list[Tensor]] = []
    for image in images:
        layers = [layer.cpu().double() for layer in look(image)]
        sums = sums or [[torch.zeros((), dtype=torch.double)] * 3 for _ in layers]
        for of, x in zip(sums, layers, strict=True):
            added = torch.tensor(len(x)), x.sum(0), (x * x).sum(0)
            of[:] = [old + new for old, new in zip(of, added, strict=True)]
    if not sums:
        raise ValueError("without images there are no moments: give at least one")
    means = [total / count for count, total, _ in sums]
    squares = [square / count for count, _, square in sums]
    deviations = [(s - m * m).clamp_min(0).sqrt() for s, m in zip(squares, means, strict=True)]
    return Alignment([m.float() for m in means], [d.float() for d in deviations], strength)
