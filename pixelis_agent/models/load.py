"""Loading models: the shipped tiny one, a run of ours, a folder, or a hub id."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pixelis_agent.config import Dtype
from pixelis_agent.models.align import Alignment
from pixelis_agent.models.processor import Processor
from pixelis_env.errors import require

TINY = "pixelis-tiny"
EARLY = "pixelis-tiny-early"
"""What can copy, name and find, and has seen no demonstration."""

CCRFT = "pixelis-tiny-ccrft"
"""An adapter on the first, made by `pixelis ccrft`."""

SHIPPED = {TINY: "weights", EARLY: "early", CCRFT: "ccrft"}
"""The folders of what comes with the package, by name."""

# Every linear layer of the language model's blocks, in any of the Qwen-VL families; the vision
# tower has other names or another prefix and stays as it is.
LORA_TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


@dataclass(frozen=True)
class Lora:
    """A low-rank adapter (Hu et al., 2021) on the language model.

    Attributes:
        rank: Of the update, >= 1.
        alpha: The update is scaled by alpha / rank.
        dropout: 0..1.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0


@dataclass
class Loaded:
    """A model and its processor."""

    model: Any
    processor: Processor


def resolve(name_or_path: str | Path) -> str:
    """Where a model's files are: a folder that exists here, or what is taken for a hub id.

    A run's folder stands for the model in it.
    """
    if str(name_or_path) in SHIPPED:
        return str(files("pixelis_agent.tiny") / SHIPPED[str(name_or_path)])
    path = Path(name_or_path)
    inner = path / "model"
    return str(inner if inner.is_dir() else path)


def load_model(
    name_or_path: str | Path,
    *,
    adapter: str | Path | None = None,
    lora: Lora | None = None,
    dtype: Dtype = "auto",
    device_map: str | None = None,
    gradient_checkpointing: bool = False,
    image_options: dict[str, Any] | None = None,
) -> Loaded:
    """Loads an image-text-to-text model of transformers with its processor.

    Args:
        name_or_path: "pixelis-tiny", "pixelis-tiny-early", "pixelis-tiny-ccrft", a run's folder, a
            folder with a saved model or adapter, or a hub id such as "Qwen/Qwen3-VL-8B-Instruct".
        adapter: A saved adapter to put on it, kept trainable.
        lora: Make a fresh adapter instead; the model itself is frozen then.
        dtype: Of the weights; "auto": as they were saved; "nf4": those of the language model's
            layers in 4 bits, computed in bfloat16 (QLoRA, arXiv 2305.14314; extra `quantized`),
            the others, the vision tower's too, as they were saved.
        device_map: As in transformers, e.g. "auto" or "cuda:0"; default: the CPU.
        gradient_checkpointing: Trade a second forward for the memory of activations.
        image_options: In place of the saved settings of the image processor.

    Raises:
        ValueError: Both `adapter` and `lora`, or one of them for an adapter.
        OSError: Nothing is found under that name.
        MissingExtra: "nf4" without bitsandbytes.
    """
    if adapter is not None and lora is not None:
        raise ValueError("give a saved adapter or settings of a fresh one, not both")
    base, path = str(name_or_path), resolve(name_or_path)
    folder = Path(path)
    if (folder / "adapter_config.json").is_file():
        if adapter is not None:
            raise ValueError(f"{name_or_path} is an adapter itself: it takes no second one")
        if lora is not None:
            raise ValueError(
                f"{name_or_path} is an adapter itself: train it on, without a fresh one"
            )
        from peft import PeftConfig

        adapter, base = folder, PeftConfig.from_pretrained(path).base_model_name_or_path
        if not base:
            raise ValueError(f"the adapter {name_or_path} does not say which model it is for")
        path = resolve(base)
    if dtype == "nf4":
        require("4-bit weights", "quantized", "bitsandbytes")
    from transformers import AutoModelForImageTextToText

    options: dict[str, Any] = {"dtype": dtype, "device_map": device_map}
    if dtype == "nf4":
        from transformers import BitsAndBytesConfig

        options["dtype"] = "auto"
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype="bfloat16",
            llm_int8_skip_modules=[
                "model.visual",
                "lm_head",
            ],  # of 4 bits too, whatever its name says
        )
    model = AutoModelForImageTextToText.from_pretrained(path, **options)
    for module in model.modules() if dtype == "nf4" else ():
        # On some CPUs bitsandbytes (0.50) packs weights for inference at the first forward without
        # gradients; from then on no gradient passes through them, and nothing is raised.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    if base in SHIPPED:
        model.name_or_path = base  # what an adapter calls its base: it holds on any machine
    if gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    if lora is not None:
        model = add_lora(model, lora)
    elif adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter, is_trainable=True)
    found = (Alignment.load(Path(own)) for own in (adapter, path) if own is not None)
    alignment = next((one for one in found if one is not None), None)
    if alignment is not None:
        alignment.attach(model)
    return Loaded(model, Processor.load(path, **(image_options or {})))


def add_lora(model: Any, lora: Lora) -> Any:
    """The model with a fresh adapter on its language model; all else is frozen."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=LORA_TARGETS,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def hidden_size(model: Any) -> int:
    """The size of the hidden states that the language model gives."""
    return int(model.config.get_text_config().hidden_size)
