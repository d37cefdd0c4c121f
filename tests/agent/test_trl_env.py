"""The environment inside the real TRL: schemas, prompts, tool loop, rewards, an update."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.utils import get_json_schema

from pixelis_agent.dialogue import Dialogue
from pixelis_agent.models.processor import Processor
from pixelis_agent.policies.scripted import call_text
from pixelis_env.actions import OPS
from pixelis_env.wrappers import ToolCall
from tests.agent.small import small_kwargs

pytest.importorskip("trl", reason="needs the extra trl")
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from pixelis_agent.trl_env import PixelisToolEnv, dataset_rows, episode_reward, trl_processor

TASK = 1  # its square is on the left: the right answer is A
ZOOM = {"box": [50, 400, 140, 520]}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("zoom", ZOOM),
    ("segment", {"point": [95, 455]}),
    ("track", {"target": "e2"}),
    ("read_text", {"source": "e1"}),
    ("localize", {"target": "e2"}),
    ("properties", {"targets": ["e2"]}),
    ("answer", {"text": "A", "evidence": ["e1", "e2"]}),
]


def make_env() -> PixelisToolEnv:
    return PixelisToolEnv("Pixelis-v0", **small_kwargs())


def make_plain() -> ToolCall:
    """The same environment as a language model without TRL meets it."""
    return ToolCall(gym.make("Pixelis-v0", disable_env_checker=True, **small_kwargs()))


def words(blocks: list[dict[str, Any]]) -> str:
    return "".join(block["text"] for block in blocks if block["type"] == "text")


def pictures(blocks: list[dict[str, Any]]) -> list[Any]:
    return [block["image"] for block in blocks if block["type"] == "image"]


def test_the_schemas_say_what_the_action_models_say() -> None:
    env = make_env()
    for tool in make_plain().tools():
        expected = tool["function"]
        ours = get_json_schema(getattr(env, expected["name"]))["function"]
        assert " ".join(ours["description"].split()) == expected["description"]
        assert ours["parameters"].get("required") == expected["parameters"].get("required")
        said = {name: p["description"] for name, p in ours["parameters"]["properties"].items()}
        properties = expected["parameters"]["properties"]
        assert said == {name: p["description"] for name, p in properties.items()}
        for name, p in ours["parameters"]["properties"].items():
            assert p["type"] == properties[name]["type"]


def test_methods_do_what_tool_calls_do() -> None:
    env, plain = make_env(), make_plain()
    blocks = env.reset(index=TASK, prompt="not looked at")
    observation, _ = plain.reset(options={"index": TASK})
    assert words(blocks).startswith(observation["text"])
    assert pictures(blocks) == observation["images"]
    total, seen = 0.0, 0
    for name, arguments in CALLS:
        assert env.score is None
        blocks = getattr(env, name)(**arguments)
        observation, reward, *_, info = plain.step(call_text(name, arguments))
        assert not info["invalid"], observation["text"]
        total += reward
        seen += len(observation["images"])
        assert (words(blocks), pictures(blocks)) == (observation["text"], observation["images"])
        assert env.reward == pytest.approx(total)
    assert env.score == 1.0
    assert seen >= 4
    assert words(env.zoom(**ZOOM)) == "The episode is over."
    assert env.reward == pytest.approx(total)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1100) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["self", "box", "point", "source", "time", "target", "targets", "span", "text", "evidence"]
)


@settings(max_examples=60, deadline=None)
@given(
    calls=st.lists(st.tuples(st.sampled_from(OPS), st.dictionaries(NAMES, ANYTHING)), max_size=6)
)
def test_whatever_a_model_writes_is_one_step_of_the_environment(
    calls: list[tuple[str, dict[str, Any]]],
) -> None:
    env, plain = make_env(), make_plain()
    env.reset(index=TASK)
    plain.reset(options={"index": TASK})
    total, over = 0.0, False
    for name, arguments in calls:
        blocks = getattr(env, name)(**arguments)
        if over:
            assert words(blocks) == "The episode is over."
            continue
        said = {key: value for key, value in arguments.items() if value is not None}
        call = json.dumps({"name": name, "arguments": said})
        observation, reward, terminated, truncated, _ = plain.step(call)
        total, over = total + reward, terminated or truncated
        assert words(blocks) == observation["text"]
        assert env.reward == pytest.approx(total)


def test_a_row_without_an_index_is_refused() -> None:
    with pytest.raises(ValueError, match="column 'index'"):
        make_env().reset(prompt="?")


@pytest.mark.parametrize(
    ("last", "reward", "score"),
    [
        ("<think>A it is.</think><answer>A</answer>", 0.98, 1.0),
        ("<answer>B</answer>", -0.02, 0.0),
        ("It is on the left.", -0.07, None),  # an invalid call, with which the rollout ends
    ],
)
def test_a_written_answer_is_handed_in(last: str, reward: float, score: float | None) -> None:
    env = make_env()
    env.reset(index=TASK)
    env.zoom(**ZOOM)
    completion = [{"role": "tool", "content": []}, {"role": "assistant", "content": last}]
    assert episode_reward([completion], [env], prompts=[]) == pytest.approx([reward])
    assert env.score == score


def test_an_answer_counts_once() -> None:
    env = make_env()
    env.reset(index=TASK)
    env.answer(text="A")
    last = {"role": "assistant", "content": "<answer>B</answer>"}
    assert episode_reward([[last]], [env]) == pytest.approx([0.99])
    call = {"role": "assistant", "content": "<answer>B</answer>", "tool_calls": [{}]}
    env.reset(index=TASK)
    assert episode_reward([[call]], [env]) == [0.0]


class Lines(LogitsProcessor):
    """Lets only the tokens of given lines be written, one line a row."""

    def __init__(self, lines: list[list[int]]) -> None:
        self._left = [list(line) for line in lines]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        forced = torch.full_like(scores, -torch.inf)
        for row, left in enumerate(self._left):
            token = left.pop(0) if left else 0
            forced[row, token] = scores[row, token]
        return forced


class Watched(GRPOTrainer):
    """Keeps what was generated."""

    def _generate(self, prompts: list[Any]) -> Any:
        self.generated = super()._generate(prompts)
        return self.generated


def test_grpo_trains_on_it(
    tiny: Any, processor: Processor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One rollout writes the right answer, one calls the answer tool with the wrong one."""
    monkeypatch.setenv("CI", "1")  # no telemetry
    zoom, answer = call_text("zoom", ZOOM), "<answer>A</answer>"
    turns = [[zoom, zoom], [answer, call_text("answer", {"text": "B"})], ["That was it."]]

    def line(turn: str) -> list[int]:
        encoded = processor.tokenizer.encode(turn, add_special_tokens=False)
        return [*encoded, processor.end_id]

    model = copy.deepcopy(tiny)
    generate, rest = model.generate, iter(turns)
    model.generate = lambda **inputs: generate(
        **inputs, logits_processor=LogitsProcessorList([Lines([line(t) for t in next(rest)])])
    )
    trainer = Watched(
        model,
        reward_funcs=episode_reward,
        environment_factory=partial(PixelisToolEnv, "Pixelis-v0", **small_kwargs()),
        train_dataset=Dataset.from_list(dataset_rows([TASK])),
        processing_class=trl_processor(processor),
        args=GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=2,
            num_generations=2,
            max_completion_length=1024,
            max_steps=1,
            logging_steps=1,
            learning_rate=1e-3,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
        ),
    )
    before = copy.deepcopy(model.state_dict())
    trainer.train()
    assert next(rest, None) is None
    log = trainer.state.log_history[0]
    assert log["reward"] == pytest.approx((0.98 - 0.02) / 2)
    assert log["tools/failure_frequency"] == 0
    assert log["grad_norm"] > 0
    assert any((before[key] != value).any() for key, value in model.state_dict().items())

    plain = make_plain()
    dialogue = Dialogue(processor, plain.tools())
    fed = dialogue.open(plain.reset(options={"index": TASK})[0])
    result = dialogue.reply(plain.step(zoom)[0], ended=True)
    prompt_ids, completion_ids, tool_mask, *_, images, _ = trainer.generated
    first, second = line(zoom), line(answer)
    assert prompt_ids[0] == fed.tokens
    assert completion_ids[0] == first + result.tokens + second
    assert tool_mask[0] == [1] * len(first) + [0] * len(result.tokens) + [1] * len(second)
    assert images[0] == fed.images + result.images


@pytest.mark.slow
def test_the_example_trains_the_shipped_agent() -> None:
    example = Path(__file__).parents[2] / "examples" / "trl_grpo.py"
    done = subprocess.run(
        [sys.executable, str(example), "1"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    said = re.search(r"step 1: reward (-?[0-9.]+), ([0-9]+) tokens", done.stdout)
    assert said, done.stdout
    assert -1 <= float(said[1]) <= 1
    assert int(said[2]) > 8 * 42  # eight answers, and what the tools returned


def test_a_template_that_shows_calls_is_left_alone(processor: Processor) -> None:
    shown = trl_processor(processor)
    again = trl_processor(Processor(shown.tokenizer, shown.image_processor))
    assert again.chat_template == shown.chat_template != processor.tokenizer.chat_template
    assert getattr(processor.tokenizer, "response_template", None) is None
