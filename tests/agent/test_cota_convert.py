"""Chats of other projects become records, or are reported with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelis_agent.cota.convert import ConvertConfig, convert, read_chats, run
from pixelis_agent.cota.record import AssistantTurn, read_cota
from pixelis_agent.cota.validate import validate
from pixelis_agent.images import read_picture

CROP = '<tool_call>{"name": "crop_image_normalized", "arguments": %s}</tool_call>'


def _picture(seed: int) -> np.ndarray:
    """An image (120, 160, 3) of coloured tiles."""
    tiles = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return tiles.repeat(20, 0).repeat(20, 1)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "video").mkdir(parents=True)
    Image.fromarray(_picture(0)).save(folder / "street.png")
    Image.fromarray(_picture(0)[30:90, 40:120]).resize((320, 240)).save(folder / "crop.png")
    Image.fromarray(_picture(9)).save(folder / "other.png")
    for k in range(4):
        Image.fromarray(_picture(k)).save(folder / f"video/{k}.png")
    return folder


def _pixel_reasoner(**changes: Any) -> dict[str, Any]:
    """An item in the layout of Pixel-Reasoner's instruction-tuning data."""
    call = CROP % '{"bbox_2d": [0.25, 0.25, 0.75, 0.75], "target_image": 1}'
    item = {
        "message_list": [
            {"role": "system", "content": [{"text": "You are a helpful assistant.\n# Tools ..."}]},
            {
                "role": "user",
                "content": [{"text": "Which colour has the van?"}, {"image": "/old/street.png"}],
            },
            {"role": "assistant", "content": [{"text": f"The van is small. I zoom in.\n{call}"}]},
            {
                "role": "user",
                "content": [{"text": "Here is the cropped image:"}, {"image": "/old/crop.png"}],
            },
            {"role": "assistant", "content": [{"text": "It is red. \\boxed{red}"}]},
        ],
        "qid": "street_1",
    }
    return {**item, **changes}


def _sharegpt(*values: str, images: list[str], **more: Any) -> dict[str, Any]:
    turns = [
        {"from": "human" if k % 2 == 0 else "gpt", "value": value} for k, value in enumerate(values)
    ]
    return {"conversations": turns, "images": images, **more}


def _only(items: list[dict[str, Any]], tmp_path: Path, images: Path) -> Any:
    report = convert(items, tmp_path / "out", images)
    assert report.left_out == {}
    return read_cota(tmp_path / "out")


def test_pixel_reasoner(images: Path, tmp_path: Path) -> None:
    (record,) = _only([_pixel_reasoner()], tmp_path, images)
    user, call, tool, answer = record.turns
    assert record.id == "street_1"
    assert user.text == "Which colour has the van?\ne0 medium: image, 160x120 px"
    assert call.text == (
        "The van is small. I zoom in. <tool_call>"
        '{"name": "zoom", "arguments": {"box": [250, 250, 750, 750]}}</tool_call>'
    )
    assert (call.op, call.learn, call.refs) == ("zoom", True, [])
    assert tool.text.startswith("e1 view: 80x60 px")
    (ref,) = tool.images
    assert (ref.region, ref.factor) == ((40, 30, 120, 90), 3)
    # The crop is this environment's own, of the original's pixels.
    shown = np.asarray(read_picture(record.image(ref)))
    assert shown.shape == (180, 240, 3)
    native = np.asarray(Image.open(tmp_path / "out" / ref.file).convert("RGB"))
    assert (native == _picture(0)[30:90, 40:120]).all()
    assert answer.text == "It is red. \\boxed{red} <answer>red</answer>"
    assert validate(tmp_path / "out").failed == {}


def test_crops_of_crops_and_selected_frames(images: Path, tmp_path: Path) -> None:
    select = (
        '<tool_call>{"name": "select_frames", "arguments": {"target_frames": [2, 4]}}</tool_call>'
    )
    crop = CROP % '{"bbox_2d": [0, 0, 0.5, 0.5], "target_image": 6}'
    again = CROP % '{"bbox_2d": [0.5, 0.5, 1, 1], "target_image": 7}'
    frames = [f"video/{k}.png" for k in range(4)]
    item = {
        "id": 7,
        "messages": [
            {"role": "user", "content": [{"video": frames}, {"text": "What happens?"}]},
            {"role": "assistant", "content": f"Look at two frames. {select}"},
            {"role": "user", "content": [{"image": [frames[1], frames[3]]}]},
            {"role": "assistant", "content": f"Closer. {crop}"},
            {"role": "user", "content": "Here is the cropped image:"},
            {"role": "assistant", "content": f"<think>Closer still.</think> {again}"},
            {"role": "user", "content": "Here is the cropped image:"},
            {"role": "assistant", "content": "<think>A ball.</think><answer>It rolls</answer>"},
        ],
    }
    (record,) = _only([item], tmp_path, images)
    calls = [turn for turn in record.turns if isinstance(turn, AssistantTurn)]
    assert [turn.op for turn in calls] == ["zoom"] * 4 + ["answer"]
    assert '"time": 1' in calls[0].text
    assert calls[1].text.startswith("<tool_call>")
    # Image 6 is the second frame selected: the frame at 3 s; image 7 the crop of it.
    assert calls[2].refs == ["e2"]
    assert calls[3].refs == ["e3"]
    last = record.turns[-2].images[0]
    assert (last.time, last.region) == (3.0, (40, 30, 80, 60))
    assert calls[-1].text == "<think>A ball.</think> <answer>It rolls</answer>"


def test_sharegpt(images: Path, tmp_path: Path) -> None:
    zoom = '<tool_call>{"name": "zoom", "arguments": {"box": [0, 0, 500, 500]}}</tool_call>'
    items = [
        _sharegpt("<image>\nIs it red?", "Yes", images=["street.png"], id="plain", answer="yes"),
        _sharegpt(
            "<image>What is it?", f"Zoom. {zoom}", "<image>", "A van.",
            images=["street.png", "gone.png"],
        ),
    ]  # fmt: skip
    items[1]["conversations"][2]["from"] = "observation"
    plain, tools = _only(items, tmp_path, images)
    assert [turn.text for turn in plain.turns[1:]] == ["<answer>Yes</answer>"]
    assert (plain.gold, plain.direct().turns[1].text) == ("yes", "<answer>yes</answer>")
    assert (tools.id, tools.turns[1].op) == ("item-1", "zoom")
    # Function calls in turns of their own, as some tools write them.
    call = {
        "from": "function_call",
        "value": '{"name": "zoom", "arguments": {"box": [0, 0, 9, 9]}}',
    }
    item = _sharegpt("What?", "", "seen", "A van.", images=["street.png"])
    item["conversations"][1] = call
    (record,) = _only([item], tmp_path / "calls", images)
    assert record.turns[1].op == "zoom"


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ([], "JSON object"),
        ({"text": "hello"}, "neither conversations nor a message_list"),
        (_sharegpt("What?", "A van.", images=[]), "shows no image"),
        (_sharegpt("<image><image>", "No.", images=["street.png"]), "more <image> marks"),
        (_sharegpt("<image>", "No.", images=["street.png"] * 2), "more images than"),
        (_sharegpt("<image><image>", "No.", images=["street.png"] * 2), "shows 2 images"),
        (_sharegpt("<image>", "Yes", "And?", "No", images=["street.png"]), "several questions"),
        (_sharegpt("<image>What?", images=["street.png"]), "not answered"),
        (_sharegpt("<image>", "x" * 600, images=["street.png"]), "600 characters"),
        (_sharegpt("<image>", "Yes", images=["gone.png"]), "gone.png is not there"),
        (_sharegpt("<image>", "A <tool_call>{", "x", images=["street.png"]), "closed tool call"),
        (
            _sharegpt("<image>", CROP % '{"bbox_2d": [10, 10, 90, 90]}', images=["street.png"]),
            "not four numbers in 0..1",
        ),
        (
            _sharegpt("<image>", CROP % '{"bbox_2d": [0.1, 0, 0.1004, 1]}', images=["street.png"]),
            "empty in thousandths",
        ),
        (
            _sharegpt(
                "<image>", CROP % '{"bbox_2d": [0, 0, 1, 1], "target_image": 2}',
                images=["street.png"],
            ),
            "image 2 of 1..1",
        ),
        (
            _sharegpt(
                "<image>", '<tool_call>{"name": "query_image", "arguments": {}}</tool_call>',
                images=["street.png"],
            ),
            "query_image is no call of this environment",
        ),
        (
            _sharegpt(
                "<image>",
                '<tool_call>{"name": "select_frames", "arguments": {"target_frames": [1]}}'
                "</tool_call>",
                images=["street.png"],
            ),
            "out of a video",
        ),
        (
            _sharegpt(
                "<image>", '<tool_call>{"name": "properties", "arguments": {"targets": ["e5"]}}'
                "</tool_call>", "?", "No", images=["street.png"],
            ),
            "refused here: there is no evidence e5",
        ),
        (
            _sharegpt(
                "<image>", "<think>Hm " + CROP % '{"bbox_2d": [0, 0, 1, 1]}', images=["street.png"]
            ),
            "inside <think>",
        ),
        (
            _sharegpt("<image>", CROP % '{"bbox_2d": [0, 0, 1, 1]}', images=["street.png"]),
            "ends without an answer",
        ),
        (
            _sharegpt(
                "<image>", CROP % '{"bbox_2d": [0, 0, 1, 1]}', "<image>", "A van.",
                images=["street.png", "other.png"],
            ),
            "other.png does not show what the call shows here",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_expressed(item: Any, reason: str, images: Path, tmp_path: Path) -> None:
    report = convert([_pixel_reasoner(), item], tmp_path / "out", images)
    assert report.records == 1
    ((name, said),) = report.left_out.items()
    assert name == "item 1"
    assert reason in said


def test_files(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "chats.json"
    source.write_text(json.dumps([_pixel_reasoner(), _pixel_reasoner(), {"id": "x"}]))
    result = run(ConvertConfig(source, tmp_path / "out", images))
    assert result["records"] == 2
    assert list(result["left_out"]) == ["x"]
    assert "left out x:" in capsys.readouterr().err
    assert len({record.id for record in read_cota(tmp_path / "out")}) == 2
    with pytest.raises(ValueError, match="holds a corpus already"):
        run(ConvertConfig(source, tmp_path / "out", images))
    lines = tmp_path / "chats.jsonl"
    lines.write_text("\n".join(json.dumps(item) for item in read_chats(source)))
    assert read_chats(lines) == read_chats(source)
    source.write_text("[nothing")
    with pytest.raises(ValueError, match="neither a JSON list nor JSON lines"):
        read_chats(source)
