"""Dialogues that outline named things: their boxes, images and tokens fit together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_agent.cota.examples import Examples
from pixelis_agent.cota.plan import rounded
from pixelis_agent.cota.record import AssistantTurn, ToolTurn, read_cota
from pixelis_agent.models.processor import Processor
from pixelis_agent.tiny.config import GRID
from pixelis_agent.tiny.find import MIN_SIDE, write_corpus
from pixelis_agent.tiny.frames import write_shard
from pixelis_agent.tiny.tokenizer import NUMBERS
from pixelis_env.actions import ToolCallCodec
from pixelis_env.coordinates import Region, box_to_source


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    write_shard(folder / "rooms-0000-00000.npz", 0, range(1))
    write_shard(folder / "rooms-0001-00000.npz", 1, range(1))
    return folder


@pytest.mark.parametrize("asked", [0, 2])
def test_outlines_fit_what_is_shown(
    frames: Path, tmp_path: Path, processor: Processor, asked: int
) -> None:
    assert write_corpus(frames, tmp_path, asked=asked) == len(read_cota(tmp_path))
    assert len(list(tmp_path.glob("*.jsonl"))) == 2  # a seed's rooms do not hide another's
    assert write_corpus(frames, tmp_path, asked=asked) == 0
    examples = Examples([tmp_path], processor)
    sizes, ops, codec = set(), set(), ToolCallCodec()
    for k in range(len(examples)):
        record, example = examples.record(k), examples[k]
        view = Region(*record.turns[0].images[0].region)
        sizes.add(view[2:])
        shown = {"e0": view}
        for number, turn in enumerate(t for t in record.turns if isinstance(t, ToolTurn)):
            shown[f"e{number + 1}"] = Region(*turn.images[0].region)
        turns = [turn for turn in record.turns if isinstance(turn, AssistantTurn)]
        assert 1 <= len(turns) <= max(asked, 1)
        for turn, target in zip(turns, example.targets, strict=True):
            call = json.loads(turn.text.partition("<tool_call>")[2].removesuffix("</tool_call>"))
            box = call["arguments"]["box"]
            assert all(value % GRID == 0 and 0 <= value <= 1000 for value in box)
            action = codec.decode(call)
            view = shown[action.source]
            ops.add((action.op, action.source == "e0"))
            written = box_to_source(action.box, action.frame, view)
            # Half a step of the grid, and half a thousandth of what was rounded before.
            near = (GRID / 2 + 0.6) / 1000 * max(view[2:])
            beyond = [
                low_sign * (edge - true)
                for low_sign, edge, true in zip(
                    (-1, -1, 1, 1), written, turn.target.box, strict=True
                )
            ]
            assert min(beyond) >= -near
            # A zoom shows what is around it as well; an outline is tight, or of the least size.
            assert action.op == "zoom" or max(beyond) <= near + MIN_SIDE / 2
            # One value for every image token so far, and some of them show the thing.
            assert target.coverage is not None
            assert target.coverage.max() > 0
        images = example.rollout.images
        tokens = sum(processor.image_tokens(image) for image in images)
        assert example.rollout.tokens.count(processor.image_id) == tokens
        pixels = processor.pixels(images)
        assert int(pixels["image_grid_thw"].prod(1).sum()) == 4 * tokens
    zoomed = {("zoom", True), ("segment", False)} if asked else set()
    assert ops == {("segment", True), *zoomed}
    assert (320, 240) in sizes
    assert asked > 0 or len(sizes) > 1  # close-ups


def test_of_few_frames_one_is_right(frames: Path, tmp_path: Path) -> None:
    assert (
        0
        < write_corpus(frames, tmp_path, asked=1, most=4)
        < 2 * write_corpus(frames, tmp_path / "all", asked=1)
    )
    counts = set()
    for record in read_cota(tmp_path):
        turn, images = record.turns[1], record.turns[0].images
        seen = [box is not None for box in turn.pointing[: len(images)]]
        assert sum(seen) == 1
        assert images[seen.index(True)].time == turn.target.time
        counts.add(len(images))
    assert counts == {2, 3, 4}


@given(st.lists(st.floats(0, 1000), min_size=4, max_size=4), st.integers(1, 50))
def test_a_rounded_box_is_the_nearest_on_the_grid(values: list[float], grid: int) -> None:
    x, y = sorted(values[:2]), sorted(values[2:])
    box = (x[0], y[0], x[1], y[1])
    near = rounded(box, grid)
    assert rounded(near, grid) == near
    assert all(side % grid == 0 and 0 <= side <= 1000 for side in near)
    assert near[0] < near[2]
    assert near[1] < near[3]
    for side, (written, meant) in enumerate(zip(near, box, strict=True)):
        # The last step may be missing from a grid that does not divide 1000, and a box that would
        # be empty is one step wide.
        other = box[(side + 2) % 4]
        slack = grid / 2 if abs(other - meant) > grid and meant <= 1000 - grid else 1.5 * grid
        assert abs(written - meant) <= slack + 1e-9


@given(st.integers(0, 10**7), st.integers(0, 10**4))
def test_numbers_are_whole_tokens_and_come_back(processor: Processor, a: int, b: int) -> None:
    text = f'{{"box": [{a}, {b}], "time": {a}.{b}}} e{b}'
    ids = processor.tokenizer.encode(text, add_special_tokens=False)
    assert processor.tokenizer.decode(ids) == text
    if str(b) in NUMBERS:
        piece = processor.tokenizer.convert_tokens_to_ids(str(b))
        assert ids.count(piece) >= 3
