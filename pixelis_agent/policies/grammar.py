"""Grammar-constrained turns: whatever is sampled is a thought and one call or answer that parses.

The grammar is made from the schemas that the environment validates with. Coordinates may still
lie outside the view and evidence may not exist: those the environment refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelis_agent.models.processor import Processor
from pixelis_env.errors import MissingExtra

_TAG = re.compile(r'"(</?(?:tool_call|answer)>)"')


class TurnGrammar:
    """The turns that a set of tools allows, for one tokenizer.

    Args:
        processor: The model's.
        tools: The tools' schemas (`ToolCall.tools()`).

    Raises:
        MissingExtra: llguidance is not installed.
    """

    def __init__(self, processor: Processor, tools: Sequence[dict[str, Any]]) -> None:
        try:
            import llguidance
            import llguidance.hf
        except ImportError as error:
            raise MissingExtra("grammar-constrained decoding", "grammar") from error
        self._matcher = llguidance.LLMatcher
        tokenizer = processor.tokenizer
        self._size = len(tokenizer)
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=self._size)
        self._end_id = processor.end_id
        added = set(tokenizer.get_added_vocab())
        # A tag that is a token of its own is matched as that token, not letter by letter.
        self._text = _TAG.sub(lambda tag: tag[1] if tag[1] in added else tag[0], _grammar(tools))

    def begin(self) -> Turning:
        """The state of a turn of which nothing is written yet."""
        return Turning(self._matcher(self._tokenizer, self._text), self._size, self._end_id)


class Turning:
    """A turn in progress."""

    def __init__(self, matcher: Any, size: int, end_id: int) -> None:
        self._matcher = matcher
        self._size = size
        self._end_id = end_id

    def allowed(self, size: int) -> NDArray[np.bool_]:
        """Which tokens may come next, bool (size,); the model's vocabulary may be padded."""
        allowed = np.zeros(size, bool)
        if self._matcher.is_stopped():
            allowed[self._end_id] = True
            return allowed
        bias = np.frombuffer(self._matcher.compute_logit_bias(), np.uint8)[: self._size]
        allowed[: len(bias)] = bias > 0
        return allowed

    def take(self, token: int) -> None:
        """Goes on by a token that was allowed."""
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)


def _grammar(tools: Sequence[dict[str, Any]]) -> str:
    """A Lark grammar of one turn."""
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"const": tool["function"]["name"]},
                "arguments": tool["function"]["parameters"],
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
        if tool["function"]["name"] != "answer"
    ]
    # Spaces as `json.dumps` writes them: the form that the model has learned.
    spaces = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    schema = json.dumps({"anyOf": calls, "x-guidance": spaces})
    return (
        "start: THOUGHT? (call | answer)\n"
        "THOUGHT: /[^<]{1,2000}/\n"
        'call: "<tool_call>" json "</tool_call>"\n'
        f"json: %json {schema}\n"
        'answer: "<answer>" /[^<]{1,500}/ "</answer>"\n'
    )
