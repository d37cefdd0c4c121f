"""An episode while it is written: each turn is played in the environment and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from pixelis_agent.cota.media import store_image
from pixelis_agent.cota.record import (
    AssistantTurn,
    Box,
    ImageRef,
    Record,
    Target,
    ToolTurn,
    Turn,
    UserTurn,
)
from pixelis_env.actions import Action
from pixelis_env.coordinates import Region
from pixelis_env.env import PixelisEnv
from pixelis_env.evidence import Evidence
from pixelis_env.tasks import Task
from pixelis_env.wrappers import ToolCall, enlarged


class Aim(NamedTuple):
    """Which target a call is about, and the frame that it looks at."""

    k: int
    frame: int


class Story:
    """One episode. Its images go into the corpus as they come.

    Args:
        env: Just reset.
        observation: What the reset gave.
        folder: Of the corpus.
        boxes: True boxes by target and frame, shared by the episodes on one task.
    """

    def __init__(
        self,
        env: ToolCall,
        observation: dict[str, Any],
        folder: Path,
        boxes: dict[Aim, Box | None],
    ) -> None:
        base = env.unwrapped
        assert isinstance(base, PixelisEnv)
        self.env, self.base = env, base
        self.score: float | None = None
        self.over = False
        self._folder, self._boxes = folder, boxes
        self._shown: list[tuple[int, ImageRef]] = []
        images = [(image, 1) for image in observation["images"]]
        self.turns: list[Turn] = [
            UserTurn(text=observation["text"], images=self._keep(images, observation))
        ]

    @property
    def task(self) -> Task:
        """What is asked."""
        return self.base.task

    @property
    def last(self) -> Evidence:
        """The newest evidence."""
        return self.base.workspace.last

    @property
    def last_id(self) -> str:
        """Its id."""
        return f"e{len(self.base.workspace) - 1}"

    def call(
        self, thought: str, call: dict[str, Any], *, aim: Aim | None = None, learn: bool = True
    ) -> Evidence:
        """Writes a tool call and keeps its result.

        Args:
            thought: What is said before it.
            call: A tool call as `ToolCallCodec.encode` makes it; any JSON object.
            aim: The target, where the call's box or point is meant to show one.
            learn: Whether to imitate it.

        Returns:
            The evidence that it gave, a `ToolError` for an invalid one.
        """
        text = f"{thought} <tool_call>{json.dumps(call, ensure_ascii=False)}</tool_call>".lstrip()
        arguments = call["arguments"]
        span = arguments.get("span")
        turn = AssistantTurn(
            text=text,
            learn=learn,
            op=call["name"],
            span=None if span is None else (span[0], span[1]),
            refs=_references(arguments),
        )
        if aim is not None:
            turn.target, turn.pointing = self._target(aim), self._pointing(aim.k)
        self.turns.append(turn)
        observation, _, _, truncated, info = self.env.step(text)
        native = [info["view"]] if observation["images"] else []
        images = []
        for image, shown in zip(native, observation["images"], strict=True):
            factor = shown.width // image.width
            if enlarged(image, factor).tobytes() != shown.tobytes():
                raise RuntimeError("an image was not enlarged as the corpus does it")
            images.append((image, factor))
        self.turns.append(
            ToolTurn(text=observation["text"], images=self._keep(images, observation))
        )
        self.over = truncated
        self.score = info.get("score")
        return info["evidence"]

    def act(
        self, thought: str, action: Action, *, aim: Aim | None = None, learn: bool = True
    ) -> Evidence:
        """Writes a typed action as a tool call; see `call`."""
        return self.call(thought, self.base.tool_calls.encode(action), aim=aim, learn=learn)

    def answer(self, thought: str, text: str) -> None:
        """Writes the answer, which ends the episode."""
        said = f"{thought} <answer>{text}</answer>".lstrip()
        self.turns.append(AssistantTurn(text=said, op="answer"))
        _, _, _, _, info = self.env.step(said)
        self.over, self.score = True, info.get("score")

    def box(self, aim: Aim) -> Box | None:
        """The true box of a target in a frame, source px; None where it does not show."""
        if aim not in self._boxes:
            assert self.task.truth is not None
            self._boxes[aim] = self.task.truth.box(aim.k, aim.frame)
        return self._boxes[aim]

    def record(self, name: str, variant: int, level: int, trace: str | None) -> Record:
        """The whole episode; see `Record` for the arguments."""
        header = self.base.trace().header
        return Record(
            id=name,
            env_id=header.env_id,
            env_kwargs=header.kwargs,
            index=header.index,
            variant=variant,
            task_type=self.task.type,
            level=level,
            gold=self.task.answer,
            score=self.score,
            turns=self.turns,
            trace=trace,
        )

    def _keep(
        self, images: list[tuple[Image.Image, int]], observation: dict[str, Any]
    ) -> list[ImageRef]:
        """Stores the images of an observation and notes which frames they show."""
        media, refs = self.task.media, []
        places = zip(images, observation["times"], observation["regions"], strict=True)
        for (image, factor), time, region in places:
            ref = ImageRef(
                file=store_image(self._folder, image),
                factor=factor,
                time=round(time, 6),
                region=region,
                size=(media.width, media.height),
            )
            refs.append(ref)
            self._shown.append((self.base.workspace.frame_at(time), ref))
        return refs

    def _target(self, aim: Aim) -> Target | None:
        box, truth = self.box(aim), self.task.truth
        if box is None or truth is None:
            return None
        time = round(float(self.task.media.times[aim.frame]), 6)
        return Target(name=truth.names[aim.k], k=aim.k, time=time, box=box)

    def _pointing(self, k: int) -> list[Box | None]:
        return [
            None if box is None else _clipped(box, Region(*ref.region))
            for box, ref in ((self.box(Aim(k, frame)), ref) for frame, ref in self._shown)
        ]


def _references(arguments: dict[str, Any]) -> list[str]:
    """The ids of evidence that a call names, in order."""
    named = [arguments.get("source"), arguments.get("target"), *arguments.get("targets", [])]
    return [name for name in named if isinstance(name, str)]


def _clipped(box: Box, region: Region) -> Box | None:
    """The part of a box inside a region; None where there is none."""
    x0, y0 = max(box[0], region.x0), max(box[1], region.y0)
    x1, y1 = min(box[2], region.x1), min(box[3], region.y1)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
