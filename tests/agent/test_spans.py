"""Labels of what a model wrote: every character and token has one, whatever it wrote."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pixelis_agent.models.processor import Processor
from pixelis_agent.spans import WRITTEN, Label, label_tokens, label_turn

PIECES = st.sampled_from(
    [
        "I see it. ",
        "<think>hm <tool_call></think>",
        '<tool_call>{"name": "zoom", "arguments": {"box": [1, 2, 30, 40]}}</tool_call>',
        '<tool_call>{"name": "zo',
        "<tool_call>garbage</tool_call>",
        "<answer>4.5</answer>",
        "<answer>cut off",
        "</answer>",
        "☃ ünïcode",
        "\n",
    ]
)
TURNS = st.lists(PIECES, max_size=5).map("".join)


@given(TURNS)
def test_spans_cover_the_turn_in_order(text: str) -> None:
    spans = label_turn(text)
    assert "".join(text[s.start : s.end] for s in spans) == text
    assert all(s.start < s.end and s.label in WRITTEN for s in spans)
    assert all(a.end == b.start and a.label != b.label for a, b in zip(spans, spans[1:]))  # noqa: B905, RUF007


@given(text=TURNS, ended=st.booleans())
def test_every_token_has_a_label(processor: Processor, text: str, ended: bool) -> None:
    ids = processor.tokenizer.encode(text, add_special_tokens=False)
    ids += [processor.end_id] * ended
    labels = label_tokens(processor.tokenizer, ids, processor.end_ids)
    assert len(labels) == len(ids)
    assert set(labels) <= WRITTEN


def test_the_parts_of_a_call(processor: Processor) -> None:
    text = (
        'It shows at 3.9 s. <tool_call>{"name": "zoom", "arguments": {"time": 3.9, "box": '
        "[10, 20, 300, 400]}}</tool_call>"
    )
    ids = [*processor.tokenizer.encode(text, add_special_tokens=False), processor.end_id]
    labels = label_tokens(processor.tokenizer, ids, processor.end_ids)
    said = {
        label: processor.tokenizer.decode(
            [i for i, own in zip(ids, labels, strict=True) if own == label]
        )
        for label in Label
    }
    assert said[Label.THOUGHT] == "It shows at 3.9 s. "
    assert said[Label.OP].startswith("<tool_call>")
    assert "zoom" in said[Label.OP]
    assert "10, 20, 300, 400" in said[Label.ARGUMENT]
    assert said[Label.ARGUMENT].endswith("</tool_call><|im_end|>")
    assert labels[-1] == Label.ARGUMENT  # stopping belongs to what it ends


def test_a_thought_may_talk_of_calls() -> None:
    spans = label_turn("<think>no <answer>5</answer> yet</think><answer>6</answer>")
    assert [s.label for s in spans] == [Label.THOUGHT, Label.ANSWER]
