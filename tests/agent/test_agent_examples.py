"""The examples that need the agent SDK, and the notebook."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pixelis_agent.evaluate import evaluate
from pixelis_agent.models.align import measured
from pixelis_agent.models.batch import token_positions
from pixelis_agent.models.load import load_model, resolve
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.rollout import Rollout
from pixelis_env.env import PixelisEnv
from pixelis_env.wrappers import ToolCall

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOK = EXAMPLES / "tour.ipynb"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=1800,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_own_policy_reads_every_frame_and_answers() -> None:
    report = evaluate(
        load("own_policy").FrameReader(),
        "Pixelis-Text-v0",
        env_kwargs={"types": ["text_read"], "tools": "oracle"},
        episodes=3,
        workers=0,
        progress=False,
    )
    assert report.summary.chain_length == 8
    assert report.summary.answer_rate == 1
    assert report.summary.invalid_rate == 0
    assert report.summary.score is not None
    assert report.summary.score > 0


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    load("own_model").save_small_model(folder)
    return folder


@pytest.mark.parametrize("aligned", [False, True])
def test_the_own_model_sees_the_same_with_and_without_its_cache(small: Path, aligned: bool) -> None:
    """Of Qwen2.5-VL, whose tower gives no early features."""
    loaded = load_model(small)
    model, processor = loaded.model.eval(), loaded.processor
    env = ToolCall(PixelisEnv(family="text", tools="oracle"))
    images = env.reset(seed=0)[0]["images"][:2]
    fed = processor.feed("<|image_pad|> and <|image_pad|>?", images)
    rollout = Rollout()
    rollout.feed(fed)
    ids = torch.tensor([fed.tokens])
    inputs = {
        "input_ids": ids,
        "mm_token_type_ids": (ids == processor.image_id).int(),
        "position_ids": token_positions(model, processor, rollout)[:, None],
    }
    with torch.no_grad():
        before = model(**inputs, **processor.pixels(images)).logits
        if aligned:
            known = env.reset(seed=1)[0]["images"]
            look = VisionCache(model, processor).features
            measured(look, known, 0.5).attach(model)
        looked = model(**inputs, **processor.pixels(images)).logits
        kept = model(**inputs, **VisionCache(model, processor).inputs(images)).logits
        blind = model(**inputs, **processor.pixels(images[:1] * 2)).logits
    assert torch.allclose(looked, kept, atol=5e-3)  # kept as float16
    assert not torch.allclose(looked, blind, atol=5e-3)
    assert torch.equal(looked, before) is not aligned


@pytest.mark.slow
def test_the_own_model_is_played_with_and_trained(tmp_path: Path) -> None:
    said = run(str(EXAMPLES / "own_model.py"), cwd=tmp_path)
    words = said.split("loss ")[1].split()
    assert float(words[2]) < float(words[0])
    assert "score after: " in said


@pytest.mark.slow
def test_a_server_plays_in_the_example(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="transformers serve needs fastapi and uvicorn")
    pytest.importorskip("uvicorn", reason="transformers serve needs fastapi and uvicorn")
    from tests.agent.served import serving

    model = resolve("pixelis-tiny")
    with serving(Path(model)) as url:
        said = run(str(EXAMPLES / "server_policy.py"), url, "2", model, cwd=tmp_path)
    assert " 0 failures" in said
    assert " 0 requests" not in said


def outputs(notebook: dict[str, Any]) -> list[str]:
    """What the cells printed and showed as text, and which pictures."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            found += [kind for kind in data if kind.startswith("image/")]
            found.append("".join(output.get("text", []) or data.get("text/plain", [])))
    return [text for text in found if "at 0x" not in text]


def test_the_notebook_is_small_and_has_its_pictures() -> None:
    assert NOTEBOOK.stat().st_size < 300_000
    shown = outputs(json.loads(NOTEBOOK.read_text()))
    assert shown.count("image/png") >= 4
    assert any("score 1.0" in text for text in shown)


@pytest.mark.slow
def test_the_notebook_comes_out_as_it_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("nbconvert", reason="the extra docs is not installed")
    jupytext = pytest.importorskip("jupytext", reason="the extra docs is not installed")
    source, kept = jupytext.read(EXAMPLES / "tour.py"), json.loads(NOTEBOOK.read_text())
    assert [c["source"] for c in source.cells] == ["".join(c["source"]) for c in kept["cells"]]
    made = tmp_path / "tour.ipynb"
    run(
        *("-m", "jupytext", "--to", "ipynb", "--execute", "--output", str(made)),
        str(EXAMPLES / "tour.py"),
        cwd=tmp_path,
    )
    assert outputs(json.loads(made.read_text())) == outputs(kept)
