"""Test-time learning: no label takes part, it goes on bit for bit, and its ledger says why."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixelis_agent.behaviour import Behaviour
from pixelis_agent.cli import main
from pixelis_agent.config import TTRLConfig
from pixelis_agent.learning.corridor import Corridor
from pixelis_agent.learning.training import LastGood
from pixelis_agent.log import read_metrics
from pixelis_agent.memory import Entry, Memory, verify
from pixelis_agent.models.anchor import load_with_ema
from pixelis_agent.models.load import TINY, Lora, load_model
from pixelis_agent.splits import STREAMED, VALIDATION
from pixelis_agent.task_settings import env_arguments
from pixelis_agent.ttrl import train as ttrl
from pixelis_agent.ttrl.actor import Actor
from pixelis_agent.ttrl.apart import LEAKS, apart, leaks_among, packed, unpacked
from pixelis_agent.ttrl.exams import EXAMS, loss_of
from pixelis_agent.ttrl.judging import Judged, gains, paid, trusted
from pixelis_agent.ttrl.ledger import config_of, read_ledger
from pixelis_agent.ttrl.replay import replay_ledger
from pixelis_agent.ttrl.updater import Updater
from pixelis_agent.voting import Ballot, Vote
from pixelis_env.leakage import Fingerprint
from pixelis_env.making import make_env
from tests.agent.test_rewards import steps_of

SMALL = TTRLConfig(
    model=TINY,
    out=Path("runs"),
    types=("text_read",),
    shift="lighting",
    tools="oracle",
    updates=2,
    queries=2,
    group=3,
    least_margin=0.05,
    learning_rate=1e-3,
    max_tokens=96,
    workers=1,
    batch=6,
    checkpoint_every=1,
)
TIMES = {"seconds"}
scores = st.lists(st.floats(0, 1), min_size=5, max_size=5)


@given(
    agree=st.lists(st.booleans(), min_size=2, max_size=8),
    data=st.data(),
    confidence=st.floats(0, 1),
)
def test_what_counts_is_what_the_vote_says(
    agree: list[bool], data: st.DataObject, confidence: float
) -> None:
    """Pay cancels in a group, winners are above losers, and small differences stay small."""
    n = len(agree)
    shares = st.floats(0, 1, width=32)
    alike = torch.tensor(data.draw(st.lists(shares, min_size=n, max_size=n)))
    lengths = data.draw(st.lists(st.integers(1, 4), min_size=n, max_size=n))
    there = torch.arange(4) < torch.tensor(lengths)[:, None]
    free = torch.where(there, 0.0, float("nan"))
    voted = torch.tensor(agree, dtype=torch.float32)
    worth = voted * (1 + SMALL.behaviour * alike)
    gains = paid(worth, free, confidence, 0.3)
    assert (gains[~there] == 0).all()
    assert torch.allclose(gains[:, 0].sum(), torch.tensor(0.0), atol=1e-5)
    assert (gains.masked_select(there) - gains[:, :1].expand(n, 4).masked_select(there) == 0).all()
    if any(agree) and not all(agree):
        assert gains[voted == 1, 0].min() >= gains[voted == 0, 0].max()
    if all(agree):
        spread = float(alike.max() - alike.min())
        assert float(gains.abs().max()) <= confidence * SMALL.behaviour * spread + 1e-6
    drawn = data.draw(st.lists(st.sampled_from([0.0, -0.25, -1.0]), min_size=4 * n, max_size=4 * n))
    costs = torch.where(there, torch.tensor(drawn).view(n, 4), float("nan"))
    less = paid(worth, costs, confidence, 0.3)
    changes, own = (less - gains)[there], costs[there]
    assert torch.allclose(changes.sum(), torch.tensor(0.0), atol=1e-5)
    assert changes[own.argmax()] >= changes.max() - 1e-6
    assert changes[own.argmin()] <= changes.min() + 1e-6
    order = torch.tensor(data.draw(st.permutations(range(n))))
    assert torch.allclose(paid(worth[order], costs[order], confidence, 0.3), less[order], atol=1e-6)

    # Trust is where a step was carried out by one who agrees, and nowhere else.
    failed = torch.where(there, (costs < 0).float(), float("nan"))
    trust = trusted(worth, failed, confidence)
    right = there & (failed == 0) & (voted[:, None] == 1)
    assert (trust[~right] == 0).all()
    assert torch.allclose(trust[right], (confidence * worth)[:, None].expand(n, 4)[right])
    assert torch.equal(trusted(worth[order], failed[order], confidence), trust[order])


def judged() -> Judged:
    """Two rollouts agree, one of them after a call in vain; the third says something else."""
    steps = [
        steps_of("done", "answer"),
        steps_of("failed", "done", "done", "answer"),
        steps_of("done", "answer"),
    ]
    behaviours = [
        Behaviour(ops, frozenset(), (), ()) for ops in (("zoom",), ("zoom", "zoom"), ("zoom",))
    ]
    said = zip(behaviours, "AAB", (-0.1, -0.3, -0.2), strict=True)
    ballots = [Ballot(a, a.lower(), b, 1.0, log_prob=p) for b, a, p in said]
    outcome = Vote("A", (0, 1), confidence=0.5, margin=0.4, weights=(1, 1, 1))
    finished: Any = [SimpleNamespace(steps=own) for own in steps]
    return Judged(finished, ballots, outcome, 0, cast(Any, None), [])


@pytest.mark.parametrize(
    ("vote", "learn", "expected"),
    [
        # Confidence 0.5 times 1 and behaviour 0.3 by likeness (1, half).
        ("trajectories", "teacher", [[0.65, 0.65, 0, 0], [0, 0.575, 0.575, 0.575], [0, 0, 0, 0]]),
        ("majority", "teacher", [[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]),
        ("entropy", "teacher", [[1, 1, 0, 0], [0, 1, 1, 1], [1, 1, 0, 0]]),
        ("majority", "gradient", [[0.577, 0.577, 0, 0], [0.577] * 4, [-1.155, -1.155, 0, 0]]),
        ("entropy", "gradient", [[1, 1, 0, 0], [-1] * 4, [0, 0, 0, 0]]),
    ],
)
def test_what_counts_in_each_way_to_vote_and_learn(
    vote: Any, learn: Any, expected: list[list[float]]
) -> None:
    config = replace(SMALL, vote=vote, learn=learn, behaviour=0.3)
    found = gains(judged(), config)
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=torch.float32), atol=1e-3, rtol=0
    )


def test_by_gradient_a_trajectory_is_paid_against_its_group() -> None:
    config = replace(SMALL, learn="gradient", behaviour=0.3, efficiency=0.0)
    worth = torch.tensor([1.3, 1.15, 0.0])
    found = gains(judged(), config)
    torch.testing.assert_close(found[:, 0], 0.5 * (worth - worth.mean()))
    costly = gains(judged(), replace(config, efficiency=0.3))
    assert costly[1, 0] < found[1, 0]  # the call in vain
    assert costly[0, 0] > found[0, 0]


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows = read_metrics(out / "metrics.jsonl")
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def ledger_of(out: Path) -> list[dict[str, Any]]:
    """The ledger without the memory's ids, which are never used twice."""
    rows = read_ledger(out)
    for row in rows:
        for query in row["queries"]:
            del query["entry"]
            query["neighbours"] = len(query["neighbours"])
    return rows


class Killed(Exception):
    """Stands for the end of the process."""


def test_it_adapts_without_labels_and_continues_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = replace(SMALL, out=tmp_path / "whole")
    result = ttrl.train(whole)
    rows, ledger = rows_of(whole.out), ledger_of(whole.out)
    assert [row["step"] for row in rows] == [1, 2]
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6)  # the average begins as the policy
    assert [row["update"] for row in ledger] == [1, 2]
    assert ledger[-1]["adapter"] == result["adapter"]
    assert all(len(query["answers"]) == SMALL.group for row in ledger for query in row["queries"])
    learned = [row for row in ledger if any(q["learned"] for q in row["queries"])]
    assert learned
    assert any(any(own) for q in learned[0]["queries"] for own in q["gains"])
    assert learned[0]["kl_after"] > 0
    with Memory(whole.out / "memory") as memory:
        assert len(memory) == 4
        assert verify(memory) == []

    # The same again, killed after an update was remembered and before it was kept; and nobody
    # knows a right answer.
    save, played = Updater.save, Actor._groups

    def dying(self: Updater, memory: Memory) -> None:
        if self.progress.step == 2:
            raise Killed
        save(self, memory)

    def unlabelled(*args: Any) -> Any:
        return [[replace(one, score=None) for one in group] for group in played(*args)]

    monkeypatch.setattr(Actor, "_groups", unlabelled)
    monkeypatch.setattr(Updater, "save", dying)
    again = replace(SMALL, out=tmp_path / "again")
    with pytest.raises(Killed):
        ttrl.train(again)
    monkeypatch.setattr(Updater, "save", save)
    assert ttrl.train(again) == result
    assert ledger_of(again.out) == ledger
    known = {"score", "vote_score"}
    assert rows_of(again.out) == [{k: v for k, v in row.items() if k not in known} for row in rows]
    first, second = (load_model(out).model.state_dict() for out in (whole.out, again.out))
    assert any("lora" in name for name in first)
    assert not any("anchor" in name for name in first)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    with Memory(again.out / "memory") as memory:
        assert len(memory) == 4
        assert verify(memory) == []

    # Its ledger makes the same adapter again; one that was tampered with does not.
    assert config_of(again.out) == again
    assert main(["audit", "--policy", str(again.out), "--ledger"]) == 0
    assert f"2 updates came out the same; adapter {result['adapter']}" in capsys.readouterr().out
    with Memory(again.out / "memory") as memory:
        for decision, other in (("keep", "skip"), ("skip", "keep")):
            memory.record.execute(
                "UPDATE updates SET said = replace(said, ?, ?)",
                [f'"decision": "{said}"' for said in (decision, other)],
            )
            if other == "skip":
                with pytest.raises(ValueError, match="came out different: decision is keep"):
                    replay_ledger(again)
        assert replay_ledger(again)["adapter"] == result["adapter"]
        memory.prune(0)
    with pytest.raises(ValueError, match="the memory has forgotten what"):
        replay_ledger(again)
    assert main(["audit", "--policy", str(tmp_path), "--ledger"]) == 2
    assert "is no run of `pixelis ttrl`" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"was begun with learning_rate 0\.001, not 0\.1: go on"):
        ttrl.train(replace(again, learning_rate=0.1))
    with pytest.raises(ValueError, match=r"was begun with corridor\.high 0\.2, not 0\.3"):
        ttrl.train(replace(again, corridor=Corridor(high=0.3)))
    # What was remembered already binds; so do settings that an older version did not have.
    for checkpoint in again.out.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    with pytest.raises(ValueError, match="was begun with micro_batch 4, not 2"):
        ttrl.train(replace(again, micro_batch=2))
    settings = json.loads((again.out / "config.json").read_text())
    del settings["by_certainty"]
    (again.out / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="by another version, which had no by_certainty"):
        ttrl.train(again)
    (whole.out / "ledger.jsonl").touch()
    with pytest.raises(ValueError, match=r"which kept its ledger in ledger\.jsonl"):
        ttrl.train(whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_full_memory_forgets_the_same_in_a_run_that_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for two of six queries, killed after it has forgotten and before it has."""
    settings = replace(SMALL, updates=3, capacity=2, checkpoint_every=2)
    whole, again = (replace(settings, out=tmp_path / name) for name in ("whole", "again"))
    result = ttrl.train(whole)
    tidy = Updater.tidy
    for late in (False, True):

        def dying(self: Updater, memory: Memory, late: bool = late) -> None:
            if late:
                tidy(self, memory)
            if self.progress.step == 2:
                raise Killed

        monkeypatch.setattr(Updater, "tidy", dying)
        with pytest.raises(Killed):
            ttrl.train(again)
    monkeypatch.setattr(Updater, "tidy", tidy)
    assert ttrl.train(again) == result
    assert ledger_of(again.out) == ledger_of(whole.out)
    left = []
    for run in (whole, again):
        with Memory(run.out / "memory") as memory:
            assert verify(memory) == []
            left.append([memory.get(number).place for number in memory.after(0, 9)])
    assert len(left[0]) == 2
    assert left[0] == left[1]


@pytest.mark.slow  # a policy of which nothing is left writes long turns
def test_it_stops_itself_where_it_forgets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps so large that nothing is left of the policy: the exam after the first shows it."""
    config = replace(
        SMALL,
        out=tmp_path / "lost",
        least_margin=0.0,
        learning_rate=1.0,
        evaluate_every=1,
        evaluate_episodes=3,
    )
    with pytest.warns(UserWarning, match="learning has stopped itself: after update 1"):
        result = ttrl.train(config)
    assert result["updates"] == 1
    assert "it is again what it was after update 0" in result["stopped"]
    first, last = read_metrics(config.out / EXAMS)
    assert (first["step"], last["step"]) == (0, 1)
    assert {"held_out", "guard"} < first.keys()
    assert last["guard"] < first["guard"] == np.mean(first["guard_scores"])
    curve = read_metrics(config.out / "metrics.jsonl")
    assert [(row["step"], row["guard_score"], row["held_out_score"]) for row in curve] == [
        (
            row["step"],
            pytest.approx(row["guard"], abs=1e-6),
            pytest.approx(row["held_out"], abs=1e-6),
        )
        for row in (first, last)
    ]
    # Its two queries were compared with the tasks of the exams.
    assert result["apart"] == {"queries": 2, "held_out": 3, "leaks": []}
    assert (
        "2 queries were compared with the 3 tasks of the exams: none is" in capsys.readouterr().out
    )
    update, stop = read_ledger(config.out)
    assert update["adapter"] != stop["adapter"] == result["adapter"]
    assert stop["why"] == result["stopped"]
    # It is what it was: an adapter that adds nothing.
    state = load_model(config.out).model.state_dict()
    assert all(not v.any() for n, v in state.items() if "lora_B" in n)
    # It stays stopped, and the ledger can be made again.
    assert ttrl.train(config) == result
    assert len(read_ledger(config.out)) == 2
    assert main(["audit", "--policy", str(config.out), "--ledger"]) == 0
    assert f"1 updates came out the same; adapter {result['adapter']}" in capsys.readouterr().out


def test_a_query_that_shows_what_judges_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """The same room, the same room in other light, and another room."""
    shown = []
    room, other = VALIDATION[1], STREAMED[1]
    for shift, index in (("none", room), ("lighting", room), ("none", other)):
        env = make_env(SMALL.env, env_arguments(replace(SMALL, shift=shift)))
        seen, _ = env.reset(options={"index": index})
        media = env.unwrapped.task.media  # type: ignore[attr-defined]
        shown.append((media.digest, tuple(seen["images"])))
    met = [Entry("room", "t", "?", digest, own, (), None, 0, 0, None) for digest, own in shown]
    judge = Fingerprint.of("judge", *shown[0])
    again = unpacked(json.loads(json.dumps(packed(judge))))
    assert (again.task_id, again.media_digest) == (judge.task_id, judge.media_digest)
    assert np.array_equal(again.bits, judge.bits)
    same, lit = leaks_among(met, [again])
    assert "same content" in same
    assert "looks the same" in lit
    ledger = [{"queries": met, LEAKS: [same]}, {"queries": met, LEAKS: []}, {"queries": met}]
    config = replace(SMALL, evaluate_every=1, evaluate_episodes=2)
    assert apart(config, ledger) == {"apart": {"queries": 6, "held_out": 2, "leaks": [same]}}
    assert same in capsys.readouterr().out
    assert apart(replace(config, evaluate_every=0), ledger) == {}


@given(before=scores, now=scores)
def test_a_loss_is_that_of_the_same_tasks(before: list[float], now: list[float]) -> None:
    loss, doubt = loss_of(before, now)
    assert loss == pytest.approx(np.mean(before) - np.mean(now))
    assert doubt >= 0
    assert loss_of(before, before) == (0, 0)
    assert loss_of(now, before)[0] == pytest.approx(-loss)


def test_an_average_follows_its_policy(tmp_path: Path) -> None:
    loaded, average = load_with_ema(TINY, Lora(rank=4, alpha=8), 0.75)
    own = {n: p for n, p in loaded.model.named_parameters() if p.requires_grad}
    assert own
    assert all(".default." in name for name in own)
    held = average.state_dict()
    for name, weight in held.items():
        assert torch.equal(weight, own[name.replace(".anchor.", ".default.")])
    with torch.no_grad():
        for weight in own.values():
            weight.add_(1.0)
    average.step()
    for name, weight in average.state_dict().items():
        torch.testing.assert_close(weight, held[name] + 0.25)
    # In a roll-back it goes back with the policy.
    good = LastGood(loaded.model, torch.optim.AdamW(own.values()), average)
    followed = {name: weight.clone() for name, weight in average.state_dict().items()}
    with torch.no_grad():
        for weight in own.values():
            weight.add_(1.0)
    average.step()
    good.restore()
    for name, weight in average.state_dict().items():
        assert torch.equal(weight, followed[name])
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        alone = loaded.model(input_ids=tokens).logits
    with average.active():
        assert not torch.allclose(loaded.model(input_ids=tokens).logits, alone)
    average.load_state_dict({n: own[n.replace(".anchor.", ".default.")] for n in held})
    with average.active():
        torch.testing.assert_close(loaded.model(input_ids=tokens).logits, alone)
    assert [p for p in loaded.model.parameters() if p.requires_grad] == list(own.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"group": 1},
        {"queries": 0},
        {"temperature": 0},
        {"decay": 1},
        {"least_margin": 2},
        {"capacity": 1},
        {"teacher_temperature": 0},
        {"align": 2},
    ],
)
def test_settings_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="test-time learning needs"):
        ttrl.train(replace(SMALL, out=tmp_path, **wrong))


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun and accelerate launch do
    with pytest.raises(ValueError, match="pixelis ttrl is one process, and was launched as 2"):
        ttrl.train(replace(SMALL, out=tmp_path))
    assert not list(tmp_path.iterdir())
