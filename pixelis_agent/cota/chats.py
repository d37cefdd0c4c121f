"""Chats with tool calls as other projects store them, read into one plain form.

Two layouts: ShareGPT with images (`conversations` of `from` and `value`, `<image>` marks,
`images`) and Pixel-Reasoner's instruction-tuning data (`message_list` of `role` and `content`,
whose parts are `text`, `image` or `video`, a list of frame files).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class Inexpressible(Exception):
    """A chat that cannot become a record; the message says why."""


@dataclass
class Said:
    """A turn of the model, and the files of the images that it was shown after it."""

    text: str
    shown: list[str] = field(default_factory=list)


@dataclass
class Chat:
    """One question and what was said.

    Attributes:
        question: Without marks for images.
        files: The medium: one image, or the frames of a video in order.
        is_video: Whether the files are frames.
        said: The model's turns.
        gold: The right answer, where the data has one.
    """

    question: str
    files: list[str]
    is_video: bool
    said: list[Said]
    gold: str | None


@dataclass
class _Message:
    """Who spoke ("user" for whoever is not the model), the text, images and a video's frames."""

    role: str
    text: str
    images: list[str]
    frames: list[str]


_MARK = "<image>"
_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "observation": "user",
    "tool": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "call",
}


def chat_id(item: Any, number: int) -> str:
    """What an item is called in reports: its own id, or its number in the file from 0."""
    if isinstance(item, Mapping):
        for key in ("id", "qid"):
            if isinstance(item.get(key), (str, int)):
                return str(item[key])
    return f"item {number}"


def read_chat(item: Any) -> Chat:
    """A chat of either layout.

    Raises:
        Inexpressible: It is of neither, or not one question about one medium.
    """
    if not isinstance(item, Mapping):
        raise Inexpressible(f"an item is a JSON object, not {type(item).__name__}")
    messages = next(
        (item[key] for key in ("message_list", "messages", "conversations") if key in item), None
    )
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise Inexpressible("it has neither conversations nor a message_list")
    if "conversations" in item:
        read = _sharegpt(messages, item)
    else:
        read = [_message(message) for message in messages]
    gold = item.get("answer", item.get("gold"))
    return _chat([m for m in read if m.role != "system"], gold if isinstance(gold, str) else None)


def _chat(messages: Sequence[_Message], gold: str | None) -> Chat:
    if not messages or messages[0].role != "user":
        raise Inexpressible("it does not begin with a question")
    first, *rest = messages
    files, is_video = (first.frames, True) if first.frames else (first.images, False)
    if not files:
        raise Inexpressible("the question shows no image")
    if not is_video and len(files) > 1:
        raise Inexpressible(f"the question shows {len(files)} images, an episode has one medium")
    if first.frames and first.images:
        raise Inexpressible("the question shows a video and images, an episode has one medium")
    said: list[Said] = []
    for message in rest:
        if message.role == "assistant":
            said.append(Said(message.text))
        elif not said or "<tool_call>" not in said[-1].text:
            raise Inexpressible("it asks several questions, an episode has one")
        else:
            said[-1].shown += message.images + message.frames
    if not said:
        raise Inexpressible("the question is not answered")
    return Chat(first.text, list(files), is_video, said, gold)


def _sharegpt(messages: Sequence[Any], item: Mapping[str, Any]) -> list[_Message]:
    images = item.get("images", item.get("image", []))
    files = [images] if isinstance(images, str) else list(images)
    read = []
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("value"), str):
            raise Inexpressible("a turn of conversations has `from` and `value`")
        role, text = _role(message.get("from")), message["value"]
        count = text.count(_MARK)
        if count > len(files):
            raise Inexpressible("there are more <image> marks than images")
        shown, files = files[:count], files[count:]
        if role == "call":
            role, text = "assistant", f"<tool_call>{text}</tool_call>"
        read.append(_Message(role, text.replace(_MARK, "").strip(), shown, []))
    if files and sum(len(message.images) for message in read) == 0:
        # Without marks the images belong to the question.
        next((m for m in read if m.role == "user"), read[0]).images, files = files, []
    if files:
        raise Inexpressible("there are more images than <image> marks")
    return read


def _message(message: Any) -> _Message:
    if not isinstance(message, Mapping):
        raise Inexpressible("a message has `role` and `content`")
    read = _Message(_role(message.get("role")), "", [], [])
    content = message.get("content")
    parts = [{"text": content}] if isinstance(content, str) else content
    if not isinstance(parts, Sequence):
        raise Inexpressible("a message's content is a text or a list of parts")
    texts = []
    for part in parts:
        if not isinstance(part, Mapping):
            raise Inexpressible("a part of a message is a JSON object")
        texts += [part["text"]] if isinstance(part.get("text"), str) else []
        read.images += _files(part.get("image"))
        video = part.get("video")
        if isinstance(video, str):
            raise Inexpressible("a video is a list of frame files, not one file")
        read.frames += _files(video)
    read.text = "\n".join(texts).replace(_MARK, "").strip()
    return read


def _files(value: Any) -> list[str]:
    files = [value] if isinstance(value, str) else value or []
    if not all(isinstance(file, str) for file in files):
        raise Inexpressible(f"images are named by files, not {json.dumps(value)[:60]}")
    return list(files)


def _role(name: Any) -> str:
    if name not in _ROLES:
        raise Inexpressible(f"nobody is called {name!r}; a chat has {', '.join(_ROLES)}")
    return _ROLES[name]
