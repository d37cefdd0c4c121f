"""Chats of other projects as records: their calls are carried out by this environment's tools.

So every record is true of what these tools give: texts of results and crops are made here, from the
medium that the chat is about. What cannot be expressed is named in the report with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelis_agent.cota.chats import Chat, Inexpressible, Said, chat_id, read_chat
from pixelis_agent.cota.record import Record, record_line
from pixelis_agent.cota.story import Story
from pixelis_env.actions import ANSWER_LIMIT, ToolCallCodec
from pixelis_env.env import PixelisEnv
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import ToolError
from pixelis_env.media import ArrayMedia, Media, MediaError, open_media
from pixelis_env.tasks.single import SingleSource
from pixelis_env.wrappers import ToolCall

SHARD = 200
MAX_STEPS = 64
ALIKE = 0.1
"""Mean difference (0..1) of two small grey images up to which they show the same."""


@dataclass
class ConvertConfig:
    """What to convert.

    Attributes:
        source: A JSON file with a list of chats, or JSON lines: ShareGPT with images, or
            Pixel-Reasoner's message lists.
        out: The folder of the corpus, which must not hold one yet.
        images: The folder that relative names of images are relative to; empty = that of the
            source. Absolute names that do not exist are looked up there by their last parts.
    """

    source: Path
    out: Path
    images: Path | None = None


@dataclass
class Conversion:
    """What came of it.

    Attributes:
        records: How many chats became records.
        left_out: The others: id and reason.
    """

    records: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


def run(config: ConvertConfig) -> dict[str, Any]:
    """Converts a file; the reasons for what was left out go to stderr.

    Raises:
        ValueError: The source is no list of chats, or `out` holds a corpus already.
    """
    from rich.console import Console

    report = convert(read_chats(config.source), config.out, config.images or config.source.parent)
    console = Console(stderr=True)
    for name, reason in report.left_out.items():
        console.print(f"left out {name}: {reason}", markup=False, highlight=False)
    console.print(f"{report.records} records, {len(report.left_out)} left out")
    return {"records": report.records, "left_out": report.left_out}


def read_chats(path: Path) -> list[Any]:
    """The items of a JSON list or of JSON lines.

    Raises:
        ValueError: It is neither.
    """
    text = path.read_text(encoding="utf-8")
    try:
        if text.lstrip().startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise ValueError(f"{path} is neither a JSON list nor JSON lines: {error}") from None


def convert(items: Sequence[Any], out: Path, images: Path) -> Conversion:
    """Converts chats into a corpus.

    Args:
        items: As `read_chats` gives them.
        out: A folder without a corpus.
        images: Where images are.

    Raises:
        ValueError: `out` holds a corpus already.
    """
    if any(out.glob("shard-*.jsonl")):
        raise ValueError(f"{out} holds a corpus already: give another folder")
    out.mkdir(parents=True, exist_ok=True)
    report, records, ids = Conversion(), list[Record](), set[str]()
    for number, item in enumerate(items):
        name = chat_id(item, number)
        record_id = re.sub(r"[^A-Za-z0-9_.+-]+", "-", name)[-100:]
        while record_id in ids:
            record_id = f"{record_id}-{number}"
        try:
            records.append(_convert(read_chat(item), record_id, out, images))
        except Inexpressible as reason:
            report.left_out[name if name not in report.left_out else record_id] = str(reason)
            continue
        ids.add(record_id)
    report.records = len(records)
    for start in range(0, len(records), SHARD):
        lines = b"".join(record_line(record) for record in records[start : start + SHARD])
        (out / f"shard-{start // SHARD:05d}.jsonl").write_bytes(lines)
    return report


def _convert(chat: Chat, name: str, out: Path, images: Path) -> Record:
    """Plays a chat's calls on its medium."""
    media = _medium(chat, images)
    source = SingleSource(media, chat.question, answer=chat.gold)
    env = ToolCall(PixelisEnv(source=source, max_steps=MAX_STEPS))
    observation, _ = env.reset()
    # The question is put as the chat puts it, without a form for the answer.
    details = observation["text"].removeprefix(source.task(0).prompt).lstrip("\n")
    observation["text"] = f"{chat.question}\n{details}"
    story = Story(env, observation, out, {})
    shown = _Shown([f"e0@{time:g}" if chat.is_video else "e0" for time in media.times])
    for turn in chat.said:
        if "<tool_call>" in turn.text:
            _call(story, turn, shown, chat, images)
        else:
            story.answer(*_answer(turn.text))
            break
    if not story.over:
        raise Inexpressible("it ends without an answer")
    record = story.record(name, 0, 0, None)
    return record.model_copy(update={"env_id": "", "env_kwargs": {}, "gold": chat.gold})


@dataclass
class _Shown:
    """What each image shown so far is: an evidence id, or `e0@time` for a frame of a video."""

    images: list[str]

    def at(self, number: Any) -> str:
        if not isinstance(number, int) or not 1 <= number <= len(self.images):
            raise Inexpressible(f"image {number!r} of 1..{len(self.images)} is named")
        return self.images[number - 1]


def _call(story: Story, turn: Said, shown: _Shown, chat: Chat, images: Path) -> None:
    thought, _, rest = turn.text.partition("<tool_call>")
    body, closed, after = rest.partition("</tool_call>")
    if not closed or after.strip() or "<tool_call>" in after:
        raise Inexpressible("a turn is a thought and one closed tool call")
    if "<think>" in thought and "</think>" not in thought:
        raise Inexpressible("a call stands inside <think>")
    try:
        call = json.loads(body)
    except ValueError as error:
        raise Inexpressible(f"a call is not JSON: {error}") from None
    thought = thought.strip()
    for number, ours in enumerate(_ours(call, shown, chat)):
        evidence = story.call(thought if number == 0 else "", ours)
        if isinstance(evidence, ToolError):
            raise Inexpressible(f"a call is refused here: {evidence.message}")
        if story.turns[-1].role == "tool" and story.turns[-1].images:
            shown.images.append(story.last_id)
            if number < len(turn.shown):
                _same(story, _find(turn.shown[number], images))


def _ours(call: Any, shown: _Shown, chat: Chat) -> list[dict[str, Any]]:
    """The call in this environment's terms; several for one that shows several frames."""
    if not isinstance(call, Mapping) or not isinstance(call.get("arguments"), Mapping):
        raise Inexpressible("a call has a name and arguments")
    name, arguments = call.get("name"), dict(call["arguments"])
    if name == "crop_image_normalized":
        where = shown.at(arguments.get("target_image", 1))
        zoom: dict[str, Any] = {"box": _thousandths(arguments.get("bbox_2d"))}
        evidence_id, _, time = where.partition("@")
        if evidence_id != "e0":
            zoom = {"source": evidence_id, **zoom}
        elif time:
            zoom = {"time": float(time), **zoom}
        return [{"name": "zoom", "arguments": zoom}]
    if name == "select_frames":
        numbers = arguments.get("target_frames")
        if not chat.is_video or not isinstance(numbers, list) or not numbers:
            raise Inexpressible("frames are selected by a list of numbers, out of a video")
        bad = [n for n in numbers if not isinstance(n, int) or not 1 <= n <= len(chat.files)]
        if bad:
            raise Inexpressible(f"frame {bad[0]!r} of 1..{len(chat.files)} is selected")
        times = [float(shown.images[n - 1].partition("@")[2]) for n in numbers]
        whole = [0, 0, 1000, 1000]
        return [{"name": "zoom", "arguments": {"time": time, "box": whole}} for time in times]
    try:
        action = ToolCallCodec().decode(dict(call))
    except InvalidCall as error:
        raise Inexpressible(f"{name} is no call of this environment: {error}") from None
    if action.op == "answer":
        raise Inexpressible("an answer is written in <answer>, not called")
    return [ToolCallCodec().encode(action)]


def _thousandths(box: Any) -> list[int]:
    """A box in 0..1 as `rel1000` writes it."""
    good = isinstance(box, list) and len(box) == 4
    if not good or not all(isinstance(v, (int, float)) and 0 <= v <= 1 for v in box):
        raise Inexpressible(f"the box {box} is not four numbers in 0..1")
    x0, y0, x1, y1 = (round(v * 1000) for v in box)
    if x0 >= x1 or y0 >= y1:
        raise Inexpressible(f"the box {box} is empty in thousandths")
    return [x0, y0, x1, y1]


_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")


def _answer(text: str) -> tuple[str, str]:
    """The thought and the answer of a last turn: in its tags, boxed, or else all of it."""
    before, tag, rest = text.partition("<answer>")
    if tag:
        thought, answer = before, rest.partition("</answer>")[0]
    elif boxed := list(_BOXED.finditer(text)):
        thought, answer = text, boxed[-1][1]
    else:
        thought, answer = "", text
    answer = answer.strip()
    if not answer or len(answer) > ANSWER_LIMIT:
        raise Inexpressible(f"the answer has {len(answer)} characters, not 1..{ANSWER_LIMIT}")
    if "<answer>" in answer or thought.count("<think>") != thought.count("</think>"):
        raise Inexpressible("its tags are not closed")
    return thought.strip(), answer


def _medium(chat: Chat, images: Path) -> Media:
    """The image, or the frames a second apart."""
    try:
        if not chat.is_video:
            return open_media(_found(chat.files[0], images))
        frames = [np.asarray(Image.open(_found(f, images)).convert("RGB")) for f in chat.files]
        if len({frame.shape for frame in frames}) > 1:
            raise Inexpressible("the frames of its video have different sizes")
        return ArrayMedia(
            np.stack(frames), fps=1.0, name=Path(chat.files[0]).parent.name or "video"
        )
    except (MediaError, OSError) as error:
        raise Inexpressible(f"its medium cannot be read: {error}") from None


def _found(file: str, images: Path) -> Path:
    path = _find(file, images)
    if path is None:
        raise Inexpressible(f"{file} is not there")
    return path


def _find(file: str, images: Path) -> Path | None:
    """The file as named, or under `images` by as many of its last parts as are there."""
    parts = Path(file).parts
    tries = [Path(file), images / file, *(images.joinpath(*parts[k:]) for k in range(len(parts)))]
    return next((path for path in tries if path.is_file()), None)


def _same(story: Story, file: Path | None) -> None:
    """Checks that a result looks like the one in the chat, where that is there.

    A chat may have been made by a tool that pads its crops: its thoughts are then about an image
    that this environment does not show.
    """
    if file is None:
        return

    def small(image: Image.Image) -> np.ndarray:
        return np.asarray(image.convert("L").resize((16, 16), Image.Resampling.BOX), float) / 255

    difference = np.abs(small(story.base.view()) - small(Image.open(file))).mean()
    if difference > ALIKE:
        raise Inexpressible(f"{file.name} does not show what the call shows here")


__all__ = ["Conversion", "ConvertConfig", "convert", "read_chats", "run"]
