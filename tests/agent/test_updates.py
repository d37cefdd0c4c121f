"""Updates read a common beginning once, and come to what whole episodes come to."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from pixelis_agent.config import CCRFTConfig
from pixelis_agent.learning.aims import Aim, Gradient, Teacher
from pixelis_agent.learning.parts import Part, TokenScorer, score
from pixelis_agent.learning.updates import descend
from pixelis_agent.models.anchor import Anchor
from pixelis_agent.models.batch import later_images, make_batch, written_scores
from pixelis_agent.models.processor import Processor
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.policies.base import Episode
from pixelis_agent.policies.vlm import VLMPolicy
from pixelis_agent.rollout import Rollout
from pixelis_env.wrappers import ToolCall

# Whole episodes: what gradient checkpointing asks for, since its layers keep nothing.
APART = CCRFTConfig("unused", Path("unused"), micro_batch=2, gradient_checkpointing=True)
SHARED = replace(APART, gradient_checkpointing=False)


@pytest.fixture(scope="module")
def rollouts(
    tiny: Any, processor: Processor, text_env: ToolCall, write_call: Callable[..., str]
) -> list[Rollout]:
    """Two turns each: three episodes on one task, two on another, one on a third."""
    look = VisionCache(tiny, processor).inputs
    policy = VLMPolicy(tiny, processor, temperature=1.0, max_new_tokens=12, look=look)
    played = []
    for seed, (task, time) in enumerate([(0, 1), (1, 2), (0, 3), (2, 1), (1, 0), (0, 0)]):
        episode = Episode(index=task, seed=seed, tools=text_env.tools())
        episode.observations.append(text_env.reset(options={"index": task})[0])
        policy.act([episode])
        box = [10 * seed, 0, 500 + 50 * seed, 900]
        call = write_call("zoom", time=time, box=box)
        episode.observations.append(text_env.step(call)[0])
        policy.act([episode])
        played.append(cast(Rollout, episode.rollout))
    return played


def shape_of(part: Part) -> list[tuple[int, int]]:
    return [tuple(batch.input_ids.shape) for _, batch in part.batches()]


SHARES = [[[0, 2], [5, 1], [4, 3]], [[0, 3, 1]], [[2]], [[0, 1], [3]]]


@pytest.mark.parametrize("share", SHARES)
def test_scores_are_those_of_whole_episodes(
    tiny: Any, processor: Processor, rollouts: list[Rollout], share: list[list[int]]
) -> None:
    policy, vision = TokenScorer(tiny, processor, 1.0), VisionCache(tiny, processor)
    whole = score(policy, rollouts, [share], vision, APART)[0]
    shared = score(policy, rollouts, [share], vision, SHARED)[0]
    for one, other in zip(whole, shared, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    sampled = torch.tensor([p for k in share[0] for p in rollouts[k].log_probs if p])
    torch.testing.assert_close(shared[0], sampled, atol=1e-5, rtol=0)


def test_a_beginning_is_read_once(tiny: Any, processor: Processor, rollouts: list[Rollout]) -> None:
    policy, vision = TokenScorer(tiny, processor, 1.0), VisionCache(tiny, processor)
    share = [[0, 2], [5, 1], [4, 3]]
    whole = Part(policy, rollouts, share, vision, APART)
    shared = Part(policy, rollouts, share, vision, SHARED)
    assert len(whole.beginnings) == 0
    assert len(shared.beginnings) == 2  # the task of episode 3 is no other's
    lengths = [[len(rollouts[k]) for k in micro] for micro in share]
    assert shape_of(whole) == [(2, max(both)) for both in lengths]
    fed = [int((r.label_array() >= 2).argmax()) - 1 for r in rollouts]
    rest = [[len(rollouts[k]) - (fed[k] if k != 3 else 0) for k in micro] for micro in share]
    assert shape_of(shared) == [(2, max(both)) for both in rest]
    assert all(len(shared.beginnings.of(k)) == fed[k] for k in (0, 1, 2, 4, 5))
    assert len(shared.beginnings.of(3)) == 0


class Louder(Anchor):
    """A reference with weights of its own: those of the policy, some of them larger."""

    def __init__(self) -> None:
        self.model: Any = None

    @contextmanager
    def active(self) -> Iterator[None]:
        weights = [p for name, p in self.model.named_parameters() if name.endswith("v_proj.weight")]
        assert weights
        with torch.no_grad():
            before = [p.clone() for p in weights]
            for p in weights:
                p.mul_(1.5)
            yield
            for p, old in zip(weights, before, strict=True):
                p.copy_(old)


def aim_of(name: str, rollouts: Sequence[Rollout]) -> Aim:
    steps = torch.randn(len(rollouts), 2, generator=torch.Generator().manual_seed(0))
    return Gradient(steps, APART) if name == "gradient" else Teacher(steps.abs(), Louder(), 0.5)


def moved(
    tiny: Any,
    processor: Processor,
    rollouts: Sequence[Rollout],
    share: list[list[int]],
    settings: CCRFTConfig,
    aim: Aim,
    pull: float = 0.1,
) -> tuple[dict[str, torch.Tensor], float]:
    """How far plain gradient descent moves every weight in one update, and what was noted."""
    model = copy.deepcopy(tiny)
    model.model.visual.requires_grad_(False)
    policy, vision = TokenScorer(model, processor, 1.0), VisionCache(model, processor)
    if isinstance(aim, Teacher):
        cast(Louder, aim.reference).model = model
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.SGD(trained.values(), lr=1.0)
    before = {name: p.detach().clone() for name, p in trained.items()}
    own = score(policy, rollouts, [share], vision, settings)[0]
    (noted, _), _ = descend(
        policy,
        accelerator.prepare(optimizer),
        aim,
        Part(policy, rollouts, share, vision, settings),
        own,
        [scores - pull for scores in own],  # a reference that pulls
        0.5,
        settings,
        accelerator,
    )
    return {name: p.detach() - before[name] for name, p in trained.items()}, float(noted)


@pytest.mark.parametrize("share", [SHARES[0], SHARES[3]])
@pytest.mark.parametrize("name", ["gradient", "teacher"])
def test_gradients_are_those_of_whole_episodes(
    tiny: Any, processor: Processor, rollouts: list[Rollout], share: list[list[int]], name: str
) -> None:
    aim, free = aim_of(name, rollouts), {"max_grad_norm": 1e9}
    whole, noted = moved(tiny, processor, rollouts, share, replace(APART, **free), aim)
    shared, same = moved(tiny, processor, rollouts, share, replace(SHARED, **free), aim)
    assert noted == pytest.approx(same, abs=1e-4)
    longest = max(float(step.norm()) for step in whole.values())
    assert longest > 1e-3
    for weight, step in whole.items():
        assert float((step - shared[weight]).norm()) < 1e-5 * longest, weight


def test_a_teacher_is_followed_over_the_whole_vocabulary(
    tiny: Any, processor: Processor, rollouts: list[Rollout]
) -> None:
    """Against a loss that is written out here, of whole episodes one by one."""
    aim = cast(Teacher, aim_of("teacher", rollouts))
    share = [[0, 2], [5, 1]]
    free = replace(SHARED, max_grad_norm=1e9)
    found, noted = moved(tiny, processor, rollouts, share, free, aim, pull=0.0)
    model = copy.deepcopy(tiny)
    model.model.visual.requires_grad_(False)
    teacher = copy.deepcopy(model)
    for name, weight in teacher.named_parameters():
        if name.endswith("v_proj.weight"):
            weight.data.mul_(1.5)
    lengths = [float((r.label_array() >= 2).sum()) for r in rollouts]
    loss, total = torch.tensor(0.0), sum(lengths[k] for micro in share for k in micro)
    for k in (0, 2, 5, 1):
        batch = make_batch(model, processor, [rollouts[k]])
        with torch.no_grad():
            q = (written_scores(teacher, processor, batch) / 0.5).softmax(-1)
        log_p = written_scores(model, processor, batch)
        possible = q > 0
        apart = torch.where(possible, q * (q.clamp_min(1e-30).log() - log_p), 0.0).sum(-1)
        turns = batch.turns[batch.written]
        evened = aim.trust[k][turns] * float(np.mean(lengths)) / lengths[k]
        loss = loss + (evened * apart).sum() / total
    loss.backward()
    assert noted == pytest.approx(float(loss.detach()) * total, rel=1e-4)
    longest = max(float(step.norm()) for step in found.values())
    for name, weight in model.named_parameters():
        if name in found:
            gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
            assert float((found[name] + gradient).norm()) < 1e-4 * longest, name


def test_a_step_without_a_finite_gradient_is_left_out(
    tiny: Any, processor: Processor, rollouts: list[Rollout]
) -> None:
    gains = torch.full((len(rollouts), 2), float("inf"))
    with pytest.warns(UserWarning, match=r"a gradient's norm is (nan|inf): this step is left out"):
        steps, _ = moved(tiny, processor, rollouts, SHARES[3], SHARED, Gradient(gains, SHARED))
    assert steps
    assert not any(step.any() for step in steps.values())


@pytest.mark.parametrize("name", ["gradient", "teacher"])
def test_an_aim_for_nothing_leaves_the_reference_to_pull(
    tiny: Any, processor: Processor, rollouts: list[Rollout], name: str
) -> None:
    aim = aim_of(name, rollouts)
    own, noted = moved(tiny, processor, rollouts, SHARES[3], SHARED, aim, pull=0.0)
    none, nothing = moved(tiny, processor, rollouts, SHARES[3], SHARED, aim.nothing(), pull=0.0)
    pulled, _ = moved(tiny, processor, rollouts, SHARES[3], SHARED, aim.nothing())
    assert nothing == 0
    assert noted > 0 or name == "gradient"
    assert max(float(step.abs().max()) for step in own.values()) > 1e-4
    assert max(float(step.abs().max()) for step in none.values()) < 1e-6
    assert max(float(step.abs().max()) for step in pulled.values()) > 1e-4


def test_later_images_are_those_behind_a_token(
    processor: Processor, rollouts: list[Rollout]
) -> None:
    rollout = rollouts[0]
    fed = int((rollout.label_array() >= 2).argmax())
    assert later_images(processor, rollout, 0) == rollout.images
    assert later_images(processor, rollout, fed) == rollout.images[8:]
    assert later_images(processor, rollout, len(rollout)) == []
