"""What every training phase shares: the schedule, checkpoints, saved models."""

from __future__ import annotations

import copy
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import nn

from pixelis_agent.log import Log
from pixelis_agent.models.align import ALIGNMENT, alignment_of
from pixelis_agent.models.processor import Processor


def one_thread() -> None:
    """Torch computes on one thread, unless the environment says otherwise.

    On a machine that does something else too, two threads wait for each other: the same step took
    25 times as long. More cores are used by more processes.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def learning_curve(step: int, steps: int, warm_up: float = 0.05) -> float:
    """The share of the highest learning rate at a step: a linear warm-up, then a half cosine.

    Args:
        step: From 0.
        steps: Of the whole run.
        warm_up: Share of the steps that the warm-up takes.
    """
    rise = max(1, round(warm_up * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


_HIDDEN = re.compile(r"\.(layers|blocks)\.\d+\.|\.merger|\.deepstack_merger")
"""What lies between a network's first and last layer, by transformers' names."""


def make_optimizer(
    module: nn.Module,
    learning_rate: float,
    weight_decay: float,
    kind: Literal["adamw", "muon"] = "adamw",
) -> torch.optim.Optimizer:
    """The optimizer over what is trained; vectors (norms, biases) do not decay.

    Args:
        module: Its parameters that require gradients.
        learning_rate: The highest.
        weight_decay: Of matrices.
        kind: "adamw", or "muon" for the matrices of hidden layers (Jordan et al., 2024; step sizes
            matched to AdamW's as in Liu et al., arXiv 2502.16982) with AdamW for all else. To
            train small models from nothing, Muon took about half the steps.

    Raises:
        ValueError: Muon is not in this torch.
    """
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    hidden = [p for name, p in trained if p.ndim == 2 and _HIDDEN.search(name)]
    if kind == "adamw" or not hidden:
        hidden = []
    elif not hasattr(torch.optim, "Muon"):
        raise ValueError(f"Muon comes with torch 2.9, this is {torch.__version__}: choose adamw")
    taken = set(map(id, hidden))
    rest = [p for _, p in trained if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # Without the empty ones, which DeepSpeed drops, and a schedule would miss.
    groups = [group for group in groups if group["params"]] or groups
    adamw = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98))
    if not hidden:
        return adamw
    muon = torch.optim.Muon(
        hidden, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return Together(adamw, muon)


class Together(torch.optim.Optimizer):
    """Several optimizers as one: for a schedule, a checkpoint and accelerate.

    Args:
        parts: Each over parameters of its own.
    """

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self._parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """A step of each.

        Raises:
            ValueError: A closure was given: it would be called by each.
        """
        if closure is not None:
            raise ValueError("several optimizers together take no closure")
        for part in self._parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """The parts work on this one's state and on their share of its groups."""
        groups = iter(self.param_groups)
        for part in self._parts:
            part.state = self.state
            part.param_groups = [next(groups) for _ in part.param_groups]


class Checkpoints:
    """Where a run stands: trained weights, optimizer, schedule, random state and progress.

    A checkpoint is a folder that appears under its name only when it is whole, so a run that is
    killed at any moment continues from the one before. Frozen weights are not saved.

    Args:
        folder: Of the run.
        parts: What has `state_dict` and `load_state_dict`, by name; of modules only what is
            trained is kept.
    """

    def __init__(self, folder: Path, parts: Mapping[str, Any]) -> None:
        self._folder = folder
        self._parts = dict(parts)

    def save(self, progress: Any, *, write: bool = True) -> None:
        """Writes a checkpoint, then drops the one before; one of that step stays as it is.

        Args:
            progress: A dataclass of plain values with the field `step`.
            write: Whether this process does; where parts are split, all must call.
        """
        states = {name: _state(part) for name, part in self._parts.items()}
        if not write:
            return
        before = self._all()
        final = self._folder / f"checkpoint-{progress.step:08d}"
        if final in before:
            return
        unfinished = final.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for name, state in states.items():
            torch.save(state, unfinished / f"{name}.pt")
        torch.save(torch.get_rng_state(), unfinished / "random.pt")
        (unfinished / "progress.json").write_text(json.dumps(asdict(progress)))
        unfinished.rename(final)
        for old in before:
            shutil.rmtree(old)

    def load(self, progress: Any) -> bool:
        """Restores the newest checkpoint into the parts and `progress`; False where none is."""
        found = self._all()
        if not found:
            return False
        newest = found[-1]
        for name, part in self._parts.items():
            state = torch.load(newest / f"{name}.pt", map_location="cpu", weights_only=True)
            if isinstance(part, nn.Module):
                unknown = part.load_state_dict(state, strict=False).unexpected_keys
                if unknown:
                    raise ValueError(f"{newest} is of another model: it has {unknown[0]}")
            else:
                part.load_state_dict(state)
        torch.set_rng_state(torch.load(newest / "random.pt", weights_only=True))
        for name, value in json.loads((newest / "progress.json").read_text()).items():
            setattr(progress, name, value)
        return True

    def _all(self) -> list[Path]:
        return sorted(p for p in self._folder.glob("checkpoint-*") if p.suffix != ".unfinished")


def _state(part: Any) -> Any:
    if not isinstance(part, nn.Module):
        return part.state_dict()
    trained = {name for name, parameter in part.named_parameters() if parameter.requires_grad}
    return {name: value for name, value in part.state_dict().items() if name in trained}


class Judged(Protocol):
    """Where a run stands; `best_score` is that of the model that was kept."""

    step: int
    best_score: float


def keep_best(
    play: Callable[[], float], save: Callable[[], None], progress: Judged, log: Log, *, on: bool
) -> bool:
    """Plays held-out tasks and keeps the model if it is the best so far.

    Args:
        play: Gives the score; called in one process.
        save: Keeps the model; called in the same.
        progress: Of the run.
        log: Of the run.
        on: This process plays.

    Returns:
        Whether it is, in every process.
    """
    from accelerate.utils import broadcast_object_list

    score = 0.0
    if on:
        score = play()
        log.write(progress.step, {"held_out_score": score}, ("held_out_score",))
        if score > progress.best_score:
            save()
    (score,) = broadcast_object_list([score])
    better = score > progress.best_score
    progress.best_score = max(score, progress.best_score)
    return better


class LastGood:
    """A policy's trained weights and its optimizer as they last were good.

    Args:
        policy: Of it what requires gradients.
        optimizer: Of these weights.
        follower: What follows the policy, with `state_dict` and `load_state_dict`.
    """

    def __init__(
        self, policy: nn.Module, optimizer: torch.optim.Optimizer, follower: Any = None
    ) -> None:
        self._policy, self._optimizer, self._follower = policy, optimizer, follower
        self.take()

    def take(self) -> None:
        """Remembers them."""
        self._weights = {name: weight.detach().clone() for name, weight in self._trained()}
        self._moments = copy.deepcopy(self._optimizer.state_dict())
        self._followed = {} if self._follower is None else self._follower.state_dict()

    def restore(self) -> None:
        """Goes back to them."""
        with torch.no_grad():
            for name, weight in self._trained():
                weight.copy_(self._weights[name])
        # A copy: the optimizer goes on in what it is given.
        self._optimizer.load_state_dict(copy.deepcopy(self._moments))
        if self._follower is not None:
            self._follower.load_state_dict(self._followed)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"weights": self._weights, "moments": self._moments, "followed": self._followed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._weights, self._moments = state["weights"], state["moments"]
        self._followed = state.get("followed", self._followed)  # older ones had none

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((k, p) for k, p in self._policy.named_parameters() if p.requires_grad)


def save_model(
    model: Any, processor: Processor, folder: Path, state: Mapping[str, Any] | None = None
) -> None:
    """Writes model (or adapter) and processor; the folder appears, or is replaced, whole.

    Args:
        model: What was trained.
        processor: Its processor.
        folder: Where to.
        state: The model's weights, where it holds only a part of them itself.
    """
    unfinished, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for leftover in (unfinished, old):
        shutil.rmtree(leftover, ignore_errors=True)
    # Of a policy with an anchor beside it, the policy alone. Embeddings are not trained: without a
    # word peft would ask the hub whether they were.
    adapter = {"selected_adapters": ["default"], "save_embedding_layers": False}
    chosen: dict[str, Any] = adapter if hasattr(model, "peft_config") else {}
    model.save_pretrained(unfinished, state_dict=state, **chosen)
    processor.save(unfinished)
    alignment = alignment_of(model)
    if alignment is not None:
        alignment.save(unfinished / ALIGNMENT)
    if folder.exists():
        folder.rename(old)
    unfinished.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
