"""The model that is shipped, and how it is made a package's data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pixelis_agent.demo import draw, trained_types
from pixelis_agent.evaluate import evaluate
from pixelis_agent.learning.training import save_model
from pixelis_agent.models.digest import weights_digest
from pixelis_agent.models.load import CCRFT, SHIPPED, TINY, Lora, load_model, resolve
from pixelis_agent.models.processor import Processor
from pixelis_agent.policies.vlm import VLMPolicy
from pixelis_agent.splits import VALIDATION
from pixelis_agent.tiny import export
from pixelis_agent.tiny.train import Sizes, make, plan


def test_half_the_bytes_and_whole_numbers(
    tiny: Any, processor: Processor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tiny, processor, tmp_path / "run" / "model")
    size = export.export(tmp_path / "run", tmp_path / "out")
    assert size < 2.1 * sum(p.numel() for p in tiny.parameters())
    loaded = load_model(tmp_path / "out")
    for name, value in tiny.state_dict().items():
        again = loaded.model.state_dict()[name]
        assert again.dtype == torch.float32
        assert torch.equal(again, value.half().float()), name
    monkeypatch.setattr(export, "WEIGHTS_LIMIT", size - 1)
    with pytest.raises(ValueError, match="more than"):
        export.export(tmp_path / "run", tmp_path / "out")


def test_what_is_shipped_fits_and_loads() -> None:
    sizes = [
        file.stat().st_size
        for name in SHIPPED
        for file in Path(resolve(name)).glob("*.safetensors")
    ]
    assert len(sizes) == len(SHIPPED)
    assert sum(sizes) <= export.WEIGHTS_LIMIT
    card = json.loads((Path(resolve(TINY)) / "card.json").read_text())
    assert set(card["types"]) == set(card["evaluation"]["per_type"])
    for name in SHIPPED:
        assert load_model(name).model.dtype == torch.float32


def test_adapters_name_what_is_shipped_without_a_path(tmp_path: Path) -> None:
    for number, loaded in enumerate([load_model(TINY, lora=Lora(2, 4)), load_model(CCRFT)]):
        save_model(loaded.model, loaded.processor, tmp_path / str(number))
        saved = json.loads((tmp_path / str(number) / "adapter_config.json").read_text())
        assert saved["base_model_name_or_path"] == TINY
        again = load_model(tmp_path / str(number)).model.state_dict()
        assert all(torch.equal(v, again[k]) for k, v in loaded.model.state_dict().items())


def test_the_shipped_agent_reads_signs_and_its_episodes_replay(tmp_path: Path) -> None:
    """A twelfth of its evaluation at most; far above chance (.08) even on a bad day."""
    assert "text_read" in trained_types()
    loaded = load_model(TINY)
    report = evaluate(
        VLMPolicy(loaded.model, loaded.processor),
        env_kwargs={"types": ["text_read"]},
        indices=VALIDATION[:6],
        workers=0,
        out=tmp_path,
        progress=False,
    )
    assert (report.summary.score or 0) >= 0.5
    # What is written down says which weights those were.
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["played_with"]["weights"] == weights_digest(load_model(TINY).model)
    assert draw(tmp_path / "traces", tmp_path / "pictures", 2) == 2
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 2


@pytest.mark.slow
def test_the_making_goes_from_nothing_to_a_card_and_on(tmp_path: Path) -> None:
    """All stages, a hundredth of each: what comes of it knows nothing, but it is there."""
    sizes = Sizes(3, warm_steps=4, echoes=16, films=16, demonstrations=1, batch=8, tasks=2)
    result = make(tmp_path, 2, 0, sizes)
    assert result["n"] == 2
    shipped = tmp_path / "shipped"
    assert load_model(shipped / "early").model.dtype == torch.float32
    card = json.loads((shipped / "weights" / "card.json").read_text())
    assert card["evaluation"]["n"] == 2
    assert "| all | 2 |" in (shipped / "weights" / "README.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/model/*.safetensors")}
    assert len(before) == len(plan(tmp_path, 0, sizes))
    make(tmp_path, 2, 0, sizes)  # nothing is trained again
    assert before == {path: path.stat().st_mtime_ns for path in before}
