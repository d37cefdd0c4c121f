"""Scorers against independent transcriptions of the published protocols."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelis_env import scoring
from pixelis_env.media import ArrayMedia
from pixelis_env.protocols import PROTOCOLS, Scored, add_up
from pixelis_env.readings import read_leniently, read_letter, read_numbers
from pixelis_env.tasks.base import Task
from pixelis_env.tasks.benchmarks.rows import Fault
from pixelis_env.tasks.benchmarks.vsi_bench import CHOICE, NUMERIC

BLANK = ArrayMedia(np.zeros((2, 2, 3), np.uint8))


def task(metric: str, gold: str, reading: str = "official") -> Task:
    options = tuple("wxyz") if metric == "letter" else None
    return Task("t", "t", BLANK, "?", options, gold, metric, reading=reading)


# ---- VSI-Bench's own code, transcribed line by line and not from this package ----


def official(question_type: str, prediction: str, truth: str) -> float:
    token = prediction.split(" ")[0].rstrip(".").strip()
    if question_type in CHOICE:
        return 1.0 if token.lower() == truth.lower() else 0.0
    try:
        value, target = float(token), float(truth)
    except ValueError:
        return 0.0
    points = int((0.95 - 0.5) / 0.05 + 2)
    error = abs(value - target) / target
    return float(sum(error <= 1 - c for c in np.linspace(0.5, 0.95, points)) / points)


UGLY = (
    *("", " ", ".", "nan", "NaN", "inf", "-inf", "1e400", "1_000", "٣", "four", "Four.", "1,5"),
    *(
        "1/2",
        "-",
        "+3",
        "0x10",
        "None",
        "A,",
        "(A)",
        "A)",
        "a.",
        "A. left",
        " A",
        "B.",
        "AB",
        "\tA",
    ),
)


def pairs(n: int) -> list[tuple[str, str, str]]:
    """(question type, prediction, truth): near, far and ugly ones."""
    rng = np.random.default_rng(20)
    kinds = CHOICE + NUMERIC
    found = []
    for _ in range(n):
        kind = str(rng.choice(kinds))
        if kind in CHOICE:
            truth = str(rng.choice(list("ABCD")))
            said = str(rng.choice([truth, truth.lower(), *"ABCDabcd"]))
        else:
            digits = int(rng.integers(0, 3))
            whole = kind == "object_counting"
            truth = str(rng.integers(2, 30)) if whole else f"{rng.uniform(0.2, 400):.{digits}f}"
            truth = truth if float(truth) > 0 else "1"
            # Multiples that fall on the thresholds themselves as well as between them.
            factor = rng.choice([1 + 0.05 * rng.integers(-12, 13), rng.uniform(0, 2.5)])
            said = f"{float(truth) * factor:.{int(rng.integers(0, 17))}g}"
        frame = rng.choice(
            [
                "{}",
                "{}.",
                "{}..",
                "{} m",
                "{}m",
                "{} cm.",
                " {}",
                "{}\n",
                "\n{}",
                "{}, or so",
                "({})",
            ],
            p=[0.5, *[0.05] * 10],
        )
        said = str(frame).format(said)
        found.append((kind, str(rng.choice(UGLY)) if rng.random() < 0.15 else said, truth))
    return found


def test_the_official_scorer_is_the_published_one_bit_for_bit() -> None:
    reading = PROTOCOLS["vsi-official"].reading
    scores = []
    for kind, said, truth in pairs(10_000):
        metric = "letter" if kind in CHOICE else "mra"
        ours = scoring.score(metric, said, task(metric, truth, reading))
        assert ours == official(kind, said, truth), (kind, said, truth)
        scores.append(ours)
    assert 0.2 < np.mean(scores) < 0.8, "the pairs are all alike"
    assert len(set(scores)) == 11


@given(st.text(), st.sampled_from("ABCD"))
def test_any_text_is_scored_as_published(said: str, truth: str) -> None:
    assert scoring.score("letter", said, task("letter", truth)) == official(CHOICE[0], said, truth)
    assert scoring.score("mra", said, task("mra", "4.5")) == official(NUMERIC[0], said, "4.5")


# ---- the lenient reading ----


@pytest.mark.parametrize(
    ("said", "letter"),
    [(" B", "B"), ("B,", "B"), ("(b)", "B"), ("b)", "B"), ("B. left", "B"), ("**B**", "B"),
     ("The answer is B.", "B"), ("The answer is (C), not B", "C"), ("Option D", "D"),
     ("I would say C", "C"), ("Answer: A\nAnswer: D", "D"), ("<answer>B</answer>", "B"),
     ("I think A. <answer> C </answer>", "C"), ("It is the blue one", ""), ("A or B", "A"),
     ("neither B nor C", ""), ("", ""), ("E", ""), ("the answer is a chair", ""), ("left", "")],
)  # fmt: skip
def test_letters_read_leniently(said: str, letter: str) -> None:
    assert read_leniently("letter", said, ("w", "x", "y", "z")) == letter


def test_an_options_own_text_is_that_option() -> None:
    options = ("The chair", "A table", "left")
    assert read_letter("a  table.", options) == "B"
    assert read_letter("LEFT", options) == "C"


@pytest.mark.parametrize(
    ("said", "value"),
    [("4", 4), (" 4.5 ", 4.5), ("4m", 4), ("about 4 m.", 4), ("1,200 cm", 1200), ("four chairs", 4),
     ("Twenty-five", 25), ("there are 3 or 4", 3), ("<answer>7</answer>", 7), ("−2", -2),
     ("1.5e2", 150), ("room 3b has 12", 3), ("1,2", 1)],
)  # fmt: skip
def test_numbers_read_leniently(said: str, value: float) -> None:
    assert float(read_leniently("mra", said, None)) == value


@given(st.one_of(st.text(), st.text("0123456789.,-eE nainf")))
def test_any_text_is_read_leniently(said: str) -> None:
    assert read_leniently("letter", said, tuple("wxyz")) in ("", *"ABCD")
    number = read_leniently("mra", said, None)
    assert number == "" or math.isfinite(float(number))
    assert all(map(math.isfinite, read_numbers(said)))


@given(st.sampled_from("ABCD"), st.floats(0.1, 1000).map("{:.2f}".format))
def test_what_the_official_reading_takes_the_lenient_one_takes_too(letter, number) -> None:
    for metric, gold in (("letter", letter), ("mra", number)):
        for said in (gold, gold.lower(), gold + ".", gold + " m"):
            assert scoring.score(metric, said, task(metric, gold)) == 1
            assert scoring.score(metric, said, task(metric, gold, "lenient")) == 1


# ---- how scores add up ----


def published_overall(rows: list[Scored]) -> float:
    """The official aggregation: means by type, the directions averaged, then the mean, x100."""
    by_type: dict[str, list[float]] = {}
    for row in rows:
        by_type.setdefault(row.type, []).append(row.score)
    means = {name: sum(values) / len(values) for name, values in by_type.items()}
    levels = [f"object_rel_direction_{level}" for level in ("easy", "medium", "hard")]
    means["object_rel_direction"] = sum(means.pop(level) for level in levels) / 3
    assert len(means) == 8
    return 100 * sum(means.values()) / len(means)


def some_rows(seed: int = 0) -> list[Scored]:
    rng = np.random.default_rng(seed)
    names = (*NUMERIC, *CHOICE)
    return [
        Scored(name, f"{name}-{k}", float(rng.integers(0, 11) / 10))
        for n, name in enumerate(names)
        for k in range(3 + 4 * n)
    ]


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_the_overall_score_is_the_published_one_in_any_order(seed: int, random) -> None:
    rows = some_rows(seed)
    expected = published_overall(rows)
    random.shuffle(rows)
    result = add_up(PROTOCOLS["vsi-official"], "vsi-bench", rows, types=NUMERIC + CHOICE)
    assert result.score == pytest.approx(expected, abs=1e-9)
    low, high = result.score_ci95
    assert low <= result.score <= high


def test_rows_of_the_result_stand_in_the_papers_order_with_the_levels_below_their_task() -> None:
    result = add_up(PROTOCOLS["vsi-official"], "vsi-bench", some_rows()[::-1], (), NUMERIC + CHOICE)
    names = [line.name for line in result.lines]
    assert names == [*NUMERIC, "object_rel_distance", "object_rel_direction", *CHOICE[1:]]
    direction = result.lines[5]
    levels = result.lines[6:9]
    assert direction.n == sum(level.n for level in levels)
    assert direction.score == pytest.approx(np.mean([level.score for level in levels]))


def test_a_result_is_json_prints_and_plots(tmp_path: Path) -> None:
    fault = Fault("17", "test.jsonl:3", "x.mp4 is missing", "route_planning")
    result = add_up(PROTOCOLS["vsi-lenient"], "vsi-bench", some_rows(), [fault], NUMERIC + CHOICE)
    data = json.loads(json.dumps(result.to_dict()))
    assert (data["scorer"], data["version"], data["n"]) == (
        "vsi-lenient",
        "1",
        len(some_rows()) + 1,
    )
    assert data["skipped"][0] == {
        "id": "17", "where": "test.jsonl:3", "type": "route_planning", "reason": "x.mp4 is missing"
    }  # fmt: skip
    text = str(result)
    assert text.startswith("vsi-bench by vsi-lenient v1\n")
    assert "overall" in text.splitlines()[-2]
    assert text.endswith("skipped 17 (test.jsonl:3): x.mp4 is missing")
    axes = result.plot()
    axes.figure.savefig(tmp_path / "result.png")
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "overall"
    assert len(axes.patches) == len(result.lines) + 1


def test_a_skipped_row_counts_0_and_one_without_a_known_answer_counts_nothing() -> None:
    rows = [Scored("a", "1", 1.0), Scored("a", "2", 1.0), Scored("b", "3", None)]
    lost = [Fault("4", "f:4", "missing", "a"), Fault("f:5", "f:5", "broken")]
    result = add_up(PROTOCOLS["letter-accuracy"], "x", rows, lost)
    assert (result.n, result.unscored) == (5, 1)
    assert result.score == pytest.approx(100 * 2 / 4)
    assert [(line.name, line.n, line.skipped) for line in result.lines] == [
        ("a", 3, 1),
        ("b", 1, 0),
        ("(type unknown)", 1, 1),
    ]
    assert result.lines[1].score is None
    by_task = add_up(PROTOCOLS["vsi-official"], "x", some_rows(), lost[1:], NUMERIC + CHOICE)
    assert by_task.score == pytest.approx(published_overall(some_rows()))
    assert by_task.n == len(some_rows()) + 1
    assert add_up(PROTOCOLS["anls"], "x", [Scored("a", "1", None)]).score is None


def test_rotations_count_once_and_only_if_all_are_right() -> None:
    rows = [
        Scored("a", "1", 1.0),
        Scored("a", "1", 0.0),
        Scored("a", "2", 1.0),
        Scored("b", "3", 1.0),
    ]
    result = add_up(PROTOCOLS["circular-accuracy"], "mmbench", rows)
    assert (result.n, result.score) == (3, pytest.approx(100 * 2 / 3))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(60):
        rows = [Scored(t, str(k), float(rng.random() < p)) for t, p in (("a", 0.3), ("b", 0.8))
                for k in range(60)]  # fmt: skip
        low, high = add_up(PROTOCOLS["letter-accuracy"], "x", rows).score_ci95
        covered += low <= 55 <= high
    assert 51 <= covered <= 60
