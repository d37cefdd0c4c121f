"""Answers follow from the evidence, whatever the right one is."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_agent.cota.answers import STEEP, Unanswered, conclude
from pixelis_agent.cota.thoughts import polished, short, thought_of
from pixelis_env.actions import Segment
from pixelis_env.evidence import Evidence, Intervals, Mask, Measurement, TextLine, TextLines
from pixelis_env.media import ArrayMedia
from pixelis_env.tasks import Task

WAYS = ("right", "away from the camera", "left", "towards the camera")
MEDIA = ArrayMedia(np.zeros((2, 4, 4, 3), np.uint8))


def _task(kind: str, options: tuple[str, ...] | None = None, metric: str = "letter") -> Task:
    return Task("t", kind, MEDIA, "?", options, None, metric)


def _conclude(task: Task, *evidence: tuple[str, Evidence]) -> tuple[str, str]:
    items = [(name, f"e{k}", item) for k, (name, item) in enumerate(evidence, start=1)]
    return conclude(task, items, "oracle", np.random.default_rng(0))


def _mask(time: float) -> Mask:
    inside = np.zeros((4, 4), bool)
    inside[1:3, 1:3] = True
    return Mask.of(inside, frame_index=0, time=time, score=1.0)


def _path(dx: float, dy: float) -> Measurement:
    return Measurement(targets=("e1",), values={"displacement_px": (dx, dy), "growth": 1.0})


_LENGTH = st.floats(-200, 200, allow_nan=False)


@given(dx=_LENGTH, dy=_LENGTH)
def test_mirrored_motion_gets_the_mirrored_answer(dx: float, dy: float) -> None:
    task = _task("motion_direction", WAYS)

    def way(x: float, y: float) -> str:
        return WAYS["ABCD".index(_conclude(task, ("car", _path(x, y)))[1])]

    aside = {"right": "left", "left": "right"}
    deep = {
        "towards the camera": "away from the camera",
        "away from the camera": "towards the camera",
    }
    found = way(dx, dy)
    assert (found in deep) == (abs(dy) * STEEP > abs(dx))
    if found in deep:
        assert (way(-dx, dy), way(dx, -dy)) == (found, deep[found])
    elif dx:
        assert (way(-dx, dy), way(dx, -dy)) == (aside[found], found)


@given(order=st.permutations(["lamp", "sofa", "box"]), late=st.booleans())
def test_the_order_of_first_sights(order: list[str], late: bool) -> None:
    """The option that fits the times, what was not outlined last."""
    names = ["lamp", "sofa", "box", "mug"]
    options = tuple(", ".join(o) for o in permutations(names) if o[3] == "mug")
    seen = [(name, _mask(float(order.index(name)))) for name in names[:3]]
    thought, answer = _conclude(_task("obj_appearance_order", options), *seen)
    assert options[ord(answer) - ord("A")] == ", ".join([*order, "mug"])
    assert "mug" in thought
    tied = [(name, _mask(0.0)) for name in names[:3]]
    with pytest.raises(Unanswered):
        _conclude(_task("obj_appearance_order", options), *tied)


def test_the_earliest_of_several() -> None:
    task = _task("time_order", ("mug", "sofa", "box"))
    assert _conclude(task, ("box", _mask(4.0)), ("sofa", _mask(1.0)))[1] == "B"
    with pytest.raises(Unanswered, match="same frame"):
        _conclude(task, ("box", _mask(1.0)), ("sofa", _mask(1.0)))


@pytest.mark.parametrize(
    ("texts", "kind", "answer"),
    [
        (["EXIT"], "text_read", "EXIT"),
        (["NO", "ENTRY", "s"], "text_read", "ENTRY"),
        (["Museum", "S"], "text_nearest", "Museum"),
        (["No. 482"], "search_number", "482"),
        (["l", "731"], "search_number", "731"),
    ],
)
def test_what_was_read_is_the_answer(texts: list[str], kind: str, answer: str) -> None:
    corners = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    lines = tuple(TextLine(text=text, quad=corners, confidence=0.9) for text in texts)
    read = TextLines(region=(0, 0, 4, 4), frame_index=0, time=0.0, lines=lines)
    thought, said = _conclude(_task(kind, metric="anls"), ("red sign", read))
    assert said == answer
    assert answer in thought
    with pytest.raises(Unanswered):
        _conclude(_task(kind, metric="anls"), ("red sign", read.model_copy(update={"lines": ()})))


def test_the_stretch_in_which_it_was_outlined() -> None:
    found = Intervals(spans=((0.2, 1.0), (3.25, 5.5)), scores=(1.0, 1.0))
    evidence = ("lamp", _mask(4.0)), ("lamp", found)
    assert _conclude(_task("time_interval", metric="tiou"), *evidence)[1] == "3.2-5.5"
    assert _conclude(_task("time_first", metric="mra"), *evidence)[1] == "3.2"
    with pytest.raises(Unanswered, match="never"):
        _conclude(_task("time_first", metric="mra"), ("lamp", _mask(2.0)), ("lamp", found))


@pytest.mark.parametrize(
    ("name", "rgb", "options", "answer"),
    [
        ("blue", (50.0, 90.0, 170.0), ("red", "blue"), "B"),
        ("brown", (178.0, 160.0, 70.0), ("purple", "yellow", "gray"), "B"),
        ("gray", (197.0, 185.0, 172.0), ("purple", "blue", "white"), "C"),
    ],
)
def test_the_measured_colour_or_the_nearest(
    name: str, rgb: tuple[float, ...], options: tuple[str, ...], answer: str
) -> None:
    measured = Measurement(targets=("e1",), values={"colour": name, "colour_rgb": rgb})
    thought, said = _conclude(_task("search_color", options), ("mug", measured))
    assert said == answer
    assert name in thought.lower()


def test_other_types_take_the_oracles_choice() -> None:
    thought, answer = _conclude(_task("object_counting", metric="mra"), ("chair", _mask(0.0)))
    assert answer == "oracle"
    assert "oracle" in thought
    task = replace(_task("motion_which", ("mug", "car")), answer="B")
    evidence: list[tuple[str, str, Evidence]] = [("car", "e1", _mask(0.0))]
    assert "B, car" in conclude(task, evidence, "B", np.random.default_rng(0))[0]


@given(seed=st.integers(0, 2**32 - 1))
def test_a_thought_begins_and_ends_like_a_sentence(seed: int) -> None:
    action = Segment(box=(0, 0, 500, 500), time=1.0)
    rng = np.random.default_rng(seed)
    words = thought_of(action, "lamp", _mask(0.0), rng, task_type="object_counting", first=False)
    assert words[0].isupper()
    assert words[-1] == "."
    assert "lamp" in words
    assert " i " not in words


def test_words() -> None:
    assert polished("at 1 seconds or 2.1 seconds") == "At 1 second or 2.1 seconds"
    assert polished("e3 shows it") == "e3 shows it"
    assert polished("each") == "Each"
    assert short("sign that is closest to the bed") == "sign"
    assert short("red sign") == "red sign"
