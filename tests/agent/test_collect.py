from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from pixelis_agent.collect import Collector, RolloutError, collect
from pixelis_agent.policies.base import Turn
from pixelis_agent.policies.scripted import OraclePolicy, RandomPolicy, ScriptedPolicy
from pixelis_agent.policies.vlm import VLMPolicy
from pixelis_env.tasks.base import Task
from pixelis_env.trace import Trace
from tests.agent.small import small_kwargs

SMALL = small_kwargs()
ROOMS = {"types": ["text_read", "time_first"], "tools": "oracle"}
FIRST = 2 * 10**9


def in_order(finished):
    return sorted(finished, key=lambda one: one.position)


def small(policy, indices, **options):
    return in_order(collect(policy, "Pixelis-v0", indices, env_kwargs=SMALL, **options))


def test_the_oracle_solves_rooms_and_workers_change_nothing() -> None:
    played = [
        in_order(
            collect(
                OraclePolicy(),
                "Pixelis-v0",
                range(FIRST, FIRST + 3),
                env_kwargs=ROOMS,
                workers=workers,
                envs_per_worker=2,
                traces=True,
            )
        )
        for workers in (0, 2)
    ]
    here, there = played
    assert [one.score for one in here] == [1.0] * 3
    assert {one.task_type for one in here} == {"text_read", "time_first"}
    for a, b in zip(here, there, strict=True):
        assert a.trace is not None
        assert b.trace is not None
        assert a.trace.to_json() == b.trace.to_json()
        assert (a.position, a.task_id, a.reward, a.aims, a.oracle_ops) == (
            b.position,
            b.task_id,
            b.reward,
            b.aims,
            b.oracle_ops,
        )
        assert a.steps == b.steps
        assert tuple(step.action.op for step in a.steps[:-1]) == a.oracle_ops[0]
        assert a.aims
        assert all(aim.score > 0 for aim in a.aims)
        for x, y in zip(a.episode.observations, b.episode.observations, strict=True):
            assert (x["text"], x["times"], x["regions"]) == (y["text"], y["times"], y["regions"])
            for one, other in zip(x["images"], y["images"], strict=True):
                assert np.array_equal(np.asarray(one), np.asarray(other))
        assert Trace.parse(a.trace.to_json()) == a.trace


def test_results_depend_on_the_seed_and_on_nothing_of_how_they_are_played() -> None:
    def outcome(**options):
        finished = small(RandomPolicy(), [*range(12), 3, 3], **options)
        return [(one.episode.index, one.steps, one.score, one.aims) for one in finished]

    first = outcome(workers=0)
    assert first == outcome(workers=2, envs_per_worker=3, batch=2)
    assert first == outcome(workers=0, lockstep=True, batch=5)
    assert first != outcome(workers=0, seed=1)
    # The same task three times is three episodes, not three times one.
    once, again, thrice = (first[k][1] for k in (3, 12, 13))
    assert once != again != thrice != once


def test_random_turns_are_calls_that_can_be_read() -> None:
    finished = small(RandomPolicy(), range(60), workers=0)
    ops = {step.action.op for one in finished for step in one.steps}
    assert ops == {"zoom", "segment", "read_text", "track", "localize", "properties", "answer"}
    assert all(1 <= len(one.steps) <= 16 for one in finished)
    assert 0.3 < np.mean([one.score for one in finished]) < 0.7


class Recording(ScriptedPolicy):
    """Notes which episodes it is asked about together. Episode i takes i % 3 + 1 turns."""

    def __init__(self) -> None:
        super().__init__(self.write)
        self.asked: list[tuple[int, ...]] = []
        self.finished: list[int] = []

    def act(self, episodes):
        self.asked.append(tuple(episode.index for episode in episodes))
        return super().act(episodes)

    def finish(self, episode) -> None:
        self.finished.append(episode.index)

    @staticmethod
    def write(episode) -> str:
        over = len(episode.turns) == episode.index % 3
        return "<answer>A</answer>" if over else "nothing"


def test_in_lockstep_the_batches_are_the_same_whoever_plays() -> None:
    asked = []
    for workers, each in ((0, 6), (2, 3)):
        policy = Recording()
        small(policy, range(9), workers=workers, envs_per_worker=each, batch=4, lockstep=True)
        asked.append(policy.asked)
        assert sorted(policy.finished) == list(range(9))
    assert asked[0] == asked[1]
    assert asked[0][:3] == [(0, 1, 2, 3), (1, 2, 4, 5), (2, 4, 5, 6)]


def test_in_lockstep_a_sampling_model_writes_the_same_to_the_last_bit(processor, tiny) -> None:
    def written(**options):
        policy = VLMPolicy(tiny, processor, temperature=1.0, max_new_tokens=4)
        kwargs = {**SMALL, "max_steps": 3}
        run = collect(policy, "Pixelis-v0", range(5), env_kwargs=kwargs, lockstep=True, **options)
        rollouts = [one.episode.rollout for one in in_order(run)]
        return [(rollout.tokens, rollout.log_probs) for rollout in rollouts]

    first = written(workers=0, envs_per_worker=4, batch=3)
    assert first == written(workers=1, envs_per_worker=4, batch=3)
    assert len({str(tokens) for tokens, _ in first}) == 5


def test_a_batch_holds_no_more_than_asked_and_all_where_it_can() -> None:
    policy = Recording()
    small(policy, range(8), workers=0, envs_per_worker=8, batch=3)
    assert max(map(len, policy.asked)) == 3
    policy = Recording()
    small(policy, range(8), workers=0, envs_per_worker=8, batch=16)
    assert policy.asked[0] == tuple(range(8))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failing_environment_is_named(workers) -> None:
    kwargs = small_kwargs(fail_at=5)
    policy = Recording()
    done: list[int] = []
    run = collect(policy, "Pixelis-v0", range(9), env_kwargs=kwargs, workers=workers)
    with pytest.raises(RolloutError, match=r"task 5 of Pixelis-v0 failed.*is missing") as error:
        done.extend(one.episode.index for one in run)
    assert error.value.indices == (5,)
    assert "small.py" in str(error.value)  # where it was raised
    assert len(policy.finished) == len(set(policy.finished)) >= len(done)


def test_a_worker_that_dies_is_named_with_its_tasks() -> None:
    kwargs = small_kwargs(die_at=1)
    with pytest.raises(RolloutError, match="ended with exit status 3") as error:
        list(
            collect(
                Recording(), "Pixelis-v0", range(9), env_kwargs=kwargs, workers=1, envs_per_worker=2
            )
        )
    assert 1 in error.value.indices


def test_wrong_arguments_are_refused_before_anything_is_spawned() -> None:
    with pytest.raises(ValueError, match="level must be 1, 2 or 3"):
        list(collect(OraclePolicy(), "Pixelis-v0", [0], env_kwargs={"level": 9}, workers=2))
    with pytest.raises(ValueError, match="workers"):
        Collector("Pixelis-v0", SMALL, workers=-1)
    with pytest.raises(ValueError, match="end the script with an answer"):
        small(ScriptedPolicy(["one"]), [0], workers=0)


def test_a_collector_stays_usable_when_a_run_is_left_early() -> None:
    with Collector("Pixelis-v0", SMALL, workers=1, envs_per_worker=2) as collector:
        policy = Recording()
        run = collector.run(policy, iter(int, 1))  # endless
        assert next(run).score is not None
        run.close()
        assert len(policy.finished) > 1  # also those that were in flight
        again = in_order(collector.run(OraclePolicy(), range(4)))
        assert [one.score for one in again] == [1.0] * 4
        # Workers load no torch, whatever this process has loaded.
        assert all(one.task_id.endswith("light") for one in again)
        assert len(multiprocessing.active_children()) == 1
    assert not multiprocessing.active_children()


SCRIPT = """
import signal
from pixelis_agent.collect import collect
from pixelis_agent.policies.scripted import ScriptedPolicy
from tests.agent.small import small_kwargs
if __name__ == "__main__":
    # A shell that started the tests in the background may have had it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run = collect(ScriptedPolicy(lambda e: "again"), "Pixelis-v0", iter(int, 1),
                  env_kwargs=small_kwargs(), workers=1)
    next(run)
    print("playing", flush=True)
    for _ in run:
        pass
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads process parents from /proc")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(stop, tmp_path) -> None:
    script = tmp_path / "play.py"
    script.write_text(SCRIPT)
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"playing\n"
        children = _children(parent.pid)
        assert len(children) >= 2
        if stop == signal.SIGINT:
            os.killpg(parent.pid, stop)  # as a terminal's Ctrl-C does
        else:
            parent.kill()
        _, errors = parent.communicate(timeout=60)
    finally:
        parent.kill()
    if stop == signal.SIGINT:
        assert errors.count(b"Traceback") == 1  # the parent's own KeyboardInterrupt
    deadline = time.monotonic() + 60
    while any(_alive(child) for child in children):
        assert time.monotonic() < deadline, "a worker is still there"
        time.sleep(0.05)


class Elsewhere:
    """Episode 0 is answered only when every other one is over."""

    name = "elsewhere"
    needs_oracle = False

    def __init__(self, count: int) -> None:
        self.left = count
        self.held: Future[Turn] = Future()

    def submit(self, episode) -> Future[Turn]:
        if episode.index == 0:
            return self.held
        future: Future[Turn] = Future()
        future.set_result(Turn("<answer>A</answer>", n_tokens=7))
        return future

    def finish(self, episode) -> None:
        self.left -= 1
        if self.left == 1:
            self.held.set_result(Turn("<answer>B</answer>", n_tokens=9))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_slow_turn_holds_nobody_else_up(workers) -> None:
    order = list(collect(Elsewhere(10), "Pixelis-v0", range(10), env_kwargs=SMALL, workers=workers))
    assert order[-1].episode.index == 0
    assert [one.n_tokens for one in order] == [7] * 9 + [9]


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Counting:
    """A source that counts what it made."""

    name, size = "counting", 60

    def __init__(self) -> None:
        self.made: list[int] = []
        self._source = SMALL["source"]

    def task(self, index: int) -> Task:
        self.made.append(index)
        return self._source.task(index)


def test_a_group_makes_its_task_once() -> None:
    source = Counting()
    kwargs = {**SMALL, "source": source}
    wanted = [index for index in range(5) for _ in range(6)]
    done = list(collect(OraclePolicy(), "Pixelis-v0", wanted, env_kwargs=kwargs, workers=0))
    assert len(done) == len(wanted)
    assert source.made == [0, 1, 2, 3, 4]
