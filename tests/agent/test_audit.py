"""The causal audit: it finds the operation that an answer rests on, and that alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelis_agent.audit import Effect, _alike, audit, audit_evaluation, causal_rapr
from pixelis_agent.cli import main
from pixelis_agent.evaluate import evaluate
from pixelis_agent.evaluated import RunError, read_evaluation
from pixelis_agent.interventions import CHANGES, CONTROL, Change
from pixelis_agent.policies.base import Episode, Policy
from pixelis_agent.policies.scripted import OraclePolicy, ScriptedPolicy, call_text
from tests.agent.small import small_kwargs

HALVES = {"left": [0, 0, 500, 1000], "right": [500, 0, 1000, 1000]}


def looks(episode: Episode) -> str:
    """Zooms to the left half, then to the right one, and answers by the left one's pixels."""
    if len(episode.turns) < 2:
        return call_text("zoom", {"box": HALVES["left" if not episode.turns else "right"]})
    images = episode.observations[1]["images"]
    bright = bool(images) and np.asarray(images[0]).max() > 200
    return f"<answer>{'A' if bright else 'B'}</answer>"


def blind(episode: Episode) -> str:
    """Zooms, and answers whatever it saw."""
    if not episode.turns:
        return call_text("zoom", {"box": HALVES["left"]})
    return "<answer>A</answer>"


def run(policy: Any, count: int = 8) -> Any:
    return audit(policy, "Pixelis-v0", indices=range(count), env_kwargs=small_kwargs(), workers=0)


def test_an_answer_rests_on_the_operation_that_it_was_read_from() -> None:
    effects = run(ScriptedPolicy(looks))
    # Rows 0..7 have the square on the left: what it saw there is what it answers by.
    blanked = [e for e in effects if e.how == "blank"]
    assert {(e.step, e.differs) for e in blanked} == {(1, True), (2, False)}
    assert all(e.score == 1 and e.changed_score == (0 if e.differs else 1) for e in blanked)
    shown = causal_rapr(blanked)
    assert shown["causal_rapr"] == pytest.approx(0.5)
    assert shown["low"] <= 0.5 <= shown["high"]
    assert {e.how for e in effects} == set(CHANGES)
    assert not any(e.differs for e in effects if e.how == CONTROL)


@pytest.mark.parametrize("policy", [ScriptedPolicy(blind), OraclePolicy()])
def test_nothing_moves_who_does_not_look(policy: Policy) -> None:
    effects = run(policy)
    assert len(effects) == 8 * len(CHANGES)
    assert {e.how for e in effects} == set(CHANGES)
    assert causal_rapr(effects)["causal_rapr"] == 0


def test_chance_shows_in_the_control() -> None:
    rng = np.random.default_rng(0)

    def wavers(episode: Episode) -> str:
        if not episode.turns:
            return call_text("zoom", {"box": [0, 0, int(rng.integers(200, 900)), 1000]})
        return f"<answer>{rng.choice(['A', 'B'])}</answer>"

    effects = run(ScriptedPolicy(wavers), 20)
    shares = [causal_rapr([e for e in effects if e.how == how])["causal_rapr"] for how in CHANGES]
    assert len(effects) == 20 * len(CHANGES)
    assert all(0.2 < share < 0.8 for share in shares)


ROOMS = {"types": ["text_read", "time_first"], "tools": "oracle"}


def reads(episode: Episode) -> str:
    """Looks at the middle of the first frame, reads, and answers how much was read."""
    if not episode.turns:
        return call_text("zoom", {"box": [200, 100, 800, 900]})
    if len(episode.turns) == 1:
        return call_text("read_text", {"source": "e1"})
    looked, read = episode.observations[1:]
    return f"<answer>{len(looked['images'])} {read['text']}</answer>"


def test_episodes_of_an_evaluation_are_audited_as_new_ones_are(tmp_path: Path) -> None:
    indices = [5, 3]
    evaluate(
        ScriptedPolicy(reads), env_kwargs=ROOMS, indices=indices, samples=2, out=tmp_path, workers=0
    )
    kept = read_evaluation(tmp_path)
    again = audit_evaluation(ScriptedPolicy(reads), kept, workers=0)
    fresh = audit(
        ScriptedPolicy(reads),
        "Pixelis-v0",
        env_kwargs=ROOMS,
        indices=sorted(indices * 2),
        workers=0,
    )
    assert again == fresh
    assert {e.op for e in again if e.differs} == {"read_text", "zoom"}
    assert {
        e.index for e in audit_evaluation(ScriptedPolicy(reads), kept, workers=0, episodes=2)
    } == {5}
    # Whoever goes on, the episodes are those that were played.
    other = audit_evaluation(ScriptedPolicy(lambda episode: "<answer>7</answer>"), kept, workers=0)
    assert [(e.index, e.step, e.op, e.answer) for e in other] == [
        (e.index, e.step, e.op, e.answer) for e in again
    ]
    assert all(e.changed == "7" for e in other)


def test_an_evaluation_that_comes_out_otherwise_is_refused(tmp_path: Path) -> None:
    evaluate(ScriptedPolicy(reads), env_kwargs=ROOMS, indices=[5], out=tmp_path, workers=0)
    results = json.loads((tmp_path / "results.json").read_text())
    results["env_kwargs"]["shift"] = "lighting"
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(RunError, match=r"5\.json: step 1 comes out otherwise"):
        audit_evaluation(ScriptedPolicy(reads), read_evaluation(tmp_path), workers=0)
    (tmp_path / "traces" / "5.json").unlink()
    with pytest.raises(RunError, match="cannot be read"):
        audit_evaluation(ScriptedPolicy(reads), read_evaluation(tmp_path), workers=0)


def test_a_model_goes_on_from_its_own_words_as_it_did(tmp_path: Path, capsys: Any) -> None:
    words = ["--workers", "0", "--episodes", "3"]
    rooms = ["--types", "text_read", "time_first", "--tools", "oracle"]
    played = tmp_path / "played"
    assert main(["eval", "--policy", "pixelis-tiny", *rooms, *words, "--out", str(played)]) == 0
    told = ["--played", str(played), "--out", str(tmp_path / "audit")]
    assert main(["audit", "--policy", "pixelis-tiny", *told, *words]) == 0
    made = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert "causal RaPR" in capsys.readouterr().out
    control = made["figures"]["all"][CONTROL]
    assert control["n"] >= 3
    assert control["causal_rapr"] == 0
    assert any(effect["answer"] != effect["changed"] for effect in made["effects"])


def test_changes_leave_what_they_are_given() -> None:
    image = Image.new("RGB", (8, 6), (250, 0, 0))
    seen = {"text": "e1 view: 8x6 px", "images": [image], "times": [0.0], "regions": [(0, 0, 8, 6)]}
    blank = Change(1, "zoom", "blank").apply(seen)
    assert blank["text"] == "e1 view"
    assert blank["images"][0].size == (8, 6)
    assert np.unique(np.asarray(blank["images"][0])).tolist() == [128]
    removed = Change(1, "zoom", "removed").apply(seen)
    assert removed["images"] == []
    assert removed["text"] == ""
    assert seen["images"] == [image]
    assert re.match("e1 view:", seen["text"])


def test_another_result_comes_under_the_own_id_and_is_another() -> None:
    image = Image.new("RGB", (8, 6), (250, 0, 0))
    seen = {"text": 'e1 text_lines: "A"', "images": [image]}
    other = {"text": 'e3 text_lines: "B" beside e2', "images": []}
    shown = Change(1, "read_text", "shuffled", other).apply(seen)
    assert shown == {"text": 'e1 text_lines: "B" beside e2', "images": []}
    assert _alike(seen, {"text": 'e4 text_lines: "A"', "images": [image.copy()]})
    assert not _alike(seen, {"text": 'e4 text_lines: "A"', "images": []})
    assert not _alike(seen, {**other, "images": [image]})


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [("3.2", "3.20", False), ("A", "a", False), ("A", "B", True), ("3", None, True)],
)
def test_an_answer_written_otherwise_is_the_same(one: str, other: Any, differs: bool) -> None:
    effect = Effect(0, 1, "zoom", "blank", one, other, 1.0, 1.0)
    assert effect.differs == differs


def test_no_intervention_has_no_share() -> None:
    assert causal_rapr([])["causal_rapr"] is None
