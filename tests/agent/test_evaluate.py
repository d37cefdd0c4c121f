from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_agent.config import EvalConfig
from pixelis_agent.evaluate import evaluate, run
from pixelis_agent.policies.make import make_policy
from pixelis_agent.policies.scripted import OraclePolicy, RandomPolicy, ScriptedPolicy, call_text
from pixelis_agent.policies.server import ServerError, ServerPolicy
from pixelis_agent.splits import (
    DEMONSTRATED,
    REWARDED,
    STREAMED,
    TRAIN,
    VALIDATION,
    evaluation_indices,
    training_index,
)
from pixelis_env.metrics.interval import ratio_interval
from pixelis_env.trace import Trace
from tests.agent.small import small_kwargs

SMALL = {**small_kwargs(), "max_steps": 4}

# The square of row i is at x = 4 i, y = 20, 4x4 px of 64x48; from row 8 on the answer is B.
TURNS = {
    8: [
        call_text("zoom", {"box": [500, 250, 1000, 750]}),  # 32x24 px that hold the square
        call_text("segment", {"source": "e1", "box": [0, 333.3333, 125, 500]}),  # exactly it
        "<answer>B</answer>",
    ],
    9: [
        call_text("segment", {"box": [562.5, 416.6667, 687.5, 500]}),  # twice as wide
        "<answer>A</answer>",
    ],
    10: [call_text("zoom", {"box": [0, 0, 2000, 9]}), "<answer>B</answer>"],
    11: ["I do not know."] * 4,
}


def by_hand(episode) -> str:
    return TURNS[episode.index][len(episode.turns)]


def test_the_figures_of_episodes_played_by_hand(tmp_path) -> None:
    report = evaluate(
        ScriptedPolicy(by_hand, "by hand"),
        env_kwargs=SMALL,
        indices=[8, 9, 10, 11],
        workers=0,
        out=tmp_path,
        progress=False,
    )
    found = report.to_dict()
    assert found["n"] == 4
    assert found["score"] == 0.5
    low, high = found["score_ci95"]
    assert 0 <= low < 0.5 < high <= 1
    assert found["solved"] == 0.5
    assert found["op_accuracy"] == 0.25
    assert found["argument_iou"] == pytest.approx(0.75, abs=1e-3)
    low, high = found["argument_iou_ci95"]
    assert (low, high) == pytest.approx((0.5, 1.0), abs=1e-3)
    assert found["zoom_iou"] == pytest.approx(16 / (32 * 24))
    assert found["point_accuracy"] is None
    assert found["in_view"] == 1.0
    assert found["chain_length"] == 0.75
    assert found["invalid_rate"] == pytest.approx(5 / 11)
    assert found["answer_rate"] == 0.75
    assert found["rapr"] == pytest.approx(2 / 3)
    assert found["racpr"] == pytest.approx(1 / 3)
    assert found["tokens"] == 0
    assert found["context_tokens"] is None
    assert found["env_seconds"] > 0
    even, odd = found["per_type"]["even"], found["per_type"]["odd"]
    assert (even["n"], even["score"], odd["n"], odd["score"]) == (2, 1.0, 2, 0.0)
    assert even["op_accuracy"] == 0.5
    assert even["argument_iou"] == pytest.approx(1.0, abs=1e-3)
    assert odd["invalid_rate"] == pytest.approx(4 / 6)

    written = json.loads((tmp_path / "results.json").read_text())
    assert written["score"] == 0.5
    assert written["played_with"] == {}
    assert [row["index"] for row in written["episodes"]] == [8, 9, 10, 11]
    assert [row["answer"] for row in written["episodes"]] == ["B", "A", "B", None]
    traces = {int(p.stem): Trace.load(p) for p in (tmp_path / "traces").iterdir()}
    assert {index: len(trace.steps) for index, trace in traces.items()} == {
        8: 3,
        9: 2,
        10: 2,
        11: 4,
    }


def test_figures_do_not_depend_on_who_carries_the_environments() -> None:
    def figures(**options):
        report = evaluate(RandomPolicy(), env_kwargs=SMALL, progress=False, **options).to_dict()
        for part in (report, *report["per_type"].values()):
            for key in ("env_seconds", "policy_seconds", "wall_seconds"):
                part.pop(key, None)
        return report

    first = figures(episodes=20, workers=0)
    assert first["n"] == 20
    assert first == figures(episodes=20, workers=1, batch=3)
    assert first != figures(episodes=20, workers=0, seed=1)


def test_a_task_is_played_several_times(tmp_path) -> None:
    def play(samples: int, **options):
        return evaluate(
            RandomPolicy(),
            env_kwargs=SMALL,
            indices=range(6),
            samples=samples,
            workers=0,
            progress=False,
            **options,
        )

    report = play(3, out=tmp_path)
    found, rows = report.to_dict(), report.rows
    assert (found["n"], found["samples"]) == (18, 3)
    assert [(row.index, row.sample) for row in rows] == [(i, s) for i in range(6) for s in range(3)]
    scores = np.array([row.score for row in rows]).reshape(6, 3)
    assert 0 < scores.mean() < scores.max(1).mean()
    assert found["score"] == pytest.approx(scores.mean())
    assert found["best"] == pytest.approx(scores.max(1).mean())
    # Episodes on a task hang together: the interval is over tasks, not over episodes.
    apart = ratio_interval(scores.ravel().tolist(), [1] * 18)[1:]
    assert found["score_ci95"] == ratio_interval(scores.sum(1).tolist(), [3] * 6)[1:] != apart
    names = {path.name for path in (tmp_path / "traces").iterdir()}
    assert names == {f"{i}{suffix}.json" for i in range(6) for suffix in ("", "-1", "-2")}
    lines = [json.loads(line) for line in (tmp_path / "dialogues.jsonl").read_text().splitlines()]
    assert len({json.dumps(line["said"]) for line in lines if line["index"] == 0}) == 3
    once = play(1).to_dict()
    assert once["best"] == once["score"]
    with pytest.raises(ValueError, match="samples must be at least 1, not 0"):
        play(0)
    with pytest.raises(ValueError, match="all the same: give a temperature"):
        run(EvalConfig("pixelis-tiny", samples=4))


def test_a_finite_source_is_played_once_at_the_most() -> None:
    report = evaluate(OraclePolicy(), env_kwargs=SMALL, episodes=5000, workers=0, progress=False)
    assert [row.index for row in report.rows] == list(range(60))
    assert report.summary.score == 1.0
    with pytest.raises(ValueError, match="no episode"):
        evaluate(OraclePolicy(), env_kwargs=SMALL, indices=[], workers=0, progress=False)


def test_the_command_plays_held_out_rooms_and_prints_a_table(tmp_path, capsys) -> None:
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "7.json").write_text("of an earlier run")
    config = EvalConfig(
        "oracle", types=("text_read",), tools="oracle", episodes=2, seed=3, out=tmp_path, workers=0
    )
    found = run(config)
    assert json.loads(json.dumps(found))["score"] == 1.0
    needed = {"score", "score_ci95", "n", "per_type", "chain_length", "invalid_rate", "rapr"}
    assert needed | {"racpr", "op_accuracy", "argument_iou", "solved", "tokens"} <= set(found)
    assert found["env_kwargs"] == {"types": ["text_read"], "tools": "oracle"}
    assert found["op_accuracy"] == 1.0
    out, err = capsys.readouterr()
    assert "oracle on Pixelis-v0" in out
    assert "text_read" in out
    assert "oracle" not in err
    paths = sorted(path.name for path in (tmp_path / "traces").iterdir())
    assert paths == ["2003000000.json", "2003000001.json"]


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_evaluations_share_no_task_with_each_other_or_with_training(a, b, episodes) -> None:
    first, second = evaluation_indices(a, episodes), evaluation_indices(b, 10**6)
    assert len(first) == episodes
    assert first.start >= VALIDATION.stop >= TRAIN.stop == VALIDATION.start
    assert second.stop <= 2**62
    assert a == b or first.stop <= second.start or second.stop <= first.start


@given(st.tuples(*[st.integers(0, 299)] * 2), st.tuples(*[st.integers(0, 10**6 - 1)] * 2))
def test_runs_share_no_task_with_other_seeds_or_phases(seeds, numbers) -> None:
    spans = (DEMONSTRATED, REWARDED, STREAMED)
    assert sorted(index for span in spans for index in (span.start, span.stop - 1)) == [
        index for span in spans for index in (span.start, span.stop - 1)
    ]
    for span in (REWARDED, STREAMED):
        one, other = (training_index(span, *pair) for pair in zip(seeds, numbers, strict=True))
        assert one in span
        assert one in TRAIN
        assert (one == other) == (seeds[0] == seeds[1] and numbers[0] == numbers[1])


def test_indices_out_of_range() -> None:
    with pytest.raises(ValueError, match="episodes must be in 1"):
        evaluation_indices(0, 0)
    with pytest.raises(ValueError, match="seed must be in 0"):
        evaluation_indices(-1, 5)


def test_a_saved_model_is_a_policy(processor, tiny, tmp_path) -> None:
    tiny.save_pretrained(tmp_path)
    processor.save(tmp_path)
    policy = make_policy(EvalConfig(str(tmp_path), max_tokens=5))
    report = evaluate(
        policy, env_kwargs=SMALL, indices=[1, 2], workers=0, lockstep=True, progress=False
    )
    assert report.policy == str(tmp_path)
    assert report.summary.tokens == 20  # it never ends a turn: four turns of five
    assert report.summary.context_tokens is not None
    assert report.summary.context_tokens > 20
    assert report.summary.invalid_rate == 1.0
    assert report.summary.argument_iou is None
    assert np.isfinite(report.summary.policy_seconds)


def test_a_policy_that_is_none_is_said() -> None:
    with pytest.raises(ValueError, match=r"no policy 'orakel'.*random, oracle"):
        make_policy(EvalConfig("orakel"))


def test_an_address_is_a_server() -> None:
    policy = make_policy(EvalConfig("http://127.0.0.1:9/v1", model="any"))
    assert isinstance(policy, ServerPolicy)
    with pytest.raises(ServerError, match="cannot be reached"):
        ServerPolicy("http://127.0.0.1:9/v1", retries=0)


def test_the_settings_are_read_without_torch() -> None:
    code = "import pixelis_agent.evaluate, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_ray_cannot_do_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(ValueError, match="cluster needs ray"):
        run(EvalConfig(policy="oracle", cluster="auto"))
    with pytest.raises(ValueError, match="serve the model"):
        run(EvalConfig(policy="some/model", ray=2, device="auto"))
