"""Loading: saved models, runs, adapters; and the reference model's shape without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3VLForConditionalGeneration

from pixelis_agent.learning.heads import Heads
from pixelis_agent.learning.training import save_model
from pixelis_agent.models.load import Lora, add_lora, hidden_size, load_model, resolve
from pixelis_agent.models.processor import Processor
from pixelis_agent.models.reference import reference_config


@pytest.fixture(scope="module")
def saved(tiny: Any, processor: Processor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "model"
    save_model(tiny, processor, folder)
    return folder


def test_a_saved_model_comes_back(tiny: Any, processor: Processor, saved: Path) -> None:
    for path in (saved, saved.parent):  # the model, and the run that holds it
        loaded = load_model(path)
        for name, value in tiny.state_dict().items():
            assert torch.equal(value, loaded.model.state_dict()[name])
        text = "Where is it? ☃ 12"
        assert loaded.processor.tokenizer.encode(text) == processor.tokenizer.encode(text)
        assert loaded.processor.image_processor.size == processor.image_processor.size
    assert load_model(saved, dtype="bfloat16").model.dtype == torch.bfloat16


def test_saving_again_replaces_the_whole_folder(
    tiny: Any, processor: Processor, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    save_model(tiny, processor, folder)
    (folder / "stale").touch()
    save_model(tiny, processor, folder)
    assert not (folder / "stale").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_an_adapter_finds_its_model(saved: Path, processor: Processor, tmp_path: Path) -> None:
    loaded = load_model(saved, lora=Lora(rank=2))
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.5)
    save_model(loaded.model, processor, tmp_path / "model")
    for again in (load_model(tmp_path), load_model(saved, adapter=tmp_path / "model")):
        state = again.model.state_dict()
        assert all(torch.equal(v, state[n]) for n, v in loaded.model.state_dict().items())
        assert any(p.requires_grad for p in again.model.parameters())
    for more in ({"lora": Lora()}, {"adapter": saved}):
        with pytest.raises(ValueError, match="is an adapter itself"):
            load_model(tmp_path, **more)  # type: ignore[arg-type]


def test_only_the_language_model_gets_adapters(saved: Path) -> None:
    model = load_model(saved, lora=Lora(rank=2), gradient_checkpointing=True).model
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained
    assert all("language_model" in name and "lora_" in name for name in trained)


def test_wrong_combinations(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not both"):
        load_model(saved, adapter=tmp_path, lora=Lora())
    with pytest.raises(OSError, match="nowhere"):
        load_model(tmp_path / "nowhere")


def test_names_of_models(tmp_path: Path) -> None:
    assert resolve("Qwen/Qwen3-VL-8B-Instruct") == "Qwen/Qwen3-VL-8B-Instruct"
    assert resolve("pixelis-tiny").endswith("weights")
    assert resolve(tmp_path) == str(tmp_path)


def test_the_reference_model_builds_with_our_adapters_and_heads() -> None:
    """On the meta device: shapes without memory, so that the big path cannot rot."""
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(reference_config())
        total = sum(p.numel() for p in model.parameters())
        model = add_lora(model, Lora(rank=16))
        heads = Heads(hidden_size(model))
    assert 8.7e9 < total < 8.9e9  # as published: 8.77 B
    adapted = [name for name, _ in model.named_modules() if name.endswith("lora_A.default")]
    assert len(adapted) == 36 * 7
    assert all(".language_model.layers." in name for name in adapted)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == 36 * 16 * sum(
        a + b
        for a, b in [(4096, 4096), (4096, 1024), (4096, 1024), (4096, 4096)]
        + [(4096, 12288)] * 2
        + [(12288, 4096)]
    )
    assert heads.boxes(torch.empty((3, 4096), device="meta")).shape == (3, 4)
