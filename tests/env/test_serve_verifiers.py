"""verifiers plays Pixelis by its own evaluation loop, with a scripted model behind real HTTP."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pixelis_env.making import make_env
from pixelis_env.serve.episode import Episode, captioned
from pixelis_env.wrappers import unwrap
from tests.env.serving import free_port

pytest.importorskip("verifiers.v1", reason="needs the extra verifiers: make test-adapters")
import httpx
from verifiers.v1.utils.loaders import default_harness_id, taskset_class, taskset_config_type

ENV, KWARGS = "Pixelis-Text-v0", {"tools": "oracle", "max_steps": 6}
BIN = Path(sys.executable).parent
DOCS = Path(__file__).parents[2] / "docs" / "adapters.md"


def taskset(**config: Any) -> Any:
    given = {"id": "pixelis-v1", "env": ENV, "env_kwargs": KWARGS, **config}
    return taskset_class("pixelis-v1")(taskset_config_type("pixelis-v1")(**given))


@contextmanager
def model(tmp_path: Path, script: dict[str, list[Any]]) -> Iterator[tuple[str, Path]]:
    """The address of the scripted model and the log of what it was asked."""
    port, log = free_port(), tmp_path / "asked.jsonl"
    (tmp_path / "script.json").write_text(json.dumps(script))
    server = Path(__file__).with_name("scripted_model.py")
    process = subprocess.Popen(
        [sys.executable, server, str(port), str(tmp_path / "script.json"), str(log)]
    )
    try:
        for _ in range(600):
            try:
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1", log
    finally:
        process.terminate()
        process.wait(30)


def evaluate(command: list[str], url: str, out: Path) -> list[dict[str, Any]]:
    """Runs `vf-eval`; the traces that it saved."""
    options = [
        "--env.agent.runtime.type",
        "subprocess",
        "--client.base-url",
        url,
        "--no-rich",
        "--no-push",
        "--output-dir",
        str(out),
    ]
    done = subprocess.run(
        [BIN / command[0], *command[1:], *options],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=out.parent,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "OPENAI_API_KEY": "none"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (saved,) = out.rglob("traces.jsonl")
    return [json.loads(line) for line in saved.read_text().splitlines()]


def test_the_taskset_yields_the_environments_tasks_in_order() -> None:
    tasks = list(taskset(seed=3).take(2))
    env = make_env(ENV, KWARGS)
    for number, task in enumerate(tasks):
        seen, info = env.reset(seed=3 if number == 0 else None)
        assert (task.data.id, task.data.index) == (info["task_id"], info["index"])
        parts = captioned(seen)
        content = task.data.prompt[0].content
        assert [part.type for part in content] == [
            "text" if isinstance(part, str) else "image_url" for part in parts
        ]
        assert content[0].text == seen["text"]
        assert "answer" not in task.data.model_dump()
    assert not taskset().bounded
    assert default_harness_id("pixelis-v1") == "pixelis-v1"  # no shell


def test_a_finite_source_ends_and_an_unknown_answer_is_refused(tmp_path: Path) -> None:
    picture = Path(__file__).parents[2] / "docs" / "images" / "episode.png"
    asked = {"source": str(picture), "question": "What is shown?"}
    one = taskset(env_kwargs={**asked, "answer": "an episode"})
    assert one.bounded
    assert len(list(one)) == 1
    with pytest.raises(ValueError, match="no known answer"):
        list(taskset(env_kwargs=asked))


def oracle_calls(index: int) -> list[dict[str, Any]]:
    env = make_env(ENV, KWARGS)
    env.reset(options={"index": index})
    inner = unwrap(env)
    return [inner.tool_calls.encode(action) for action in inner.oracle()]


def test_verifiers_evaluates_a_model_that_sees_what_the_tools_show(tmp_path: Path) -> None:
    """Task 0 is solved by the oracle's calls, task 1 in words, task 2 not at all."""
    tasks = list(taskset().take(3))
    questions = [task.data.prompt[0].content[0].text for task in tasks]
    env = make_env(ENV, KWARGS)
    answers = []
    for task in tasks:
        env.reset(options={"index": task.data.index})
        answers.append(unwrap(env).task.answer)
    solved = oracle_calls(tasks[0].data.index)
    wrong = {"name": "zoom", "arguments": {"box": [0, 0, -5, 5]}}
    script = {
        questions[0]: solved,
        questions[1]: [wrong, f"<answer>{answers[1]}</answer>"],
        questions[2]: [{"name": "zoom", "arguments": {"bx": 1}}, "I do not know."],
    }
    with model(tmp_path, script) as (url, log):
        command = ["vf-eval", "pixelis-v1", "-n", "3", "--model", "scripted"]
        kwargs = json.dumps(KWARGS)
        command += ["--env.taskset.env", ENV, "--env.taskset.env-kwargs", kwargs]
        episodes = evaluate(command, url, tmp_path / "out")
        asked = [json.loads(line) for line in log.read_text().splitlines()]
    traces = [trace for episode in episodes for trace in episode["traces"]]
    by_id = {trace["task"]["data"]["id"]: trace for trace in traces}
    first, second, third = (by_id[task.data.id] for task in tasks)
    assert [t["rewards"]["task_score"]["score"] for t in (first, second, third)] == [1.0, 1.0, 0.0]
    assert first["metrics"]["calls"] == len(solved)
    assert first["stop_condition"] == "episode_over"
    assert (second["metrics"]["calls"], second["metrics"]["invalid_calls"]) == (1.0, 1.0)
    assert (third["metrics"]["calls"], third["metrics"]["invalid_calls"]) == (1.0, 1.0)

    # The model saw the pictures of the question and of each result, as in the environment.
    episode = Episode(env)
    episode.start(index=tasks[0].data.index)
    shown = [captioned(episode.call(**call)) for call in solved]
    piece = json.dumps(questions[0])
    dialogues = [body["messages"] for body in asked if piece in json.dumps(body["messages"])]
    dialogue = max(dialogues, key=len)
    results = [message["content"] for message in dialogue if message["role"] == "tool"]
    assert len(results) == len(solved) - 1
    for content, parts in zip(results, shown, strict=False):
        text = content if isinstance(content, str) else content[0]["text"]
        assert text == parts[0]
        images = [] if isinstance(content, str) else content[1:]
        assert len(images) == len(parts) - 1
    names = [tool["function"]["name"] for tool in asked[0]["tools"]]
    assert names == [tool["function"]["name"] for tool in env.tools()]


def test_validation_says_that_the_oracle_solves_it_and_nothing_does_not(tmp_path: Path) -> None:
    command = [BIN / "vf-validate", "pixelis-v1", "-n", "2", "--runtime.type", "subprocess"]
    command += ["--taskset.env", ENV, "--taskset.env-kwargs", json.dumps(KWARGS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=tmp_path)
    counts = json.loads(done.stdout[done.stdout.index("{\n") :])
    assert counts["checks"]["gold"]["valid"] == counts["checks"]["noop"]["valid"] == 2


def test_the_example_in_the_docs_runs(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(from verifiers.*?)```", DOCS.read_text(), re.DOTALL)
    (tmp_path / "example.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "example.py"], capture_output=True, text=True, timeout=280, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("rooms-vsi") == 2
