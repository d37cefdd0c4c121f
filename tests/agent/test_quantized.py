"""Frozen weights in 4 bits, by the real bitsandbytes: smaller, nearly the same, trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pixelis_agent.cli import main
from pixelis_agent.config import SFTConfig
from pixelis_agent.cota.examples import Examples
from pixelis_agent.log import read_metrics
from pixelis_agent.models.batch import base_model, make_batch, token_log_probs
from pixelis_agent.models.load import TINY, Lora, load_model
from pixelis_agent.sft import train

pytest.importorskip("bitsandbytes")


def test_it_is_smaller_and_says_nearly_the_same(corpus: Path) -> None:
    whole, small = load_model(TINY), load_model(TINY, dtype="nf4")
    layers = "language_model.layers."
    sizes = [
        sum(p.nbytes for n, p in loaded.model.named_parameters() if layers in n)
        for loaded in (whole, small)
    ]
    assert sizes[1] < sizes[0] / 6
    towers = [base_model(loaded.model).visual.state_dict() for loaded in (whole, small)]
    assert all(torch.equal(towers[1][name], value) for name, value in towers[0].items())
    rollout = Examples([corpus], whole.processor)[0].rollout
    said = []
    for loaded in (whole, small):
        batch = make_batch(loaded.model, loaded.processor, [rollout])
        with torch.no_grad():
            scores, written = token_log_probs(loaded.model, loaded.processor, batch)
            said.append(scores[written])
    assert not torch.equal(*said)
    assert (said[0] - said[1]).abs().mean() < 0.1


def test_gradients_pass_through_it_after_it_has_played(corpus: Path) -> None:
    """The loss changes along the gradient as the gradient says."""
    loaded = load_model(TINY, dtype="nf4", lora=Lora(4))
    model, processor = loaded.model.eval(), loaded.processor
    batch = make_batch(model, processor, [Examples([corpus], processor)[0].rollout])

    def loss() -> torch.Tensor:
        scores, written = token_log_probs(model, processor, batch)
        return -scores[written].mean()

    own = [p for n, p in model.named_parameters() if "lora_B" in n]
    assert own
    for _ in range(2):  # before and after a forward without gradients
        before = loss()
        slopes = torch.autograd.grad(before, own)
        steps = [slope / max(slope.norm(), 1e-12) for slope in slopes]
        expected = sum(float((s * d).sum()) for s, d in zip(slopes, steps, strict=True))
        ends = []
        with torch.no_grad():
            for sign in (1, -1):
                for weight, step in zip(own, steps, strict=True):
                    weight.add_(step, alpha=sign * 0.02)
                ends.append(float(loss()))
                for weight, step in zip(own, steps, strict=True):
                    weight.sub_(step, alpha=sign * 0.02)
        assert (ends[0] - ends[1]) / 0.04 == pytest.approx(expected, rel=0.1)


def test_an_adapter_is_trained_on_it(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = SFTConfig(
        data=(corpus,), out=tmp_path / "run", epochs=4, batch=4, lora_rank=4, dtype="nf4",
        learning_rate=3e-3,
    )  # fmt: skip
    train(config)
    losses = [row["imitation"] for row in read_metrics(config.out / "metrics.jsonl")]
    assert sum(losses[-2:]) < sum(losses[:2])
    # What is saved is an adapter, for weights of any precision.
    for dtype in ("nf4", "float32"):
        state = load_model(config.out, dtype=dtype).model.state_dict()  # type: ignore[arg-type]
        assert any("lora_B" in name and value.any() for name, value in state.items())
    fresh = load_model(TINY, dtype="nf4", lora=Lora(4)).model.state_dict()
    trained = load_model(config.out, dtype="nf4").model.state_dict()
    assert all(torch.equal(trained[n], v) for n, v in fresh.items() if "lora" not in n)

    words = ["sft", "--data", str(corpus), "--dtype", "nf4", "--out", str(tmp_path / "other")]
    assert main(words) == 2
    assert "weights in 4 bits are not trained: add --lora-rank" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["ccrft", "ttrl"])
def test_the_other_phases_run_on_it(phase: str, tmp_path: Path) -> None:
    words = [phase, "--model", TINY, "--dtype", "nf4", "--types", "text_read", "--tools", "oracle"]
    words += ["--group", "3", "--max-steps", "4", "--workers", "1", "--out", str(tmp_path)]
    words += {
        "ccrft": ["--iterations", "2", "--tasks", "2", "--redraws", "0"],
        "ttrl": ["--updates", "2", "--queries", "2", "--least-margin", "0", "--shift", "fonts"],
    }[phase]
    assert main(words) == 0
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert rows[1]["kl"] > 0
