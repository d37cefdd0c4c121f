"""The environment in the forms that other code expects: flat arrays, or text and images."""

from __future__ import annotations

import re
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image

from pixelis_env.actions import Malformed
from pixelis_env.codec import FlatCodec
from pixelis_env.describe import describe
from pixelis_env.env import PixelisEnv
from pixelis_env.evidence import Mask, TextLines, Tracklet, View
from pixelis_env.observation import (
    OVERVIEW_FRAMES,
    OVERVIEW_SIZE,
    current_look,
    observation_space,
    overview_indices,
)
from pixelis_env.tools.spans import frame_time
from pixelis_env.workspace import ViewRef

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_MARK = re.compile(r"<\|(?=[^<>|\s]+\|>)")
_TAG = re.compile(r"</?(?:tool_call|answer)>")


def unwrap(env: gym.Env[Any, Any]) -> PixelisEnv:
    """The Pixelis environment inside wrappers.

    Raises:
        TypeError: There is another one inside.
    """
    if not isinstance(env.unwrapped, PixelisEnv):
        raise TypeError(f"this wraps a Pixelis environment, not {type(env.unwrapped).__name__}")
    return env.unwrapped


class FlatAction(gym.Wrapper[Any, Any, Any, Any]):
    """`MultiDiscrete` actions and images of three dimensions, as Stable-Baselines3 takes them.

    The action is `pixelis_env.codec.FlatCodec`'s. The overview becomes one contact sheet, uint8
    (224, 448, 3), two rows of four frames.

    Args:
        env: A Pixelis environment.
    """

    _ROWS = 2

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.flat = FlatCodec(unwrap(env).codec)
        self.action_space = self.flat.space
        columns = OVERVIEW_FRAMES // self._ROWS
        sheet = (self._ROWS * OVERVIEW_SIZE, columns * OVERVIEW_SIZE, 3)
        fields = dict(observation_space().items())
        fields["overview"] = spaces.Box(0, 255, sheet, np.uint8)
        self.observation_space = spaces.Dict(fields)

    def reset(self, **kwargs: Any) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """As the wrapped environment's."""
        observation, info = self.env.reset(**kwargs)
        return self._sheet(observation), info

    def step(
        self, action: NDArray[np.integer[Any]]
    ) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        """Carries out a flat action; what is not in the action space is an invalid call."""
        array = np.asarray(action)
        if array.dtype.kind in "iu" and self.flat.space.contains(array):
            structured: Any = self.flat.unflatten(array)
        else:
            count = len(self.flat.space.nvec)
            structured = Malformed(reason=f"a flat action is {count} integers in their ranges")
        observation, reward, terminated, truncated, info = self.env.step(structured)
        return self._sheet(observation), float(reward), terminated, truncated, info

    def _sheet(self, observation: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        tiles = observation["overview"]
        columns = OVERVIEW_FRAMES // self._ROWS
        grid = tiles.reshape(self._ROWS, columns, *tiles.shape[1:]).swapaxes(1, 2)
        shape = (self._ROWS * OVERVIEW_SIZE, columns * OVERVIEW_SIZE, 3)
        return {**observation, "overview": grid.reshape(shape)}


class _Turn(spaces.Space[Any]):
    """What a turn of a dialogue is: checked by type, since texts and images have no bounds."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self._kind = kind

    def contains(self, x: Any) -> bool:
        return isinstance(x, self._kind)

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        raise NotImplementedError("a dialogue turn has no distribution to sample from")

    @property
    def is_np_flattenable(self) -> bool:
        return False


class ToolCall(gym.Wrapper[Any, Any, Any, Any]):
    """Text in, text and images out: the environment as a language model's tool.

    An action is the model's whole turn: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`
    or an `<answer>...</answer>`, with any thought around it, or bare tool-call JSON. What stands
    inside `<think>...</think>` is not looked at. A turn with neither, with more than one, or with
    one that is not closed is an invalid call.

    An observation is `{"text": str, "images": [PIL.Image, ...], "times": [float, ...], "regions":
    [(x0, y0, x1, y1), ...]}`: at the reset the prompt and the overview frames, afterwards one line
    about the evidence and, where it has a place, its pixels. Marks of chat templates in it, such as
    `<|im_end|>`, stand there as `< |im_end|>`. For each image `times` holds when the
    frame that it shows appears, in seconds, and `regions` which whole pixels of the source it
    shows, half open.

    Args:
        env: A Pixelis environment. Its `frame` is that of the coordinates in both directions.
        min_side: Images are enlarged by whole factors until their longer side has this many
            pixels, so that a small crop is worth looking at. In pixels.
    """

    def __init__(self, env: gym.Env[Any, Any], *, min_side: int = 224) -> None:
        super().__init__(env)
        self._pixelis = unwrap(env)
        self._min_side = min_side
        self.action_space = _Turn(str)
        self.observation_space = _Turn(dict)

    def tools(self, style: Literal["openai", "anthropic"] = "openai") -> list[dict[str, Any]]:
        """The operations as tool schemas in the form that the named API takes."""
        return self._pixelis.tool_calls.schemas(style)

    def reset(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts an episode: the prompt, what e0 is, and the overview frames."""
        _, info = self.env.reset(**kwargs)
        media = self._pixelis.task.media
        indices = overview_indices(media)
        words = describe(self._pixelis.workspace, "e0", self._pixelis.tool_calls.frame)
        images = [Image.fromarray(media.frame(i)) for i in indices]
        looks = [ViewRef(index, self._pixelis.workspace.bounds) for index in indices]
        return self._observation(f"{info['prompt']}\n{words}", images, looks), info

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Carries out the model's turn."""
        _, reward, terminated, truncated, info = self.env.step(self._parse(action))
        images: list[Image.Image] = []
        looks: list[ViewRef] = []
        text = "The episode is over."
        if "evidence_id" in info:
            workspace, frame = self._pixelis.workspace, self._pixelis.tool_calls.frame
            text = describe(workspace, info["evidence_id"], frame)
            if isinstance(info["evidence"], (View, Mask, TextLines, Tracklet)):
                images, looks = [self._enlarge(info["view"])], [current_look(workspace)]
        observation = self._observation(text, images, looks)
        return observation, float(reward), terminated, truncated, info

    def _observation(
        self, text: str, images: list[Image.Image], looks: list[ViewRef]
    ) -> dict[str, Any]:
        times = [frame_time(self._pixelis.task.media, look.frame_index) for look in looks]
        regions = [tuple(look.region) for look in looks]
        return {"text": _inert(text), "images": images, "times": times, "regions": regions}

    def _parse(self, turn: Any) -> Any:
        if not isinstance(turn, str):
            return Malformed(reason=f"a turn is text, not {type(turn).__name__}")
        said = _THOUGHT.sub("", turn)
        tags = _TAG.findall(said)
        if not tags and said.lstrip().startswith("{"):
            return said
        # Every tag counts, closed or not: half a call must not let an answer through.
        if tags == ["<answer>", "</answer>"]:
            text = said.partition("<answer>")[2].partition("</answer>")[0]
            return {"name": "answer", "arguments": {"text": text.strip()}}
        if tags == ["<tool_call>", "</tool_call>"]:
            return said.partition("<tool_call>")[2].partition("</tool_call>")[0]
        return Malformed(
            reason='write one <tool_call>{"name": ..., "arguments": {...}}</tool_call> or one '
            "<answer>...</answer> in a turn"
        )

    def _enlarge(self, image: Image.Image) -> Image.Image:
        return enlarged(image, -(-self._min_side // max(image.size)))


def _inert(text: str) -> str:
    """Words that a chat template would take for its own marks, made words: "< |im_end|>".

    What was read off pixels, or echoed of a turn, must not end a turn or begin another's.
    """
    return _MARK.sub("< |", text)


def enlarged(image: Image.Image, factor: int) -> Image.Image:
    """An image enlarged by a whole factor >= 1, as `ToolCall` shows it."""
    if factor == 1:
        return image
    size = (image.width * factor, image.height * factor)
    return image.resize(size, Image.Resampling.BICUBIC)
