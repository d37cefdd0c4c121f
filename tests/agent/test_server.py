"""The server policy against `transformers serve`, directly and through a proxy that does harm."""

from __future__ import annotations

import base64
import io
import json
import pickle
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelis_agent.audit import audit
from pixelis_agent.collect import collect
from pixelis_agent.collect.workers import Begin, Host, Play, unpack
from pixelis_agent.evaluate import evaluate
from pixelis_agent.interventions import CHANGES, CONTROL
from pixelis_agent.policies.server import ServerError, ServerPolicy
from pixelis_agent.policies.servers import ServersPolicy
from tests.agent.small import small_kwargs

pytest.importorskip("fastapi", reason="transformers serve needs fastapi and uvicorn")
pytest.importorskip("uvicorn", reason="transformers serve needs fastapi and uvicorn")

from tests.agent.served import ANSWER, CALL, FIRST, save_parrot, serving

SMALL = {**small_kwargs(), "max_steps": 4}


@pytest.fixture(scope="module")
def parrot(processor, tmp_path_factory) -> str:
    """A model that zooms in, then answers A."""
    host = Host("Pixelis-v0", SMALL, 1)
    first = unpack(host.run(Begin(0, 1, False, False)).observation)
    result = unpack(host.run(Play(0, FIRST)).observation)
    asked: list[dict[str, Any]] = [{"type": "text", "text": first["text"]}]
    for shown_at in first["times"]:
        asked += [{"type": "text", "text": f"<{shown_at:g} seconds>"}, {"type": "image"}]
    question = {"role": "user", "content": asked}
    said = f"<tool_response>{result['text']}</tool_response>"
    reply = {"role": "user", "content": [{"type": "text", "text": said}, {"type": "image"}]}
    dialogue = [question, {"role": "assistant", "content": CALL}, reply]
    prompts = [
        (processor.render([question], None), first["images"], FIRST),
        (processor.render(dialogue, None), first["images"] + result["images"], ANSWER),
    ]
    path = tmp_path_factory.mktemp("parrot")
    save_parrot(processor, prompts, path)
    return str(path)


@pytest.fixture(scope="module")
def url(parrot) -> Iterator[str]:
    with serving(parrot) as address:
        yield address


def play(policy: ServerPolicy, count: int = 3, **kwargs: Any) -> list[Any]:
    try:
        finished = collect(policy, "Pixelis-v0", range(count), env_kwargs=SMALL, workers=0)
        return sorted(finished, key=lambda one: one.position)
    finally:
        policy.close()


@pytest.mark.parametrize("tools", ["text", "native"])
def test_a_served_model_plays(url, parrot, tools) -> None:
    policy = ServerPolicy(url, parrot, tools=tools, max_tokens=80, concurrency=2)
    asked = {"model": parrot, "tools": tools, "temperature": 0.0, "max_tokens": 80}
    assert policy.settings() == ServersPolicy([policy]).settings() == asked
    for one in play(policy):
        first, last = (turn.text for turn in one.episode.turns)
        # `transformers serve` gives thought, words and call apart; here they are a turn again.
        assert first.replace(" ", "") == FIRST.replace(" ", "")
        assert last == ANSWER
        assert [step.action.op for step in one.steps] == ["zoom", "answer"]
        assert one.score == 1.0
        assert one.n_tokens > 20
        assert one.policy_seconds > 0
        assert one.episode.state is None
    assert policy.usage.requests == 6
    assert policy.usage.completion_tokens > 60
    assert policy.usage.prompt_tokens > 6 * 100
    assert policy.usage.failures == policy.usage.overflows == 0


def test_what_is_sent(url, parrot) -> None:
    with proxy(url) as (address, bodies):
        play(ServerPolicy(address, parrot, tools="native", max_tokens=80, temperature=0.5), 1)
        play(ServerPolicy(address, parrot, max_tokens=80), 1)
    native, native_2, text, text_2 = bodies
    assert {tool["function"]["name"] for tool in native["tools"]} >= {"zoom", "answer"}
    assert native["temperature"] == 0.5
    assert native["seed"] != native_2["seed"]
    assert "<tools>" not in native["messages"][0]["content"]
    parts = native["messages"][1]["content"]
    assert [part["type"] for part in parts] == ["text"] + ["text", "image_url"] * 4
    assert parts[0]["text"].startswith("These are frames of a video.")
    assert [part["text"] for part in parts[1::2]] == [
        f"<{t} seconds>" for t in ("0", "0.5", "1", "1.5")
    ]
    url_0 = parts[2]["image_url"]["url"].removeprefix("data:image/png;base64,")
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(url_0))))
    assert np.array_equal(shown, SMALL["source"].task(0).media.frame(0))
    said, result, picture = native_2["messages"][2:]
    assert json.loads(said["tool_calls"][0]["function"]["arguments"])["box"] == [0, 250, 500, 750]
    assert result["tool_call_id"] == said["tool_calls"][0]["id"]
    assert result["content"].startswith("e1 view:")
    assert [part["type"] for part in picture["content"]] == ["text", "image_url"]

    assert "tools" not in text
    assert "seed" not in text
    assert '"name": "read_text"' in text["messages"][0]["content"]
    assert text["messages"][1] == native["messages"][1]
    said, result = text_2["messages"][2:]
    assert "<tool_call>" in said["content"]
    assert "<think>" not in said["content"]
    assert result["content"][0]["text"].startswith("<tool_response>e1 view:")
    assert result["content"][1]["type"] == "image_url"


@pytest.mark.parametrize("tools", ["text", "native"])
def test_an_episode_that_another_began_is_told_whole(url, parrot, tools) -> None:
    with proxy(url) as (address, bodies):
        policy = ServerPolicy(address, parrot, tools=tools, max_tokens=80)
        try:
            effects = audit(policy, "Pixelis-v0", env_kwargs=SMALL, indices=range(3), workers=0)
        finally:
            policy.close()
    assert len(effects) == 3 * len(CHANGES)
    assert not any(e.differs for e in effects if e.how == CONTROL)
    taken_up = bodies[6:]
    assert len(taken_up) == len(effects)  # up to the change it is not asked
    for body in taken_up:
        roles = [message["role"] for message in body["messages"]]
        assert roles == ["system", "user", "assistant", "user"]
        assert body["messages"][2]["content"].replace(" ", "") == FIRST.replace(" ", "")


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ServerError, match=r"127.0.0.1:9/v1 cannot be reached.*running"):
        ServerPolicy("http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(ServerError, match="cannot be reached"):
        play(ServerPolicy("http://127.0.0.1:9/v1", "any", retries=0))


def test_a_wrong_model_or_address_is_said(url, parrot) -> None:
    with pytest.raises(ServerError, match=r"status 400.*asked for model 'other'"):
        play(ServerPolicy(url, "other", retries=0))
    with pytest.raises(ServerError, match=r"status 404.*address is right"):
        ServerPolicy(url.removesuffix("/v1"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"concurrency": 0}, "concurrency must be at least 1"),
        ({"temperature": -1}, "temperature must be at least 0"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"tools": "xml"}, "tools must be 'text' or 'native'"),
    ],
)
def test_settings_out_of_range(wrong, words) -> None:
    with pytest.raises(ValueError, match=words):
        ServerPolicy("http://127.0.0.1:9/v1", "any", **wrong)


def test_a_context_that_is_full_ends_one_dialogue_only(url, parrot) -> None:
    words = "This model's maximum context length is 300 tokens. However, you requested 381 tokens."

    def full(body: dict[str, Any]) -> tuple[int, Any] | None:
        too_long = len(body["messages"]) > 2 and _shows_task(body, 1)
        return (400, {"error": {"message": words, "code": 400}}) if too_long else None

    with proxy(url, full) as (address, bodies):
        policy = ServerPolicy(address, parrot, max_tokens=80, retries=0)
        played = play(policy)
    assert [one.score for one in played] == [1.0, 0.0, 1.0]
    turns = [turn.text for turn in played[1].episode.turns]
    assert turns[0].endswith(CALL)
    assert turns[1:] == ["", "", ""]  # to the end of the episode, without asking again
    assert len(bodies) == 6
    assert policy.usage.overflows == 1
    assert policy.usage.failures == 0


def test_a_context_too_small_for_any_question_stops_the_run(url, parrot) -> None:
    def full(body: dict[str, Any]) -> tuple[int, Any]:
        return 400, {"object": "error", "message": "the request exceeds the available context size"}

    with proxy(url, full) as (address, _):
        policy = ServerPolicy(address, parrot, retries=0)
        with pytest.raises(
            ServerError, match=r"cannot even take a question.*exceeds the available"
        ):
            play(policy, 30)


def test_a_request_that_fails_costs_its_turn_and_not_the_other_episodes(url, parrot) -> None:
    failed = []

    def once(body: dict[str, Any]) -> tuple[int, Any] | None:
        if _shows_task(body, 1) and not failed:
            failed.append(body)
            return 500, {"error": "out of memory"}
        return None

    with proxy(url, once) as (address, bodies):
        policy = ServerPolicy(address, parrot, max_tokens=80, retries=0)
        played = play(policy)
    assert [one.score for one in played] == [1.0, 1.0, 1.0]
    assert [len(one.steps) for one in played] == [2, 3, 2]
    assert policy.usage.failures == 1
    # The model is not told of a turn that it did not write.
    again = [body for body in bodies if _shows_task(body, 1)]
    assert again[0]["messages"] == again[1]["messages"]


def test_a_server_that_only_fails_stops_the_run(url, parrot) -> None:
    with proxy(url, lambda body: (503, {"error": "loading"})) as (address, _):
        policy = ServerPolicy(address, parrot, retries=0)
        with pytest.raises(ServerError, match=r"status 503: loading.*failed, 0 succeeded"):
            play(policy, 30)


def test_a_request_that_failed_is_sent_again(url, parrot) -> None:
    seen: list[int] = []

    def twice(body: dict[str, Any]) -> tuple[int, Any] | None:
        seen.append(len(seen))
        return (500, {"error": "busy"}) if len(seen) == 1 else None

    with proxy(url, twice) as (address, _):
        policy = ServerPolicy(address, parrot, max_tokens=80, retries=1)
        assert [one.score for one in play(policy, 1)] == [1.0]
    assert policy.usage.failures == 0
    assert len(seen) == 3


def test_a_slow_server_is_not_waited_for(url, parrot) -> None:
    slept = []

    def slow(body: dict[str, Any]) -> None:
        if _shows_task(body, 1) and not slept:
            slept.append(True)
            time.sleep(4)

    with proxy(url, slow) as (address, _):
        policy = ServerPolicy(address, parrot, max_tokens=80, timeout=3.0, retries=0)
        played = play(policy, 2)
    assert [one.score for one in played] == [1.0, 1.0]
    assert played[1].episode.turns[0].text == ""
    assert policy.usage.failures == 1


def test_a_native_call_without_json_arguments_is_the_models_mistake(url, parrot) -> None:
    def garbled(reply: dict[str, Any]) -> None:
        for call in reply["choices"][0]["message"].get("tool_calls") or []:
            call["function"]["arguments"] = '{"box": [0, 250,'

    with proxy(url, change=garbled) as (address, bodies):
        (one,) = play(ServerPolicy(address, parrot, tools="native", max_tokens=80), 1)
    first = one.steps[0]
    assert first.action.op == "malformed"
    assert "not JSON" in first.evidence.message
    # In the dialogue it stands as text: servers choke on calls that are no JSON.
    said, result = bodies[1]["messages"][2:4]
    assert "tool_calls" not in said
    assert '"arguments": {"box": [0, 250,}</tool_call>' in said["content"]
    assert result["role"] == "user"


def test_a_copy_of_a_policy_plays_the_same(url, parrot) -> None:
    policy = ServerPolicy(url, parrot, tools="native", max_tokens=80, concurrency=2)
    copy = pickle.loads(pickle.dumps(policy))
    first, second = play(policy), play(copy)
    assert [one.steps for one in first] == [one.steps for one in second]
    assert copy.usage == policy.usage
    policy.count(copy.usage)
    assert policy.usage.requests == 2 * copy.usage.requests > 0


def test_episodes_of_a_server_that_goes_away_go_on_with_another(url, parrot) -> None:
    """It answers five times and then no more, in the middle of episodes."""
    answered: list[int] = []

    def gone(body: dict[str, Any]) -> tuple[int, Any] | None:
        answered.append(len(answered))
        return None if len(answered) <= 5 else (410, {"error": "gone"})

    with proxy(url, gone) as (failing, _), proxy(url) as (steady, bodies):
        servers = [
            ServerPolicy(address, parrot, max_tokens=80, retries=0) for address in (failing, steady)
        ]
        policy = pickle.loads(pickle.dumps(ServersPolicy(servers)))
        with pytest.warns(UserWarning, match="1 servers left.*410"):
            played = play(policy, 8)
        assert [one.score for one in played] == [1.0] * 8
        assert [len(one.episode.turns) for one in played] == [2] * 8
        # Of their dialogues nothing was said twice.
        roles = [[message["role"] for message in body["messages"]] for body in bodies]
        assert {len(said) for said in roles} == {2, 4}
    assert policy.usage.requests == 16


def test_servers_that_all_fail_end_the_run(url, parrot) -> None:
    with proxy(url, lambda body: (410, {"error": "gone"})) as (one, _):
        policy = ServersPolicy([ServerPolicy(one, parrot, retries=0) for _ in range(2)])
        with pytest.warns(match="1 servers left"), pytest.raises(ServerError, match="410: gone"):
            play(policy, 4)


def test_servers_of_different_models_are_refused(url, parrot) -> None:
    with pytest.raises(ValueError, match="the same model, not a, b"):
        ServersPolicy([ServerPolicy(url, name) for name in ("a", "b")])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ray_actors_that_ask_two_servers_give_the_same_table(url, parrot) -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    figures, asked = [], []
    with proxy(url) as (one, bodies), proxy(url) as (other, bodies_2):
        for ray in (0, 2):
            policy = ServersPolicy(
                [ServerPolicy(address, parrot, max_tokens=80) for address in (one, other)]
            )
            report = evaluate(
                policy, env_kwargs=SMALL, indices=range(6), workers=0, ray=ray, batch=4
            )
            policy.close()
            rows = sorted(report.rows, key=lambda row: row.index)
            figures.append(
                [(r.index, r.task_id, r.score, r.answer, r.steps, r.tokens) for r in rows]
            )
            asked.append(report.usage)
        assert bodies
        assert bodies_2
    # The task's id says whether torch is loaded where it was made, which it is here alone.
    assert [(a, c, d, e, f) for a, _, c, d, e, f in figures[0]] == [
        (a, c, d, e, f) for a, _, c, d, e, f in figures[1]
    ]
    assert {row[1].rpartition("-")[2] for row in figures[1]} == {"light"}
    assert asked[0] == asked[1]
    assert asked[0]["requests"] == 12


def _shows_task(body: dict[str, Any], index: int) -> bool:
    """Whether a request is about a task of `SmallSource`, by its first picture."""
    part = body["messages"][1]["content"][2]["image_url"]["url"].partition(",")[2]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(part))))
    return np.array_equal(shown, SMALL["source"].task(index).media.frame(0))


@contextmanager
def proxy(
    target: str,
    fault: Callable[[dict[str, Any]], tuple[int, Any] | None] = lambda body: None,
    change: Callable[[dict[str, Any]], None] = lambda reply: None,
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Stands before a server: notes each request, answers for it where `fault` says so, and
    passes the replies on, changed."""
    bodies: list[dict[str, Any]] = []

    class Between(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(*_fetch(target.removesuffix("/v1") + self.path, None))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            status, reply = fault(body) or _fetch(target.removesuffix("/v1") + self.path, body)
            if status == 200:
                change(reply)
            self._answer(status, reply)

        def _answer(self, status: int, reply: Any) -> None:
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Between)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _fetch(address: str, body: dict[str, Any] | None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, {"error": error.read().decode()}
