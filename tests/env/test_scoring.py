from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_env import scoring
from pixelis_env.media import ArrayMedia
from pixelis_env.tasks.base import Task

BLANK = ArrayMedia(np.zeros((2, 2, 3), np.uint8))


def task(metric: str, answer: str | None, options: tuple[str, ...] | None = None) -> Task:
    return Task("t", "t", BLANK, "?", options, answer, metric)


def score(metric: str, answer: str, gold: str) -> float:
    return scoring.score(metric, answer, task(metric, gold))


# Texts that readers of answers choke on: signs, exponents, nan, lone surrogates, other digits.
ANSWERS = st.one_of(
    st.text(alphabet=st.characters()),
    st.text(alphabet="0123456789.-+eE_naif ABCDs", max_size=12),
    st.sampled_from(["nan", "inf", "-inf", "1e999", "٣", "½", "0x10", "1-1", "5-2", "--", "."]),
    st.floats().map(str),
)
TASKS = st.one_of(
    st.sampled_from("ABCD").map(lambda letter: task("letter", letter, ("p", "q", "r", "s"))),
    st.sampled_from("AB").map(lambda letter: task("letter", letter, ("p", "q"))),
    st.integers(2, 60).map(lambda n: task("mra", str(n))),
    st.floats(0.2, 400).map(lambda v: task("mra", f"{v:.1f}")),
    st.text("abcXYZ 12", min_size=1).filter(str.strip).map(lambda t: task("anls", t)),
    st.one_of(st.floats(-99, 99).map("{:.2f}".format), st.just("red brick"), st.just("x")).map(
        lambda text: task("open", text)
    ),
    st.tuples(st.integers(0, 300), st.integers(1, 300)).map(
        lambda v: task("tiou", f"{v[0] / 10:.1f}-{(v[0] + v[1]) / 10:.1f}")
    ),
)


@given(ANSWERS, TASKS)
def test_any_string_scores_between_0_and_1(answer: str, task: Task) -> None:
    value = scoring.score(task.metric, answer, task)
    assert type(value) is float
    assert 0 <= value <= 1


@given(TASKS, st.integers(0, 2**32))
def test_right_scores_1_empty_0_and_a_perturbed_answer_less_than_1(task: Task, seed: int) -> None:
    assert task.answer is not None
    assert scoring.score(task.metric, task.answer, task) == 1
    assert scoring.score(task.metric, "", task) == 0
    wrong = scoring.perturb(task, np.random.default_rng(seed))
    assert wrong
    assert scoring.score(task.metric, wrong, task) < 1
    assert wrong == scoring.perturb(task, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("answer", "gold", "value"),
    [("5", "4", 0.6), ("1.1", "1", 0.9), ("6", "4", 0.1), ("4", "4", 1), ("8.1", "4", 0),
     ("4 m", "4", 1), ("4.", "4", 1), ("4m", "4", 0), (" 4", "4", 0), ("nan", "4", 0),
     ("four", "4", 0)],
)  # fmt: skip
def test_mra_by_the_official_protocol(answer: str, gold: str, value: float) -> None:
    assert score("mra", answer, gold) == pytest.approx(value, abs=1e-12)


@given(st.floats(0.1, 100), st.floats(0.1, 100))
def test_mra_counts_the_thresholds_that_hold(predicted: float, truth: float) -> None:
    passed = [abs(predicted - truth) / truth <= 1 - t for t in np.linspace(0.5, 0.95, 10)]
    assert score("mra", str(predicted), str(truth)) == pytest.approx(sum(passed) / 10)


@pytest.mark.parametrize(
    ("answer", "value"),
    [("A", 1), ("a", 1), ("A.", 1), ("A. left", 1), ("A left", 1), ("B", 0), ("A,", 0), (" A", 0),
     ("left", 0), ("AB", 0)],
)  # fmt: skip
def test_letter_by_the_official_protocol(answer: str, value: float) -> None:
    assert score("letter", answer, "A") == value


@pytest.mark.parametrize(
    ("answer", "value"),
    [("EXIT", 1), ("exit", 1), (" Exit ", 1), ("EXTT", 0.75), ("EXTRAS", 0), ("door", 0)],
)
def test_anls_ignores_case_and_cuts_at_a_half(answer: str, value: float) -> None:
    assert score("anls", answer, "EXIT") == pytest.approx(value)


def test_anls_takes_the_best_of_several_answers() -> None:
    assert score("anls", "way out", scoring.GOLD_SEPARATOR.join(["exit", "way out"])) == 1


@pytest.mark.parametrize(
    ("answer", "gold", "value"),
    [("about 3.429 m", "24/7\n3.43", 1), ("24/7 of it", "24/7\n3.43", 1), ("3.4", "3.43", 0),
     ("1,200", "1200", 1), ("a Red  brick wall", "red brick", 1), ("red", "red brick", 0),
     ("extra", "x", 0), ("it is x", "x", 1)],
)  # fmt: skip
def test_open_answers_are_compared_as_mmmu_does(answer: str, gold: str, value: float) -> None:
    assert score("open", answer, gold) == value


@pytest.mark.parametrize(
    ("answer", "value"),
    [("1-3", 1), ("1.0 - 3.0", 1), ("2-3", 0.5), ("2-4", 1 / 3), ("3-4", 0), ("3-1", 0), ("2", 0),
     ("-1-3", 0), ("1-3 s", 0)],
)  # fmt: skip
def test_tiou_of_spans_in_seconds(answer: str, value: float) -> None:
    assert score("tiou", answer, "1.0-3.0") == pytest.approx(value)


@given(st.floats(0, 50), st.floats(0.1, 50), st.floats(0, 50), st.floats(0.1, 50))
def test_tiou_is_symmetric(a: float, length_a: float, b: float, length_b: float) -> None:
    first, second = f"{a:.3f}-{a + length_a:.3f}", f"{b:.3f}-{b + length_b:.3f}"
    assert math.isclose(score("tiou", first, second), score("tiou", second, first))


def test_an_unknown_metric_and_an_unknown_answer_are_told_apart() -> None:
    with pytest.raises(ValueError, match="metrics are letter, mra, anls, open, tiou"):
        scoring.score("bleu", "x", task("anls", "x"))
    assert scoring.score("anls", "x", task("anls", None)) == 0
    with pytest.raises(ValueError, match="no answer"):
        scoring.perturb(task("anls", None), np.random.default_rng(0))
