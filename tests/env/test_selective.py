"""The laws of risk–coverage curves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_env.metrics.selective import risk_coverage

ANSWERS = st.lists(
    st.tuples(st.sampled_from([0.1, 0.4, 0.5, 0.9]), st.floats(0, 1)), min_size=1, max_size=20
)


@given(ANSWERS, st.randoms())
def test_a_curve_ends_at_the_mean_loss_and_no_order_matters(
    answers: list[tuple[float, float]], random: object
) -> None:
    sure, score = zip(*answers, strict=True)
    curve = risk_coverage(sure, score)
    assert curve.coverage[-1] == 1
    assert curve.risk[-1] == pytest.approx(1 - np.mean(score))
    assert (np.diff(curve.coverage) > 0).all()
    assert len(curve.coverage) == len(set(sure))
    assert ((curve.risk >= -1e-12) & (curve.risk <= 1 + 1e-12)).all()
    assert -1e-12 <= curve.area <= 1 + 1e-12
    assert curve.at(1) == curve.risk[-1]
    assert curve.at(0) == curve.risk[0]
    mixed = list(answers)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    again = risk_coverage(*zip(*mixed, strict=True))
    np.testing.assert_allclose(again.risk, curve.risk)
    # Only the order of confidences counts.
    other = risk_coverage([10 * s - 3 for s in sure], score)
    np.testing.assert_allclose(other.risk, curve.risk)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_who_knows_when_it_is_right_does_best(score: list[float]) -> None:
    best = risk_coverage(score, score)
    assert (np.diff(best.risk) >= -1e-12).all()
    worst = risk_coverage([-s for s in score], score)
    assert best.area <= worst.area + 1e-12


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ValueError, match="0 confidences and 0 scores"):
        risk_coverage([], [])
    with pytest.raises(ValueError, match=r"in 0\.\.1, not 2"):
        risk_coverage([1], [1]).at(2)
