"""Curiosity: noise stops paying, novelty pays, and a checkpoint goes on where it was."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixelis_agent.config import CuriosityConfig
from pixelis_agent.rewards.credit import normalised, pad_steps
from pixelis_agent.rewards.curiosity import (
    ACTION_SIZE,
    Curiosity,
    Dynamics,
    RewardScale,
    action_features,
    dynamics_inputs,
)
from pixelis_env.actions import (
    OPS,
    Action,
    Answer,
    Localize,
    Malformed,
    Properties,
    ReadText,
    Segment,
    Track,
    Zoom,
)

ACTIONS: list[Action | Malformed] = [
    Zoom(box=(0, 0, 500, 500), time=2.0),
    Segment(point=(3, 4), source="e2"),
    Track(target="e1", span=(1, 2)),
    ReadText(),
    Localize(text="EXIT"),
    Properties(targets=("e1", "e3")),
    Answer(text="A"),
    Malformed(reason="no JSON"),
]


def test_actions_are_told_apart_and_in_range() -> None:
    told = torch.stack([action_features(action) for action in ACTIONS])
    assert told.shape == (len(ACTIONS), ACTION_SIZE)
    assert ((told >= 0) & (told <= 1)).all()
    assert len({tuple(row) for row in told.tolist()}) == len(ACTIONS)
    assert (told[:-1, : len(OPS)].sum(1) == 1).all()
    rel, unit = (
        Zoom(box=(100, 200, 300, 400)),
        Zoom(box=(0.1, 0.2, 0.3, 0.4), frame="unit"),
    )
    torch.testing.assert_close(action_features(rel), action_features(unit))


def test_the_inputs_hold_nothing_of_the_outcome() -> None:
    seen = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    inputs = dynamics_inputs(seen, ACTIONS[:3])
    changed = seen.clone()
    changed[3] += 1
    torch.testing.assert_close(dynamics_inputs(changed, ACTIONS[:3]), inputs)
    changed[2] += 1
    assert not torch.equal(dynamics_inputs(changed, ACTIONS[:3])[2], inputs[2])
    torch.testing.assert_close(inputs[2, :5], seen[:3].mean(0))


class World:
    """Two tools: one returns what depends on where one looks, the other noise."""

    def __init__(self, size: int = 16) -> None:
        self.rng = torch.Generator().manual_seed(0)
        self.size = size
        self.rule = torch.randn(4, size, generator=self.rng)

    def batch(self, noise: bool, count: int = 64, shift: float = 0.0) -> tuple[Any, Any]:
        where = torch.rand(count, 4, generator=self.rng) + shift
        kind = torch.full((count, 1), float(noise))
        outcome = torch.sin(where @ self.rule)
        if noise:
            outcome = torch.randn(count, self.size, generator=self.rng)
        return torch.cat([where, kind], 1), outcome


ITERATIONS = 150


def test_noise_stops_paying_and_novelty_still_pays() -> None:
    """The noisy television: after `ITERATIONS` its pay is under a fifth; a new place pays more."""
    torch.manual_seed(0)
    world = World()
    dynamics = Dynamics(world.size, inputs=5, hidden=128)
    optimizer = torch.optim.Adam(dynamics.parameters(), 2e-3)
    first = float(dynamics.surprise(*world.batch(noise=True)).mean())
    for _ in range(ITERATIONS):
        parts = [world.batch(noise=False), world.batch(noise=True)]
        inputs, outcomes = (torch.cat(part) for part in zip(*parts, strict=True))
        for _ in range(4):
            optimizer.zero_grad()
            dynamics.loss(inputs, outcomes).backward()
            optimizer.step()
    noisy = float(dynamics.surprise(*world.batch(noise=True, count=512)).mean())
    known = float(dynamics.surprise(*world.batch(noise=False, count=512)).mean())
    new = float(dynamics.surprise(*world.batch(noise=False, count=512, shift=2.0)).mean())
    assert noisy < 0.2 * first
    assert known < 0.05
    assert new > 5 * known
    assert new > 2 * noisy


def test_noise_stops_counting_in_the_advantages_as_shipped() -> None:
    """What reaches the gradient, by the shipped settings: one operation of three returns noise.

    Its pay is far above the others' once those are known. Normalised in its group whatever its
    size, it would stay there; measured by what was paid at the most, it falls.
    """
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    config = CuriosityConfig()
    size, groups = 128, torch.arange(8).repeat_interleave(4)
    shown = torch.randn(4, size, generator=generator)
    curiosity, ours, plain = Curiosity(size, config), [], []
    for _ in range(100):
        seen = shown.expand(len(groups), 4, size).clone()
        seen[:, 2] = torch.randn(len(groups), size, generator=generator)
        valid = [torch.ones(3, dtype=torch.bool)] * len(seen)
        paid = pad_steps(curiosity.rewards(list(seen), [ACTIONS[:3]] * len(seen), valid))
        ours.append(float(normalised(paid, groups, least=curiosity.spread)[:, 1].mean()))
        plain.append(float(normalised(paid, groups)[:, 1].mean()))
    assert sum(ours[-50:]) / 50 < 0.2 * max(ours)
    assert sum(plain[-50:]) / 50 > 0.5 * max(plain)


def test_a_number_that_is_no_coordinate_spoils_nothing() -> None:
    torch.manual_seed(0)
    curiosity = Curiosity(6, CuriosityConfig(warm_up=0))
    seen, actions, valid = episodes(0)
    wild = [Zoom(box=(0, 0, 1e300, 1e30)), *ACTIONS[1:3]]
    curiosity.rewards(seen, [wild, *actions[1:]], [torch.tensor([False, True, True]), *valid[1:]])
    paid = torch.stack(curiosity.rewards(*episodes(1)))
    assert paid.isfinite().all()
    assert (paid > 0).any()


@given(values=st.lists(st.floats(0, 50, width=32), min_size=2, max_size=30))
def test_scaled_rewards_keep_their_order_and_their_bounds(values: list[float]) -> None:
    rewards = torch.tensor(values)
    (scaled,) = RewardScale()([rewards])
    assert ((scaled >= 0) & (scaled <= 5)).all()
    order = rewards.argsort()
    assert (scaled[order].diff() >= 0).all()


def test_scale_is_checked() -> None:
    with pytest.raises(ValueError, match="discount"):
        RewardScale(discount=1.0)


def episodes(seed: int, count: int = 4) -> tuple[list[Any], list[Any], list[Any]]:
    generator = torch.Generator().manual_seed(seed)
    seen = [torch.randn(4, 6, generator=generator) for _ in range(count)]
    valid = [torch.tensor([True, False, True])] * count
    return seen, [ACTIONS[:3]] * count, valid


def test_warm_up_pays_nothing_and_invalid_steps_never_pay() -> None:
    torch.manual_seed(0)
    curiosity = Curiosity(6, CuriosityConfig(warm_up=2))
    for turn in range(4):
        paid = torch.stack(curiosity.rewards(*episodes(turn)))
        assert (paid[:, 1] == 0).all()
        assert bool((paid[:, [0, 2]] > 0).any()) == (turn >= 2)


def test_a_checkpoint_goes_on_bit_for_bit() -> None:
    torch.manual_seed(0)
    one = Curiosity(6, CuriosityConfig(warm_up=0))
    one.rewards(*episodes(0))
    torch.manual_seed(1)
    other = Curiosity(6, CuriosityConfig(warm_up=0))
    other.load_state_dict(deepcopy(one.state_dict()))
    for turn in (1, 2):
        for paid, again in zip(
            one.rewards(*episodes(turn)), other.rewards(*episodes(turn)), strict=True
        ):
            assert torch.equal(paid, again)
