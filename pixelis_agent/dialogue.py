"""An episode as a chat: what the environment says becomes the turns that a model is fed.

The model's own template writes everything around the text. What follows a turn of the model is
found by rendering a short chat with a stand-in for that turn and keeping what stands after it: so
the tokens that the model wrote are never rendered again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pixelis_agent.images import Picture
from pixelis_agent.models.processor import TURN_END, Processor
from pixelis_agent.rollout import Fed
from pixelis_agent.spans import Label, label_tokens
from pixelis_env.serve.episode import captioned, conventions

SYSTEM = (
    "You answer questions about images and videos by acting on their pixels. In each turn think "
    "briefly, then either call one tool or give the answer as <answer>...</answer>. "
    + conventions("rel1000")
)

_STAND_IN = "\u2603"  # a character that no template holds


class Dialogue:
    """Turns observations of `pixelis_env.wrappers.ToolCall` into what a model is fed.

    Args:
        processor: The model's processor.
        tools: The tools' schemas (`ToolCall.tools()`), which the template shows to the model.
    """

    def __init__(self, processor: Processor, tools: Sequence[dict[str, Any]]) -> None:
        self.processor = processor
        self._tools = list(tools)
        self._opening = processor.tokenizer.encode(
            self._after_turn("", []).rpartition(TURN_END)[2].lstrip("\n"), add_special_tokens=False
        )

    def open(self, observation: dict[str, Any]) -> Fed:
        """The chat up to the model's first turn; the question stands before the images."""
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": question_blocks(observation)},
        ]
        return self._feed(self.processor.render(messages, self._tools), observation["images"])

    def reply(self, observation: dict[str, Any], *, ended: bool) -> Fed:
        """A tool's result, up to the model's next turn.

        Args:
            observation: What the environment answered.
            ended: Whether the model's turn had its end-of-turn token.
        """
        text = self._after_turn(observation["text"], observation["images"])
        return self._feed(text.removeprefix(TURN_END) if ended else text, observation["images"])

    def written(self, text: str) -> tuple[list[int], list[Label]]:
        """A turn that was not sampled, with its end: its tokens, and what each is."""
        tokenizer = self.processor.tokenizer
        tokens = [*tokenizer.encode(text, add_special_tokens=False), self.processor.end_id]
        return tokens, label_tokens(tokenizer, tokens, self.processor.end_ids)

    def _after_turn(self, result: str, images: Sequence[Picture]) -> str:
        content: list[dict[str, Any]] = [{"type": "text", "text": result}]
        content += [{"type": "image", "image": image} for image in images]
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": [{"type": "text", "text": "?"}]},
            {"role": "assistant", "content": _STAND_IN},
            {"role": "tool", "content": content},
        ]
        return self.processor.render(messages, None).partition(_STAND_IN)[2]

    def _feed(self, text: str, images: Sequence[Picture]) -> Fed:
        fed = self.processor.feed(text, images)
        # The words that open the model's turn are the template's.
        count = len(self._opening)
        if fed.tokens[-count:] == self._opening:
            fed.labels[-count:] = [Label.TEMPLATE] * count
        return fed


def question_blocks(observation: dict[str, Any]) -> list[dict[str, Any]]:
    """What the environment says at the reset: the question, then each frame after its time."""
    return [
        {"type": kind, kind: part}
        for part in captioned(observation)
        for kind in ("text" if isinstance(part, str) else "image",)
    ]
