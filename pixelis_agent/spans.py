"""What each token of an episode is: the labels that losses, heads and credit go by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple


class Label(IntEnum):
    """What a token is. The first two are fed to the model, the others written by it.

    Attributes:
        TEMPLATE: Markers of the chat template.
        OBSERVATION: What the environment says and shows: question, tool results, image tokens.
        THOUGHT: Words around a call or an answer; also a turn that is neither.
        OP: A tool call up to and including the operation's name.
        ARGUMENT: The rest of the call, to its closing tag.
        ANSWER: The answer with its tags.
    """

    TEMPLATE = 0
    OBSERVATION = 1
    THOUGHT = 2
    OP = 3
    ARGUMENT = 4
    ANSWER = 5


WRITTEN = frozenset({Label.THOUGHT, Label.OP, Label.ARGUMENT, Label.ANSWER})
"""Labels of tokens that the model wrote."""


LABEL_WEIGHTS: dict[Label, float] = {
    Label.THOUGHT: 1.0,
    Label.OP: 2.0,
    Label.ARGUMENT: 2.0,
    Label.ANSWER: 1.0,
}
"""How much a token of each kind counts in imitation: what acts counts twice."""


class Span(NamedTuple):
    """Characters `start` up to `end` of a turn."""

    start: int
    end: int
    label: Label


# What stands inside a thought's own tags is no call, as in the environment's reading of a turn.
_PARTS = re.compile(
    r"<think>.*?</think>"
    r"|(?P<op><tool_call>\s*(?:\{\s*\"name\"\s*:\s*\"[^\"]*\"?)?)(?P<argument>.*?(?:</tool_call>|$))"
    r"|(?P<answer><answer>.*?(?:</answer>|$))",
    re.DOTALL,
)


def label_turn(text: str) -> list[Span]:
    """The spans of a model's turn, in order, without gaps, over the whole text.

    A malformed turn is labelled as far as it goes: a call that was cut off is still a call.
    """
    spans: list[Span] = []

    def add(start: int, end: int, label: Label) -> None:
        if start == end:
            return
        if spans and spans[-1].label == label:
            start = spans.pop().start
        spans.append(Span(start, end, label))

    done = 0
    for match in _PARTS.finditer(text):
        add(done, match.start(), Label.THOUGHT)
        if match["op"] is not None:
            add(*match.span("op"), Label.OP)
            add(*match.span("argument"), Label.ARGUMENT)
        elif match["answer"] is not None:
            add(*match.span(), Label.ANSWER)
        else:
            add(*match.span(), Label.THOUGHT)
        done = match.end()
    add(done, len(text), Label.THOUGHT)
    return spans


def token_ends(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """Where in the decoded text each token ends, in characters.

    The text of a prefix is what the tokenizer decodes it to; half a character at its end, which a
    byte-level tokenizer may leave, counts with the token that completes it.
    """
    ends = []
    for count in range(1, len(ids) + 1):
        text = tokenizer.decode(list(ids[:count]), skip_special_tokens=False)
        ends.append(len(text.rstrip("�")))
    return ends


def label_tokens(tokenizer: Any, ids: Sequence[int], end_ids: frozenset[int]) -> list[Label]:
    """The label of each token that a model wrote in one turn.

    A token belongs to the span in which its first character stands. The end-of-turn token belongs
    to what it ends: stopping is part of writing it.

    Args:
        tokenizer: A transformers tokenizer.
        ids: The turn's tokens.
        end_ids: The tokens that end a turn.
    """
    body = list(ids)
    while body and body[-1] in end_ids:
        body.pop()
    text = tokenizer.decode(body, skip_special_tokens=False)
    spans = label_turn(text)
    labels: list[Label] = []
    start, at = 0, 0
    for end in token_ends(tokenizer, body):
        while at + 1 < len(spans) and spans[at].end <= start:
            at += 1
        labels.append(spans[at].label if spans else Label.THOUGHT)
        start = max(start, end)
    last = labels[-1] if labels else Label.THOUGHT
    return labels + [last] * (len(ids) - len(body))
