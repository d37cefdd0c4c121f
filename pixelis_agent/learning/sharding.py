"""What is split over processes, as `accelerate launch` says (environments/accelerate).

With FSDP2 each process holds a part of every weight, gradient and moment. What is written to disk
is whole: the model loads anywhere, and one process can read the checkpoint too. With DeepSpeed's
ZeRO 1 and 2 weights are whole in every process, moments (and gradients) are split; a checkpoint
holds each process' part.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from typing import Any

import torch
from torch import nn

Tensor = torch.Tensor


class Layout(Enum):
    """What each process holds."""

    WHOLE = "whole"
    """All weights, gradients and moments."""
    SPLIT = "split"
    """A part of everything (FSDP2)."""
    ZERO = "zero"
    """All weights, and a part of the moments (DeepSpeed's ZeRO 1 and 2)."""


def check_launch() -> None:
    """To be called before anything is loaded.

    Raises:
        ValueError: accelerate was launched with FSDP 1.
    """
    if _asked("ACCELERATE_USE_FSDP") and os.environ.get("FSDP_VERSION", "1") != "2":
        raise ValueError("FSDP 1 is not supported: set fsdp_version: 2 (environments/accelerate)")


def check_alone(what: str) -> None:
    """To be called by what is one process, before anything is written.

    Args:
        what: Its name.

    Raises:
        ValueError: It was launched as one of several processes, which would all do the same.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise ValueError(
            f"{what} is one process, and was launched as {processes}: start it without torchrun "
            "and accelerate launch"
        )


def launched(mixed_precision: str = "no", *handlers: Any) -> Any:
    """The accelerator of a process, however it was launched.

    Args:
        mixed_precision: As of `Accelerator`.
        handlers: The `kwargs_handlers` of `Accelerator`.
    """
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    # Without it, processes that torchrun started on CPUs would not know of each other.
    cpu = not torch.accelerator.is_available()
    if cpu and _asked("ACCELERATE_USE_DEEPSPEED"):
        # Told that there are CPUs only, accelerate would leave DeepSpeed out without a word.
        cpu, handlers = False, (*handlers, InitProcessGroupKwargs(backend="gloo"))
    return Accelerator(cpu=cpu, mixed_precision=mixed_precision, kwargs_handlers=[*handlers])


def layout_of(accelerator: Any, whole: nn.Module | None, max_grad_norm: float) -> Layout:
    """What `prepare` will split, which it is readied for.

    accelerate splits by FSDP on accelerators only and would take whole models on CPUs without a
    word; here two CPU processes do what two GPUs would.

    Args:
        accelerator: Before its `prepare`.
        whole: A frozen part that each process keeps whole, to be used outside the model's forward.
        max_grad_norm: To which gradients are shortened; DeepSpeed does it by itself.

    Raises:
        ValueError: accelerate was launched with another stage of ZeRO, or with an offload.
    """
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    state = accelerator.state
    if state.distributed_type == DistributedType.DEEPSPEED:
        stage = state.deepspeed_plugin.zero_stage
        if stage not in (1, 2):
            raise ValueError(
                f"DeepSpeed's ZeRO {stage} is not supported: set zero_stage to 1 or 2, or launch "
                "with FSDP2, which splits weights too (environments/accelerate)"
            )
        offload = state.deepspeed_plugin.offload_optimizer_device
        if offload not in (None, "none"):
            raise ValueError(
                f"DeepSpeed's offload of the optimizer ({offload}) is not supported: it would take "
                "another optimizer than the one that is scheduled and kept"
            )
        # It asks for the size of micro-batches, which says nothing to it here.
        own = {"train_micro_batch_size_per_gpu": 1, "gradient_clipping": max_grad_norm}
        state.deepspeed_plugin.deepspeed_config.update(own)
        return Layout.ZERO
    if _asked("ACCELERATE_USE_FSDP") and state.distributed_type == DistributedType.MULTI_CPU:
        state.fsdp_plugin = FullyShardedDataParallelPlugin()
        state.distributed_type = DistributedType.FSDP
    if state.distributed_type != DistributedType.FSDP:
        return Layout.WHOLE
    if whole is not None:
        state.fsdp_plugin.ignored_modules = [whole]
    return Layout.SPLIT


def _asked(name: str) -> bool:
    """Whether `accelerate launch` has set a variable."""
    return os.environ.get(name, "false").lower() == "true"


class WholeWeights:
    """A split module's trained weights for a checkpoint. All processes take part in each call.

    Args:
        module: As `prepare` gave it.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def state_dict(self) -> dict[str, Any]:
        """Whole, on the CPU of the first process; empty in the others."""
        trained = {name for name, p in self._module.named_parameters() if p.requires_grad}
        state = whole_state(self._module)
        return {name: value for name, value in state.items() if name in trained}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Each process takes its parts of whole weights."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

        options = StateDictOptions(full_state_dict=True, strict=False)
        set_model_state_dict(self._module, dict(state), options=options)


class WholeMoments:
    """A split optimizer's state for a checkpoint. All processes take part in each call.

    Args:
        module: As `prepare` gave it.
        optimizer: The plain one, whose parameters `prepare` has split.
    """

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._module, self._optimizer = module, optimizer

    def state_dict(self) -> dict[str, Any]:
        """Whole, on the CPU of the first process; empty in the others."""
        from torch.distributed.checkpoint.state_dict import (
            StateDictOptions,
            get_optimizer_state_dict,
        )

        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return get_optimizer_state_dict(self._module, self._optimizer, options=options)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Each process takes its parts of whole state."""
        from torch.distributed.checkpoint.state_dict import (
            StateDictOptions,
            set_optimizer_state_dict,
        )

        options = StateDictOptions(full_state_dict=True)
        set_optimizer_state_dict(self._module, self._optimizer, dict(state), options=options)


class PartsOfAll:
    """What ZeRO 1 and 2 split, for a checkpoint. All processes take part in each call.

    Args:
        accelerator: What prepared it.
        optimizer: As `prepare` gave it.
    """

    def __init__(self, accelerator: Any, optimizer: Any) -> None:
        self._accelerator = accelerator
        self._zero = optimizer.optimizer  # accelerate's own is a thin cover
        # The parts travel over CPUs: together they may be more than an accelerator holds.
        self._over_cpus = torch.distributed.new_group(backend="gloo")

    def state_dict(self) -> dict[str, Any]:
        """The parts of all processes, in the first; empty in the others.

        A part has moments, and weights in full precision.
        """
        weights = [weights.cpu() for weights in self._weights()]
        own = {"moments": _on_cpu(self._zero.optimizer.state_dict()), "weights": weights}
        first = self._accelerator.is_main_process
        parts: list[Any] | None = [None] * self._accelerator.num_processes if first else None
        torch.distributed.gather_object(own, parts, dst=0, group=self._over_cpus)
        return {"parts": parts} if first else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Each process takes its part.

        Raises:
            ValueError: They are of another number of processes.
        """
        parts, here = state["parts"], self._accelerator.num_processes
        if len(parts) != here:
            raise ValueError(
                f"the checkpoint is of {len(parts)} DeepSpeed processes, here are {here}: continue "
                "with as many"
            )
        own = parts[self._accelerator.process_index]
        self._zero.optimizer.load_state_dict(own["moments"])
        for weights, kept in zip(self._weights(), own["weights"], strict=True):
            weights.copy_(kept)

    def _weights(self) -> list[Tensor]:
        """The process' part of each group of weights, in full precision."""
        return [weights.detach() for weights in self._zero.single_partition_of_fp32_groups]


def _on_cpu(state: Any) -> Any:
    if isinstance(state, Mapping):
        return {key: _on_cpu(value) for key, value in state.items()}
    return state.cpu() if isinstance(state, Tensor) else state


def whole_state(module: nn.Module) -> dict[str, Any]:
    """A split module's weights, whole, on the CPU of the first process; empty in the others.

    All processes must call it.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_model_state_dict(module, options=options)
