"""Targets of the heads: right after any resize, lined up with the turn they belong to."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pixelis_agent.dialogue import Dialogue
from pixelis_agent.learning.heads import (
    LOSS_WEIGHTS,
    Heads,
    Sight,
    TurnTarget,
    cell_coverage,
    gather_targets,
    turn_target,
)
from pixelis_agent.models.batch import make_batch
from pixelis_agent.models.processor import Processor
from pixelis_agent.rollout import Rollout
from pixelis_agent.spans import Label, label_tokens
from pixelis_env.actions import ToolCallCodec
from pixelis_env.coordinates import Region

CODEC = ToolCallCodec()
REGIONS = st.tuples(
    st.integers(0, 100), st.integers(0, 100), st.integers(1, 300), st.integers(1, 300)
).map(lambda r: Region(r[0], r[1], r[0] + r[2], r[1] + r[3]))
SHARES = st.tuples(*[st.floats(0, 1)] * 4).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)


@given(region=REGIONS, share=SHARES, rows=st.integers(1, 9), columns=st.integers(1, 9))
def test_coverage_holds_the_box_s_area_whatever_the_grid(
    region: Region, share: Any, rows: int, columns: int
) -> None:
    box = (
        region.x0 + share[0] * region.width,
        region.y0 + share[1] * region.height,
        region.x0 + share[2] * region.width,
        region.y0 + share[3] * region.height,
    )
    coverage = cell_coverage(box, Sight(region, rows, columns))
    assert coverage.shape == (rows * columns,)
    assert coverage.min() >= 0
    assert coverage.max() <= 1 + 1e-5
    area = (share[2] - share[0]) * (share[3] - share[1])
    assert coverage.mean() == pytest.approx(area, abs=1e-4)


@given(region=REGIONS, rows=st.integers(1, 9), columns=st.integers(1, 9))
def test_a_box_around_or_beside_the_image(region: Region, rows: int, columns: int) -> None:
    sight = Sight(region, rows, columns)
    np.testing.assert_allclose(cell_coverage((-9, -9, 999, 999), sight), 1, rtol=1e-5)
    assert (cell_coverage((-50, -50, -10, -10), sight) == 0).all()
    assert (cell_coverage(None, sight) == 0).all()


def test_a_cell_is_where_its_pixels_are() -> None:
    # The processor cuts 128x96 into 8x6 tokens; a box over source pixels 160..200 x 80..120 of
    # 320x240 is column 4 and row 2.
    coverage = cell_coverage((160, 80, 200, 120), Sight(Region(0, 0, 320, 240), 6, 8))
    assert np.flatnonzero(coverage).tolist() == [2 * 8 + 4]


@given(
    box=st.tuples(*[st.integers(0, 1000)] * 4).filter(lambda b: b[0] < b[2] and b[1] < b[3]),
    time=st.floats(0, 7),
)
def test_targets_are_those_of_the_call(box: tuple[int, ...], time: float) -> None:
    call = {"name": "segment", "arguments": {"source": "e3", "time": time, "box": list(box)}}
    text = f"Look. <tool_call>{json.dumps(call)}</tool_call>"
    target = turn_target(text, 7.0, codec=CODEC)
    assert target.box == pytest.approx([v / 1000 for v in box])
    assert target.times == pytest.approx((time / 7, time / 7))
    assert target.reference == 3
    assert target.point is None
    assert target.coverage is None


@pytest.mark.parametrize("text", ["", "<answer>5</answer>", "<tool_call>{", "<tool_call>[]"])
def test_what_is_no_call_has_no_targets(text: str) -> None:
    assert turn_target(text, 7.0, codec=CODEC) == TurnTarget()


def _rollout(processor: Processor, calls: list[str]) -> Rollout:
    """A chat with one image per observation."""
    dialogue = Dialogue(processor, [])
    image = Image.new("RGB", (320, 240), (90, 30, 10))
    rollout = Rollout()
    observation = {"text": "What is it?", "images": [image], "times": [0.0]}
    for number, call in enumerate(calls):
        feed = (
            dialogue.open(observation) if number == 0 else dialogue.reply(observation, ended=True)
        )
        rollout.feed(feed)
        ids = [*processor.tokenizer.encode(call, add_special_tokens=False), processor.end_id]
        rollout.write(ids, label_tokens(processor.tokenizer, ids, processor.end_ids))
    return rollout


def test_targets_stand_where_arguments_begin(tiny: Any, processor: Processor) -> None:
    call = (
        '<tool_call>{"name": "zoom", "arguments": {"time": 2, "box": [0, 0, 500, 500]}}</tool_call>'
    )
    rollouts = [
        _rollout(processor, [call, call, "<answer>4</answer>"]),
        _rollout(processor, [call]),
    ]
    cells = [1, 2]
    sights = Sight(Region(0, 0, 320, 240), 6, 8)
    boxes = [(0.0, 0.0, 160.0, 120.0)] * 3
    made = [
        [
            turn_target(call, 7, codec=CODEC, sights=[sights] * n, boxes=boxes[:n])
            for n in (cells if k == 0 else cells[:1])
        ]
        for k in range(2)
    ]
    made[0].append(TurnTarget())
    batch = make_batch(tiny, processor, rollouts)
    found = gather_targets(batch, made, processor.image_id)
    assert set(found.at) == {"box", "time", "reference", "pointing"}
    for name, places in found.at.items():
        assert len(places) == 3, name
        for row, token in places.tolist():
            assert batch.labels[row, token] == Label.ARGUMENT
            assert batch.labels[row, token - 1] == Label.OP
    # Turn 1 of the first rollout points at two images, the others at one: 48 tokens each.
    assert found.pairs is not None
    assert len(found.pairs) == 48 * 4 == len(found.value["pointing"])
    row, token = found.pairs[:, 1], found.pairs[:, 2]
    assert (batch.input_ids[row, token] == processor.image_id).all()
    made[0][1] = turn_target(call, 7, codec=CODEC, sights=[sights], boxes=boxes[:1])
    with pytest.raises(ValueError, match="points at 48 image tokens, but 96"):
        gather_targets(batch, made, processor.image_id)


def test_every_head_learns_its_target(tiny: Any, processor: Processor) -> None:
    torch.manual_seed(0)
    arguments = '{"time": 3, "box": [100, 200, 500, 600]}'
    call = f'<tool_call>{{"name": "segment", "arguments": {arguments}}}</tool_call>'
    point = (
        '<tool_call>{"name": "segment", "arguments": {"time": 5, "point": [300, 700]}}</tool_call>'
    )
    sight, box = Sight(Region(0, 0, 320, 240), 6, 8), (40.0, 40.0, 160.0, 120.0)
    batch = make_batch(tiny, processor, [_rollout(processor, [call]), _rollout(processor, [point])])
    targets = gather_targets(
        batch,
        [[turn_target(t, 7, codec=CODEC, sights=[sight], boxes=[box])] for t in (call, point)],
        processor.image_id,
    )
    hidden = torch.randn(*batch.input_ids.shape, 16)
    heads = Heads(16)
    optimizer = torch.optim.Adam(heads.parameters(), lr=0.02)
    first = heads.losses(hidden, targets)
    assert set(first) == set(LOSS_WEIGHTS)
    for _ in range(80):
        loss = torch.stack(list(heads.losses(hidden, targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    last = heads.losses(hidden, targets)
    for name, loss in first.items():
        assert float(last[name]) < 0.5 * float(loss), name
