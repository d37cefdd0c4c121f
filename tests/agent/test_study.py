"""What is known of a study's runs is kept, and made only once."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pixelis_agent.models.load import CCRFT, TINY

pytestmark = pytest.mark.usefixtures("benchmarks")

TTRL = ("ttrl", "--types", "text_read", "--align", "0", "--tools", "oracle")


def place(tasks: int = 2) -> Any:
    from playing import Place

    return Place(("text_read",), tasks)


def study_of(folder: Path, model: str) -> Any:
    from study import Study

    return Study(folder / "runs", folder / "kept", model, lambda run: {"name": run.name}, 1)


def forbidden(*_: Any, **__: Any) -> Any:
    raise AssertionError("this was made already")


def test_what_was_played_is_not_played_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import study
    from playing import Play

    start = study.Run("arms/start-0", None, {"greedy": Play(place())})
    known = study_of(tmp_path, "oracle").records([start, start])
    assert known[start.name]["plays"]["greedy"]["score"] == 1
    assert len(known[start.name]["commits"]) == 1

    # A play more: only that one is made.
    more = replace(start, plays=start.plays | {"other": Play(place(1))})
    both = study_of(tmp_path, "oracle").records([more])[start.name]
    assert both["plays"]["greedy"] == known[start.name]["plays"]["greedy"]
    assert both["plays"]["other"]["n"] == 1
    monkeypatch.setattr(study, "ProcessPoolExecutor", forbidden)
    assert study_of(tmp_path, "oracle").records([start]) == known

    # What was made otherwise is not taken for it.
    with pytest.raises(ValueError, match=r"start-0\.json was made otherwise .model oracle, not r"):
        study_of(tmp_path, "random").records([start])
    other = replace(start, plays={"greedy": Play(place(1))})
    with pytest.raises(ValueError, match=r"'tasks': 2.*, remove it and the run's folder"):
        study_of(tmp_path, "oracle").records([other])


@pytest.mark.slow
def test_runs_are_trained_once_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import study
    from playing import Play

    words = (*TTRL, "--updates", "0")
    plays = {"greedy": Play(place(1))}
    audits = {"audit": ("--types", "text_read", "--episodes", "1", "--workers", "0")}
    first = study.Run("life/first", words, plays)
    second = study.Run("life/second", (*words, "--seed", "1"), plays, audits, start=first)
    known = study_of(tmp_path, TINY).records([second, first])
    assert [known[run.name]["note"] for run in (first, second)] == [
        {"name": "first"},
        {"name": "second"},
    ]
    assert known[second.name]["audits"]["audit"]["all"]["unchanged"]["causal_rapr"] == 0
    kept = json.loads((tmp_path / "kept" / "life" / "second.json").read_text())
    assert (kept["settings"]["model"], kept["settings"]["seed"]) == ("life/first", 1)
    # Known, though the runs themselves are gone; what has other weights is not taken for them.
    shutil.rmtree(tmp_path / "runs")
    study_of(tmp_path, TINY).records([second, first])
    with pytest.raises(ValueError, match=r"was made otherwise .model pixelis-tiny, not"):
        study_of(tmp_path, CCRFT).records([first])
    kept["start"] = "0" * 64
    (tmp_path / "kept" / "life" / "second.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match="started from another life/first"):
        study_of(tmp_path, TINY).records([second, first])
    monkeypatch.setattr(study.subprocess, "run", forbidden)
    assert study_of(tmp_path, TINY).records([first]) == {first.name: known[first.name]}


def test_a_run_of_which_nothing_is_known_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    import study
    from playing import Play

    run = study.Run("old", (*TTRL, "--updates", "0"), {"greedy": Play(place(1))})
    (tmp_path / "runs" / "old").mkdir(parents=True)
    with pytest.raises(ValueError, match="not which commit it was begun at: remove it"):
        study_of(tmp_path, TINY).records([run])
