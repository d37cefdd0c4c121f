"""Answers that say the same are the same, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_agent.answers import clusters, equivalent, meaning
from pixelis_env.scoring import METRICS

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
NUMBERS = st.one_of(st.integers(-30, 30).map(float), st.floats(0.01, 100))
SPANS = st.tuples(st.floats(0, 5), st.floats(5.1, 9))
MEANINGS = st.none() | NUMBERS | SPANS | st.sampled_from("abc")


@pytest.mark.parametrize(
    ("metric", "answers", "meant"),
    [
        ("mra", ("4", "four", "4.0", " Four.", "4 chairs"), 4.0),
        ("mra", ("2.5", "2.50", "2.5 m"), 2.5),
        ("letter", ("B", "b", "B.", "(b)", "B: the chair"), "b"),
        ("anls", ("EXIT", "exit", "  Exit "), "exit"),
        ("tiou", ("1-2.5", " 1.0 - 2.50 "), (1.0, 2.5)),
    ],
)
def test_what_answers_mean(metric: str, answers: tuple[str, ...], meant: object) -> None:
    assert [meaning(answer, metric, 4) for answer in answers] == [meant] * len(answers)


@pytest.mark.parametrize(
    ("metric", "answer"),
    [
        ("letter", "E"),
        ("letter", "the chair"),
        ("mra", "many"),
        ("mra", "nan"),
        ("tiou", "3-2"),
        ("anls", "  "),
        ("anls", None),
    ],
)
def test_what_cannot_be_read(metric: str, answer: str | None) -> None:
    assert meaning(answer, metric, 4) is None


@given(TEXTS, st.sampled_from(sorted(METRICS)))
def test_what_a_grader_takes_for_right_is_read(answer: str, metric: str) -> None:
    gold = {"letter": "b", "mra": "4", "anls": "exit", "open": "exit", "tiou": "1-2"}[metric]
    if METRICS[metric](answer, gold) == 1:
        meant, right = meaning(answer, metric, 4), meaning(gold, metric, 4)
        assert meant is not None
        assert right is not None
        # A text may be near enough, or hold enough, to count and still be another text.
        assert metric in ("anls", "open") or equivalent(meant, right)


@given(MEANINGS.filter(lambda m: m is not None), MEANINGS.filter(lambda m: m is not None))
def test_equivalence_is_mutual(one: object, other: object) -> None:
    assert equivalent(one, one)  # type: ignore[arg-type]
    assert equivalent(one, other) == equivalent(other, one)  # type: ignore[arg-type]


def test_counts_are_equal_or_not_and_lengths_nearly() -> None:
    assert not equivalent(20.0, 21.0)
    assert equivalent(2.0, 2.05)
    assert not equivalent(2.0, 2.2)
    assert not equivalent(-2.05, 2.05)
    assert equivalent((1.0, 3.0), (1.1, 3.0))
    assert not equivalent((1.0, 3.0), (2.5, 4.0))


@given(st.lists(MEANINGS, max_size=8), st.randoms())
def test_clusters_part_what_could_be_read_whatever_the_order(meant: list, random: object) -> None:
    found = clusters(meant)
    assert sorted(k for group in found for k in group) == [
        k for k, one in enumerate(meant) if one is not None
    ]
    for group in found:
        others = [k for other in found if other is not group for k in other]
        assert not any(equivalent(meant[a], meant[b]) for a in group for b in others)
    order = list(range(len(meant)))
    random.shuffle(order)  # type: ignore[attr-defined]
    again = clusters([meant[k] for k in order])
    assert {frozenset(order[k] for k in group) for group in again} == set(map(frozenset, found))


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="no metric is called 'iou'; the metrics are letter"):
        meaning("1", "iou")
