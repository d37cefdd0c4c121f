"""Rollouts on Ray: a real one, on this machine, whose workers are really killed."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from pixelis_agent.ccrft import train
from pixelis_agent.collect import Collector, Finished, RayCollector, RolloutError, collect
from pixelis_agent.collect.cluster import TRIES, _Fleet, _Worker
from pixelis_agent.collect.flight import Ticket
from pixelis_agent.config import CCRFTConfig, EvalConfig
from pixelis_agent.evaluate import run
from pixelis_agent.log import read_metrics
from pixelis_agent.policies.scripted import OraclePolicy, RandomPolicy
from pixelis_agent.policies.vlm import VLMPolicy
from tests.agent.slow_policy import Slow
from tests.agent.small import small_kwargs

ray = pytest.importorskip("ray", reason="needs the extra `ray`")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = {**small_kwargs(), "max_steps": 6}
INDICES = [*range(20), 3, 3, *range(5)]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A Ray for all tests of this module; collectors use it since it is there."""
    ray.init(
        "local",
        num_cpus=4,
        num_gpus=1,  # one to give out; nothing here computes on it
        include_dashboard=False,
        object_store_memory=128 * 2**20,
        log_to_driver=False,
        # Nice as Ray would have them, workers take minutes to start on a busy machine.
        _system_config={"worker_niceness": 0},
    )
    yield
    ray.shutdown()


def content(finished: Iterator[Finished] | list[Finished]) -> list[Any]:
    """All that an episode came to but how long it took, by position."""
    return [
        (
            one.position,
            one.episode.index,
            one.episode.seed,
            [turn.text for turn in one.episode.turns],
            [said["text"] for said in one.episode.observations],
            [[image.tobytes() for image in said["images"]] for said in one.episode.observations],
            one.steps,
            one.score,
            one.reward,
            one.aims,
            None if one.trace is None else one.trace.to_json(),
        )
        for one in sorted(finished, key=lambda one: one.position)
    ]


@pytest.fixture(scope="module")
def unbroken() -> list[Any]:
    """What the episodes come to in this process."""
    return content(
        collect(RandomPolicy(), "Pixelis-v0", INDICES, env_kwargs=SMALL, workers=0, seed=7)
    )


@pytest.fixture(scope="module")
def collector() -> Iterator[RayCollector]:
    """One for several tests: actors take seconds to start."""
    with RayCollector("Pixelis-v0", SMALL, workers=2, envs_per_worker=3) as shared:
        yield shared


def test_where_episodes_are_played_makes_no_difference(
    collector: RayCollector, unbroken: list[Any]
) -> None:
    assert (collector.size, collector.source.name) == (60, "small")
    assert content(collector.run(RandomPolicy(), INDICES, seed=7)) == unbroken
    # The same workers again, with another policy.
    assert [one.score for one in collector.run(OraclePolicy(), [1, 2, 3])] == [1.0] * 3


def test_a_killed_worker_loses_and_repeats_nothing(
    collector: RayCollector, unbroken: list[Any], tmp_path: Path
) -> None:
    """A worker is killed in the middle of an episode, after some results have come in."""
    policy = Slow(tmp_path)
    played: list[Finished] = []
    lost: set[int] = set()
    for one in collector.run(policy, INDICES, seed=7):
        played.append(one)
        if len(played) == 5:
            received = {other.episode.seed for other in played}
            victim = next(pid for pid, seed in policy.begun() if seed not in received)
            os.kill(victim, signal.SIGKILL)
            lost = {seed for pid, seed in policy.begun() if pid == victim} - received
    assert Counter(one.position for one in played) == Counter(range(len(INDICES)))
    assert content(played) == unbroken
    # What was half played has been begun again by another.
    times = Counter(seed for _, seed in policy.begun())
    assert {seed for seed, count in times.items() if count > 1} & lost
    # The collector has all its workers again.
    assert content(collector.run(RandomPolicy(), INDICES, seed=7)) == unbroken


def test_no_more_is_taken_than_there_is_room_for(collector: RayCollector) -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            taken.append(len(taken) % 60)
            yield taken[-1]

    run = collector.run(RandomPolicy(), endless())
    for received in range(1, 13):
        next(run)
        # In flight are at most six, however long the caller looks at an episode.
        time.sleep(1.0 if received == 6 else 0)
        assert len(taken) <= received + 6
    run.close()
    assert [one.score for one in collector.run(OraclePolicy(), range(4))] == [1.0] * 4


def test_a_group_stays_where_its_task_was_begun_while_there_is_room() -> None:
    first, second = workers = [_Worker(None, ready=True), _Worker(None, ready=True)]
    fleet = _Fleet(workers, slots=4)
    seats = []
    for position, index in enumerate([7, 7, 7, 8, 8, 8, 7, 8]):
        worker = fleet.seat(Ticket(position, index, seed=0))
        worker.busy, worker.task = worker.busy + 1, index
        seats.append(worker)
    assert seats == [first] * 3 + [second] * 3 + [first, second]
    assert fleet.free() == []
    second.busy = 3
    assert fleet.seat(Ticket(8, 7, seed=0)) is second  # the only one with room


def test_a_model_plays_in_the_workers(collector: RayCollector, processor: Any, tiny: Any) -> None:
    """Its tokens, log-probabilities and pictures come back, as learning needs them."""
    policy = VLMPolicy(tiny, processor, temperature=1.0, max_new_tokens=4)
    there = sorted(collector.run(policy, range(2)), key=lambda one: one.position)
    with Collector("Pixelis-v0", SMALL, workers=0, envs_per_worker=1) as one_env:
        here = sorted(one_env.run(policy, range(2)), key=lambda one: one.position)
    for a, b in zip(here, there, strict=True):
        assert a.episode.rollout is not None
        assert b.episode.rollout is not None
        assert a.episode.rollout.tokens == b.episode.rollout.tokens
        assert b.episode.rollout.log_probs == pytest.approx(a.episode.rollout.log_probs, abs=1e-5)
        assert len(a.episode.rollout.images) == len(b.episode.rollout.images) > 0


def test_workers_that_are_killed_again_and_again(unbroken: list[Any], tmp_path: Path) -> None:
    """Kills at moments that nobody chose, in the middle of turns, of whoever plays."""
    policy = Slow(tmp_path, pause=0.3)
    over = threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while len(killed) < 3 and not over.wait(0.1):
            for player in policy.players() - set(killed):
                over.wait(0.37)
                os.kill(player, signal.SIGKILL)
                killed.append(player)
                break

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with RayCollector("Pixelis-v0", SMALL, workers=2, envs_per_worker=4) as fresh:
            played = content(fresh.run(policy, INDICES, seed=7))
    finally:
        over.set()
        killer.join()
    assert len(killed) == 3
    assert played == unbroken


def players() -> list[psutil.Process]:
    """The actors that play, of whichever collector."""
    found = psutil.process_iter(["name"])
    return [process for process in found if process.info["name"].startswith("ray::Player")]


def test_what_learns_samples_on_ray_and_a_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked about one episode at a time, a policy computes the same wherever it plays."""
    settings = CCRFTConfig(
        model="pixelis-tiny",
        out=tmp_path / "here",
        types=("text_read",),
        tools="oracle",
        iterations=3,
        tasks=2,
        group=2,
        redraws=1,
        micro_batch=2,
        max_tokens=96,
        workers=0,
        batch=1,
        evaluate_episodes=1,
    )
    train(settings)
    there = replace(settings, out=tmp_path / "there", ray=2)
    others = {player.pid for player in players()}
    buried: list[str] = []

    def kill() -> None:
        while not (there.out / "metrics.jsonl").exists():
            time.sleep(0.1)
        time.sleep(2)
        next(player for player in players() if player.pid not in others).kill()

    def bury(self: RayCollector, call: Any, fleet: Any, last_words: str) -> bool:
        buried.append(last_words)
        return really(self, call, fleet, last_words)

    really = RayCollector._bury
    monkeypatch.setattr(RayCollector, "_bury", bury)
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    train(there)
    killer.join(1)
    assert buried
    rows, again = (
        [
            {name: value for name, value in row.items() if "second" not in name}
            for row in read_metrics(config.out / "metrics.jsonl")
        ]
        for config in (settings, there)
    )
    assert again == rows
    assert rows[2]["kl"] > 0  # the copies follow what is learned


def test_actors_take_the_gpus_that_they_are_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with RayCollector("Pixelis-v0", SMALL, workers=1, gpus=0.5) as collector:
        assert [one.score for one in collector.run(OraclePolicy(), [0])] == [1.0]
        assert ray.available_resources()["GPU"] == 0.5
    monkeypatch.setattr("pixelis_agent.collect.cluster.LATE", 1.0)
    with RayCollector("Pixelis-v0", SMALL, workers=1, gpus=2) as collector:
        run = collector.run(OraclePolicy(), [0])
        # As an error, for it would wait on.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UserWarning, match="2 GPU, of which the cluster has 1 and"):
                next(run)


def test_a_task_that_kills_its_workers_ends_the_run(tmp_path: Path) -> None:
    policy = Slow(tmp_path, pause=0.0, deadly=4)
    with RayCollector("Pixelis-v0", SMALL, workers=1, envs_per_worker=1) as collector:
        done: list[int] = []
        with pytest.raises(RolloutError, match=f"{TRIES} workers died while they played task 4"):
            done.extend(one.episode.index for one in collector.run(policy, range(9)))
        # Whoever died was replaced, and what had waited behind the task was played meanwhile.
        assert set(done) >= {0, 1, 2, 3}
        assert 4 not in done
        assert len(policy.players()) == TRIES


def test_a_failing_environment_is_named() -> None:
    kwargs = small_kwargs(fail_at=5)
    with RayCollector("Pixelis-v0", kwargs, workers=1, envs_per_worker=2) as collector:
        with pytest.raises(RolloutError, match=r"task 5 of Pixelis-v0 failed.*missing") as error:
            list(collector.run(RandomPolicy(), range(9)))
        assert error.value.indices == (5,)
        # And the collector plays on.
        assert len(list(collector.run(RandomPolicy(), range(3)))) == 3


def test_wrong_arguments_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="level must be 1, 2 or 3"):
        RayCollector("Pixelis-v0", {"level": 9})
    with pytest.raises(ValueError, match="workers must be at least 1"):
        RayCollector("Pixelis-v0", SMALL, workers=0)
    with RayCollector("Pixelis-v0", SMALL) as collector, pytest.raises(ValueError, match="lockst"):
        list(collector.run(OraclePolicy(), [0], lockstep=True))


@pytest.mark.parametrize("policy", ["oracle", "random"])
def test_the_command_gives_the_table_of_workers(
    policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables, rows = [], []
    for name, ray_workers in (("ray", 2), ("workers", 0)):
        out = tmp_path / name
        config = EvalConfig(
            policy=policy,
            types=("text_read", "time_first"),
            tools="oracle",
            episodes=4,
            out=out,
            workers=1,
            ray=ray_workers,
            batch=4,
        )
        found = run(config)
        timed = {"env_seconds", "policy_seconds", "wall_seconds"}
        tables.append({key: found[key] for key in found.keys() - timed - {"per_type"}})
        written = json.loads((out / "results.json").read_text())
        keyed = sorted(written["episodes"], key=lambda row: row["index"])
        rows.append([{k: row[k] for k in row.keys() - timed} for row in keyed])
        traces = sorted(path.read_text() for path in (out / "traces").glob("*.json"))
        rows.append(traces)
        assert re.search(r"all\s+4\s", capsys.readouterr().out)
    assert tables[0] == tables[1]
    assert rows[0] == rows[2]
    assert rows[1] == rows[3]
    assert len(rows[1]) == 4
