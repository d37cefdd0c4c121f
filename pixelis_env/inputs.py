"""Anything that may be passed to `step`, read as a typed action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixelis_env.actions import (
    Action,
    Malformed,
    ToolCallCodec,
    is_action,
    parse_action,
    parse_recorded,
)
from pixelis_env.codec import DictCodec
from pixelis_env.errors import InvalidCall
from pixelis_env.workspace import Workspace

_SPATIAL = ("zoom", "segment", "read_text")


def read_action(
    data: Any, tool_calls: ToolCallCodec, codec: DictCodec, workspace: Workspace
) -> Action | Malformed:
    """A typed action, its plain-dict form, a tool call (dict or JSON), or a member of the space.

    What is none of them, or does not fit, becomes `Malformed` with the reason.
    """
    try:
        if is_action(data):
            # `model_copy` and `model_construct` check nothing.
            return parse_recorded(data.model_dump(warnings=False))
        if isinstance(data, str):
            return tool_calls.decode(data)
        if not isinstance(data, Mapping):
            raise InvalidCall(
                "an action is a member of the action space, a typed action or a tool call, "
                f"not {type(data).__name__}"
            )
        if "name" in data or "function" in data:
            return tool_calls.decode(dict(data))
        if isinstance(data.get("op"), str):
            frame = {"frame": tool_calls.frame} if data["op"] in _SPATIAL else {}
            return parse_action({**frame, **data})
        return codec.decode(data, workspace)
    except ValueError as error:  # an InvalidCall, or pydantic's
        return Malformed(reason=printable(str(error)))


def printable(message: str) -> str:
    """A message that a trace can hold: valid UTF-8 of bounded length."""
    return message.encode("utf-8", "replace").decode("utf-8")[:1000]
