"""The policy's cached turns agree with one full forward, whatever is batched with what."""

from __future__ import annotations

import contextlib
import copy
import json
import re
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch

from pixelis_agent.models.batch import make_batch, token_log_probs, token_positions
from pixelis_agent.models.processor import Processor
from pixelis_agent.policies.base import Episode
from pixelis_agent.policies.vlm import VLMPolicy
from pixelis_agent.rollout import Rollout
from pixelis_env.actions import OPS, ToolCallCodec
from pixelis_env.errors import InvalidCall
from pixelis_env.wrappers import ToolCall

# What the environment hears in turn: a random model's own words are all invalid calls, which
# would bring no images into later turns.
CALLS: list[list[tuple[str, dict[str, Any]]]] = [
    [("zoom", {"time": 2, "box": [100, 100, 600, 700]}), ("read_text", {"source": "e1"})],
    [("segment", {"time": 1, "box": [0, 0, 500, 500]}), ("zoom", {"box": [10, 10, 990, 400]})],
    [("properties", {"targets": ["e7"]}), ("zoom", {"time": 5, "box": [0, 0, 90, 900]})],
]


def play(
    policy: VLMPolicy,
    env: ToolCall,
    write_call: Callable[..., str],
    groups: list[list[list[int]]],
) -> list[Episode]:
    """Plays one episode per entry of CALLS; `groups[turn]` says which are batched together."""
    episodes = [Episode(index=k, seed=0, tools=env.tools()) for k in range(len(CALLS))]
    answers = []
    for k, calls in enumerate(CALLS):
        said = [env.reset(options={"index": k})[0]]
        said += [env.step(write_call(name, **arguments))[0] for name, arguments in calls]
        answers.append(said)
    for turn, groupings in enumerate(groups):
        for episode, said in zip(episodes, answers, strict=True):
            episode.observations.append(said[turn])
        for group in groupings:
            turns = policy.act([episodes[k] for k in group])
            for k, written in zip(group, turns, strict=True):
                episodes[k].turns.append(written)
    return episodes


TOGETHER = [[[0, 1, 2]]] * 3
APART = [[[0], [1], [2]]] * 3
MIXED = [[[0, 2], [1]], [[1], [2, 0]], [[2, 1, 0]]]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("groups", [TOGETHER, APART, MIXED])
def test_cached_turns_agree_with_a_full_forward(
    tiny: Any,
    processor: Processor,
    text_env: ToolCall,
    write_call: Callable[..., str],
    groups: list[list[list[int]]],
    temperature: float,
) -> None:
    policy = VLMPolicy(tiny, processor, temperature=temperature, max_new_tokens=12)
    rollouts = [e.rollout for e in play(policy, text_env, write_call, groups)]
    assert all(r is not None and r.n_turns == 3 and len(r.images) > 8 for r in rollouts)
    batch = make_batch(tiny, processor, rollouts)
    with torch.no_grad():
        log_probs, written = token_log_probs(tiny, processor, batch)
    assert written.sum() >= 9
    np.testing.assert_allclose(log_probs.numpy(), batch.log_probs.numpy(), atol=1e-5)


def test_a_turn_does_not_depend_on_its_neighbours(
    tiny: Any, processor: Processor, text_env: ToolCall, write_call: Callable[..., str]
) -> None:
    policy = VLMPolicy(tiny, processor, temperature=1.0, top_p=0.9, max_new_tokens=12)
    runs = [play(policy, text_env, write_call, groups) for groups in (TOGETHER, APART, MIXED)]
    texts = [[turn.text for e in episodes for turn in e.turns] for episodes in runs]
    assert texts[0] == texts[1] == texts[2]
    assert len(set(texts[0])) > 3


def test_a_beginning_is_read_once_and_apart_from_replies(
    tiny: Any, processor: Processor, text_env: ToolCall, write_call: Callable[..., str]
) -> None:
    policy = VLMPolicy(tiny, processor, temperature=1.0, max_new_tokens=12)
    opening, _ = text_env.reset(options={"index": 0})
    reply = text_env.step(write_call("zoom", time=2, box=[100, 100, 600, 700]))[0]

    def group() -> list[Episode]:
        return [
            Episode(index=0, seed=seed, tools=text_env.tools(), observations=[opening])
            for seed in range(4)
        ]

    def read(inputs: dict[str, Any]) -> None:
        shapes.append(tuple(inputs["input_ids"].shape))

    alone = [turn for episode in group() for turn in policy.act([episode])]
    shapes: list[tuple[int, int]] = []
    hook = tiny.model.register_forward_pre_hook(
        lambda _, __, inputs: read(inputs), with_kwargs=True
    )
    with contextlib.ExitStack() as stack:
        stack.callback(hook.remove)
        together = group()
        assert policy.act(together) == alone
        length = shapes[0][1]
        assert shapes[0] == (1, length)
        assert all(new == 1 for _, new in shapes[1:])
        shapes.clear()
        for episode in together:
            episode.observations.append(reply)
        policy.act([*together, *group()[:2]])
        assert shapes[0] == (1, length)
        assert shapes[1][0] == 4
        assert 1 < shapes[1][1] < length
    rollouts = [cast(Rollout, episode.rollout) for episode in together]
    batch = make_batch(tiny, processor, rollouts)
    with torch.no_grad():
        log_probs, _ = token_log_probs(tiny, processor, batch)
    np.testing.assert_allclose(log_probs.numpy(), batch.log_probs.numpy(), atol=1e-5)


def test_a_length_limit_is_marked(
    tiny: Any, processor: Processor, text_env: ToolCall, write_call: Callable[..., str]
) -> None:
    policy = VLMPolicy(tiny, processor, max_new_tokens=1)
    episodes = play(policy, text_env, write_call, TOGETHER)
    assert all(e.rollout is not None and e.rollout.truncated for e in episodes)
    assert all(turn.n_tokens == 1 for e in episodes for turn in e.turns)


def test_positions_refuse_images_that_do_not_fit(
    tiny: Any, processor: Processor, text_env: ToolCall, write_call: Callable[..., str]
) -> None:
    policy = VLMPolicy(tiny, processor, max_new_tokens=1)
    rollout = play(policy, text_env, write_call, TOGETHER)[0].rollout
    assert rollout is not None
    rollout.images.pop()
    with pytest.raises(ValueError, match="image tokens for images of"):
        token_positions(tiny, processor, rollout)


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"temperature": -1}, "temperature"), ({"top_p": 0}, "top_p"), ({"max_new_tokens": 0}, "max")],
)
def test_settings_out_of_range(
    tiny: Any, processor: Processor, settings: dict[str, Any], name: str
) -> None:
    with pytest.raises(ValueError, match=name):
        VLMPolicy(tiny, processor, **settings)


def test_it_says_with_what_it_plays(tiny: Any, processor: Processor) -> None:
    said = VLMPolicy(tiny, processor, temperature=0.5).settings()
    assert json.loads(json.dumps(said)) == said
    assert (said["temperature"], said["dtype"], said["quantized"]) == (0.5, "float32", False)
    other = copy.deepcopy(tiny)
    assert VLMPolicy(other, processor).settings()["weights"] == said["weights"]
    with torch.no_grad():
        next(iter(other.parameters())).view(-1)[7] += 1e-6
    assert VLMPolicy(other, processor).settings()["weights"] != said["weights"]


def test_a_grammar_lets_only_turns_through_that_parse(
    tiny: Any, processor: Processor, text_env: ToolCall
) -> None:
    """Even a random model's words are calls then; what it is sure of is left as it was."""
    policy = VLMPolicy(tiny, processor, temperature=1.0, grammar=True, max_new_tokens=400)
    observation, _ = text_env.reset(options={"index": 0})
    episodes = [
        Episode(index=k, seed=1, tools=text_env.tools(), observations=[observation])
        for k in range(20)
    ]
    codec, whole = ToolCallCodec(), 0
    for turn in policy.act(episodes):
        call = re.search(r"<tool_call>(.*)</tool_call>$", turn.text, re.DOTALL)
        answer = re.search(r"<answer>.+</answer>$", turn.text, re.DOTALL)
        whole += bool(call or answer)
        # The others ran into the length limit, in the middle of a text.
        assert call or answer or turn.n_tokens >= 400
        if call:
            assert json.loads(call[1])["name"] in OPS
            with contextlib.suppress(InvalidCall):  # a range, which no grammar can hold
                assert codec.decode(call[1]).op in OPS
    assert whole >= 3
    rollouts = [episode.rollout for episode in episodes]
    batch = make_batch(tiny, processor, rollouts)
    with torch.no_grad():
        log_probs, _ = token_log_probs(tiny, processor, batch)
    np.testing.assert_allclose(log_probs.numpy(), batch.log_probs.numpy(), atol=1e-5)
