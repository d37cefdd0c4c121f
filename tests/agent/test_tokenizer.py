"""The small tokenizer: everything comes back, and which numbers are one token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_agent.models.processor import Processor
from pixelis_agent.tiny.tokenizer import NUMBERS


@given(text=st.text(max_size=60))
def test_what_is_encoded_comes_back(processor: Processor, text: str) -> None:
    tokenizer = processor.tokenizer
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


@pytest.mark.parametrize(
    "text",
    ["[{}, 138, 1000, 29]", "at [0, {}]", '"time": {}.5', "view: {}x70 px", "<{}.5 seconds>"],
)
def test_numbers_of_places_and_times_are_one_token(processor: Processor, text: str) -> None:
    for number in NUMBERS:
        assert number in processor.tokenizer.tokenize(text.format(number)), number


@given(number=st.integers(100, 999).map(str))
@pytest.mark.parametrize(
    "text", ['"{}" (1.00)', "says {}. ", "<answer>{}</answer>", 'lines: "A", "B {} C"', "{}"]
)
def test_numbers_of_texts_are_digits(processor: Processor, text: str, number: str) -> None:
    pieces = processor.tokenizer.tokenize(text.format(number))
    assert any(pieces[k : k + 3] == list(number) for k in range(len(pieces)))


def test_a_measurement_in_a_sentence_is_not_a_text(processor: Processor) -> None:
    assert "186" in processor.tokenizer.tokenize("speed_px_s 186.9, growth 1.18")
