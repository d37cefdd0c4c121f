"""Anything at all may be passed to `step`: it never raises, and what it did can be replayed."""

from __future__ import annotations

import ctypes
import gc
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator

from pixelis_env import ENV_IDS
from pixelis_env.actions import OPS
from pixelis_env.env import PixelisEnv
from pixelis_env.replay import replay
from pixelis_env.rooms import RoomVideo
from pixelis_env.tasks import make_source
from pixelis_env.tasks.pool import Pool

FAMILY = {env_id: env_id.split("-")[1].lower() for env_id in ENV_IDS}
FAMILY["Pixelis-v0"] = "all"


def fuzz(env: PixelisEnv, rng: Generator) -> Any:
    """One input: a member of the space, a damaged one, a typed action, JSON, or garbage."""
    kind = rng.integers(8)
    if kind <= 1:
        return env.action_space.sample()
    if kind == 2:
        action = env.action_space.sample()
        key = list(action)[rng.integers(len(action))]
        wrong = [None, -1, 10**30, float("nan"), "x", [], np.full(4, np.nan, np.float32), {}]
        if rng.random() < 0.2:
            del action[key]
        else:
            action[key] = wrong[rng.integers(len(wrong))]
        return action
    if kind == 7:
        garbage = [
            None,
            3,
            2.5,
            b"\xff",
            (),
            [1, 2],
            object(),
            {},
            "",
            "{",
            "null",
            "[]",
            {"op": 9},
        ]
        return garbage[rng.integers(len(garbage))]
    call = {"name": str(rng.choice([*OPS, "paint"])), "arguments": arguments(env, rng)}
    return call if kind == 3 else json.dumps(call)


def moment(env: PixelisEnv, rng: Generator) -> float:
    """One of eight times: what is fuzzed is the environment, not the renderer's patience."""
    return env.task.media.duration * int(rng.integers(8)) / 8


def arguments(env: PixelisEnv, rng: Generator) -> dict[str, Any]:
    """Arguments of every operation, right and wrong ones mixed."""

    def number() -> Any:
        odd = [-1, 1000.5, 1e308, float("nan"), float("inf"), "7", None, True]
        return odd[rng.integers(len(odd))] if rng.random() < 0.04 else float(rng.integers(1001))

    def box() -> Any:
        corners = sorted(float(rng.integers(1001)) for _ in range(4))
        ordered = [corners[0], corners[1], corners[2], corners[3]]
        return ordered if rng.random() < 0.8 else [number() for _ in range(rng.integers(6))]

    def evidence() -> str:
        if rng.random() < 0.05:
            return str(rng.choice(["e99", "e-1", "x", "", "e01", "e" * 50]))
        return f"e{rng.integers(len(env.workspace))}"

    def second() -> Any:
        end = env.task.media.duration
        odd = rng.random()
        if odd < 0.05:
            return number()
        if odd < 0.1:
            return float(rng.uniform(-0.02, 1.02) * end)
        return moment(env, rng)

    start = second()
    makers = {
        "source": evidence,
        "target": evidence,
        "targets": lambda: [evidence() for _ in range(rng.integers(1, 4))],
        "evidence": lambda: [evidence() for _ in range(rng.integers(3))],
        "box": box,
        "point": lambda: [number(), number()],
        "time": second,
        # Short spans: what is fuzzed is the arguments, not the patience of the tracker.
        "span": lambda: [start, start + rng.uniform(-0.5, 0.5) if isinstance(start, float) else 0],
        "text": lambda: str(rng.choice(["A", "3.5", "EXIT", "\ud800", "x" * 600, "\0", ""])),
    }
    wanted = {
        "zoom": ["source", "box", "time"],
        "segment": ["source", "box", "point", "time"],
        "track": ["target", "span"],
        "read_text": ["source", "box", "time"],
        "localize": ["target", "text", "span"],
        "properties": ["targets"],
        "answer": ["text", "evidence"],
    }
    names = wanted[str(rng.choice(list(wanted)))] if rng.random() < 0.1 else list(makers)
    return {name: makers[name]() for name in names if rng.random() < 0.45}


def well_formed(env: PixelisEnv, rng: Generator) -> dict[str, Any]:
    """A call whose arguments belong to its operation, so that tools are reached often."""
    box = sorted(rng.integers(0, 501, 2).tolist())
    box = [box[0], box[1], box[0] + int(rng.integers(1, 500)), box[1] + int(rng.integers(1, 500))]
    time = moment(env, rng)
    media = env.task.media
    assert isinstance(media, RoomVideo)
    rows, columns = np.nonzero(media.ids(media.index_at(time)))  # where there is an object
    spot = int(rng.integers(len(rows))) if len(rows) else None
    unit = (0.5, 0.5) if spot is None else (columns[spot] + 0.5, rows[spot] + 0.5)
    point = [1000 * unit[0] / media.width, 1000 * unit[1] / media.height]
    evidence = f"e{rng.integers(len(env.workspace))}"
    span = [time, float(np.clip(time + rng.uniform(-0.5, 0.5), 0, env.task.media.duration))]
    calls = {
        "zoom": {"box": box, "time": time},
        "segment": {"time": time, "point": point},
        "track": {"target": evidence, "span": span},
        "read_text": {"source": evidence},
        "localize": {"target": evidence, "span": span},
        "properties": {"targets": [evidence]},
        "answer": {"text": str(rng.integers(9)), "evidence": [evidence]},
    }
    name = str(rng.choice(list(calls), p=[0.2, 0.2, 0.15, 0.1, 0.15, 0.15, 0.05]))
    return {"name": name, "arguments": calls[name]}


def resident_mib() -> float:
    """The process's resident memory now, without what is free.

    glibc keeps freed pieces for later: with the pixel backends a third of the memory after some
    thousand steps, and more in jumps. Given back first, what remains is what is in use.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def run_fuzz(env_id: str, tools: str | None, steps: int, rooms: int) -> tuple[float, float]:
    """Fuzzes an environment; returns resident memory at half way and at the end, in MiB."""
    source = make_source("rooms", family=FAMILY[env_id])
    env = PixelisEnv(Pool(source, range(rooms)), tools=tools, max_steps=12)
    again = PixelisEnv(Pool(source, range(rooms)), tools=tools, max_steps=12)
    rng = np.random.default_rng(0)
    env.action_space.seed(0)
    env.reset(seed=0)
    half, reached = 0.0, set()
    for step in range(steps):
        action = well_formed(env, rng) if rng.random() < 0.4 else fuzz(env, rng)
        _, reward, terminated, truncated, info = env.step(action)
        assert np.isfinite(reward)
        assert not (terminated and info["invalid"])
        if not info["invalid"]:
            reached.add(info["op"])
        if step == steps // 2:
            half = resident_mib()
        if terminated or truncated:
            report = replay(env.trace(), env=again)
            assert report.ok, str(report)
            env.reset()
    assert reached == set(OPS), f"the fuzzer never carried out {set(OPS) - reached}"
    return half, resident_mib()


@pytest.mark.parametrize("env_id", ["Pixelis-v0", "Pixelis-Motion-v0"])
def test_no_input_leaves_step_as_an_exception(env_id: str) -> None:
    run_fuzz(env_id, "oracle", 150, rooms=1)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ENV_IDS)
def test_ten_thousand_inputs_and_flat_memory(env_id: str) -> None:
    half, end = run_fuzz(env_id, "oracle", 10_000, rooms=6)
    # The rooms' frames are cached by then: what still grows would be a leak.
    assert end - half < 64, f"memory grew from {half:.0f} to {end:.0f} MiB"


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ENV_IDS)
def test_the_pixel_backends_too(env_id: str) -> None:
    """A tenth of the speed: fewer inputs, in fewer rooms, whose frames are cached as soon."""
    half, end = run_fuzz(env_id, None, 3_000, rooms=2)
    assert end - half < 64, f"memory grew from {half:.0f} to {end:.0f} MiB"
