"""The report: it says what the runs say, shows what was done, and lets nothing out or in."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pixelis_agent.cli import main
from pixelis_agent.evaluate import evaluate
from pixelis_agent.evaluated import RunError
from pixelis_agent.memory import Entry, Memory, Voted
from pixelis_agent.policies.scripted import OraclePolicy
from pixelis_agent.report import tables
from pixelis_agent.report.command import ReportConfig, run
from pixelis_agent.report.episodes import choose
from pixelis_agent.report.page import templates
from pixelis_agent.report.runs import Run, Vote, read_runs
from pixelis_agent.tally import Summary, as_cells
from pixelis_env.trace import Trace
from tests.agent.reported import INDICES, KL, PLANTED, SCORES, Page, write_runs
from tests.agent.small import small_kwargs

RUNS = ("oracle", "planted", "ccrft", "sft", "audit")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return write_runs(tmp_path_factory.mktemp("runs"))


def report(*folders: Path, out: Path, pictures: int = 2) -> Page:
    run(ReportConfig(tuple(folders), out / "report.html", pictures))
    return Page((out / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(folders, tmp_path_factory) -> Page:
    out = tmp_path_factory.mktemp("page")
    return report(*(folders[name] for name in RUNS), out=out)


def details(page: Page, place: int) -> list[dict[str, Any]]:
    return [page.data[f"e-{place}-{n}"] for n in range(len(INDICES))]


# ---- the page as such ----


def test_a_page_nests_its_ids_are_single_and_its_links_lead_somewhere(page) -> None:
    assert len(page.ids) == len(set(page.ids))
    links = [str(own["href"]) for own in page.all("a")]
    assert {"#summary", "#types", "#tools", "#learning", "#rewards"} < set(links)
    assert {"#corridor", "#audit", "#episodes", "#settings"} < set(links)
    assert all(link[1:] in page.ids for link in links)
    for own in page.all("use"):
        assert str(own["xlink:href"])[1:] in page.ids
    labelled = [own for own in page.all("div") if own.get("role") in ("img", "region")]
    assert labelled
    assert all(own["aria-label"] for own in labelled)


def test_nothing_is_loaded_from_elsewhere_and_only_its_own_script_may_run(page) -> None:
    for _, own in page.elements:
        for name in ("src", "href", "xlink:href", "data", "action", "srcset"):
            assert (own.get(name) or "#").startswith("#"), own
        assert not any(name.startswith("on") for name in own), own
    policy = next(str(o["content"]) for o in page.all("meta") if "http-equiv" in o)
    digest = hashlib.sha256(page.data["script"].encode()).digest()
    assert f"script-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    kinds = [own.get("type") for own in page.all("script")]
    assert kinds.count(None) == 1
    assert set(kinds) == {None, "application/json", "text/plain"}


def test_what_an_agent_wrote_is_text(page, folders) -> None:
    assert page.all("img") == []
    assert f"<img src=x onerror={PLANTED}>" in page.text  # the policy's name, in the summary
    first = details(page, 1)[0]
    assert first["answer"] == PLANTED
    assert first["moments"][1]["thought"] == f'{PLANTED} & "quotes"'
    raw = (folders["planted"].parent / "page.html").resolve()
    run(ReportConfig((folders["planted"],), raw, pictures=0))
    assert PLANTED not in raw.read_text().replace("&lt;", "")
    assert "\\u003cscript\\u003ealert(1)" in raw.read_text()


def test_the_same_runs_make_the_same_bytes(folders, tmp_path) -> None:
    made = []
    for name in ("a.html", "b.html"):
        run(ReportConfig((folders["oracle"], folders["ccrft"]), tmp_path / name, pictures=1))
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]


def test_only_what_there_is_has_a_section(folders, tmp_path) -> None:
    page = report(folders["sft"], out=tmp_path)
    assert {"summary", "learning", "settings"} < set(page.ids)
    assert not {"types", "tools", "rewards", "corridor", "risk", "audit", "episodes"} & set(
        page.ids
    )
    assert page.data.keys() == {"script"}


# ---- what it says ----


def test_the_figures_are_the_runs_own(page, folders) -> None:
    said = json.loads((folders["oracle"] / "results.json").read_text())
    summary = Summary(**{name: said[name] for name in Summary.__dataclass_fields__})
    assert page.tables["Evaluations"][1][3:] == as_cells("oracle", summary)[1:]
    for kind, part in said["per_type"].items():
        low, high = part["score_ci95"]
        assert kind in page.text
        assert f"{part['score']:.3f} [{low:.3f}, {high:.3f}]" in page.text
    pair = page.tables["Differences on the same tasks"][1]
    assert pair[:3] == ["planted − oracle", "4", "-1.000 [-1.000, -1.000]"]
    assert pair[3] == "0 / 4"
    trained = {row[0]: row for row in page.tables["Training runs"][1:]}
    inside = np.mean([0.1 <= kl <= 0.2 for kl in KL])
    ends = f"{SCORES[0]:.3f} → {SCORES[-1]:.3f}"
    assert trained["ccrft"][3:] == ["4", ends, "0.625", "–", f"{inside:.2f}"]
    assert trained["sft"][3:] == ["80", "–", "–", "1.000 → 0.013", "–"]
    metrics = {row[0]: row for row in page.tables["Metrics of ccrft"][1:]}
    assert metrics["kl"][1:] == ["4", "0", "0.7", "0", "0.7"]
    assert page.tables["Causal audit of audit"][1] == [
        "zoom",
        "1.00 [1.00, 1.00] of 4",
        "0.00 [0.00, 0.00] of 4",
    ]


def test_tools_and_rewards_are_counted_from_the_traces(page, folders) -> None:
    mix = {own["aria-label"] for own in page.all("span") if own.get("class") == "stack"}
    assert "planted: zoom 4, answer 4, invalid 4" in mix
    traces = [Trace.load(folders["oracle"] / "traces" / f"{k}.json") for k in INDICES]
    steps = sum(sum(s.reward_terms["step"] for s in t.steps) for t in traces) / len(traces)
    paid = {row[0]: row for row in page.tables["Reward terms"][1:]}
    assert page.tables["Reward terms"][0] == ["run", "episodes", "invalid", "step", "task"]
    assert paid["oracle"][2] == "0.000 [0.000, 0.000]"
    assert paid["oracle"][3].startswith(f"{steps:.3f} [")
    assert paid["oracle"][4].startswith("1.000 [")
    assert paid["planted"][2].startswith("-0.050 [")


def test_curves_end_where_the_log_ends(page) -> None:
    charts = [o["aria-label"] for o in page.all("div") if o.get("role") == "img"]
    wanted = ["Learning curve: score", "Learning curve: imitation", "Reward: reward_task"]
    assert all(any(str(c).startswith(w) for c in charts) for w in wanted)
    assert any(str(chart).startswith("Divergence and its weight") for chart in charts)


def test_risk_is_of_the_surest_first(tmp_path) -> None:
    rows = [
        {"score": 1.0, "confidence": 0.9},
        {"score": 0.0, "confidence": 0.2},
        {"score": 0.0, "confidence": None},
        {"score": None, "confidence": 1.0},
    ]
    evaluate(
        OraclePolicy(),
        env_kwargs=small_kwargs(),
        episodes=4,
        out=tmp_path,
        workers=0,
        progress=False,
    )
    said = json.loads((tmp_path / "results.json").read_text())
    said["episodes"] = [old | new for old, new in zip(said["episodes"], rows, strict=True)]
    (tmp_path / "results.json").write_text(json.dumps(said))
    curve = tables.selective(read_runs([tmp_path])[0])
    assert curve is not None
    assert curve.coverage.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert curve.risk.tolist() == pytest.approx([0, 1 / 2, 2 / 3])


def test_test_time_learning_gives_no_answer_where_it_abstained(folders, tmp_path) -> None:
    votes = (Vote(0.9, 1.0), Vote(0.5, 0.0), Vote(0.0, None), Vote(0.0, None))
    curve = tables.selective(Run("r", Path(), None, None, None, votes))
    assert curve is not None
    assert curve.coverage.tolist() == [0.25, 0.5]
    assert curve.risk.tolist() == [0.0, 0.5]
    # The same from a real memory.
    shutil.copytree(folders["ccrft"], tmp_path / "ttrl")
    trace = Trace.load(folders["oracle"] / "traces" / "0.json")
    with Memory(tmp_path / "ttrl" / "memory", "e", 8) as memory:
        for answer, sure in ((trace.answer, 0.9), (None, 0.0)):
            voted = (Voted(trace, 1.0, 1.0),)
            entry = Entry("t", "text_read", "?", "0", (), voted, answer, sure, 0.1, None)
            memory.add(entry, np.eye(8, dtype=np.float32)[0])
    assert read_runs([tmp_path / "ttrl"])[0].votes == (Vote(0.9, 1.0), Vote(0.0, None))


# ---- episodes ----


def test_an_episode_is_shown_step_by_step(page, folders) -> None:
    for place, name in enumerate(("oracle", "planted")):
        for number, shown in enumerate(details(page, place)):
            trace = Trace.load(folders[name] / "traces" / f"{INDICES[number]}.json")
            assert [m["op"] for m in shown["moments"][1:]] == [s.action.op for s in trace.steps]
            assert [m["link"] for m in shown["moments"]] == list(trace.chain[:-1])
            assert shown["score"] == trace.score
            digests = [s.evidence and s.evidence.digest for s in trace.steps]
            assert [m["digest"] for m in shown["moments"][1:]] == digests
            assert [m["rewards"] for m in shown["moments"][1:]] == [
                s.reward_terms for s in trace.steps
            ]
    failed = details(page, 1)[0]["moments"][2]
    assert not failed["valid"]
    assert "outside the view" in failed["result"] or "not a box inside" in failed["result"]


def test_pictures_are_of_those_that_were_played_again(page) -> None:
    index = page.data["index"]["episodes"]
    assert [line["v"] for line in index] == ["verified", "verified", "unchecked", "unchecked"] * 2
    assert len({line["t"] for line in index if line["p"]}) == 2  # one of each type
    assert "4 of 8 episodes were played again" in page.text
    for line in index:
        shown = page.data[f"e-{line['r']}-{line['n']}"]
        assert any(moment["shots"] for moment in shown["moments"]) == bool(line["p"])
        assert (shown["right"] is not None) == bool(line["p"])
    seen = {s["key"] for d in (details(page, 0)[0],) for m in d["moments"] for s in m["shots"]}
    assert seen
    assert all(f"p-{key}" in page.ids for key in seen)


def test_a_picture_is_a_picture(folders, tmp_path) -> None:
    from pixelis_agent.report.episodes import Album, show_episodes

    played, album = read_runs([folders["oracle"]])[0].evaluation, Album()
    assert played is not None
    first = next(iter(show_episodes(played, 1, album)))
    shots = [shot for moment in first.moments for shot in moment.shots]
    assert shots[0].shows == "overview"
    for shot in shots:
        image = Image.open(io.BytesIO(base64.b64decode(album.pictures[shot.key])))
        assert image.size == (shot.width, shot.height)
        assert image.width <= 448


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(0, 15))
def test_pictures_are_spread_over_the_types(types, most) -> None:
    chosen = choose(types, most)
    assert len(chosen) == min(most, len(types))
    assert chosen <= set(range(len(types)))
    counts = [sum(types[place] == kind for place in chosen) for kind in set(types)]
    room = [
        count for kind, count in zip(set(types), counts, strict=True) if count < types.count(kind)
    ]
    assert not room or max(counts) - min(room) <= 1


def test_what_was_tampered_with_is_found(folders, tmp_path) -> None:
    shutil.copytree(folders["oracle"], tmp_path / "run")
    paths = [tmp_path / "run" / "traces" / f"{index}.json" for index in INDICES]
    edited = json.loads(paths[0].read_text())
    edited["steps"][0]["reward_terms"]["step"] = 0.0
    paths[0].write_text(json.dumps(edited))  # a broken chain
    rebuilt = Trace.load(paths[1])
    step = rebuilt.steps[0]
    changed = step.model_copy(update={"reward_terms": {"step": 0.5}})
    Trace.build(rebuilt.header, (changed, *rebuilt.steps[1:]), rebuilt.score).save(paths[1])
    paths[2].unlink()
    said = json.loads((tmp_path / "run" / "results.json").read_text())
    said["episodes"][3]["score"] = 0.5
    (tmp_path / "run" / "results.json").write_text(json.dumps(said))
    page = report(tmp_path / "run", out=tmp_path, pictures=4)
    shown = details(page, 0)
    assert [one["verdict"] for one in shown] == ["damaged", "diverged", "absent", "diverged"]
    assert "step 1 breaks the chain" in shown[0]["detail"]
    assert str(tmp_path) not in shown[0]["detail"]
    assert "diverged at step 1: reward_terms.step was 0.5, is -0.01" in shown[1]["detail"]
    assert "results.json says that the score is 0.5, the trace 1.0" in shown[3]["detail"]
    assert shown[0]["moments"] == []
    assert shown[1]["moments"][1]["shots"]


def test_an_environment_that_was_given_objects_is_not_played_again(tmp_path) -> None:
    out = tmp_path / "objects"
    evaluate(
        OraclePolicy(), env_kwargs=small_kwargs(), episodes=2, out=out, workers=0, progress=False
    )
    page = report(out, out=tmp_path)
    assert page.data["e-0-0"]["verdict"] == "unplayable"
    assert "given objects" in page.data["e-0-0"]["detail"]
    assert [m["op"] for m in page.data["e-0-0"]["moments"]] == ["start", "zoom", "answer"]


def test_runs_from_before_dialogues_were_kept_are_shown_without_thoughts(folders, tmp_path) -> None:
    shutil.copytree(folders["planted"], tmp_path / "run")
    (tmp_path / "run" / "dialogues.jsonl").unlink()
    shown = report(tmp_path / "run", out=tmp_path, pictures=0).data["e-0-0"]
    assert [moment["thought"] for moment in shown["moments"]] == [""] * 4
    assert shown["moments"][1]["result"] == "view"
    assert "not a box" in shown["moments"][2]["result"]
    assert shown["prompt"]


# ---- folders ----


def test_a_folder_of_runs_stands_for_them_and_names_tell_them_apart(folders, tmp_path) -> None:
    everything = read_runs([folders["oracle"].parent])
    assert {one.name for one in everything} == set(RUNS)
    for name in ("a", "b"):
        shutil.copytree(folders["sft"], tmp_path / name / "sft")
    twice = read_runs([tmp_path / "a" / "sft", tmp_path / "b" / "sft", tmp_path / "a" / "sft"])
    assert [one.name for one in twice] == ["a/sft", "b/sft"]


def _no_folder(run: Path) -> None:
    shutil.rmtree(run)


def _empty(run: Path) -> None:
    shutil.rmtree(run)
    run.mkdir()


def _cut(run: Path) -> None:
    (run / "results.json").write_text((run / "results.json").read_text()[:100])


def _list(run: Path) -> None:
    (run / "results.json").write_text("[1, 2]")


def _older(run: Path) -> None:
    said = json.loads((run / "results.json").read_text())
    said["versions"]["pixelis"] = "0.0.1"
    del said["score_ci95"]
    (run / "results.json").write_text(json.dumps(said))


def _newer(run: Path) -> None:
    said = json.loads((run / "results.json").read_text())
    said["per_type"] = list(said["per_type"])
    (run / "results.json").write_text(json.dumps(said))


def _foreign_log(run: Path) -> None:
    (run / "metrics.jsonl").write_text('{"loss": 1.0}\n')
    (run / "config.json").write_text('{"iterations": 3}')


def _no_settings(run: Path) -> None:
    (run / "metrics.jsonl").write_text('{"step": 1}\n')


def _other_settings(run: Path) -> None:
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    (run / "config.json").write_text('{"lr": 3}')


def _foreign_audit(run: Path) -> None:
    (run / "audit.json").write_text('{"vulnerabilities": []}')


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_no_folder, "there is no folder"),
        (_empty, "is no run and holds none.*results.json"),
        (_cut, "results.json is damaged, it is no JSON"),
        (_list, "results.json is damaged: it holds no JSON object"),
        (_older, "lacks score_ci95. It was written by pixelis 0.0.1: evaluate again"),
        (_newer, "its 'per_type' is missing or no dict"),
        (_foreign_log, "line without a step"),
        (_no_settings, "config.json cannot be read"),
        (_other_settings, "of no training phase"),
        (_foreign_audit, "holds no figures"),
    ],
)
def test_what_is_no_run_is_said(folders, tmp_path, harm, message) -> None:
    shutil.copytree(folders["oracle"], tmp_path / "run")
    harm(tmp_path / "run")
    with pytest.raises(RunError, match=message):
        read_runs([tmp_path / "run"])


def test_a_file_or_nothing_is_no_run(folders) -> None:
    with pytest.raises(RunError, match="is a file: give the folder"):
        read_runs([folders["oracle"] / "results.json"])
    with pytest.raises(RunError, match="at least one run"):
        read_runs([])


# ---- the commands ----


def test_the_command_writes_the_file_and_says_what_is_in_it(folders, tmp_path, capsys) -> None:
    out = tmp_path / "new" / "r.html"
    words = ["report", str(folders["oracle"]), str(folders["sft"]), "--out", str(out)]
    assert main([*words, "--pictures", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["bytes"] == out.stat().st_size
    assert said["runs"] == ["oracle", "sft"]
    assert said["verdicts"] == {"unchecked": 3, "verified": 1}
    assert main(["report", str(tmp_path), "--out", str(out)]) == 2
    assert "is no run" in capsys.readouterr().err
    assert main([*words, "--pictures", "-1"]) == 2
    assert "pictures must be 0 or more" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_names_the_extra(folders, tmp_path, monkeypatch, capsys, package) -> None:
    templates.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["report", str(folders["sft"]), "--out", str(tmp_path / "r.html")]) == 2
    assert "pip install 'pixelis[report]'" in capsys.readouterr().err


def test_a_trace_is_replayed_by_command(folders, tmp_path, capsys) -> None:
    good = folders["oracle"] / "traces" / "0.json"
    assert main(["replay", str(good), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ok"] is True
    trace = Trace.load(good)
    Trace.build(trace.header, trace.steps, 0.5).save(tmp_path / "other.json")
    assert main(["replay", str(tmp_path / "other.json")]) == 1
    assert "diverged" in capsys.readouterr().out
    assert main(["replay", str(tmp_path / "none.json")]) == 2
