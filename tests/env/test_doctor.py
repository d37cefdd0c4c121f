"""The doctor sees what works, what is missing, broken, crashing or hanging, and outlives it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from pixelis_env.doctor import decoders, packages
from pixelis_env.doctor.__main__ import PIXELS, lines, main, verdict
from pixelis_env.doctor.check import Check, Finding, examine
from pixelis_env.doctor.operations import FRAMES, Wrong, drawn_clip
from pixelis_env.media import Decoder
from pixelis_env.tools.registry import BACKENDS, DEFAULTS

Plant = Callable[[str, str], None]
CHECKS = {(check.subject, check.name): check for check in PIXELS}
NUMPY = CHECKS["renderers", "numpy"]
EMBREE = CHECKS["renderers", "embree"]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Puts a file where imports look first, here and in the processes of checks."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(name: str, content: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)

    return put


def look(*checks: Check) -> list[Finding]:
    return list(examine(checks))


def test_no_backend_and_no_decoder_is_forgotten() -> None:
    backends = {(op, name) for op, known in BACKENDS.items() for name in known if name != "oracle"}
    readers = {("decoders", name) for name in get_args(Decoder)}
    assert backends | readers <= set(CHECKS)
    assert all(CHECKS[op, name].needed for op, name in DEFAULTS.items())
    assert {check.extra for check in PIXELS} - {None} <= set(packages.extras())


def test_what_works_is_said_to_work() -> None:
    found = look(
        CHECKS["zoom, properties", "native"],
        CHECKS["segment", "grabcut"],
        CHECKS["track", "flow"],
        CHECKS["localize", "scan"],
        CHECKS["decoders", "pyav"],
        CHECKS["read_text", "rapidocr"],
    )
    assert [each.status for each in found] == ["ok"] * len(found), found
    assert not any(each.mend for each in found)
    assert all(each.seconds > 0 for each in found)


def test_what_cannot_be_imported_fails_with_its_mend(plant: Plant) -> None:
    plant("cv2.py", "raise ImportError('libGL.so.1: cannot open shared object file')")
    segment, video = look(CHECKS["segment", "grabcut"], CHECKS["decoders", "pyav"])
    assert segment.status == "failed"
    assert "libGL.so.1" in segment.detail
    assert segment.mend == "pip install --force-reinstall --no-deps opencv-python-headless"
    assert not segment.sound
    assert video.status == "ok"


def test_a_crash_is_told_and_outlived(plant: Plant) -> None:
    plant("embreex/__init__.py", "import os; os.abort()")
    before, crashed, after = look(NUMPY, EMBREE, NUMPY)
    assert (before.status, crashed.status, after.status) == ("ok", "failed", "ok")
    assert "SIGABRT" in crashed.detail
    assert crashed.mend.endswith("embreex")


def test_what_hangs_is_ended(plant: Plant) -> None:
    plant("hanging.py", "def look():\n    import time\n    time.sleep(600)")
    (found,) = look(Check("test", "hanging", "hanging:look", timeout_s=0.3))
    assert found.status == "failed"
    assert "no answer within 0.3 s" in found.detail
    assert found.seconds < 60


def test_what_fails_in_a_used_process_is_tried_in_a_fresh_one(plant: Plant) -> None:
    """Libraries that cannot share a process are both fine."""
    plant(
        "shy.py",
        "from pixelis_env.doctor.outcome import Outcome\n"
        "calls = 0\n"
        "def look():\n"
        "    global calls\n"
        "    calls += 1\n"
        "    assert calls == 1, 'not alone'\n"
        "    return Outcome('ok', 'alone')\n",
    )
    shy = Check("test", "shy", "shy:look")
    assert [each.status for each in look(shy, shy, shy)] == ["ok"] * 3


def test_a_missing_extra_is_no_failure_unless_it_is_needed(plant: Plant) -> None:
    plant(
        "wanting.py",
        "from pixelis_env.errors import require\n"
        "def look():\n"
        "    require('this', 'sam', 'no_such_package')\n",
    )
    for needed in (False, True):
        (found,) = look(Check("test", "wanting", "wanting:look", extra="sam", needed=needed))
        assert found.status == "missing"
        assert found.mend == "pip install 'pixelis[sam]'"
        assert found.sound is not needed


def test_versions_that_do_not_fit_are_told(plant: Plant) -> None:
    plant("numpy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n")
    base, conflicts = look(*packages.checks()[:2])
    assert base.status == "missing"
    assert "numpy>=1.26 (here 1.0)" in base.detail
    assert not base.sound
    assert "gymnasium wants numpy>=" in conflicts.detail


def test_two_packages_of_one_module_are_told(plant: Plant) -> None:
    plant(
        "opencv_contrib_python-5.0.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: opencv-contrib-python\nVersion: 5.0\n",
    )
    (found,) = look(packages.checks()[1])
    assert found.status == "note"
    assert (
        "opencv-python-headless and opencv-contrib-python both are the module cv2" in found.detail
    )
    assert found.mend.startswith("pip uninstall opencv-python-headless opencv-contrib-python, then")


@pytest.mark.parametrize("asked", [0, FRAMES // 2])
def test_another_frame_is_told_from_the_one_asked_for(asked: int) -> None:
    media = drawn_clip().media
    decoders._check({asked: media.frame(asked)})
    for given in set(range(FRAMES)) - {asked}:
        with pytest.raises(Wrong, match=f"asked for frame {asked}, .* most like frame {given} "):
            decoders._check({asked: media.frame(given)})
    dim = (media.frame(asked) * 0.9).astype(np.uint8)
    with pytest.raises(Wrong):
        decoders._check({asked: dim})


def test_the_exit_status_is_of_what_is_needed(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["localize", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is True
    assert [(f["subject"], f["name"], f["status"]) for f in said["findings"]] == [
        ("localize", "scan", "ok")
    ]
    assert main(["localize", "--extra", "parquet", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(f["subject"], f["name"]) for f in said["findings"] if f["needed"]] == [
        ("extras", "parquet"),
        ("localize", "scan"),
    ]
    plant("cv2.py", "raise ImportError('broken')")
    assert main(["localize"]) == 1
    text = capsys.readouterr().out
    assert "-> pip install --force-reinstall" in text
    assert text.rstrip().endswith("needed and not working: localize scan (1 failed)")


@pytest.mark.parametrize("words", [["nowhere"], ["--extra", "nothing"], ["--nothing"]])
def test_bad_usage_names_what_there_is(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    if words != ["--nothing"]:
        assert words[-1] in said
        assert "read_text" in said or "sb3" in said


def test_lines_hold_every_field() -> None:
    finding = Finding("segment", "sam", "missing", "not there", "get it", False, "sam", 0.1)
    head, first, second = lines(finding, 5, True)[1:]
    assert (head, first.split(), second.split()) == (
        "segment",
        ["missing", "sam", "not", "there"],
        ["->", "get", "it"],
    )
    assert verdict([finding]) == "what is needed works (1 missing)"


def test_it_starts_without_what_it_looks_at() -> None:
    """Whatever of these is broken, the doctor itself runs."""
    code = "import sys, pixelis_env.doctor.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"cv2", "av", "torch", "embreex", "rapidocr", "onnxruntime", "pycocotools"}
