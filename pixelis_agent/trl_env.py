"""Pixelis in TRL: the operations as tools of `GRPOTrainer(environment_factory=...)`.

    trainer = GRPOTrainer(
        model,
        reward_funcs=episode_reward,
        environment_factory=partial(PixelisToolEnv, "Pixelis-v0"),
        train_dataset=Dataset.from_list(dataset_rows(range(1000))),
        processing_class=trl_processor(processor),
        ...
    )

A rollout's dialogue is, token for token, the one that `pixelis_agent.dialogue` feeds. TRL carries
out every call that stands in a turn, each as a step of its own, and ends a rollout at the first
turn without one.
"""

# The tools' bodies are `_operation`'s.
# mypy: disable-error-code="empty-body"
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import wraps
from typing import Any, TypeVar

from transformers import Qwen3VLProcessor

from pixelis_agent.dialogue import SYSTEM, question_blocks
from pixelis_agent.images import shown
from pixelis_agent.models.processor import Processor
from pixelis_env.making import make_env
from pixelis_env.serve.episode import Episode

Tool = TypeVar("Tool", bound=Callable[..., list[dict[str, Any]]])

_TURN_END = "{{- '<|im_end|>"
_CALLS = (
    "{%- for call in message.tool_calls or [] -%}"
    "{{- '<tool_call>' + call.function | tojson + '</tool_call>' -}}"
    "{%- endfor -%}"
)

_RESPONSE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "reasoning_content": {"open": "<think>", "close": "</think>", "content": "text"},
        "tool_calls": {
            "open_pattern": r"\s*<tool_call>",
            "close": "</tool_call>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close_pattern": r"\s*<\|im_end\|>", "content": "text"},
    },
}
"""How transformers reads a turn: thought, tool calls, and what else was said."""


def _operation(declared: Tool) -> Tool:
    """Makes a tool of a method that only declares one.

    Whatever arguments a model gives go to the environment, so that a wrong one is an invalid call
    there, which counts as a step; Python's own check would keep it from the environment.
    """

    @wraps(declared)
    def carry_out(self: PixelisToolEnv, /, **arguments: Any) -> list[dict[str, Any]]:
        return self._shown(self._episode.call(declared.__name__, arguments))

    return carry_out  # type: ignore[return-value]


class PixelisToolEnv:
    """A Pixelis environment whose operations are methods, as TRL's environment factories make it.

    A method takes keyword arguments and returns content blocks: a line about the evidence and,
    where it has a place, its pixels. Coordinates are in the environment's `frame`, "rel1000"
    unless the arguments say otherwise.

    Args:
        env_id: A registered environment.
        env_kwargs: Its keyword arguments.

    Attributes:
        reward: The sum over the steps of the episode so far.
        score: 0..1 once the episode is over; None before, and where there is no known answer.
    """

    reward: float
    score: float | None

    def __init__(self, env_id: str = "Pixelis-v0", **env_kwargs: Any) -> None:
        self._episode = Episode(make_env(env_id, env_kwargs))
        self.reward, self.score = 0.0, None

    def reset(self, *, index: int | None = None, **row: Any) -> list[dict[str, Any]]:
        """Starts an episode.

        Args:
            index: Which task.
            row: The other columns of the dataset; not looked at.

        Returns:
            The question and the overview frames, each after its time.

        Raises:
            ValueError: No index, or one outside the source.
        """
        if index is None:
            raise ValueError(
                "the dataset has no column 'index', which says which task a row is (rollouts of "
                "one group must get the same): make its rows with dataset_rows(indices)"
            )
        observation = self._episode.start(index=index)
        self.reward, self.score = 0.0, None
        return question_blocks(observation)

    @_operation
    def zoom(
        self, *, box: list[float], source: str = "e0", time: float | None = None
    ) -> list[dict[str, Any]]:
        """Crop a box out of a view: its pixels at their native resolution.

        Args:
            box: (x0, y0, x1, y1), x to the right, y down. Coordinates: 0..1000 over the view.
            source: The view to work on; coordinates are relative to it.
            time: Seconds into the video; default: the time of the named view (e0: its start).
        """

    @_operation
    def segment(
        self,
        *,
        box: list[float] | None = None,
        point: list[float] | None = None,
        source: str = "e0",
        time: float | None = None,
    ) -> list[dict[str, Any]]:
        """Outline the object that a box encloses or a point touches. Give exactly one of the two.

        Args:
            box: (x0, y0, x1, y1), x to the right, y down. Coordinates: 0..1000 over the view.
            point: (x, y) on the object. Coordinates: 0..1000 over the view.
            source: The view to work on; coordinates are relative to it.
            time: Seconds into the video; default: the time of the named view (e0: its start).
        """

    @_operation
    def track(self, *, target: str, span: list[float] | None = None) -> list[dict[str, Any]]:
        """Follow an object (a mask, or the content of a zoomed view) through a span of the video.

        Args:
            target: The mask or view that shows the object.
            span: (start, end) in seconds; end < start goes backwards; default: from the target's
                time to the end of the video.
        """

    @_operation
    def read_text(
        self,
        *,
        source: str = "e0",
        box: list[float] | None = None,
        time: float | None = None,
    ) -> list[dict[str, Any]]:
        """Read the text in a view, or in a box of it.

        Args:
            source: The view to work on; coordinates are relative to it.
            box: (x0, y0, x1, y1), x to the right, y down. Default: the whole view. Coordinates:
                0..1000 over the view.
            time: Seconds into the video; default: the time of the named view (e0: its start).
        """

    @_operation
    def localize(
        self,
        *,
        target: str | None = None,
        text: str | None = None,
        span: list[float] | None = None,
    ) -> list[dict[str, Any]]:
        """Find when a target (evidence) or a text is visible; with neither, the scenes between
        cuts.

        Args:
            target: Evidence that shows what to look for.
            text: Text to look for.
            span: (start, end) in seconds to search; default: the whole video.
        """

    @_operation
    def properties(self, *, targets: list[str]) -> list[dict[str, Any]]:
        """Measure evidence: area, box, colour, orientation, speed, text ... and how several relate.

        Args:
            targets: The evidence to measure.
        """

    @_operation
    def answer(self, *, text: str, evidence: list[str] | None = None) -> list[dict[str, Any]]:
        """Answer the question and end the episode.

        Args:
            text: What the question asks for: an option's letter, a number, a text, or 'start-end'
                in seconds.
            evidence: The evidence that the answer rests on.
        """

    def _step(self, turn: str) -> list[dict[str, Any]]:
        """What comes of a turn; nothing where the episode is over."""
        return self._shown(self._episode.play(turn))

    def _shown(self, observation: dict[str, Any]) -> list[dict[str, Any]]:
        self.reward, self.score = self._episode.reward, self._episode.score
        images = [{"type": "image", "image": shown(image)} for image in observation["images"]]
        return [{"type": "text", "text": observation["text"]}, *images]


def episode_reward(
    completions: Sequence[list[dict[str, Any]]],
    environments: Sequence[PixelisToolEnv],
    **columns: Any,
) -> list[float]:
    """The reward of each rollout: what its environment gave, the task's score among it.

    TRL shows an environment tool calls only. So a last turn without one, be it an
    `<answer>...</answer>` or no turn that the environment knows, is handed in here.

    Args:
        completions: The messages of each rollout after its prompt.
        environments: That they were played in.
        columns: What else TRL gives to reward functions; not looked at.
    """
    for messages, environment in zip(completions, environments, strict=True):
        last = messages[-1]
        if last["role"] == "assistant" and not last.get("tool_calls"):
            environment._step(last["content"])
    return [environment.reward for environment in environments]


def dataset_rows(indices: Iterable[int]) -> list[dict[str, Any]]:
    """Rows of a dataset for these tasks, e.g. for `datasets.Dataset.from_list`."""
    prompt = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ""}]
    return [{"prompt": deepcopy(prompt), "index": index} for index in indices]


class ImageTextProcessor(Qwen3VLProcessor):
    """The processor of Qwen3-VL without videos, whose part needs torchvision."""

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None
    ) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def _process_images(self, images: Any, **options: Any) -> Any:
        # TRL takes images' inputs apart as tensors, which the image processor that needs
        # torchvision always gives.
        return super()._process_images(images, **{**options, "return_tensors": "pt"})


def trl_processor(processor: Processor) -> ImageTextProcessor:
    """What TRL needs as its `processing_class`, made of ours, which is left as it is.

    A template without a place for an assistant's tool calls gets one, and the tokenizer the rules
    by which TRL finds the calls in a turn.
    """
    tokenizer = deepcopy(processor.tokenizer)
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    template = tokenizer.chat_template
    if "tool_calls" not in template:
        template = template.replace(_TURN_END, _CALLS + _TURN_END)
    tokenizer.chat_template = template
    if getattr(tokenizer, "response_template", None) is None:
        tokenizer.response_template = _RESPONSE
    return ImageTextProcessor(processor.image_processor, tokenizer, chat_template=template)
