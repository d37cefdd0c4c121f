"""What every registered environment keeps: the contract of Gymnasium, SB3 and our own laws."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import random
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from pixelis_env import ENV_IDS
from pixelis_env.actions import Answer, Properties, Segment, Zoom
from pixelis_env.env import PixelisEnv
from pixelis_env.evidence import ToolError
from pixelis_env.media import ArrayMedia, MediaError
from pixelis_env.tasks.single import SingleSource
from pixelis_env.wrappers import FlatAction
from tests.env.benchmark_samples import vsi_bench

# Exact backends on rooms: these tests are about the environment; tests/laws are about the tools.
FAST = {"tools": "oracle", "max_steps": 6}
FEW = 12

BENCHMARK = "Pixelis-VSI-v0 on vsi-bench"

# The ids differ by the family of their questions alone: two of them stand for all by default.
IDS = [
    env_id
    if env_id in ("Pixelis-VSI-v0", "Pixelis-Motion-v0", BENCHMARK)
    else pytest.param(env_id, marks=pytest.mark.slow)
    for env_id in (*ENV_IDS, BENCHMARK)
]

_FOLDER = tempfile.TemporaryDirectory()  # removed when the interpreter ends


@cache
def benchmark_root() -> str:
    """A miniature copy of VSI-Bench: real videos, a question of every type about each."""
    vsi_bench(Path(_FOLDER.name))
    return _FOLDER.name


def make(env_id: str, **kwargs):
    if env_id != BENCHMARK:
        return gym.make(env_id, **{**FAST, **kwargs})
    # The oracle knows rooms only: on real videos the backends are those that look at pixels.
    own = {"source": "vsi-bench", "root": benchmark_root(), "max_steps": 6}
    kwargs.pop("level", None)
    return gym.make("Pixelis-VSI-v0", **{**own, **kwargs})


def same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if hasattr(a, "tobytes") and hasattr(a, "size"):
        return a.size == b.size and a.tobytes() == b.tobytes()
    return type(a) is type(b) and a == b


def rollout(env, seed: int, steps: int = FEW) -> list:
    env.action_space.seed(seed)
    out = [env.reset(seed=seed)]
    for _ in range(steps):
        out.append(env.step(env.action_space.sample()))
        if out[-1][2] or out[-1][3]:
            out.append(env.reset())
    return out


def assert_same_rollouts(a: list, b: list) -> None:
    for number, (x, y) in enumerate(zip(a, b, strict=True)):
        for p, q in zip(x, y, strict=True):
            assert same(p, q), f"step {number} differs"


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasium_check_env_has_nothing_to_say(env_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = make(env_id)
        check_env(env.unwrapped, skip_render_check=False)


@pytest.mark.parametrize("env_id", IDS)
def test_sb3_check_env_has_nothing_to_say(env_id: str) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(FlatAction(make(env_id)))


@pytest.mark.parametrize("env_id", IDS)
def test_twin_rollouts_are_equal_whatever_the_global_rng_does(env_id: str) -> None:
    first = rollout(make(env_id), seed=3)
    np.random.seed(12345)  # noqa: NPY002 - the poison
    random.seed(12345)
    twin = make(env_id)
    state = random.getstate()
    second = rollout(twin, seed=3)
    assert random.getstate() == state, "the environment drew from the global RNG"
    assert_same_rollouts(first, second)


@pytest.mark.parametrize("env_id", IDS)
def test_pickle_and_copy_in_the_middle_of_an_episode(env_id: str) -> None:
    env = make(env_id)
    env.action_space.seed(7)
    env.reset(seed=5)
    env.step(Zoom(box=(100, 100, 800, 700)))
    env.step(Properties(targets=("e1",)))
    twins = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    action = Zoom(source="e1", box=(0, 0, 500, 500))
    expected = env.step(action)
    sampled = env.action_space.sample()
    after = env.reset()
    for twin in twins:
        assert same(sampled, twin.action_space.sample())
        for p, q in zip(expected, twin.step(action), strict=True):
            assert same(p, q)
        assert twin.unwrapped.trace().to_json() == trace_of(env_id, action)
        assert same(after[1]["task_id"], twin.reset()[1]["task_id"])


def trace_of(env_id: str, last: Zoom) -> bytes:
    env = make(env_id)
    env.reset(seed=5)
    for action in (Zoom(box=(100, 100, 800, 700)), Properties(targets=("e1",)), last):
        env.step(action)
    return env.unwrapped.trace().to_json()


@pytest.mark.parametrize("env_id", IDS)
def test_the_spec_survives_json(env_id: str) -> None:
    env = make(env_id, level=2)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.kwargs == env.unwrapped.kwargs
    assert env.reset(seed=1)[1]["task_id"] == again.reset(seed=1)[1]["task_id"]


@pytest.mark.parametrize("env_id", IDS)
def test_reset_with_a_seed_twice_is_one_task_and_without_is_another(env_id: str) -> None:
    env = make(env_id)
    first, second = env.reset(seed=9), env.reset(seed=9)
    assert same(first[0], second[0])
    assert first[1]["task_id"] == second[1]["task_id"]
    assert env.reset()[1]["task_id"] != first[1]["task_id"]
    index = first[1]["index"]
    assert env.reset(options={"index": index})[1]["task_id"] == first[1]["task_id"]


@pytest.mark.parametrize("env_id", IDS)
def test_prefetching_changes_nothing(env_id: str) -> None:
    plain, ahead = make(env_id), make(env_id, prefetch=True)
    assert_same_rollouts(rollout(plain, 4), rollout(ahead, 4))
    ahead.close()


@pytest.mark.parametrize(
    ("make_vector", "context"),
    [(SyncVectorEnv, None), (AsyncVectorEnv, "fork"), (AsyncVectorEnv, "spawn")],
)
def test_vector_environments_step_as_single_ones_do(make_vector, context) -> None:
    def build():
        return FlatAction(make("Pixelis-v0"))

    single = [build() for _ in range(2)]
    kwargs = {} if context is None else {"context": context}
    vector = make_vector([_flat_env] * 2, **kwargs)
    try:
        observations, _ = vector.reset(seed=[11, 12])
        expected = [env.reset(seed=seed)[0] for env, seed in zip(single, (11, 12), strict=True)]
        for _ in range(3):
            for i in range(2):
                for key in expected[i]:
                    assert np.array_equal(observations[key][i], expected[i][key]), key
            action = _zoom_flat(single[0])
            observations, rewards, *_ = vector.step(np.stack([action, action]))
            stepped = [env.step(action) for env in single]
            expected = [s[0] for s in stepped]
            assert rewards.tolist() == [s[1] for s in stepped]
    finally:
        vector.close()


def _flat_env() -> gym.Env:
    return FlatAction(make("Pixelis-v0"))


def _zoom_flat(env: FlatAction) -> np.ndarray:
    data = env.unwrapped.codec.empty()
    data |= {"prompt": np.int64(1), "box": np.float32([0.25, 0.25, 0.75, 0.75])}
    return env.flat.flatten(data)


def test_two_processes_and_hash_seeds_write_the_same_bytes() -> None:
    code = (
        "import gymnasium as gym, sys, pixelis_env\n"
        "for env_id in ('Pixelis-v0', 'Pixelis-Motion-v0', 'Pixelis-Text-v0'):\n"
        "    for tools in ('oracle', None) if env_id == 'Pixelis-v0' else (None,):\n"
        "        env = gym.make(env_id, tools=tools)\n"
        "        env.reset(seed=2)\n"
        "        for action in ['{', {'op': 'segment', 'box': [300, 300, 700, 700]}]:\n"
        "            env.step(action)\n"
        "        for action in env.unwrapped.oracle():\n"
        "            env.step(action)\n"
        "        sys.stdout.buffer.write(env.unwrapped.trace().to_json())\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert runs[0].count(b"pixelis-trace-1") == 4


def test_importing_the_environment_is_light() -> None:
    code = (
        "import sys, pixelis_env, pixelis_env.env\n"
        "heavy = [m for m in ('torch', 'transformers', 'onnxruntime') if m in sys.modules]\n"
        "print(heavy)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_rewards_are_named_and_add_up() -> None:
    env = make("Pixelis-Search-v0", step_cost=0.25, invalid_cost=0.5)
    env.reset(seed=0)
    _, reward, _, _, info = env.step({"name": "zoom", "arguments": {"box": [5, 5, 1, 1]}})
    assert info["invalid"]
    assert isinstance(info["evidence"], ToolError)
    assert reward == -0.75
    assert info["reward_terms"] == {"step": -0.25, "invalid": -0.5}
    right = env.unwrapped.task.answer
    _, reward, terminated, truncated, info = env.step(Answer(text=right, evidence=("e1",)))
    assert (reward, terminated, truncated) == (0.75, True, False)
    assert type(terminated) is bool
    assert type(truncated) is bool
    assert info["score"] == 1.0
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.step(Answer(text=right))


def test_before_the_first_reset_everything_says_so() -> None:
    env = make("Pixelis-Search-v0", render_mode="rgb_array").unwrapped
    for call in (env.trace, env.oracle, env.render, env.view, env.get_state):
        with pytest.raises(gym.error.ResetNeeded, match="reset"):
            call()


def test_a_copy_that_was_never_validated_is_an_invalid_call() -> None:
    env = make("Pixelis-Search-v0")
    env.reset(seed=0)
    for bad in (
        Zoom(box=(0, 0, 9, 9)).model_copy(update={"source": "crop"}),
        Answer(text="A").model_copy(update={"text": 2}),
    ):
        assert env.step(bad)[4]["invalid"]


def test_a_state_of_another_source_does_not_fit() -> None:
    env, other = make("Pixelis-Search-v0").unwrapped, make("Pixelis-Time-v0").unwrapped
    env.reset(seed=0)
    other.reset(seed=0)
    with pytest.raises(ValueError, match="rooms-search"):
        other.set_state(env.get_state())


class Fragile(ArrayMedia):
    """A clip whose file breaks when it is told to."""

    broken = False

    def frame(self, index: int) -> np.ndarray:
        if self.broken:
            raise MediaError("/home/someone/clip.mp4 is damaged")
        return super().frame(index)


def test_a_medium_that_breaks_in_the_middle_is_a_tool_error() -> None:
    media = Fragile(np.full((9, 32, 48, 3), 200, np.uint8))
    env = PixelisEnv(SingleSource(media, "?", answer="x"))
    env.reset()
    env.step(Zoom(box=(0, 0, 500, 500)))
    media.broken = True
    for action in (Zoom(box=(0, 0, 900, 500)), Segment(box=(0, 0, 500, 500))):
        info = env.step(action)[4]
        assert info["invalid"]
        assert "/home" not in info["evidence"].message
    assert env.step(Answer(text="x"))[4]["score"] == 1.0


def test_a_forked_child_does_not_wait_for_its_parents_thread() -> None:
    env = make("Pixelis-Search-v0", prefetch=True)
    env.reset(seed=0)
    child = multiprocessing.get_context("fork").Process(target=env.reset, kwargs={"seed": 1})
    child.start()
    child.join(60)
    alive = child.is_alive()
    child.kill()
    assert not alive
    env.close()
    env.reset(seed=0)
    env.close()


def test_an_answer_that_cites_nothing_real_is_an_invalid_call_and_not_an_answer() -> None:
    env = make("Pixelis-Search-v0")
    env.reset(seed=0)
    right = env.unwrapped.task.answer
    _, reward, terminated, _, info = env.step(Answer(text=right, evidence=("e7",)))
    assert not terminated
    assert reward < 0
    assert "e0..e0" in info["evidence"].message


def test_a_full_episode_without_an_answer_scores_zero() -> None:
    env = make("Pixelis-Search-v0", max_steps=2)
    env.reset(seed=0)
    env.step(Properties(targets=("e0",)))
    _, _, terminated, truncated, info = env.step(Properties(targets=("e0",)))
    assert (terminated, truncated, info["score"]) == (False, True, 0.0)


def test_branching_comes_back_to_the_same_place() -> None:
    env = make("Pixelis-VSI-v0").unwrapped
    env.reset(seed=6)
    env.step(Zoom(box=(0, 0, 500, 500)))
    state = pickle.loads(pickle.dumps(env.get_state()))
    first = env.step(Zoom(source="e1", box=(10, 10, 600, 600)))
    after = env.reset()[1]["task_id"]
    env.set_state(state)
    second = env.step(Zoom(source="e1", box=(10, 10, 600, 600)))
    assert same(first[0], second[0])
    assert env.reset()[1]["task_id"] == after


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"level": 4}, "level"),
        ({"shift": "rain"}, "shift"),
        ({"types": ["riddle"]}, "riddle"),
        ({"max_steps": 0}, "1..9999"),
        ({"step_cost": -1}, "step_cost"),
        ({"frame": "pixels"}, "frame"),
        ({"source": "no-such-file.mp4", "question": "?"}, "no-such-file.mp4"),
        ({"source": 3}, "int"),
        ({"question": "What?"}, "media file"),
        ({"tools": {"segment": "paint"}}, "paint"),
        ({"tools": {"fly": "oracle"}}, "fly"),
        ({"tools": "paint"}, "paint"),
    ],
)
def test_a_bad_argument_is_named_with_its_range(kwargs: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gym.make("Pixelis-VSI-v0", **kwargs)


def test_reset_names_a_bad_option() -> None:
    env = make("Pixelis-VSI-v0")
    with pytest.raises(ValueError, match="index"):
        env.reset(options={"row": 1})
    with pytest.raises(ValueError, match="-1"):
        env.reset(options={"index": -1})
