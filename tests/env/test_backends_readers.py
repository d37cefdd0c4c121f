"""The readers beside the default: MMOCR in its worker, Tesseract by its program."""

from __future__ import annotations

import pickle
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelis_env.actions import ReadText
from pixelis_env.errors import BackendError, InvalidCall
from pixelis_env.evidence import TextLines
from pixelis_env.media.base import ArrayMedia
from pixelis_env.tools import Toolbox
from pixelis_env.tools.backends import _mmocr_serve as serve
from pixelis_env.tools.backends.mmocr import ENVIRONMENT
from pixelis_env.tools.cache import RESULTS
from pixelis_env.workspace import Workspace
from tests.env.test_backend_contract import needs_tesseract
from tests.laws.law import LAWS
from tests.laws.scenes import page

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture
def mmocr(tmp_path: Path) -> dict[str, Any]:
    """The real backend and worker; in the worker's environment a stand-in takes MMOCR's place."""
    python = tmp_path / "python"
    # Called as: python -I _worker_main.py SERVE ARGUMENT
    stand_in = HERE / "mmocr_stand_in.py"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$1" "$2" "{stand_in}" "$4"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return {"name": "mmocr", "det": str(tmp_path), "python": str(python), "timeout_s": 20.0}


def _read(spec: dict[str, Any], colour: tuple[int, int, int], size: int = 40) -> TextLines:
    RESULTS.clear()
    frame = np.full((size, 2 * size, 3), colour, np.uint8)
    found = Toolbox({"read_text": spec}).run(ReadText(), Workspace(ArrayMedia(frame)))
    assert isinstance(found, TextLines)
    return found


def _starts(folder: Path) -> int:
    return len((folder / "starts").read_text().split())


def test_lines_come_back_in_source_pixels(mmocr: dict[str, Any], tmp_path: Path) -> None:
    for size in (40, 8, 3000):  # as it is, enlarged, reduced
        found = _read(mmocr, (9, 9, 9), size)
        assert [line.text for line in found.lines] == ["grey 9"]
        corners = ((0, 0), (2 * size, 0), (2 * size, size / 2), (0, size / 2))
        assert found.lines[0].quad == tuple(pytest.approx(corner) for corner in corners)
        assert found.lines[0].confidence == 1.0
    assert _starts(tmp_path) == 1  # toolboxes share the worker


def test_a_crash_is_survived_by_asking_again(mmocr: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "once").touch()
    assert _read(mmocr, (0, 0, 0)).text == "grey 0"
    assert _starts(tmp_path) == 2


def test_a_region_that_always_crashes_is_refused(mmocr: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidCall, match="gave up on this region of 80x40 pixels"):
        _read(mmocr, (0, 0, 0))
    assert _starts(tmp_path) == 2
    assert _read(mmocr, (7, 7, 7)).text == "grey 7"
    assert _starts(tmp_path) == 3


def test_a_hung_call_is_ended_and_not_asked_again(mmocr: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidCall, match="gave up"):
        _read({**mmocr, "timeout_s": 0.5}, (255, 255, 255))
    assert _starts(tmp_path) == 1
    assert _read(mmocr, (7, 7, 7)).text == "grey 7"


def test_a_failure_keeps_the_worker(mmocr: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidCall, match="failed on this region") as refusal:
        _read(mmocr, (255, 0, 0))
    assert "own words" not in str(refusal.value)  # they may hold a path, which evidence must not
    assert _read(mmocr, (7, 7, 7)).text == "grey 7"
    assert _starts(tmp_path) == 1


def test_a_worker_that_cannot_start_says_why(mmocr: dict[str, Any]) -> None:
    with pytest.raises(BackendError, match=r"no model nowhere.*make env-mmocr"):
        _read({**mmocr, "det": "/nowhere"}, (7, 7, 7))


def test_a_toolbox_with_a_running_worker_travels(mmocr: dict[str, Any]) -> None:
    toolbox = Toolbox({"read_text": mmocr})
    workspace = Workspace(ArrayMedia(np.full((40, 80, 3), 5, np.uint8)))
    before = toolbox.run(ReadText(), workspace)
    RESULTS.clear()
    assert pickle.loads(pickle.dumps(toolbox)).run(ReadText(), workspace) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"python": "/nowhere/python"}, "no such interpreter.*make env-mmocr"),
        ({"python": "python"}, "no such interpreter"),
        ({"det": "dbnet.py"}, "det_weights= too"),
        ({"det": "dbnet.py", "det_weights": "dbnet.pth"}, "whole path"),
        ({"rec": "crnn.py"}, "rec_weights= too"),
        ({"timeout_s": 0}, "above 0"),
        ({"batch": 0}, "batch 0 of mmocr: must be at least 1"),
    ],
)
def test_bad_options_of_mmocr(mmocr: dict[str, Any], options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Toolbox({"read_text": {**mmocr, **options}})


@pytest.mark.slow
def test_mmocr_itself_reads(tmp_path: Path) -> None:
    """A real detector and recogniser from checkpoints as MMEngine writes them, weights drawn."""
    subprocess.run(["make", "env-mmocr"], cwd=ROOT, check=True, timeout=1800)
    python = ROOT / ENVIRONMENT
    where = [str(python), "-c", "import importlib.util as u; print(u.find_spec('mmocr').origin)"]
    package = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout).parent
    configs = package / ".mim" / "configs"
    models = {
        "det": configs / "textdet" / "dbnet" / "dbnet_resnet18_fpnc_1200e_icdar2015.py",
        "rec": configs / "textrecog" / "crnn" / "crnn_mini-vgg_5e_mj.py",
    }
    files = {role: tmp_path / f"{role}.pth" for role in models}
    writer = [str(python), str(HERE / "write_mmocr_weights.py"), serve.__file__]
    pairs = [str(part) for role in models for part in (models[role], files[role])]
    subprocess.run([*writer, *pairs], check=True, timeout=600)
    spec = {
        "name": "mmocr",
        "python": str(python),
        "timeout_s": 300.0,
        "batch": 4,
        **{role: str(path) for role, path in models.items()},
        **{f"{role}_weights": str(path) for role, path in files.items()},
    }
    toolbox = Toolbox({"read_text": spec})
    workspace = Workspace(page(0).media)
    first = toolbox.run(ReadText(), workspace)
    assert isinstance(first, TextLines)
    assert first.lines, "the drawn detector takes the whole page for one line"
    RESULTS.clear()
    assert toolbox.run(ReadText(), workspace) == first
    LAWS["read_text_stays_in_its_region"].put_to(toolbox, examples=1)


# ---- Tesseract ----


def test_tesseract_says_that_its_program_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytesseract")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BackendError, match="apt install tesseract-ocr"):
        Toolbox({"read_text": "tesseract"})


@needs_tesseract
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"psm": 2}, "must be 3..13"),
        ({"timeout_s": -1}, "above 0"),
        ({"tessdata": "/nowhere"}, "holds no eng.traineddata"),
    ],
)
def test_bad_options_of_tesseract(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Toolbox({"read_text": {"name": "tesseract", **options}})


@needs_tesseract
def test_tesseract_reads_what_was_drawn() -> None:
    toolbox = Toolbox({"read_text": "tesseract"})
    LAWS["read_text_reads_what_was_drawn"].put_to(toolbox, examples=1)
    LAWS["read_text_reads_rows_from_the_top"].put_to(toolbox, examples=1)


@needs_tesseract
def test_tesseract_names_a_language_without_data() -> None:
    toolbox = Toolbox({"read_text": {"name": "tesseract", "lang": "xyz"}})
    with pytest.raises(BackendError, match=r"xyz.*--list-langs"):
        toolbox.run(ReadText(), Workspace(page(0).media))


@needs_tesseract
def test_tesseract_stops_in_time() -> None:
    toolbox = Toolbox({"read_text": {"name": "tesseract", "timeout_s": 0.01}})
    with pytest.raises(InvalidCall, match="read a smaller box"):
        toolbox.run(ReadText(), Workspace(page(0).media))
