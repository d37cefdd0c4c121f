"""Fine-tuning: it lowers the loss, only where it should, and goes on bit for bit after a kill."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixelis_agent.config import SFTConfig
from pixelis_agent.cota.examples import Examples
from pixelis_agent.learning import training
from pixelis_agent.learning.losses import imitation_loss, token_weights
from pixelis_agent.learning.training import learning_curve
from pixelis_agent.log import read_metrics
from pixelis_agent.models.batch import base_model, make_batch, next_token_scores
from pixelis_agent.models.load import load_model
from pixelis_agent.sft import epoch_order, held_out_score, steps_of, train
from pixelis_agent.spans import LABEL_WEIGHTS


@pytest.fixture
def config(corpus: Path, base: Path, tmp_path: Path) -> SFTConfig:
    return SFTConfig(
        data=(corpus,),
        out=tmp_path / "run",
        model=str(base),
        epochs=3,
        batch=4,
        micro_batch=2,
        checkpoint_every=2,
    )


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A run dies when it logs the step in the dictionary."""
    when: dict[str, int] = {}
    write = training.Log.write

    def dying(self: Any, step: int, *args: Any) -> None:
        write(self, step, *args)
        if step == when.get("step"):
            self.close()
            raise Killed

    monkeypatch.setattr(training.Log, "write", dying)
    return when


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("muon", marks=pytest.mark.slow)])
def test_it_learns_and_continues_bit_for_bit(
    config: SFTConfig, tmp_path: Path, kill_at: dict[str, int], optimizer: Literal["adamw", "muon"]
) -> None:
    config = replace(config, optimizer=optimizer)
    assert train(config)["steps"] == 6
    rows = read_metrics(config.out / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["imitation"] < 0.92 * rows[0]["imitation"]
    whole = load_model(config.out).model.state_dict()

    again = replace(config, out=tmp_path / "again")
    for step in (1, 3, 4):  # before the first checkpoint, after it, and just before the second
        kill_at["step"] = step
        with pytest.raises(Killed):
            train(again)
    kill_at.clear()
    train(again)
    assert read_metrics(again.out / "metrics.jsonl") == rows
    for name, value in load_model(again.out).model.state_dict().items():
        assert torch.equal(value, whole[name]), name
    # A finished run has nothing left to do.
    train(again)
    assert read_metrics(again.out / "metrics.jsonl") == rows


def test_parts_of_a_batch_make_no_difference(config: SFTConfig, tmp_path: Path) -> None:
    config = replace(config, epochs=1, number_weight=10.0)
    train(config)
    train(replace(config, micro_batch=1, out=tmp_path / "other"))
    first, other = (read_metrics(p / "metrics.jsonl") for p in (config.out, tmp_path / "other"))
    for row, twin in zip(first, other, strict=True):
        assert row["imitation"] == pytest.approx(twin["imitation"], rel=1e-4)
        assert 0 < row["number"] == pytest.approx(twin["number"], rel=1e-3)
        # Some episodes aim at nothing: each target counts as much, whoever shares its part.
        for head in ("box", "reference", "pointing"):
            assert 0 < row[head] == pytest.approx(twin[head], rel=1e-3)
        assert row["grad_norm"] == pytest.approx(twin["grad_norm"], rel=1e-2)


def test_two_processes_are_one(config: SFTConfig, tmp_path: Path) -> None:
    """Four episodes a step in two processes, one with other heads idle, are four in one."""
    train(replace(config, epochs=1))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = ["--data", *map(str, config.data), "--model", config.model, "--epochs", "1"]
    options += ["--batch", "4", "--micro-batch", "2", "--out", str(tmp_path / "two")]
    command = [sys.executable, *launch, "-m", "pixelis_agent.cli", "sft", *options]
    subprocess.run(command, check=True, capture_output=True)
    first, other = (read_metrics(p / "metrics.jsonl") for p in (config.out, tmp_path / "two"))
    for row, twin in zip(first, other, strict=True):
        assert row["grad_norm"] == pytest.approx(twin["grad_norm"], rel=1e-2)
    trained, twin = (load_model(p).model.state_dict() for p in (config.out, tmp_path / "two"))
    for name, value in trained.items():
        torch.testing.assert_close(twin[name], value, atol=2e-4, rtol=0)
    # Each process has its own share of the first step: what it logs is not the whole.
    assert other[0]["imitation"] != pytest.approx(first[0]["imitation"], rel=1e-3)


def test_the_tower_stays_when_it_is_frozen(config: SFTConfig, base: Path, tmp_path: Path) -> None:
    before = base_model(load_model(base).model).visual.state_dict()
    train(replace(config, epochs=1))
    train(replace(config, epochs=1, freeze_vision=False, out=tmp_path / "free"))
    frozen, free = (
        base_model(load_model(p).model).visual.state_dict() for p in (config.out, tmp_path / "free")
    )
    assert all(torch.equal(before[name], frozen[name]) for name in before)
    assert any(not torch.equal(before[name], free[name]) for name in before)


def test_an_adapter_is_trained_alone(config: SFTConfig, base: Path) -> None:
    train(replace(config, epochs=1, lora_rank=4))
    tuned = load_model(config.out).model
    assert json.loads((config.out / "model" / "adapter_config.json").read_text())["r"] == 4
    plain = load_model(base).model.state_dict()
    inner = tuned.get_base_model().state_dict()
    assert all(torch.equal(value, inner[n]) for n, value in plain.items() if n in inner)
    adapters = [p for n, p in tuned.named_parameters() if "lora_B" in n]
    assert adapters
    assert any(p.abs().sum() > 0 for p in adapters)


def test_no_gradient_reaches_what_was_fed(corpus: Path, base: Path) -> None:
    """Only what the assistant wrote carries a gradient, as the dialogue's own marks say."""
    loaded = load_model(base)
    examples = Examples([corpus], loaded.processor)
    batch = make_batch(loaded.model, loaded.processor, [examples[k].rollout for k in range(2)])
    weights = token_weights(batch.labels, batch.learn, LABEL_WEIGHTS)
    hidden = base_model(loaded.model)(**batch.inputs()).last_hidden_state.detach().requires_grad_()
    scores = next_token_scores(loaded.model, loaded.processor, hidden[:, :-1])
    log_probs = scores.gather(-1, batch.input_ids[:, 1:, None])[..., 0]
    # Tokens that must not be written have no finite log-probability; they carry no weight.
    log_probs = torch.where(weights[:, 1:] > 0, log_probs, 0.0)
    imitation_loss(log_probs, weights[:, 1:]).backward()
    assert hidden.grad is not None
    carries = hidden.grad.abs().sum(-1)[:, :-1] > 0
    tokenizer = loaded.processor.tokenizer
    for ids, learned in zip(batch.input_ids, carries, strict=True):
        whole = tokenizer.decode(ids)
        written = re.findall(r"<\|im_start\|>assistant\n(.*?<\|im_end\|>)", whole, re.DOTALL)
        left = tokenizer.decode(ids[1:][learned])
        imitated = 0
        for turn in written:  # a slip is fed whole, what is imitated is so to the last token
            imitated += left.startswith(turn)
            left = left.removeprefix(turn)
        assert left == ""
        assert imitated > 1


@given(
    levels=st.lists(st.integers(1, 3), min_size=1, max_size=40),
    epochs=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_the_curriculum(levels: list[int], epochs: int, seed: int) -> None:
    config = SFTConfig(data=(), out=Path(), epochs=epochs, seed=seed, batch=4)
    kinds = sorted(set(levels))
    seen: list[set[int]] = []
    for epoch in range(epochs):
        order = epoch_order(levels, epoch, config)
        assert order == epoch_order(levels, epoch, config)
        assert len(set(order)) == len(order)
        seen.append({levels[k] for k in order})
        allowed = sorted(seen[-1])
        assert allowed == kinds[: len(allowed)]
    assert all(a <= b for a, b in zip(seen, seen[1:]))  # noqa: B905, RUF007
    assert seen[-1] == set(kinds)
    assert all(len(step) == 4 for step in steps_of(config, levels))


@given(steps=st.integers(2, 500))
def test_the_learning_rate_rises_once_and_ends_near_zero(steps: int) -> None:
    rates = [learning_curve(k, steps) for k in range(steps + 1)]
    assert all(0 <= rate <= 1 for rate in rates)
    peak = rates.index(max(rates))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-6)


def test_too_little_data(config: SFTConfig) -> None:
    with pytest.raises(ValueError, match="8 episodes do not fill one batch of 99"):
        train(replace(config, batch=99))


def test_it_keeps_the_best_model_and_stops_early(
    config: SFTConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scores are given, so that the best one is known; playing is tested elsewhere."""
    scores = iter([0.1, 0.5, 0.5, 0.4, 0.9])
    monkeypatch.setattr("pixelis_agent.sft.held_out_score", lambda *_: next(scores))
    result = train(replace(config, evaluate_every=1, evaluate_episodes=4, patience=2, heads=False))
    assert result == {"steps": 4, "score": 0.5}
    logged = [row for row in read_metrics(config.out / "metrics.jsonl") if "held_out_score" in row]
    assert [row["held_out_score"] for row in logged] == [0.1, 0.5, 0.5, 0.4]
    assert (config.out / "model" / "model.safetensors").exists()


def test_the_held_out_score_is_that_of_other_tasks(base: Path, corpus: Path) -> None:
    loaded = load_model(base)
    examples = Examples([corpus], loaded.processor)
    assert examples.played() == ("Pixelis-v0", {"types": ["text_read"], "tools": "oracle"})
    config = SFTConfig(data=(corpus,), out=Path(), evaluate_episodes=1)
    assert held_out_score(loaded.model, loaded.processor, examples, config) == 0.0
