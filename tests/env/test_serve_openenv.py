"""OpenEnv: the same episodes as without it, over real sockets."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import pixel_digest
from pixelis_env.replay import replay
from pixelis_env.trace import Trace
from pixelis_env.wrappers import ToolCall, unwrap
from tests.env.serving import free_port, serving

pytest.importorskip("openenv", reason="needs the extra openenv: make test-adapters")
import httpx
import uvicorn
from openenv.core import GenericEnvClient
from websockets.sync.client import connect

from pixelis_env.making import make_env
from pixelis_env.serve.openenv import PixelisAction, PixelisClient, make_app

ENV, KWARGS = "Pixelis-v0", {"tools": "oracle", "frame": "unit", "max_steps": 5}
DOCS = Path(__file__).parents[2] / "docs" / "adapters.md"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    kwargs = ("--env", ENV, "--env-kwargs", json.dumps(KWARGS))
    with serving("pixelis_env.serve.openenv", *kwargs, "--max-sessions", "3") as url:
        yield url


@pytest.fixture
def client(server: str) -> Iterator[Any]:
    with PixelisClient(base_url=server).sync() as session:
        yield session


@pytest.fixture(scope="module")
def plain() -> ToolCall:
    return make_env(ENV, KWARGS)


def random_call(env: ToolCall) -> dict[str, Any]:
    """A random member of the action space as a tool call; where it is no action, a wrong call."""
    inner = unwrap(env)
    try:
        action = inner.codec.decode(inner.action_space.sample(), inner.workspace)
    except InvalidCall:
        return {"name": "zoom", "arguments": {"box": [0, 1]}}
    return inner.tool_calls.encode(action)


def digests(images: list[Any]) -> list[str]:
    return [pixel_digest(np.asarray(image)) for image in images]


def play_both(session: Any, env: ToolCall, seed: int) -> None:
    """Plays a seed with random actions in both; everything that is seen must be equal."""
    seen, info = env.reset(seed=seed)
    unwrap(env).action_space.seed(seed)
    result = session.reset(seed=seed)
    assert result.metadata["digest"] == info["evidence"].digest
    assert result.metadata["task_id"] == info["task_id"]
    done = False
    while True:
        observation = result.observation
        assert observation.text == seen["text"]
        assert digests(observation.pictures()) == digests(seen["images"])
        assert (observation.times, observation.regions) == (seen["times"], seen["regions"])
        if done:
            break
        call = random_call(env)
        seen, reward, terminated, truncated, info = env.step(json.dumps(call))
        result = session.step(PixelisAction(**call))
        done = terminated or truncated
        evidence = info.get("evidence")
        assert result.metadata["digest"] == (evidence.digest if evidence else None)
        assert (result.reward, result.done) == (reward, done)
        ends = result.metadata["terminated"], result.metadata["truncated"]
        assert ends == (terminated, truncated)
        assert result.metadata["reward_terms"] == info["reward_terms"]
        assert result.metadata.get("score") == info.get("score")
    trace = unwrap(env).trace()
    assert session.state().trace["chain"] == list(trace.chain)
    assert session.state().step_count == len(trace.steps)


@pytest.mark.parametrize(
    "seeds", [range(5), pytest.param(range(5, 100), marks=pytest.mark.slow)], ids=["5", "95 more"]
)
@pytest.mark.timeout(1800)
def test_digests_are_those_of_the_environment(client: Any, plain: ToolCall, seeds: range) -> None:
    for seed in seeds:
        play_both(client, plain, seed)


def test_sessions_at_one_time_do_not_touch_each_other(server: str) -> None:
    def play(seed: int) -> None:
        with PixelisClient(base_url=server).sync() as session:
            play_both(session, make_env(ENV, KWARGS), seed)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(play, (200, 201, 202)))


def test_a_seed_is_honoured_and_an_index_too(client: Any) -> None:
    first = client.reset(seed=7)
    second = client.reset()
    again = client.reset(seed=7)
    assert again.observation == first.observation != second.observation
    assert client.reset().observation == second.observation
    named = client.reset(index=first.metadata["index"])
    assert named.metadata["task_id"] == first.metadata["task_id"]
    with pytest.raises(RuntimeError, match=r"reset knows seed, episode_id and index, not split"):
        client.reset(split="test")


def test_an_invalid_call_is_a_step_and_a_message_that_is_none_is_not(
    server: str, client: Any
) -> None:
    client.reset(seed=1, episode_id="mine")
    wrong = client.step(PixelisAction.call("zoom", box=[0, 0, 9, 9]))
    assert wrong.observation.evidence["kind"] == "tool_error"
    assert wrong.metadata["invalid"]
    assert wrong.reward == pytest.approx(-0.06)
    assert (client.state().episode_id, client.state().step_count) == ("mine", 1)
    with pytest.raises(ValueError, match="exactly one of name"):
        PixelisAction(name="zoom", turn="<answer>A</answer>")
    with connect(server.replace("http", "ws") + "/ws") as socket:
        for data, code in (
            ({"type": "step", "data": {"name": "zoom", "box": [0, 0, 1, 1]}}, "VALIDATION_ERROR"),
            ({"type": "step", "data": {}}, "VALIDATION_ERROR"),
            ({"type": "leap"}, "UNKNOWN_TYPE"),
        ):
            socket.send(json.dumps(data))
            assert json.loads(socket.recv())["data"]["code"] == code
        socket.send(json.dumps({"type": "step", "data": {"name": "zoom"}}))
        assert "reset" in json.loads(socket.recv())["data"]["message"]


def test_an_episode_ends_by_truncation_or_by_an_answer(client: Any) -> None:
    client.reset(seed=2)
    for _ in range(5):
        result = client.step(PixelisAction.call("localize"))
    assert result.done
    assert (result.metadata["truncated"], result.metadata["terminated"]) == (True, False)
    assert result.metadata["score"] == 0.0
    with pytest.raises(RuntimeError, match="the episode is over"):
        client.step(PixelisAction.call("localize"))
    client.reset(seed=2)
    result = client.step(PixelisAction(turn="<think>?</think><answer>nothing</answer>"))
    assert (result.metadata["truncated"], result.metadata["terminated"]) == (False, True)
    assert result.observation.evidence is None


def test_the_trace_in_the_state_replays(client: Any) -> None:
    client.reset(seed=3)
    client.step(PixelisAction.call("zoom", box=[0, 0, 0.5, 0.5]))
    client.step(PixelisAction.call("properties", targets=["e1"]))
    trace = Trace.parse(json.dumps(client.state().trace).encode())
    assert replay(trace).ok


def test_a_client_without_our_classes_gets_plain_data(server: str) -> None:
    with GenericEnvClient(base_url=server).sync() as session:
        result = session.reset(seed=0)
        assert result.observation["images"][0].startswith("data:image/png;base64,")
        names = [tool["function"]["name"] for tool in result.observation["metadata"]["tools"]]
        assert names[0] == "zoom"
        result = session.step({"name": "zoom", "arguments": {"box": [0, 0, 0.5, 0.5]}})
        assert result.observation["evidence"]["kind"] == "view"


def test_a_full_server_says_so_and_a_session_that_closes_makes_room(server: str) -> None:
    sessions = [PixelisClient(base_url=server).sync() for _ in range(4)]
    for session in sessions[:3]:
        session.connect()
        session.reset(seed=0)
    with pytest.raises(RuntimeError, match="CAPACITY_REACHED"):
        sessions[3].reset(seed=0)
    for session in sessions:
        session.close()
    with PixelisClient(base_url=server).sync() as session:
        assert session.reset(seed=0).observation.images


def test_an_environment_is_closed_with_its_session() -> None:
    def prefetching() -> int:
        return sum(thread.name.startswith("pixelis-prefetch") for thread in threading.enumerate())

    before = prefetching()
    config = uvicorn.Config(
        make_app(ENV, {**KWARGS, "prefetch": True}), port=free_port(), log_level="error"
    )
    host = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(host.serve()))
    thread.start()
    try:
        while not host.started:
            time.sleep(0.05)
        with PixelisClient(base_url=f"http://127.0.0.1:{config.port}").sync() as session:
            session.reset(seed=0)
            assert prefetching() == before + 1
        deadline = time.monotonic() + 60
        while prefetching() > before:
            assert time.monotonic() < deadline, "the environment was not closed"
            time.sleep(0.05)
    finally:
        host.should_exit = True
        thread.join(30)


def test_http_says_that_it_holds_no_session(server: str) -> None:
    assert httpx.post(f"{server}/reset", json={"seed": 0}, timeout=60).json()["observation"]["text"]
    refused = httpx.post(f"{server}/reset", json={"index": -1}, timeout=60)
    assert (refused.status_code, "index in 0.." in refused.text) == (422, True)
    step = {"action": {"name": "localize", "arguments": {}}}
    refused = httpx.post(f"{server}/step", json=step, timeout=60)
    assert (refused.status_code, "WebSocket" in refused.text) == (409, True)
    assert httpx.get(f"{server}/metadata").json()["name"] == ENV


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--env", "Pixelis-Sound-v0"), "choose from Pixelis-v0"),
        (("--env-kwargs", '{"levle": 2}'), "levle"),
        (("--env-kwargs", "[1]"), "JSON object"),
        (("--max-sessions", "0"), "at least 1"),
    ],
)
def test_a_wrong_option_stops_the_command(arguments: tuple[str, ...], words: str) -> None:
    command = [sys.executable, "-m", "pixelis_env.serve.openenv", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert words in done.stderr


def test_the_example_in_the_docs_runs(tmp_path: Path) -> None:
    block = re.findall(r"```python\n(from pixelis_env.serve.openenv.*?)```", DOCS.read_text(), re.S)
    with serving("pixelis_env.serve.openenv", "--env", "Pixelis-VSI-v0") as url:
        script = tmp_path / "example.py"
        script.write_text(block[0].replace("http://127.0.0.1:8000", url))
        done = subprocess.run(
            [sys.executable, script], capture_output=True, text=True, timeout=120, cwd=tmp_path
        )
    assert done.returncode == 0, done.stderr
    assert re.search(r"e1 view: .*\n.*score [01]", done.stdout, re.S)
