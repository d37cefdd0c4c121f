"""The README's block about the SDK, with a model that is at hand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from pixelis_agent.models.processor import Processor
from pixelis_agent.training import save_model

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_readme_block_runs_as_written(tiny: Any, processor: Processor, tmp_path: Path) -> None:
    save_model(tiny, processor, tmp_path / "model")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (block,) = [block for block in blocks if "pixelis_agent" in block]
    model, count = '"Qwen/Qwen3-VL-8B-Instruct", device_map="auto"', "episodes=100"
    assert model in block
    assert count in block
    # A random model's turns run to their limit: a short one will do.
    block = block.replace(model, '"model"').replace(count, "episodes=2")
    block = block.replace("loaded.processor)", "loaded.processor, max_new_tokens=4)")
    (tmp_path / "block.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "block.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^0\.0 ", done.stdout, re.MULTILINE), done.stdout
