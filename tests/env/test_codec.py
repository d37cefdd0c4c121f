from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelis_env.actions import (
    OPS,
    Answer,
    Segment,
    ToolCallCodec,
    Track,
    Zoom,
    parse_action,
    parse_recorded,
)
from pixelis_env.codec import DictCodec, FlatCodec
from pixelis_env.coordinates import Frame, Region
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import ToolError
from pixelis_env.media import ArrayMedia
from pixelis_env.workspace import Workspace
from tests.env.strategies import actions

MEDIA = ArrayMedia(np.zeros((16, 64, 128, 3), np.uint8), fps=8.0)
REGION = Region(0, 0, 128, 64)
MAX_STEPS = 8
CODEC = DictCodec()
FLAT = FlatCodec(CODEC)
FRAMES: tuple[Frame, ...] = ("rel1000", "unit", "px")


def any_action(frame: Frame = "unit"):
    return actions(frame=frame, region=REGION, evidence=MAX_STEPS - 1, end=MEDIA.duration)


@given(st.data(), st.sampled_from(FRAMES))
def test_tool_call_json_round_trips(data: st.DataObject, frame: Frame) -> None:
    codec = ToolCallCodec(frame)
    action = data.draw(any_action(frame))
    assert codec.decode(json.dumps(codec.encode(action))) == action
    assert codec.decode(codec.encode(action)) == action


def test_whole_numbers_are_written_as_integers() -> None:
    codec = ToolCallCodec()
    for action, arguments in (
        (Zoom(box=(75, 454, 728, 1000), time=2.0), '{"time": 2, "box": [75, 454, 728, 1000]}'),
        (Zoom(source="e2", box=(0, 0.5, 1, 2), time=1.5),
         '{"source": "e2", "time": 1.5, "box": [0, 0.5, 1, 2]}'),
        (Segment(point=(500, 30)), '{"point": [500, 30]}'),
        (Track(target="e1", span=(1.0, 0.0)), '{"target": "e1", "span": [1, 0]}'),
        (Answer(text="2.0", evidence=("e1",)), '{"text": "2.0", "evidence": ["e1"]}'),
    ):  # fmt: skip
        assert json.dumps(codec.encode(action)["arguments"]) == arguments
    far = Zoom(box=(0, 0, 1e300, -0.0))
    assert codec.decode(json.dumps(codec.encode(far))) == far


@given(any_action())
def test_plain_dicts_round_trip(action) -> None:
    plain = json.loads(json.dumps(action.model_dump(mode="json")))
    assert parse_action(plain) == action
    assert parse_recorded(plain) == action


@given(any_action())
@settings(max_examples=200)
def test_the_dict_space_round_trips(action) -> None:
    workspace = grown(MAX_STEPS - 1)  # e0..e7: all of it can be named
    data = CODEC.encode(action, workspace)
    assert CODEC.space.contains(data)
    assert CODEC.decode(data, workspace) == action


def grown(steps: int) -> Workspace:
    workspace = Workspace(MEDIA)
    for _ in range(steps):
        workspace.add(ToolError(message="x"))
    return workspace


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=200)
def test_the_flat_space_round_trips_on_its_grid(seed: int) -> None:
    FLAT.space.seed(seed)
    data = FLAT.unflatten(FLAT.space.sample())
    assert CODEC.space.contains(data)
    again = FLAT.unflatten(FLAT.flatten(data))
    assert all(np.array_equal(data[key], again[key]) for key in data)


@given(st.integers(0, 2**32 - 1), st.integers(0, 12))
@settings(max_examples=200)
def test_a_member_of_the_dict_space_names_only_evidence_that_is_there(
    seed: int, steps: int
) -> None:
    CODEC.space.seed(seed)
    workspace = grown(steps)
    try:
        action = CODEC.decode(CODEC.space.sample(), workspace)
    except InvalidCall:
        return
    named = [getattr(action, field, None) for field in ("source", "target")]
    named += [*getattr(action, "targets", ()), *getattr(action, "evidence", ())]
    for evidence_id in filter(None, named):
        workspace.get(evidence_id)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=200)
def test_every_member_of_the_dict_space_is_an_action_or_an_invalid_call(seed: int) -> None:
    CODEC.space.seed(seed)
    workspace = Workspace(MEDIA)
    try:
        action = CODEC.decode(CODEC.space.sample(), workspace)
    except InvalidCall:
        return
    assert action.op in OPS


def test_the_spaces_offer_every_operation_with_valid_arguments() -> None:
    """Fails if a decoder's branch went dead: each op must come out of the flat space."""
    FLAT.space.seed(0)
    seen = set()
    for _ in range(400):
        try:
            seen.add(CODEC.decode(FLAT.unflatten(FLAT.space.sample()), Workspace(MEDIA)).op)
        except InvalidCall:
            continue
    assert seen == set(OPS)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "tool call is"),
        ('{"name": 3}', "tool call is"),
        ('{"name": "paint", "arguments": {}}', "the tools are zoom, segment"),
        ('{"name": "zoom", "arguments": []}', "JSON object"),
        ('{"name": "zoom", "arguments": {}}', "box: Field required"),
        ('{"name": "zoom", "arguments": {"box": [1, 2, 3]}}', "box.3"),
        ('{"name": "zoom", "arguments": {"box": [1, 2, 3, NaN]}}', "finite"),
        ('{"name": "zoom", "arguments": {"box": [0,0,9,9], "frame": "px"}}', "'frame'"),
        ('{"name": "zoom", "arguments": {"box": [0,0,9,9], "colour": 1}}', "colour"),
        ('{"name": "zoom", "arguments": {"box": [0,0,9,9], "source": "e01"}}', "source"),
        ('{"name": "segment", "arguments": {}}', "exactly one of box and point"),
        ('{"name": "localize", "arguments": {"target": "e1", "text": "x"}}', "at most one"),
        ('{"name": "answer", "arguments": {"text": "\\ud800"}}', "UTF-8"),
        ('{"name": "malformed", "arguments": {"reason": "x"}}', "no tool is called"),
    ],
)
def test_a_bad_tool_call_says_what_was_wrong(call: str, words: str) -> None:
    with pytest.raises(InvalidCall) as caught:
        ToolCallCodec().decode(call)
    assert words in str(caught.value)


@pytest.mark.parametrize("style", ["openai", "anthropic"])
def test_the_schema_is_of_the_models_that_step_validates_with(style) -> None:
    tools = ToolCallCodec("px").schemas(style)
    by_name = {(t["function"] if style == "openai" else t)["name"]: t for t in tools}
    assert tuple(by_name) == OPS
    zoom = by_name["zoom"]
    schema = zoom["function"]["parameters"] if style == "openai" else zoom["input_schema"]
    assert schema["required"] == ["box"]
    assert set(schema["properties"]) == {"source", "time", "box"}
    assert "pixels of the view" in schema["properties"]["box"]["description"]
    json.dumps(tools)


def test_the_codec_refuses_to_write_another_frame() -> None:
    with pytest.raises(ValueError, match="px"):
        ToolCallCodec("rel1000").encode(Zoom(box=(0, 0, 1, 1), frame="px"))
    with pytest.raises(ValueError, match="unit"):
        CODEC.encode(Zoom(box=(0, 0, 1, 1), frame="px"), Workspace(MEDIA))
    with pytest.raises(ValueError, match="64 bytes"):
        CODEC.encode(Answer(text="x" * 65), Workspace(MEDIA))


def test_the_flat_numbers_come_out_as_written() -> None:
    written = set()
    for answer in range(26, FLAT.space.nvec[-1] - 2):
        flat = np.zeros(len(FLAT.space.nvec), np.int64)
        flat[0], flat[-1] = OPS.index("answer"), answer
        written.add(CODEC.decode(FLAT.unflatten(flat), Workspace(MEDIA)).text)
    assert {str(n) for n in range(21)} <= written
    assert {"0.1", "5000"} <= written


def test_what_the_apis_reply_is_a_tool_call() -> None:
    arguments = {"box": [0, 0, 500, 500]}
    function = {"name": "zoom", "arguments": json.dumps(arguments)}
    codec = ToolCallCodec()
    wanted = Zoom(box=(0, 0, 500, 500))
    assert codec.decode({"id": "1", "type": "function", "function": function}) == wanted
    assert codec.decode({"type": "tool_use", "name": "zoom", "input": arguments}) == wanted


def test_the_schemas_keep_to_what_every_api_takes() -> None:
    def walk(node: object) -> None:
        if isinstance(node, dict):
            if node.get("type") == "array":
                assert "items" in node
            assert not {"prefixItems", "anyOf", "title"} & set(node)
            node = list(node.values())
        if isinstance(node, list):
            for child in node:
                walk(child)

    walk([tool["input_schema"] for tool in ToolCallCodec().schemas("anthropic")])


def test_a_point_in_the_dict_space_is_the_centre_of_its_box() -> None:
    data = CODEC.empty()
    data |= {"op": np.int64(OPS.index("segment")), "prompt": np.int64(2)}
    data["box"] = np.float32([0.75, 0.25, 0.25, 0.5])
    action = CODEC.decode(data, Workspace(MEDIA))
    assert isinstance(action, Segment)
    assert action.point == (0.5, 0.375)
