"""The laws of group advantages, the coherence band, the corridor and the policy loss."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from pixelis_agent.config import RewardConfig
from pixelis_agent.learning.corridor import Corridor, CorridorController, Verdict
from pixelis_agent.learning.losses import importance_weights, k3, policy_loss
from pixelis_agent.rewards.coherence import BAND, Coherence, cosines, in_band, repeated
from pixelis_agent.rewards.credit import (
    Watch,
    advantages,
    efficiency,
    even,
    normalised,
    pad_steps,
    silent_groups,
    spread,
    valid_steps,
)
from pixelis_agent.rewards.moments import Moments
from pixelis_env.actions import Answer, Zoom
from pixelis_env.evidence import TextLines, ToolError
from pixelis_env.trace import Step

NUMBERS = st.floats(-5, 5, width=32)
REWARDS = hnp.arrays(np.float32, (8, 5), elements=NUMBERS)
GROUPS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
LENGTHS = st.lists(st.integers(1, 5), min_size=8, max_size=8)


def cut(rewards: Any, lengths: list[int]) -> torch.Tensor:
    return pad_steps([torch.from_numpy(r[:n]) for r, n in zip(rewards, lengths, strict=True)])


@given(rewards=REWARDS, lengths=LENGTHS, factor=st.floats(0.25, 8), shift=st.floats(-3, 3))
def test_groups_sum_to_zero_whatever_the_scale(
    rewards: Any, lengths: list[int], factor: float, shift: float
) -> None:
    padded = cut(rewards, lengths)
    out = normalised(padded, GROUPS)
    for group in (0, 1):
        mine = out[group == GROUPS]
        assert abs(float(mine.sum())) < 1e-4
        values = padded[group == GROUPS]
        values = values[~values.isnan()]
        if len(values) > 1 and float(values.std()) > 0.01:
            there = mine[~padded[group == GROUPS].isnan()]
            assert float(there.std()) == pytest.approx(1, abs=1e-3)
            again = normalised(padded * factor + shift, GROUPS)[group == GROUPS]
            torch.testing.assert_close(again, mine, atol=2e-3, rtol=0)
    assert (out[padded.isnan()] == 0).all()


@given(scores=hnp.arrays(np.float32, 8, elements=st.sampled_from([0.0, 0.5, 1.0])))
def test_equal_scores_are_silent_and_pay_nothing(scores: Any) -> None:
    given_scores = torch.from_numpy(scores)
    silent = set(silent_groups(given_scores, GROUPS).tolist())
    for group in (0, 1):
        mine = scores[(group == GROUPS).numpy()]
        assert (group in silent) == (mine.min() == mine.max())
        if group in silent:
            assert (normalised(given_scores, GROUPS)[group == GROUPS] == 0).all()


@given(rewards=REWARDS, lengths=LENGTHS, scores=hnp.arrays(np.float32, 8, elements=NUMBERS))
def test_a_step_has_its_own_credit_and_its_share_of_the_task(
    rewards: Any, lengths: list[int], scores: Any
) -> None:
    task = normalised(torch.from_numpy(scores), GROUPS)
    own = normalised(cut(rewards, lengths), GROUPS)
    weights = {"task": 1.0, "curiosity": 0.3}
    out = advantages({"task": task, "curiosity": own}, weights, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        torch.testing.assert_close(out[row, :length], task[row] + 0.3 * own[row, :length])
        assert (out[row, length:] == 0).all()
    turns = torch.tensor([[0, 0, 1, 1, 2, -1]] * 8)
    written = torch.tensor([[False, True, False, True, True, False]] * 8)
    padded = torch.nn.functional.pad(out, (0, max(0, 3 - out.shape[1])))
    tokens = spread(padded, turns, written)
    assert (tokens[:, [0, 2, 5]] == 0).all()
    torch.testing.assert_close(tokens[:, [1, 3, 4]], padded[:, :3])


@given(
    gains=hnp.arrays(np.float32, (4, 3), elements=NUMBERS),
    counts=st.lists(st.lists(st.integers(1, 30), min_size=3, max_size=3), min_size=4, max_size=4),
)
def test_evened_episodes_count_the_same(gains: Any, counts: list[list[int]]) -> None:
    """The mean over all tokens is then the mean over episodes of each one's own mean."""
    steps, tokens = torch.tensor(gains), torch.tensor(counts, dtype=torch.float32)
    written = tokens.sum(1)
    over_all = (even(steps, written) * tokens).sum() / tokens.sum()
    own = (steps * tokens).sum(1) / written
    torch.testing.assert_close(over_all, own.mean(), rtol=1e-4, atol=1e-4)


def test_a_missing_weight_and_an_infinite_reward_are_named() -> None:
    with pytest.raises(ValueError, match="coherence"):
        advantages({"coherence": torch.zeros(2, 3)}, {}, torch.tensor([3, 1]))
    with pytest.raises(ValueError, match="infinite"):
        normalised(torch.tensor([1.0, math.inf]), torch.zeros(2))


@given(rewards=REWARDS, lengths=LENGTHS)
def test_an_answer_is_paid_by_the_task_and_its_cost_alone(rewards: Any, lengths: list[int]) -> None:
    """Operations that pay more than nothing do not make the answers after them look bad."""
    paid = cut(np.abs(rewards) + 1, lengths)
    last = torch.arange(paid.shape[1]) == torch.tensor(lengths)[:, None] - 1
    out = normalised(paid.masked_fill(last, torch.nan), GROUPS)
    assert (out[last] == 0).all()


@given(rewards=REWARDS, lengths=LENGTHS, factor=st.floats(0.01, 1))
def test_what_has_become_small_stays_small(rewards: Any, lengths: list[int], factor: float) -> None:
    padded = cut(rewards, lengths)
    spreads = [m[~m.isnan()].std() for m in (padded[g == GROUPS] for g in (0, 1))]
    assume(all(float(spread) > 0.05 for spread in spreads))
    least = float(max(spreads))
    first = normalised(padded, GROUPS, least=least)
    assert first.abs().sum() > 0
    later = normalised(padded * factor, GROUPS, least=least)
    torch.testing.assert_close(later, first * factor, atol=1e-3, rtol=1e-3)


def steps_of(*kinds: str) -> list[Step]:
    zoom = Zoom(box=(0, 0, 500, 500))
    made = {
        "done": (zoom, TextLines(region=(0, 0, 8, 8), frame_index=0, time=0.0, lines=())),
        "failed": (zoom, ToolError(message="no such view")),
        "answer": (Answer(text="A"), None),
    }
    return [Step(action=made[kind][0], evidence=made[kind][1], reward_terms={}) for kind in kinds]


@given(kinds=st.lists(st.sampled_from(["done", "failed"]), max_size=8))
def test_only_long_chains_and_failures_cost(kinds: list[str]) -> None:
    config = RewardConfig(free_steps=3, step_cost=0.6, invalid_cost=0.5)
    steps = steps_of(*kinds, "answer")
    costs = efficiency(steps, config)
    for number, (kind, cost) in enumerate(zip(kinds, costs.tolist(), strict=False), start=1):
        expected = -0.2 * (number > 3) - 0.5 * (kind == "failed")
        assert cost == pytest.approx(expected)
    assert costs[-1] == 0
    assert valid_steps(steps).tolist() == [kind == "done" for kind in kinds] + [False]


def test_a_dead_reward_is_seen_and_a_live_one_is_not() -> None:
    """Dead is what is the same within each group, be it different from group to group."""
    watch, weights = Watch(3), {"dead": 1.0, "live": 1.0, "off": 0.0}
    groups = torch.tensor([0, 0, 1, 1])
    generator = torch.Generator().manual_seed(0)
    for turn in range(5):
        paid = {
            "dead": torch.tensor([0.7, 0.7, 0.1, 0.1]),
            "live": torch.rand(4, generator=generator),
            "off": torch.zeros(4),
        }
        rewards = {name: normalised(values, groups) for name, values in paid.items()}
        if turn == 2:
            with pytest.warns(
                UserWarning, match="'dead' was constant in every group for 3 iterations"
            ):
                assert watch.look(rewards, weights) == ["dead"]
        else:
            assert watch.look(rewards, weights) == (["dead"] if turn > 2 else [])
    again = Watch(3)
    again.load_state_dict(watch.state_dict())
    assert again.look(rewards, weights) == ["dead"]


ENCODINGS = hnp.arrays(np.float32, (6, 4), elements=st.floats(-1, 1, width=32))


@given(encodings=ENCODINGS)
def test_coherence_is_symmetric_and_in_range(encodings: Any) -> None:
    seen = torch.from_numpy(encodings)
    near = cosines(seen)
    assert ((near >= -1) & (near <= 1)).all()
    torch.testing.assert_close(cosines(seen.flip(0)).flip(0), near)
    z = torch.linspace(-6, 6, 49)
    torch.testing.assert_close(in_band(z), in_band(-z))
    assert ((in_band(z) >= -1) & (in_band(z) <= 1)).all()
    assert (in_band(z[z.abs() <= BAND]) == 1).all()
    assert (in_band(z[z.abs() >= 3 * BAND]) == -1).all()
    valid = torch.tensor([True, True, False, True, True])
    (rewards,) = Coherence().rewards([seen], [valid])
    assert ((rewards >= -1) & (rewards <= 1)).all()
    assert rewards[2] == 0


def test_a_repeat_and_a_jump_both_lose() -> None:
    generator = torch.Generator().manual_seed(1)
    walk = torch.randn(200, 8, generator=generator).cumsum(0) * 0.05 + 1
    coherence = Coherence()
    coherence.rewards([walk], [torch.ones(199, dtype=torch.bool)])
    usual = walk[:4]
    repeat = torch.cat([usual, usual[1:2]])
    jump = torch.cat([usual, -usual[:1]])
    every = torch.ones(4, dtype=torch.bool)
    again, away = coherence.rewards([repeat, jump], [every, every])
    assert repeated(repeat).tolist() == [False, False, False, True]
    assert again[3] == -1
    assert away[3] == -1
    assert again[0] > 0
    other = Coherence()
    other.load_state_dict(coherence.state_dict())
    torch.testing.assert_close(
        other.rewards([usual], [every[:3]]), coherence.rewards([usual], [every[:3]])
    )


@given(values=st.lists(st.floats(-100, 100), min_size=2, max_size=40))
def test_moments_are_those_of_numpy(values: list[float]) -> None:
    moments = Moments()
    moments.add(values[:1])
    later = Moments()
    later.load_state_dict(moments.state_dict())
    later.add(values[1:])
    assert later.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert later.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-6)


@given(values=st.lists(st.floats(-1, 1), max_size=4), bad=st.sampled_from([math.nan, math.inf]))
def test_moments_refuse_what_would_spoil_them(values: list[float], bad: float) -> None:
    moments = Moments()
    moments.add(values)
    before = moments.state_dict()
    with pytest.raises(ValueError, match="no finite number"):
        moments.add([bad])
    assert moments.state_dict() == before


KL = st.floats(0, 5)


@given(path=st.lists(KL, min_size=1, max_size=60))
def test_the_controller_stays_in_bounds_and_moves_the_right_way(path: list[float]) -> None:
    bounds = Corridor(least=0.01, most=1.0, beta=0.1)
    controller = CorridorController(bounds)
    for number, value in enumerate(path):
        before = controller.beta
        arrived = max(path[: number + 1]) >= bounds.low
        verdict = controller.update(value)
        assert bounds.least <= controller.beta <= bounds.most
        if bounds.low <= value <= bounds.high:
            assert controller.beta == before
        elif value > bounds.high:
            assert controller.beta >= before
        elif arrived:
            assert controller.beta <= before
        else:  # the way there from the anchor
            assert controller.beta == before
        assert (verdict is Verdict.KEEP) == (value <= bounds.limit)


def test_skips_in_a_row_roll_back_and_nan_is_one() -> None:
    controller = CorridorController(Corridor(patience=3))
    assert controller.update(0.15) is Verdict.KEEP
    beta = controller.beta
    assert controller.update(math.nan) is Verdict.SKIP
    assert controller.beta == beta
    again = CorridorController(Corridor(patience=3))
    again.load_state_dict(controller.state_dict())
    assert again.update(5.0) is Verdict.SKIP
    assert again.update(5.0) is Verdict.ROLL_BACK
    assert again.update(5.0) is Verdict.SKIP
    assert again.beta > beta


@pytest.mark.parametrize(
    "wrong",
    [{"low": 0.3}, {"limit": 0.1}, {"beta": 99}, {"least": 0}, {"rate": 0}, {"patience": 0}],
)
def test_a_corridor_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a corridor needs"):
        Corridor(**wrong)  # type: ignore[arg-type]


TOKENS = hnp.arrays(np.float32, 12, elements=st.floats(-4, 0, width=32))
GAINS = hnp.arrays(np.float32, 12, elements=st.integers(-20, 20).map(lambda k: k / 10))


@given(old=TOKENS, gains=GAINS)
def test_at_ratio_one_it_is_the_plain_policy_gradient(old: Any, gains: Any) -> None:
    log_probs = torch.from_numpy(old).requires_grad_()
    advantage = torch.from_numpy(gains)
    loss, clipped = policy_loss(log_probs, torch.from_numpy(old), advantage)
    (gradient,) = torch.autograd.grad(loss, log_probs)
    torch.testing.assert_close(gradient, -advantage / 12)
    assert not clipped.any()


@given(old=TOKENS, new=TOKENS, gains=GAINS, dual=st.none() | st.floats(1.5, 4))
def test_bounds_take_the_gradient_and_bound_the_loss(
    old: Any, new: Any, gains: Any, dual: float | None
) -> None:
    log_probs = torch.from_numpy(new).requires_grad_()
    before, advantage = torch.from_numpy(old), torch.from_numpy(gains)
    ratio = (log_probs - before).exp().detach()
    edges = torch.tensor([0.8, 1.28, *([] if dual is None else [dual])])
    assume(bool(((ratio[:, None] - edges).abs() > 1e-3).all()))
    loss, clipped = policy_loss(log_probs, before, advantage, dual_clip=dual)
    (gradient,) = torch.autograd.grad(loss, log_probs)
    beyond = ((advantage > 0) & (ratio > 1.28)) | ((advantage < 0) & (ratio < 0.8))
    if dual is not None:
        beyond |= (advantage < 0) & (ratio > dual)
    assert (gradient[beyond] == 0).all()
    assert (clipped == beyond).all()
    free = ~beyond & (advantage != 0)
    torch.testing.assert_close(gradient[free], (-ratio * advantage / 12)[free])
    if dual is not None:  # whatever the ratio, a token gains and loses at most so much
        assert abs(float(loss.detach())) <= 2 * max(1.28, dual)


@given(new=TOKENS, old=TOKENS)
def test_k3_is_never_negative_and_zero_only_where_equal(new: Any, old: Any) -> None:
    log_probs, reference = torch.from_numpy(new), torch.from_numpy(old)
    values = k3(log_probs, reference)
    assert (values >= -1e-6).all()
    apart = (log_probs - reference).abs() > 0.01
    assert (values[apart] > 0).all()
    assert (k3(log_probs, log_probs) == 0).all()
    weights = importance_weights(log_probs, reference, 2.0)
    assert ((weights > 0) & (weights <= 2)).all()


def test_k3_estimates_the_divergence() -> None:
    generator = torch.Generator().manual_seed(2)
    policy = torch.randn(6, generator=generator).log_softmax(0)
    anchor = torch.randn(6, generator=generator).log_softmax(0)
    exact = float((policy.exp() * (policy - anchor)).sum())
    drawn = torch.multinomial(policy.exp(), 200_000, True, generator=generator)
    assert float(k3(policy[drawn], anchor[drawn]).mean()) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("wrong", [{"clip_low": 1.5}, {"clip_high": -1}, {"dual_clip": 1.0}])
def test_bounds_of_the_loss_are_checked(wrong: dict[str, float]) -> None:
    zeros = torch.zeros(3)
    with pytest.raises(ValueError, match="must be"):
        policy_loss(zeros, zeros, zeros, **wrong)
