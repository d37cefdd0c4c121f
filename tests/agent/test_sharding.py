"""What is split over processes, on two CPU processes, by the launch files that are shipped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from pixelis_agent.config import SFTConfig
from pixelis_agent.log import read_metrics
from pixelis_agent.models.load import load_model
from pixelis_agent.sft import train

LAUNCH = Path(__file__).resolve().parents[2] / "environments" / "accelerate"
# A free port: another run may have the usual one.
LAUNCHER = ["-m", "accelerate.commands.launch", "--main_process_port", "0", "--config_file"]


def command(file: str, corpus: Path, base: Path, out: Path, *more: str) -> list[str]:
    words = [*LAUNCHER, str(LAUNCH / file), "-m", "pixelis_agent.cli", "sft"]
    words += ["--data", str(corpus), "--model", str(base), "--batch", "4", "--micro-batch", "1"]
    return [*words, "--out", str(out), *more]


def launch(file: str, corpus: Path, base: Path, out: Path, *more: str) -> None:
    """Trains in two processes."""
    words = command(file, corpus, base, out, *more)
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    if done.returncode:
        raise ChildProcessError(done.stderr)


def trained(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = load_model(folder).model.state_dict()
    return state


@pytest.fixture(params=["cpu_fsdp.yaml", "cpu_zero2.yaml", "ZeRO 1"])
def split(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each launch file that splits, and the second with the stage before."""
    file: str = request.param
    if "z" in file.lower():
        pytest.importorskip("deepspeed")
    return other_stage(1, tmp_path) if file == "ZeRO 1" else file


def other_stage(stage: int, folder: Path) -> str:
    """A launch file for another stage of ZeRO."""
    file = folder / f"zero{stage}.yaml"
    file.write_text((LAUNCH / "cpu_zero2.yaml").read_text().replace("stage: 2", f"stage: {stage}"))
    return str(file)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_learn_the_same_whatever_each_holds(
    split: str, corpus: Path, base: Path, tmp_path: Path
) -> None:
    """Four episodes a step, with heads, in two processes with all of it and with parts."""
    options: tuple[str, ...] = ("--epochs", "2", "--checkpoint-every", "2")
    if split != "cpu_fsdp.yaml":
        options = (*options, "--evaluate-episodes", "1")
    launch("cpu_ddp.yaml", corpus, base, tmp_path / "ddp", *options)
    launch(split, corpus, base, tmp_path / "split", *options)
    whole, parts = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("ddp", "split"))
    assert [row["step"] for row in parts][:4] == [1, 2, 3, 4]
    assert [row.get("held_out_score") for row in parts] == [
        row.get("held_out_score") for row in whole
    ]
    whole, parts = whole[:4], parts[:4]
    for row, twin in zip(whole, parts, strict=True):
        assert twin["imitation"] == pytest.approx(row["imitation"], rel=1e-5)
        assert twin["grad_norm"] == pytest.approx(row["grad_norm"], rel=1e-4)
    assert parts[-1]["imitation"] < parts[0]["imitation"]
    before, ours, theirs = (trained(p) for p in (base, tmp_path / "split", tmp_path / "ddp"))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, atol=1e-5, rtol=0)
    assert any(not torch.equal(before[name], value) for name, value in ours.items())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_split_run_that_is_killed_goes_on(
    split: str, corpus: Path, base: Path, tmp_path: Path
) -> None:
    options = ("--no-heads", "--checkpoint-every", "1", "--epochs", "3")
    launch(split, corpus, base, tmp_path / "whole", *options)
    out = tmp_path / "again"
    process = subprocess.Popen(
        [sys.executable, *command(split, corpus, base, out, *options)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not [p for p in out.glob("checkpoint-*") if p.suffix != ".unfinished"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(read_metrics(out / "metrics.jsonl")) < 6
    launch(split, corpus, base, out, *options)
    rows, again = (read_metrics(p / "metrics.jsonl") for p in (tmp_path / "whole", out))
    assert again == rows
    for name, value in trained(out).items():
        assert torch.equal(value, trained(tmp_path / "whole")[name]), name
    if split == "cpu_fsdp.yaml":
        # One process reads the checkpoint too, and finds nothing left to do.
        config = SFTConfig(
            data=(corpus,),
            out=out,
            model=str(base),
            epochs=3,
            batch=4,
            micro_batch=1,
            heads=False,
            checkpoint_every=1,
        )
        assert train(config)["steps"] == 6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fresh_adapter_without_heads_has_matrices_alone(
    corpus: Path, base: Path, tmp_path: Path
) -> None:
    """DeepSpeed drops groups of the optimizer that are empty."""
    pytest.importorskip("deepspeed")
    options = ("--epochs", "1", "--lora-rank", "4", "--no-heads")
    launch("cpu_zero2.yaml", corpus, base, tmp_path / "run", *options)
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_zero_computes_in_half_and_keeps_weights_in_full_precision(
    corpus: Path, base: Path, tmp_path: Path
) -> None:
    pytest.importorskip("deepspeed")
    options = ("--epochs", "2", "--mixed-precision", "bf16", "--lora-rank", "4")
    launch("cpu_ddp.yaml", corpus, base, tmp_path / "ddp", *options)
    launch("cpu_zero2.yaml", corpus, base, tmp_path / "run", *options)
    whole, zero = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("ddp", "run"))
    for row, twin in zip(whole, zero, strict=True):
        assert twin["imitation"] == pytest.approx(row["imitation"], rel=1e-3)
        assert twin["grad_norm"] == pytest.approx(row["grad_norm"], rel=0.2)  # half too
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    trained = torch.load(checkpoint / "objective.pt", weights_only=True)
    assert {weight.dtype for weight in trained.values()} == {torch.bfloat16}
    parts = torch.load(checkpoint / "optimizer.pt", weights_only=True)["parts"]
    assert len(parts) == 2
    for part in parts:
        assert part["weights"]
        assert all(w.dtype == torch.float32 for w in part["weights"])
    sizes = [sum(w.numel() for w in part["weights"]) for part in parts]
    assert max(sizes) < 1.1 * min(sizes)
    count = sum(weight.numel() for weight in trained.values())
    assert count <= sum(sizes) < count + 100  # they are padded to be of one length


SCRIPT = """
import os

import torch
from accelerate import Accelerator
from torch.distributed.tensor import DTensor
from pixelis_agent.models.load import load_model
from pixelis_agent.learning.sharding import Layout, WholeWeights, layout_of

accelerator = Accelerator(cpu=True)
model = load_model({base!r}).model
tower = model.model.visual.requires_grad_(False)
before = {{name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}}
optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
assert layout_of(accelerator, tower, 1.0) is Layout.SPLIT
split, optimizer = accelerator.prepare(model, optimizer)
trained = {{name: p for name, p in split.named_parameters() if p.requires_grad}}
assert trained and all(isinstance(p, DTensor) for p in trained.values())
held = sum(p.to_local().numel() for p in trained.values())
every = sum(p.numel() for p in trained.values())
assert 0.45 < held / every < 0.55, held / every
assert not any(isinstance(p, DTensor) for p in tower.parameters())
state = WholeWeights(split).state_dict()
if accelerator.is_main_process:
    assert state.keys() == before.keys()
    assert all(torch.equal(state[name], before[name]) for name in before)
else:
    assert not state
os.write(1, f"split {{accelerator.process_index}}\\n".encode())  # at one go
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_process_holds_half(base: Path, tmp_path: Path) -> None:
    script = tmp_path / "split.py"
    script.write_text(SCRIPT.format(base=str(base)))
    done = subprocess.run(
        [sys.executable, *LAUNCHER, str(LAUNCH / "cpu_fsdp.yaml"), str(script)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.split("\n") if line.startswith("split")) == [
        "split 0",
        "split 1",
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_cannot_be_split_is_refused(corpus: Path, base: Path, tmp_path: Path) -> None:
    for option, named in (
        (("--optimizer", "muon"), "needs the optimizer adamw"),
        (("--evaluate-episodes", "4"), "needs evaluate_episodes 0"),
    ):
        with pytest.raises(ChildProcessError, match=named):
            launch("cpu_fsdp.yaml", corpus, base, tmp_path / "run", *option)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_zero_cannot_do_is_refused(corpus: Path, base: Path, tmp_path: Path) -> None:
    pytest.importorskip("deepspeed")
    for option, named in (
        (("--optimizer", "muon"), "needs the optimizer adamw"),
        (("--batch", "3"), "needs a batch that 2 processes share alike"),
        (("--dtype", "bfloat16"), "needs mixed_precision bf16, or no with float32 weights"),
    ):
        with pytest.raises(ChildProcessError, match=named):
            launch("cpu_zero2.yaml", corpus, base, tmp_path / "run", *option)
    with pytest.raises(ChildProcessError, match="ZeRO 3 is not supported: set zero_stage to 1"):
        launch(other_stage(3, tmp_path), corpus, base, tmp_path / "run")
    offload = tmp_path / "offload.yaml"
    offload.write_text(
        (LAUNCH / "cpu_zero2.yaml").read_text().replace("device: none", "device: cpu", 1)
    )
    with pytest.raises(ChildProcessError, match=r"offload of the optimizer \(cpu\) is not"):
        launch(str(offload), corpus, base, tmp_path / "run")


def test_the_launch_files_are_read_as_they_are_meant() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    kinds = {}
    for path in sorted(LAUNCH.glob("*.yaml")):
        loaded = load_config_from_file(str(path))
        kinds[path.stem] = loaded.distributed_type.value
        fields = yaml.safe_load(path.read_text()).get("fsdp_config", {})
        assert fields.get("fsdp_version", 2) == 2
    assert kinds == {
        "cpu_ddp": "MULTI_GPU",  # with use_cpu, as the file says
        "cpu_fsdp": "FSDP",
        "cpu_zero2": "DEEPSPEED",
        "gpu_ddp": "MULTI_GPU",
        "gpu_fsdp": "FSDP",
        "gpu_zero2": "DEEPSPEED",
    }


def test_fsdp_1_is_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="FSDP 1 is not"):
        train(SFTConfig(data=(tmp_path / "nothing",), out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()
