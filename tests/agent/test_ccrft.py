"""CC-RFT on the shipped agent: it starts at its anchor, goes on bit for bit, and two are one."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch

from pixelis_agent.ccrft import train
from pixelis_agent.config import CCRFTConfig, CuriosityConfig
from pixelis_agent.learning import training
from pixelis_agent.learning.training import LastGood
from pixelis_agent.log import read_metrics
from pixelis_agent.models.anchor import load_with_anchor
from pixelis_agent.models.load import TINY, Lora, load_model
from tests.agent.small import small_kwargs

SMALL = CCRFTConfig(
    model=TINY,
    out=Path("runs"),
    types=("text_read",),
    tools="oracle",
    iterations=2,
    tasks=2,
    group=2,
    redraws=1,
    micro_batch=2,
    max_tokens=96,
    workers=1,
    batch=4,
    checkpoint_every=1,
    evaluate_episodes=1,
    curiosity=CuriosityConfig(warm_up=0),
)
TIMES = {"seconds", "sampling_seconds", "tokens_per_second"}


def rows_of(out: Path) -> list[dict[str, Any]]:
    """The metrics, without what a clock said."""
    rows = read_metrics(out / "metrics.jsonl")
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


class Killed(Exception):
    """Stands for the end of the process."""


def test_it_learns_and_continues_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = replace(SMALL, out=tmp_path / "whole")
    train(whole)
    rows = rows_of(whole.out)
    assert [row["step"] for row in rows] == [1, 2, 2]  # the last is the evaluation's
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-5)  # at its anchor
    assert rows[1]["kl"] > 0
    assert rows[0]["grad_norm"] > 0
    assert rows[0]["reward_curiosity"] > 0
    assert 0 <= rows[-1]["held_out_score"] <= 1

    when = {"step": 0}
    write = training.Log.write

    def dying(self: Any, step: int, *args: Any) -> None:
        write(self, step, *args)
        if step == when["step"]:
            self.close()
            raise Killed

    monkeypatch.setattr(training.Log, "write", dying)
    again = replace(SMALL, out=tmp_path / "again")
    when["step"] = 2  # the first checkpoint is there, the second is not
    with pytest.raises(Killed):
        train(again)
    when["step"] = 0
    train(again)
    assert rows_of(again.out) == rows
    first, second = (load_model(out).model.state_dict() for out in (whole.out, again.out))
    assert any("lora" in name for name in first)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    train(replace(SMALL, out=tmp_path / "one"))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = ["--model", TINY, "--out", str(tmp_path / "two"), "--types", "text_read"]
    options += ["--tools", "oracle", "--iterations", "2", "--tasks", "2", "--group", "2"]
    options += ["--redraws", "1", "--micro-batch", "2", "--max-tokens", "96", "--workers", "1"]
    options += ["--batch", "4", "--evaluate-episodes", "1", "--curiosity.warm-up", "0"]
    command = [sys.executable, *launch, "-m", "pixelis_agent.cli", "ccrft", *options]
    subprocess.run(command, check=True, timeout=500)
    for row, twin in zip(rows_of(tmp_path / "one"), rows_of(tmp_path / "two"), strict=True):
        assert row.keys() == twin.keys()
        for key, value in row.items():
            assert value == pytest.approx(twin[key], rel=0.02, abs=1e-5), key
    one, two = (load_model(tmp_path / name).model.state_dict() for name in ("one", "two"))
    moved = [name for name in one if "lora_B" in name and one[name].any()]
    assert moved
    for name in moved:  # a step is as long as the learning rate, 3e-4
        torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=0)


def test_a_source_without_held_out_tasks_is_refused(tmp_path: Path) -> None:
    gym.register("Small-v0", "pixelis_env.env:PixelisEnv", kwargs=small_kwargs())
    try:
        with pytest.raises(ValueError, match="none is held out"):
            train(replace(SMALL, out=tmp_path, env="Small-v0", types=(), tools=None, workers=0))
    finally:
        gym.registry.pop("Small-v0")


def test_an_adapter_is_trained_on_and_its_copy_is_the_anchor(tmp_path: Path) -> None:
    lora = Lora(rank=4, alpha=8)
    loaded, _ = load_with_anchor(TINY, lora)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
    training.save_model(loaded.model, loaded.processor, tmp_path / "model")
    again, anchor = load_with_anchor(tmp_path, lora)
    tokens = torch.arange(20)[None]

    def scores() -> torch.Tensor:
        with torch.no_grad():
            return again.model(input_ids=tokens).logits

    start = scores()
    torch.testing.assert_close(start, loaded.model(input_ids=tokens).logits)
    trained = [p for name, p in again.model.named_parameters() if p.requires_grad]
    good = LastGood(again.model, torch.optim.AdamW(trained))
    with torch.no_grad():
        for weight in trained:
            weight.add_(0.05)
    assert not torch.allclose(scores(), start)
    with anchor.active():
        torch.testing.assert_close(scores(), start)
    assert [p for _, p in again.model.named_parameters() if p.requires_grad] == trained
    good.restore()
    assert torch.equal(scores(), start)
    training.save_model(again.model, again.processor, tmp_path / "saved")
    assert not (tmp_path / "saved" / "anchor").exists()


@pytest.mark.parametrize(
    "wrong", [{"group": 1}, {"tasks": 0}, {"temperature": 0}, {"minibatches": 5}]
)
def test_settings_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="CC-RFT needs"):
        train(replace(SMALL, out=tmp_path, **wrong))
