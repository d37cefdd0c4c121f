"""The matrix of installs finds Pythons and extras, and says why a cell is not filled."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "test_matrix.py"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def matrix() -> Any:
    spec = importlib.util.spec_from_file_location("matrix", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["matrix"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel of which only the metadata are there."""
    file = tmp_path / "pixelis-0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        said = "Metadata-Version: 2.4\nName: pixelis\nVersion: 0\n"
        extras = "".join(f"Provides-Extra: {name}\n" for name in ("agent", "dev", "sb3"))
        archive.writestr("pixelis-0.dist-info/METADATA", said + extras)
    return file


def test_it_finds_a_python_that_runs(matrix: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    code = "import sys; print('{}.{}'.format(*sys.version_info))"
    said = subprocess.run([matrix.find(HERE), "-c", code], capture_output=True, text=True)
    assert said.stdout.strip() == HERE
    assert matrix.find("3.99") is None


def test_extras_are_the_wheels_own(matrix: Any, wheel: Path) -> None:
    assert matrix.extras(wheel) == ["agent", "sb3"]


def test_an_unknown_extra_is_refused_with_the_known_ones(wheel: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--wheel", str(wheel), "--extra", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no extra 'nothing': there are base, agent, sb3" in done.stderr


def test_a_python_that_is_not_there_is_skipped_with_the_reason(wheel: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--wheel", str(wheel), "--python", "3.99"]
    done = subprocess.run([*command, "--extra", "base"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| 3.99 | base | skipped | | | no Python 3.99 is found here |" in done.stdout


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("ERROR: No matching distribution found for torch==2.13.0", "skipped"),
        ("ERROR: Package 'x' requires a different Python: 3.10.13 not in '>=3.11'", "skipped"),
        ("ERROR: ResolutionImpossible: for help visit ...", "failed"),
        ("Killed", "failed"),
    ],
)
def test_what_has_no_release_is_skipped_and_all_else_fails(
    matrix: Any, said: str, status: str
) -> None:
    assert matrix.refusal(f"WARNING: something\n{said}\n")[0] == status


def test_a_build_for_another_torch_is_skipped_and_all_else_fails(matrix: Any) -> None:
    def said(*details: str) -> dict[str, Any]:
        row = {"subject": "extras", "name": "sam", "needed": True, "status": "failed"}
        return {"ok": False, "findings": [row | {"detail": detail} for detail in details]}

    torchvision = "RuntimeError: operator torchvision::nms does not exist"
    torchcodec = "OSError: Could not load this library: /x/torchcodec/libtorchcodec_image.so"
    assert matrix.verdict(said(torchvision, torchcodec), "sam")[0] == "skipped"
    status, seen = matrix.verdict(said(torchvision, "lacks x"), "sam")
    assert (status, seen.endswith("extras sam: lacks x")) == ("failed", True)
    assert matrix.verdict(said(), "sam")[0] == "failed"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_cell_is_filled(matrix: Any) -> None:
    found = matrix.find(HERE)
    if found is None:
        pytest.skip(f"Python {HERE} is neither pyenv's nor on the PATH")
    command = [sys.executable, str(SCRIPT), "--python", HERE, "--extra", "parquet"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"| {HERE} | parquet | ok |" in done.stdout
    assert "extras parquet" in done.stdout
