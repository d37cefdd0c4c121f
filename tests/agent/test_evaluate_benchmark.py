"""`pixelis eval` on a benchmark and on a user's own questions."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixelis_agent import ccrft
from pixelis_agent.cli import main
from pixelis_agent.config import CCRFTConfig, EvalConfig, TTRLConfig
from pixelis_agent.evaluate import evaluate, run
from pixelis_agent.memory import Memory
from pixelis_agent.models.load import TINY, load_model
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.policies.scripted import RandomPolicy, ScriptedPolicy
from pixelis_agent.task_settings import env_arguments
from pixelis_agent.ttrl import train as ttrl
from pixelis_agent.ttrl.actor import Actor
from pixelis_agent.ttrl.ledger import config_of
from tests.env import benchmark_samples as samples


@pytest.fixture(scope="module")
def vsi(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("vsi")
    samples.vsi_bench(root)
    return root


def play(root: Path, **kwargs):
    kwargs.setdefault("source", "vsi-bench")
    return evaluate(
        ScriptedPolicy(["<answer>(A)</answer>"], "always A"),
        env_kwargs={"root": str(root), **kwargs},
        workers=0,
        progress=False,
    )


def test_rows_that_are_played_several_times_count_by_their_mean(vsi: Path) -> None:
    wanted = {"types": ["object_counting", "object_rel_direction_easy"], "root": str(vsi)}
    report = evaluate(
        RandomPolicy(),
        env_kwargs={"source": "vsi-bench", **wanted},
        samples=8,
        workers=0,
        progress=False,
    )
    assert report.benchmark is not None
    by_row = np.array([row.score for row in report.rows]).reshape(-1, 8)
    assert len(np.unique(by_row)) > 1
    assert report.benchmark.n == len(by_row)
    counting = next(one for one in report.benchmark.lines if one.name == "object_counting")
    own = [row.score for row in report.rows if row.task_type == counting.name]
    assert counting.score == pytest.approx(100 * np.mean(own))  # a benchmark counts in percent


def test_the_command_plays_the_whole_source_and_names_its_scorer(vsi: Path, capsys) -> None:
    config = EvalConfig(
        "random",
        source="vsi-bench",
        root=vsi,
        types=("object_counting", "room_size_estimation"),
        where=("dataset=scannet",),
        workers=0,
    )
    found = json.loads(json.dumps(run(config)))
    assert found["n"] == 2
    result = found["benchmark"]
    assert (result["source"], result["scorer"], result["version"]) == (
        "vsi-bench",
        "vsi-official",
        "1",
    )
    assert [line["name"] for line in result["lines"]] == ["object_counting", "room_size_estimation"]
    assert result["n"] == 2
    low, high = result["score_ci95"]
    assert low <= result["score"] <= high
    out = capsys.readouterr().out
    assert "random on vsi-bench" in out
    assert "vsi-bench by vsi-official v1" in out


def test_the_scorer_reads_and_the_result_is_of_what_it_read(vsi: Path) -> None:
    official = play(vsi, limit=4).benchmark
    lenient = play(vsi, scorer="vsi-lenient").benchmark
    assert official.score == 0
    assert lenient.score > 0
    assert (lenient.scorer, lenient.n) == ("vsi-lenient", 20)


def test_a_damaged_video_counts_0_and_is_named_without_strict(tmp_path: Path) -> None:
    samples.vsi_bench(tmp_path)
    video = tmp_path / "scannet" / "scene0003_00.mp4"
    video.write_bytes(video.read_bytes()[:200])
    report = play(tmp_path, strict=False, scorer="vsi-lenient")
    assert len(report.rows) == 10
    assert report.benchmark.n == 20
    assert len(report.benchmark.skipped) == 10
    assert "scene0003_00.mp4" in report.benchmark.skipped[0].reason
    assert all(line.score <= 50 for line in report.benchmark.lines if line.n == 2)
    with pytest.raises(RuntimeError, match=r"scene0003_00\.mp4"):
        play(tmp_path)
    (tmp_path / "arkitscenes" / "scene0007_00.mp4").write_bytes(b"x")
    with pytest.raises(ValueError, match="not one of 20 media can be read"):
        play(tmp_path, strict=False)


def test_a_missing_video_counts_0_and_stops_a_strict_command(tmp_path: Path, capsys) -> None:
    samples.vsi_bench(tmp_path)
    (tmp_path / "scannet" / "scene0003_00.mp4").unlink()
    words = ["eval", "--policy", "random", "--source", "vsi-bench", "--root", str(tmp_path)]
    assert main([*words, "--workers", "0"]) == 2
    assert "scene0003_00.mp4 is missing" in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = play(tmp_path, strict=False, limit=12)
    assert (len(report.rows), report.benchmark.n, len(report.benchmark.skipped)) == (2, 12, 10)


def test_a_manifest_is_played_by_each_lines_own_metric(tmp_path: Path) -> None:
    samples.write_jpeg(tmp_path / "a.jpg", samples.room(3)[0][0])
    rows = [
        {
            "media": "a.jpg",
            "question": "Which?",
            "options": ["x", "y"],
            "answer": "A",
            "type": "one",
        },
        {"media": "a.jpg", "question": "How long?", "answer": 4.5, "metric": "mra", "type": "two"},
        {"media": "a.jpg", "question": "Unknown?", "type": "two"},
    ]
    samples.write_jsonl(tmp_path / "pixelis.jsonl", rows)
    report = evaluate(
        ScriptedPolicy(["<answer>A</answer>"]),
        env_kwargs={"source": str(tmp_path / "pixelis.jsonl")},
        workers=0,
        progress=False,
    )
    result = report.benchmark
    assert [(line.name, line.n, line.score) for line in result.lines] == [
        ("one", 1, 100.0),
        ("two", 2, 0.0),
    ]
    assert (result.scorer, result.n, result.unscored, result.score) == ("metric-mean", 3, 1, 50.0)


def test_a_condition_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="column=value"):
        env_arguments(EvalConfig("random", where=("scannet",)))
    assert env_arguments(EvalConfig("random")) == {}


def test_media_that_cannot_be_read_are_left_out_where_they_may(tmp_path: Path) -> None:
    samples.write_jpeg(tmp_path / "a.jpg", samples.room(3)[0][0])
    samples.write_jpeg(tmp_path / "b.jpg", samples.room(4)[0][0])
    (tmp_path / "b.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:200])
    rows = [
        {"media": f"{name}.jpg", "question": "Which?", "options": ["x", "y"], "answer": "A"}
        for name in "abbb"
    ]
    samples.write_jsonl(tmp_path / "own.jsonl", rows)
    own = {"source": str(tmp_path / "own.jsonl"), "max_steps": 2, "max_tokens": 32, "workers": 0}
    lenient = {**own, "strict": False}
    streamed = TTRLConfig(TINY, tmp_path / "streamed", updates=2, queries=2, group=2, **lenient)
    with pytest.warns(UserWarning, match=r"row [123] of .*own\.jsonl is left out: .*b\.jpg"):
        assert ttrl.train(streamed)["updates"] == 2
    with Memory(tmp_path / "streamed" / "memory") as memory:
        assert [memory.get(number).place for number in memory.after(0, 9)] == [0]
        assert memory.next_place == 4
    rewarded = CCRFTConfig(
        TINY, tmp_path / "rewarded", iterations=1, tasks=2, group=2, redraws=0, **lenient
    )
    with pytest.warns(UserWarning, match="row 1 of"):
        assert ccrft.train(rewarded)["iterations"] == 1
    with pytest.raises(RuntimeError, match=r"b\.jpg"):
        ttrl.train(replace(streamed, out=tmp_path / "strict", strict=True))


def test_both_phases_of_rewards_learn_on_a_users_own_questions(tmp_path: Path) -> None:
    samples.write_jpeg(tmp_path / "a.jpg", samples.room(3)[0][0])
    rows = [
        {"media": "a.jpg", "question": f"Which is {k}?", "options": ["x", "y"], "answer": "A"}
        for k in range(3)
    ]
    samples.write_jsonl(tmp_path / "own.jsonl", rows)
    own = {"source": str(tmp_path / "own.jsonl"), "max_steps": 3, "max_tokens": 32, "workers": 0}
    rewarded = CCRFTConfig(
        TINY, tmp_path / "rewarded", iterations=1, tasks=2, group=2, redraws=0, **own
    )
    assert ccrft.train(rewarded)["iterations"] == 1
    streamed = TTRLConfig(TINY, tmp_path / "streamed", updates=2, queries=2, group=2, **own)
    assert ttrl.train(streamed)["updates"] == 2
    with Memory(tmp_path / "streamed" / "memory") as memory:
        asked = [memory.get(number).question for number in memory.after(0, 9)]
    # A finite source begins anew after its last.
    assert [question.splitlines()[0] for question in asked] == [
        f"Which is {k}?" for k in (0, 1, 2, 0)
    ]
    assert config_of(streamed.out) == streamed
    # Who was killed within an update's queries goes on with the rest of them.
    loaded = load_model(TINY)
    vision = VisionCache(loaded.model, loaded.processor)
    with Actor(loaded.model, loaded.processor, vision, streamed) as actor:
        assert [len(actor.meet(first)[1]) for first in (5, 6)] == [1, 2]
    with pytest.raises(ValueError, match="evaluate_episodes 0 with another source than rooms"):
        ccrft.train(replace(rewarded, evaluate_episodes=2))
    with pytest.raises(ValueError, match="evaluate_every 0 with another source than rooms"):
        ttrl.train(replace(streamed, evaluate_every=1))
