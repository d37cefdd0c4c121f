"""The README's block about the SDK."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_readme_block_runs_as_written(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (block,) = [block for block in blocks if "pixelis_agent" in block]
    count = "episodes=100"
    assert 'load_model("pixelis-tiny")' in block
    assert count in block
    (tmp_path / "block.py").write_text(block.replace(count, "episodes=4"))
    done = subprocess.run(
        [sys.executable, "block.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^[01]\.\d+ \(", done.stdout, re.MULTILINE), done.stdout
