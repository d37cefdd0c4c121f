"""The tokenizer of `pixelis-tiny`: a small byte-level BPE with Qwen's markers and its own template.

Numbers up to 1000 are tokens of their own, so that a coordinate is one choice. Numbers of three
digits or more in a text (after a quotation mark, a word, or a tag: what a sign says, an answer) are
written digit by digit: each of 900 whole numbers is seen too rarely to be copied. Words and the
punctuation between them may merge, so that the skeleton of a tool call costs few tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

VOCABULARY = 1280
"""Entries at the most, numbers aside."""

NUMBERS = tuple(str(number) for number in range(10, 1001))

MARKERS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Special tokens, the first is padding. They have Qwen's names, not its ids."""

TAGS = (
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<answer>",
    "</answer>",
)
"""Tokens that are one piece but part of the text."""

# Qwen3-VL's layout without what is the same in every chat: the system prompt and the tools'
# schemas, which this model knows by training, would double the length of an episode.
TEMPLATE = """\
{%- for message in messages if message.role != 'system' -%}
{{- '<|im_start|>' + ('user' if message.role == 'tool' else message.role) + '\\n' -}}
{%- if message.role == 'tool' -%}{{- '<tool_response>' -}}{%- endif -%}
{%- if message.content is string -%}{{- message.content -}}{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- else -%}{{- part.text -}}{%- endif -%}
{%- endfor -%}{%- endif -%}
{%- if message.role == 'tool' -%}{{- '</tool_response>' -}}{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""

# The digits of a number in a text (one with a fraction is a measurement); other numbers; a word
# with the space before it; what stands between words, without that space. The tokenizer begins
# anew after a tag. What looks back has a fixed width, so each digit has its own rule.
_AFTER = r"""(?<=["> ]\d{%d}|\A\d{%d})(?<![,:] \d{%d})"""
_DIGITS = "|".join(_AFTER % (k, k, k) + rf"\d(?=\d{{{2 - k}}})(?!\d*\.\d)" for k in range(3))
_WORDS = r" ?\p{L}+|[^\p{L}\p{N}]+?(?= ?\p{L}|\p{N}|$)|[^\p{L}\p{N}]+"


def train_tokenizer(texts: Iterable[str]) -> Any:
    """A transformers tokenizer with at most `VOCABULARY` entries and `NUMBERS`, from `texts`."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

    def split(pieces: str) -> Any:
        return pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(pieces), "isolated"), byte_level]
        )

    tokenizer.pre_tokenizer = split(rf"\p{{N}}|{_WORDS}")
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(TAGS),
        special_tokens=list(MARKERS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer = Tokenizer.from_str(_with_numbers(tokenizer.to_str()))
    tokenizer.pre_tokenizer = split(rf"{_DIGITS}|1000|\d{{1,3}}|\p{{N}}|{_WORDS}")
    tokenizer.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in TAGS])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=MARKERS[0],
        eos_token="<|im_end|>",
        additional_special_tokens=list(MARKERS[1:]),
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE
    return fast


def _with_numbers(tokenizer: str) -> str:
    """A serialized BPE tokenizer with `NUMBERS` in its vocabulary, put together from digits."""
    made = json.loads(tokenizer)
    vocabulary, merges = made["model"]["vocab"], made["model"]["merges"]
    for number in NUMBERS:
        vocabulary[number] = len(vocabulary)
    for number in NUMBERS:
        halves = ((number[:cut], number[cut:]) for cut in range(1, len(number)))
        merges.extend([a, b] for a, b in halves if a in vocabulary and b in vocabulary)
    return json.dumps(made)


def token_ids(tokenizer: Any) -> dict[str, int]:
    """The ids that `tiny_config` asks for."""
    names = {
        "image": "<|image_pad|>",
        "video": "<|video_pad|>",
        "vision_start": "<|vision_start|>",
        "vision_end": "<|vision_end|>",
        "eos": "<|im_end|>",
        "pad": MARKERS[0],
    }
    return {key: int(tokenizer.convert_tokens_to_ids(name)) for key, name in names.items()}
