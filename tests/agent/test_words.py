"""Warm-up dialogues in words: what is to be copied stands where it is looked for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_agent.cota.answers import STEEP
from pixelis_agent.cota.examples import Examples
from pixelis_agent.cota.record import AssistantTurn, Record, read_cota
from pixelis_agent.models.processor import Processor
from pixelis_agent.tiny.config import GRID
from pixelis_agent.tiny.words import drift, echo, film, main
from pixelis_env.rooms.questions.movement import DIRECTIONS


def _answer(record: Record) -> str:
    return record.turns[-1].text.partition("<answer>")[2].removesuffix("</answer>")


@given(st.integers(0, 10**9), st.integers(0, 99))
def test_an_echo_is_what_was_said(number: int, seed: int) -> None:
    record = echo(number, seed)
    assert record.turns[0].text == f"Say {_answer(record)}."
    assert record == echo(number, seed)
    assert record != echo(number, seed + 1)


@given(st.integers(0, 10**9), st.integers(0, 99))
def test_a_film_says_the_time_and_the_box_that_are_called_for(number: int, seed: int) -> None:
    record = film(number, seed)
    question, zoom, view, step, result, _ = record.turns
    assert isinstance(zoom, AssistantTurn)
    assert isinstance(step, AssistantTurn)
    call = json.loads(re.search(r"<tool_call>(.*)</tool_call>", zoom.text).group(1))["arguments"]
    (name,) = re.findall(r"(?:does|is) the (.+?) (?:say|in view)\?", question.text)
    frames = re.findall(r"<([\d.]+) seconds>([^<]*)", question.text)
    showing = [(float(time), said) for time, said in frames if f"{name} [" in said]
    ((time, said),) = showing  # one frame alone
    assert time == call["time"]
    assert f"{name} {[int(v) for v in call['box']]}" in said
    assert all(v % GRID == 0 for v in call["box"])
    assert call["box"][0] < call["box"][2]
    assert call["box"][1] < call["box"][3]
    assert str([int(v) for v in call["box"]]) in view.text
    if step.op == "read_text":
        assert f'"{_answer(record)}"' in result.text
    else:
        start, end = re.search(r"([\d.]+)-([\d.]+) s", result.text).groups()
        assert _answer(record) == f"{float(start):.1f}-{float(end):.1f}"


@given(st.integers(0, 10**9), st.integers(0, 99))
def test_a_drift_is_answered_as_it_was_measured(number: int, seed: int) -> None:
    question, _, measured, last = drift(number, seed).turns
    options = dict(re.findall(r"([A-D])\. (.+)", question.text))
    assert sorted(options.values()) == sorted(DIRECTIONS)
    across, down = map(
        float, re.search(r"displacement_px \((\S+), (\S+)\)", measured.text).groups()
    )
    letter = last.text.partition("<answer>")[2][0]
    way = options[letter]
    # The thought goes through the options in their order and stops at the one.
    listed = [f"{name}. {option}" for name, option in options.items() if name <= letter]
    assert f". {'? '.join(listed)}: {letter}. <answer>" in last.text
    if way in ("left", "right"):
        assert abs(across) >= STEEP * abs(down)
        assert (across > 0) == (way == "right")
    else:
        assert abs(across) <= STEEP * abs(down)
        assert (down > 0) == (way == "towards the camera")


@pytest.mark.parametrize("kind", ["echo", "film", "drift"])
def test_the_corpus_can_be_learned_from(kind: str, tmp_path: Path, processor: Processor) -> None:
    command = ["--kind", kind, "--episodes", "12", "--out", str(tmp_path)]
    assert main(command) == 0
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(command) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    examples = Examples([tmp_path], processor)
    assert len(examples) == len(read_cota(tmp_path)) == 12
    assert not examples[3].rollout.images
    assert any(target.box for example in examples for target in example.targets) == (kind == "film")
