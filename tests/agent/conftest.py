"""A random `pixelis-tiny` and real episodes for it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

import pixelis_env  # noqa: F401 - registers the ids
from pixelis_agent.cota.generate import CotaConfig
from pixelis_agent.cota.generate import run as write_corpus
from pixelis_agent.models.processor import Processor
from pixelis_agent.tiny.base import make_base
from pixelis_agent.tiny.config import IMAGE, build_tiny
from pixelis_agent.tiny.tokenizer import token_ids, train_tokenizer
from pixelis_env.wrappers import ToolCall
from tests.agent.played import Tab, open_table
from tests.env.media_samples import write_video

torch.set_num_threads(1)

CORPUS = [
    "These are frames of a video.\nWhat does the yellow sign on the wall say?\n",
    "Please answer the question using a single word or phrase.\n",
    "e0 medium: video, 320x240 px, 7.000 s, 70 frames<0 seconds>",
    'The sign is at 3.9 seconds. <tool_call>{"name": "zoom", "arguments": {"time": 3.9, "box": '
    "[0, 20, 548, 484]}}</tool_call>",
    '<tool_call>{"name": "read_text", "arguments": {"source": "e1"}}</tool_call>',
    "<tool_response>e1 view: 176x113 px at [0, 17, 550, 488] of e0, 3.600 s</tool_response>",
    "<tool_response>e2 text_lines: no text</tool_response><answer>Hotel</answer>",
]


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[None]:
    """The benchmarks' scripts can be imported; their folder is no package."""
    folder = str(Path(__file__).resolve().parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)


@pytest.fixture(scope="session")
def processor() -> Processor:
    return Processor(train_tokenizer(CORPUS), Qwen2VLImageProcessorPil(**IMAGE))


@pytest.fixture(scope="session")
def tiny(processor: Processor) -> Any:
    """A `pixelis-tiny` with random weights; whoever trains it takes a copy."""
    return build_tiny(len(processor.tokenizer), token_ids(processor.tokenizer), seed=0).eval()


@pytest.fixture(scope="session")
def text_env() -> ToolCall:
    """Sign-reading tasks with exact, quick tools."""
    return ToolCall(gym.make("Pixelis-Text-v0", tools="oracle"))


@pytest.fixture(scope="session")
def write_call() -> Callable[..., str]:
    def write(name: str, **arguments: Any) -> str:
        call = json.dumps({"name": name, "arguments": arguments})
        return f"<tool_call>{call}</tool_call>"

    return write


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """An installed Chromium; of a module, since its event loop would be in others' way."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    names = ("chromium", "chromium-browser", "chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip("no Chromium on the path: apt-get install chromium")
    with playwright.sync_playwright() as started:
        # Chromium's sandbox refuses to run for root, as whom containers run tests.
        launched = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demonstrations of reading signs."""
    out = tmp_path_factory.mktemp("cota")
    write_corpus(CotaConfig(out=out, types=("text_read",), episodes=8, shard=8, tools="oracle"))
    return out


@pytest.fixture(scope="module")
def base(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose words are those of `corpus`."""
    out = tmp_path_factory.mktemp("base")
    make_base([corpus], None, out)
    return out


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short video of one's own."""
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", n=12)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A browser's tab at a table of `pixelis play`, without the browser."""
    made = open_table(tmp_path_factory.mktemp("play"))
    yield made
    made.table.close()
