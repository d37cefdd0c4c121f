"""Metrics added up over many pairs: laws, and the reference libraries on random data."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelis_env.actions import Answer, Zoom
from pixelis_env.coordinates import Region
from pixelis_env.evidence import ToolError, View
from pixelis_env.metrics.fidelity import (
    BoxOverlap,
    MaskOverlap,
    TemporalLocalization,
    TextErrors,
)
from pixelis_env.metrics.figures import Figures
from pixelis_env.metrics.process import ProcessMetrics
from pixelis_env.metrics.text import cer, wer
from pixelis_env.metrics.tracking import Frames, TrackingScores, clear_mot, hota
from pixelis_env.trace import Step

EDGES = st.floats(0, 100)
BOXES = st.tuples(EDGES, EDGES, EDGES, EDGES).map(
    lambda v: (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]) + 1, max(v[1], v[3]) + 1)
)
MASKS = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).random((12, 16)) < (seed % 7) / 6
)
TEXTS = st.text("ab c1", max_size=12)


@st.composite
def spans(draw) -> list[tuple[float, float]]:
    """Disjoint spans in whole tenths of a second, in any order."""
    edges = sorted(draw(st.sets(st.integers(0, 60), max_size=6)))
    found = [(a / 10, b / 10) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    return draw(st.permutations(found))


def tracks(seed: int, n: int = 12) -> tuple[Frames, Frames]:
    """Three objects, followed badly: missed, swapped, jittered, and now and then invented."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    start, speed = rng.uniform(0, 60, (3, 2)), rng.normal(0, 2, (3, 2))
    names = [0, 1, 2]
    for t in range(n):
        true, said = {}, {}
        if rng.random() < 0.2:
            rng.shuffle(names)
        for k in range(3):
            x, y = start[k] + speed[k] * t
            if rng.random() < 0.9:
                true[k] = (x, y, x + 20, y + 15)
            if rng.random() < 0.8:
                dx, dy = rng.normal(0, 2, 2)
                said[names[k]] = (x + dx, y + dy, x + dx + 20, y + dy + 15)
        if rng.random() < 0.2:
            said[7] = (70.0, 70.0, 80.0, 80.0)
        truth.append(true)
        found.append(said)
    return truth, found


STEPS = st.lists(st.sampled_from(["good", "bad", "answer"]), max_size=5)


def episode(words: list[str]) -> list[Step]:
    view = View(region=Region(0, 0, 4, 4), frame_index=0, time=0.0, pixels="")
    steps = []
    for number, word in enumerate(words):
        if word == "answer":
            steps.append(Step(action=Answer(text="A"), evidence=None, reward_terms={}))
            break
        evidence = view if word == "good" else ToolError(message="no")
        action = Zoom(box=(0, 0, 100 + number, 500))
        steps.append(Step(action=action, evidence=evidence, reward_terms={}))
    return steps


PAIRS = {
    BoxOverlap: st.tuples(BOXES, BOXES),
    MaskOverlap: st.tuples(MASKS, MASKS),
    TextErrors: st.tuples(TEXTS, TEXTS.filter(str.strip)),
    TemporalLocalization: st.tuples(spans(), spans()),
    TrackingScores: st.integers(0, 500).map(tracks),
    ProcessMetrics: STEPS.map(lambda words: (episode(words),)),
}


def computed(kind, pairs) -> Figures:
    metric = kind()
    for pair in pairs:
        metric.update(*pair)
    return metric.compute()


@pytest.mark.parametrize("kind", PAIRS)
@settings(max_examples=15)
@given(data=st.data())
def test_figures_are_bounded_and_the_order_of_updates_does_not_matter(kind, data) -> None:
    pairs = data.draw(st.lists(PAIRS[kind], min_size=1, max_size=5))
    figures = computed(kind, pairs)
    assert figures.n == len(pairs)
    shuffled = pairs[:]
    random.Random(0).shuffle(shuffled)
    assert computed(kind, shuffled) == pytest.approx(figures)
    counts = {"chain_length", "id_switches", "misses", "false_positives"}
    for name, value in figures.items():
        lowest = {"giou": -1.0, "mota": -np.inf}.get(name, 0.0)
        highest = np.inf if name in counts | {"cer", "wer"} else 1.0
        assert lowest <= value <= highest + 1e-12, name
        interval = figures.interval(name)
        if interval is not None:
            assert interval[0] - 1e-9 <= value <= interval[1] + 1e-9


@pytest.mark.parametrize("kind", [BoxOverlap, MaskOverlap, TemporalLocalization, TrackingScores])
@settings(max_examples=15)
@given(data=st.data())
def test_the_truth_itself_is_perfect(kind, data) -> None:
    pairs = [
        (truth, truth) for _, truth in data.draw(st.lists(PAIRS[kind], min_size=1, max_size=3))
    ]
    figures = computed(kind, pairs)
    for name, value in figures.items():
        if name.startswith("recall") and not any(truth for _, truth in pairs):
            continue
        wanted = 0.0 if name in ("id_switches", "misses", "false_positives") else 1.0
        assert value == pytest.approx(wanted), name


@given(TEXTS)
def test_a_text_that_is_read_right_has_no_errors(text: str) -> None:
    figures = computed(TextErrors, [(text, text)])
    assert (figures["cer"], figures["wer"], figures["exact"]) == (0.0, 0.0, 1.0)


@settings(max_examples=20)
@given(BOXES, BOXES, MASKS, MASKS, spans(), spans())
def test_overlap_is_symmetric(box_a, box_b, mask_a, mask_b, spans_a, spans_b) -> None:
    assert computed(BoxOverlap, [(box_a, box_b)]) == computed(BoxOverlap, [(box_b, box_a)])
    there = computed(MaskOverlap, [(mask_a, mask_b)])
    assert there == pytest.approx(computed(MaskOverlap, [(mask_b, mask_a)]))
    there, back = (
        computed(TemporalLocalization, [pair])["tiou"]
        for pair in ((spans_a, spans_b), (spans_b, spans_a))
    )
    assert there == pytest.approx(back)


@settings(max_examples=10)
@given(st.integers(0, 500), st.permutations(range(10)))
def test_names_of_tracks_do_not_matter(seed: int, names: list[int]) -> None:
    truth, found = tracks(seed)
    renamed = [{100 + names[name]: box for name, box in frame.items()} for frame in found]
    swapped = [{names[name]: box for name, box in reversed(frame.items())} for frame in truth]
    assert computed(TrackingScores, [(swapped, renamed)]) == pytest.approx(
        computed(TrackingScores, [(truth, found)])
    )


def test_one_sequence_is_what_the_functions_say() -> None:
    truth, found = tracks(3)
    figures = computed(TrackingScores, [(truth, found)])
    one, mot = hota(truth, found), clear_mot(truth, found)
    assert [figures[name] for name in one._fields] == pytest.approx(list(one))
    assert (figures["mota"], figures["idf1"], figures["id_switches"]) == pytest.approx(tuple(mot))


def test_recall_by_hand() -> None:
    figures = computed(TemporalLocalization, [([(0, 4), (8, 9)], [(0, 5), (6, 7)]), ([], [(0, 1)])])
    assert figures["recall_0.3"] == figures["recall_0.7"] == pytest.approx(1 / 3)
    assert figures["tiou"] == pytest.approx((4 / 7) / 2)
    assert computed(TemporalLocalization, [([(0, 1)], [])])["recall_0.5"] == 0


# ---- the reference libraries ----


@settings(max_examples=40)
@given(st.lists(st.tuples(TEXTS, TEXTS.filter(str.strip)), min_size=1, max_size=6))
def test_text_errors_agree_with_jiwer(pairs: list[tuple[str, str]]) -> None:
    jiwer = pytest.importorskip("jiwer")
    said, truth = (list(column) for column in zip(*pairs, strict=True))
    figures = computed(TextErrors, pairs)
    raw = jiwer.Compose([jiwer.ReduceToListOfListOfChars()])
    expected = jiwer.cer(truth, said, reference_transform=raw, hypothesis_transform=raw)
    assert figures["cer"] == pytest.approx(expected)
    assert figures["wer"] == pytest.approx(jiwer.wer(truth, said))
    assert wer(said[0], truth[0]) == pytest.approx(jiwer.wer(truth[0], said[0]))
    assert cer(said[0], truth[0]) == pytest.approx(
        jiwer.cer(truth[0], said[0], reference_transform=raw, hypothesis_transform=raw)
    )


def as_trackeval(truth: Frames, found: Frames) -> dict:
    """A sequence as TrackEval takes it."""
    from pixelis_env.metrics.overlap import box_iou

    rows = {name: k for k, name in enumerate(sorted({n for frame in truth for n in frame}))}
    columns = {name: k for k, name in enumerate(sorted({n for frame in found for n in frame}))}
    return {
        "num_timesteps": len(truth),
        "num_gt_ids": len(rows),
        "num_tracker_ids": len(columns),
        "num_gt_dets": sum(map(len, truth)),
        "num_tracker_dets": sum(map(len, found)),
        "gt_ids": [np.array([rows[name] for name in frame], int) for frame in truth],
        "tracker_ids": [np.array([columns[name] for name in frame], int) for frame in found],
        "similarity_scores": [
            np.array([[box_iou(a, b) for b in said.values()] for a in true.values()]).reshape(
                len(true), len(said)
            )
            for true, said in zip(truth, found, strict=True)
        ],
    }


@pytest.mark.parametrize("seed", range(4))
def test_tracking_agrees_with_trackeval_on_random_sequences(seed: int) -> None:
    metrics = pytest.importorskip("trackeval.metrics")
    sequences = [tracks(10 * seed + k, n=8 + k) for k in range(3)]
    figures = computed(TrackingScores, sequences)
    results = {}
    for name, metric in (
        ("hota", metrics.HOTA()),
        ("clear", metrics.CLEAR({"THRESHOLD": 0.5, "PRINT_CONFIG": False})),
        ("identity", metrics.Identity({"THRESHOLD": 0.5, "PRINT_CONFIG": False})),
    ):
        each = {str(k): metric.eval_sequence(as_trackeval(*s)) for k, s in enumerate(sequences)}
        results[name] = metric.combine_sequences(each)
    expected = {
        "hota": results["hota"]["HOTA"].mean(),
        "det_a": results["hota"]["DetA"].mean(),
        "ass_a": results["hota"]["AssA"].mean(),
        "loc_a": results["hota"]["LocA"].mean(),
        "mota": results["clear"]["MOTA"],
        "motp": results["clear"]["MOTP"],
        "idf1": results["identity"]["IDF1"],
        "id_switches": results["clear"]["IDSW"],
        "misses": results["clear"]["CLR_FN"],
        "false_positives": results["clear"]["CLR_FP"],
    }
    assert dict(figures) == pytest.approx(expected, abs=1e-9)


def test_figures_print_plot_and_stay_as_they_were(tmp_path: Path) -> None:
    metric = BoxOverlap()
    assert metric.compute() == {"iou": 0.0, "giou": 0.0}
    metric.update((0, 0, 4, 2), (2, 0, 6, 2))
    metric.update((0, 0, 1, 1), (0, 0, 1, 1))
    figures = metric.compute()
    interval = figures.interval("iou")
    metric.update((0, 0, 1, 1), (5, 5, 6, 6))
    assert figures.interval("iou") == interval
    lines = str(figures).splitlines()
    assert lines[0] == "boxes, n = 2"
    assert lines[1].startswith("iou   0.667  [0.333, 1.000]")
    axes = figures.plot()
    axes.figure.savefig(tmp_path / "boxes.png")
    assert (len(axes.patches), axes.get_title()) == (2, "boxes, n = 2")
    with pytest.raises(KeyError, match="iou, giou"):
        figures.interval("dice")
    assert computed(TrackingScores, [tracks(0)]).interval("hota") is None
    with pytest.raises(ValueError, match="two shapes"):
        MaskOverlap().update(np.zeros((2, 2), bool), np.zeros((2, 3), bool))
