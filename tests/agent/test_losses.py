"""The laws of the losses: what carries gradient, what does not, and how parts add up."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixelis_agent.learning.losses import (
    box_loss,
    giou,
    imitation_loss,
    number_loss,
    pointing_loss,
    sharpened,
    teacher_loss,
    token_weights,
)
from pixelis_agent.spans import LABEL_WEIGHTS, WRITTEN, Label
from pixelis_env.metrics.overlap import box_iou

LABELS = hnp.arrays(np.int64, (3, 17), elements=st.integers(0, len(Label) - 1))
LEARN = hnp.arrays(np.bool_, (3, 17))


@given(labels=LABELS, learn=LEARN)
def test_only_what_was_written_and_is_to_be_learned_weighs(labels: Any, learn: Any) -> None:
    weights = token_weights(torch.from_numpy(labels), torch.from_numpy(learn), LABEL_WEIGHTS)
    for label in Label:
        own = weights.numpy()[(labels == label) & learn]
        assert (own == LABEL_WEIGHTS.get(label, 0.0)).all()
    assert (weights.numpy()[~learn] == 0).all()
    assert set(LABEL_WEIGHTS) == set(WRITTEN)


@given(labels=LABELS, learn=LEARN, factor=st.floats(0.5, 8))
def test_gradient_is_exactly_zero_outside_and_as_weighted_inside(
    labels: Any, learn: Any, factor: float
) -> None:
    log_probs = torch.randn(3, 17, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weights = token_weights(torch.from_numpy(labels), torch.from_numpy(learn), LABEL_WEIGHTS)
    loss = imitation_loss(log_probs, weights)
    (gradient,) = torch.autograd.grad(loss, log_probs)
    assert (gradient[weights == 0] == 0).all()
    torch.testing.assert_close(gradient, -weights / weights.sum().clamp_min(1e-8))
    # Scaling every weight changes nothing.
    torch.testing.assert_close(imitation_loss(log_probs, weights * factor), loss)


@given(labels=LABELS, learn=LEARN)
def test_parts_of_a_step_add_up(labels: Any, learn: Any) -> None:
    log_probs = torch.randn(3, 17, generator=torch.Generator().manual_seed(1))
    weights = token_weights(torch.from_numpy(labels), torch.from_numpy(learn), LABEL_WEIGHTS)
    total = float(weights.sum())
    parts = [imitation_loss(log_probs[k : k + 1], weights[k : k + 1], total) for k in range(3)]
    torch.testing.assert_close(torch.stack(parts).sum(), imitation_loss(log_probs, weights))


SCORES = hnp.arrays(np.float32, (4, 6), elements=st.floats(-5, 5, width=32))


@given(scores=SCORES, shift=st.floats(-9, 9), said=st.lists(st.integers(0, 5), min_size=4))
def test_a_number_costs_what_it_is_off(scores: Any, shift: float, said: list[int]) -> None:
    values = torch.tensor([0.0, 10, 20, 40, 50, 100])
    right, weights = values[said[:4]], torch.tensor([1.0, 2.0, 0.0, 1.0])
    logits = torch.from_numpy(scores).requires_grad_()
    loss = number_loss(logits, values, right, weights, 4.0)
    assert 0 <= loss.item() <= 1
    (gradient,) = torch.autograd.grad(loss, logits)
    # Only the shares among numbers count, and a token without weight counts nothing.
    torch.testing.assert_close(
        number_loss(logits + shift, values, right, weights, 4.0), loss, atol=1e-5, rtol=1e-4
    )
    assert (gradient[2] == 0).all()
    torch.testing.assert_close(gradient.sum(-1), torch.zeros(4), atol=1e-6, rtol=0)
    # Surely k instead of y costs |k - y| over the range; the further, the more.
    for wrong, value in enumerate(values):
        sure = torch.full((1, 6), -1e4)
        sure[0, wrong] = 0
        cost = number_loss(sure, values, right[:1], torch.ones(1), 1.0)
        assert cost.item() == pytest.approx(abs(value.item() - right[0].item()) / 100)


@given(st.lists(st.floats(0.01, 1), min_size=5, max_size=5))
def test_the_loss_of_numbers_is_least_at_the_median(shares: list[float]) -> None:
    """Of what is right in some cases and of what in others, it asks for the median."""
    values, share = torch.arange(5.0), torch.tensor(shares) / sum(shares)
    costs = [
        sum(
            share[y] * number_loss(10_000 * sure, values, values[[y]], torch.ones(1), 1.0)
            for y in range(5)
        )
        for sure in torch.eye(5)[:, None]
    ]
    best = min(range(5), key=lambda k: float(costs[k]))
    assert share[:best].sum() <= 0.5 + 1e-4
    assert share[best + 1 :].sum() <= 0.5 + 1e-4


def test_weights_are_checked() -> None:
    zeros = torch.zeros((1, 2), dtype=torch.int64)
    with pytest.raises(ValueError, match="OBSERVATION is fed"):
        token_weights(zeros, zeros.bool(), {Label.OBSERVATION: 1.0})
    with pytest.raises(ValueError, match="negative"):
        token_weights(zeros, zeros.bool(), {Label.OP: -1.0})


CORNER = st.floats(0, 1, width=32)
BOXES = st.tuples(CORNER, CORNER, CORNER, CORNER).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]) + 0.01, max(b[1], b[3]) + 0.01)
)


@given(a=BOXES, b=BOXES)
def test_giou(a: Any, b: Any) -> None:
    forth = giou(torch.tensor([a]), torch.tensor([b]))
    torch.testing.assert_close(forth, giou(torch.tensor([b]), torch.tensor([a])))
    torch.testing.assert_close(giou(torch.tensor([a]), torch.tensor([a])), torch.ones(1))
    iou = box_iou(a, b)
    assert -1 - 1e-5 <= float(forth) <= iou + 1e-4
    if iou > 0.9999:
        assert float(forth) > 0.99


def test_the_box_loss_is_zero_at_the_box_and_falls_towards_it() -> None:
    target = torch.tensor([[0.2, 0.2, 0.6, 0.8]])
    assert float(box_loss(target, target)) == pytest.approx(0, abs=1e-6)
    losses = [float(box_loss(target + shift, target)) for shift in (0.3, 0.2, 0.1, 0.01)]
    assert losses == sorted(losses, reverse=True)
    assert float(box_loss(torch.zeros((0, 4)), torch.zeros((0, 4)))) == 0


@given(
    coverage=hnp.arrays(np.float32, 24, elements=st.sampled_from([0.0, 0.5, 1.0])),
    groups=hnp.arrays(np.int64, 24, elements=st.integers(0, 2)),
    order=st.permutations(range(24)),
)
def test_pointing_loss(coverage: Any, groups: Any, order: list[int]) -> None:
    logits = torch.randn(24, generator=torch.Generator().manual_seed(2), requires_grad=True)
    cover, group = torch.from_numpy(coverage), torch.from_numpy(groups)
    loss = pointing_loss(logits, cover, group)
    index = torch.tensor(order)
    torch.testing.assert_close(pointing_loss(logits[index], cover[index], group[index]), loss)
    (gradient,) = torch.autograd.grad(loss, logits)
    # Each logit is drawn towards its coverage.
    wrong = torch.sign(gradient) != torch.sign(torch.sigmoid(logits) - cover)
    assert not (wrong & (gradient.abs() > 1e-7)).any()


LOGITS = hnp.arrays(np.float32, (4, 6), elements=st.floats(-4, 4, width=32))
TRUST = hnp.arrays(np.float32, 4, elements=st.floats(0, 2, width=32))


def distributions(logits: Any) -> torch.Tensor:
    """Log-probabilities of which the last must not be."""
    made = torch.from_numpy(logits).clone()
    made[:, -1] = -torch.inf
    return made.log_softmax(-1)


@given(logits=LOGITS, temperature=st.floats(0.2, 1))
def test_a_lower_temperature_makes_the_likely_likelier(logits: Any, temperature: float) -> None:
    before = distributions(logits)
    after = sharpened(before, temperature)
    torch.testing.assert_close(after.sum(-1), torch.ones(4))
    assert (after[:, -1] == 0).all()
    assert (after.max(-1).values >= before.exp().max(-1).values - 1e-5).all()
    entropy = torch.special.entr(after).sum(-1)
    assert (entropy <= torch.special.entr(before.exp()).sum(-1) + 1e-5).all()
    torch.testing.assert_close(sharpened(before, 1.0), before.exp())


@given(logits=LOGITS, others=LOGITS, trust=TRUST)
def test_a_teacher_pulls_to_itself_where_it_is_trusted(
    logits: Any, others: Any, trust: Any
) -> None:
    free, weights = torch.from_numpy(logits).clone().requires_grad_(), torch.from_numpy(trust)
    masked = free.masked_fill(torch.arange(6) == 5, -torch.inf)
    log_probs, teacher = masked.log_softmax(-1), distributions(others).exp()
    loss = teacher_loss(log_probs, teacher, weights)
    assert float(loss.detach()) >= -1e-5
    (gradient,) = torch.autograd.grad(loss, free, retain_graph=True)
    torch.testing.assert_close(
        gradient, weights[:, None] * (log_probs.detach().exp() - teacher) / 4, atol=1e-5, rtol=1e-4
    )
    itself = teacher_loss(log_probs, log_probs.detach().exp(), weights)
    assert float(itself.detach()) == pytest.approx(0, abs=1e-5)
    halves = [slice(0, 2), slice(2, 4)]
    parts = [teacher_loss(log_probs[k], teacher[k], weights[k], 4.0) for k in halves]
    torch.testing.assert_close(parts[0] + parts[1], loss)
