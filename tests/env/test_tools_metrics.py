"""Measures against values worked out by hand or by the reference implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_env.actions import Answer, ReadText, Segment, Zoom
from pixelis_env.coordinates import Box, Region
from pixelis_env.evidence import TextLines, ToolError, View
from pixelis_env.metrics.overlap import (
    boundary_f1,
    box_giou,
    box_iou,
    interval_iou,
    mask_iou,
    temporal_iou,
)
from pixelis_env.metrics.process import ProcessMetrics, backing
from pixelis_env.metrics.text import anls, cer, containment
from pixelis_env.metrics.tracking import Frames, clear_mot, hota
from pixelis_env.trace import Step

COORDINATES = st.floats(0, 100)
BOXES = st.tuples(COORDINATES, COORDINATES, COORDINATES, COORDINATES).map(
    lambda v: (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]) + 1, max(v[1], v[3]) + 1)
)


@given(BOXES, BOXES)
def test_box_overlap_is_symmetric_and_bounded(a: Box, b: Box) -> None:
    assert box_iou(a, b) == box_iou(b, a)
    assert 0 <= box_iou(a, b) <= 1
    assert -1 < box_giou(a, b) <= box_iou(a, b) + 1e-12
    assert box_iou(a, a) == box_giou(a, a) == 1


def test_overlap_by_hand() -> None:
    assert box_iou((0, 0, 4, 2), (2, 0, 6, 2)) == pytest.approx(1 / 3)
    assert box_giou((0, 0, 1, 1), (2, 0, 3, 1)) == pytest.approx(-1 / 3)
    assert temporal_iou((0, 4), (2, 6)) == pytest.approx(1 / 3)
    assert temporal_iou((0, 1), (2, 3)) == 0
    assert interval_iou([(0, 1), (2, 3)], [(0, 3)]) == pytest.approx(2 / 3)
    assert interval_iou([], []) == 1
    assert interval_iou([], [(0, 1)]) == 0


def test_mask_and_boundary_overlap() -> None:
    square = np.zeros((60, 80), bool)
    square[20:40, 20:50] = True
    shifted = np.roll(square, 1, axis=1)
    far = np.roll(square, 12, axis=1)
    empty = np.zeros_like(square)
    assert mask_iou(square, square) == boundary_f1(square, square) == 1
    assert mask_iou(square, shifted) == pytest.approx(29 / 31)
    assert boundary_f1(square, shifted) == 1  # within the tolerance of one pixel
    assert boundary_f1(square, far) < 0.6
    assert mask_iou(empty, empty) == boundary_f1(empty, empty) == 1
    assert mask_iou(square, empty) == boundary_f1(square, empty) == 0
    assert boundary_f1(square, far, tolerance=12) > 0.99


def test_text_by_hand() -> None:
    assert cer("kitten", "sitting") == pytest.approx(3 / 7)
    assert cer("", "") == 0
    assert cer("x", "") == 1
    assert anls("  Coffee ", ["coffee", "tea"]) == 1
    assert anls("coffea", ["coffee"]) == pytest.approx(5 / 6)
    assert anls("abc", ["xyz"]) == 0
    assert anls("abcdxx", ["abcdef"], threshold=0.7) == 0
    assert anls("x", []) == 0
    assert containment("exit 24", "the EXIT-24 door") == 1
    assert containment("exit", "e") < 0.5
    assert containment("zebra", "EXIT 24") < 0.5


def _sequence(seed: int) -> tuple[Frames, Frames]:
    """Five objects, followed badly: missed, swapped, jittered, and now and then invented."""
    r = np.random.default_rng(seed)
    truth, found = [], []
    start, speed = r.uniform(0, 80, (5, 2)), r.normal(0, 2, (5, 2))
    size = r.uniform(10, 25, (5, 2))
    names = list(range(5))
    for t in range(30):
        true, said = {}, {}
        if r.random() < 0.1:
            r.shuffle(names)
        for k in range(5):
            x, y = start[k] + speed[k] * t
            if r.random() < 0.9:
                true[k + 1] = (x, y, x + size[k][0], y + size[k][1])
            if r.random() < 0.85:
                j = r.normal(0, 1.5, 4)
                said[names[k] + 10] = (
                    x + j[0],
                    y + j[1],
                    x + size[k][0] + j[2],
                    y + size[k][1] + j[3],
                )
        if r.random() < 0.3:
            x, y = r.uniform(0, 80, 2)
            said[99] = (x, y, x + 15, y + 15)
        truth.append(true)
        found.append(said)
    return truth, found


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (
            0,
            (
                0.313458027435,
                0.571029299793,
                0.173115956289,
                0.805033793861,
                0.611510791367,
                0.388489208633,
                14.0,
            ),
        ),
        (
            1,
            (
                0.356890915841,
                0.591670499535,
                0.217400846617,
                0.807328518991,
                0.691176470588,
                0.5,
                8.0,
            ),
        ),
    ],
)
def test_tracking_agrees_with_trackeval(seed: int, expected: tuple[float, ...]) -> None:
    """Values of TrackEval 1.3.0: HOTA, DetA, AssA, LocA, MOTA, IDF1, identity switches."""
    truth, found = _sequence(seed)
    assert (*hota(truth, found), *clear_mot(truth, found)) == pytest.approx(expected, abs=1e-9)


def test_tracking_at_its_limits() -> None:
    truth = [{1: (0.0, 0.0, 9.0, 9.0)}] * 4
    assert set(hota(truth, truth)) == {1.0}
    assert clear_mot(truth, truth) == (1.0, 1.0, 0)
    assert hota(truth, [{}] * 4).hota == 0
    assert hota([{}] * 4, [{}] * 4).hota == 1
    with pytest.raises(ValueError, match="4 true frames against 3"):
        hota(truth, truth[:3])


# ---- process ----

VIEW = View(region=Region(0, 0, 4, 4), frame_index=0, time=0.0, pixels="")
TEXT = TextLines(region=Region(0, 0, 4, 4), frame_index=0, time=0.0, lines=())
ERROR = ToolError(message="no")


def _step(action: object, evidence: object = VIEW) -> Step:
    return Step(action=action, evidence=evidence, reward_terms={})


def _zoom(source: str = "e0", edge: float = 500) -> Zoom:
    return Zoom(source=source, box=(0, 0, edge, edge))


def _answer(*cited: str) -> Step:
    return _step(Answer(text="A", evidence=cited), None)


@pytest.mark.parametrize(
    ("steps", "backed_by", "racpr"),
    [
        ([_answer()], set(), 0),
        ([_step(_zoom()), _answer()], {1}, 0),
        ([_step(_zoom(), ERROR), _answer()], set(), 0),
        ([_step(_zoom()), _step(ReadText(source="e1"), TEXT), _answer()], {1, 2}, 1),
        ([_step(_zoom()), _step(ReadText(source="e1"), TEXT), _answer("e2")], {1, 2}, 1),
        ([_step(_zoom()), _step(ReadText(source="e1"), TEXT), _answer("e1")], {1}, 0),
        ([_step(_zoom()), _step(ReadText(), TEXT), _answer()], {1}, 0),  # not linked
        ([_step(_zoom()), _step(ReadText(), TEXT), _answer("e1", "e2")], {1, 2}, 1),
        ([_step(_zoom()), _step(_zoom()), _answer("e1", "e2")], {1, 2}, 0),  # not distinct
        ([_step(_zoom()), _step(_zoom("e1", 300)), _answer("e2")], {1, 2}, 1),
        ([_step(_zoom(), ERROR), _step(_zoom("e1")), _answer("e2")], {2}, 0),
        ([_step(_zoom()), _answer("e9")], set(), 0),
    ],
)
def test_backing(steps: list[Step], backed_by: set[int], racpr: int) -> None:
    assert backing(steps) == backed_by
    metrics = ProcessMetrics()
    metrics.update(steps)
    assert metrics.compute()["rapr"] == bool(backed_by)
    assert metrics.compute()["racpr"] == racpr


def test_process_shares() -> None:
    metrics = ProcessMetrics()
    assert set(metrics.compute().values()) == {0.0}
    metrics.update([_step(_zoom()), _step(Segment(point=(1, 1)), ERROR), _answer()])
    metrics.update([_answer()])
    metrics.update([_step(_zoom())])
    assert metrics.compute() == {
        "rapr": 0.5,
        "racpr": 0.0,
        "chain_length": pytest.approx(2 / 3),
        "invalid_rate": 0.2,
        "answer_rate": pytest.approx(2 / 3),
    }
