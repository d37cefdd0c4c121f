"""The record of one CoTA episode, and the corpus that holds many."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from pixelis_agent.images import StoredImage

VERSION: Literal["pixelis-cota-1"] = "pixelis-cota-1"

Box = tuple[float, float, float, float]


class CorpusError(ValueError):
    """A corpus that cannot be read; the message says where it is broken."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ImageRef(_Part):
    """One image of a turn.

    Attributes:
        file: Its native pixels, in the corpus' folder.
        factor: How many times it was enlarged before it was shown (`wrappers.enlarged`), >= 1.
        time: When the frame that it shows appears, s.
        region: The whole pixels of the medium that it shows, (x0, y0, x1, y1), half open; the
            file has as many.
        size: Width and height of the medium, px.
    """

    file: str = Field(pattern=r"^media/[0-9a-f]{2}/[0-9a-f]{32}\.webp$")
    factor: int = Field(ge=1)
    time: float
    region: tuple[int, int, int, int]
    size: tuple[int, int]


class Target(_Part):
    """What a call's box or point is meant to show.

    Attributes:
        name: What the question calls it.
        k: Its number in `Task.truth`.
        time: Of the frame that the call looks at, s.
        box: The exact box of its visible pixels there, source px.
    """

    name: str
    k: int
    time: float
    box: Box


class UserTurn(_Part):
    """The question and what is shown with it."""

    role: Literal["user"] = "user"
    text: str
    images: list[ImageRef]


class ToolTurn(_Part):
    """What a tool answered."""

    role: Literal["tool"] = "tool"
    text: str
    images: list[ImageRef]


class AssistantTurn(_Part):
    """What the agent wrote.

    Attributes:
        text: Thought and call or answer, as `pixelis_env.wrappers.ToolCall` reads it.
        learn: Whether to imitate it; False for a wrong step that is repaired later.
        op: The operation; None where the call cannot be read as one.
        target: What its box or point is meant to show, where it has one and shows a target.
        pointing: The target's box in each image shown so far, source px, clipped to the image's
            region; None where the image does not show it. None where there is no target.
        span: Start and end that it names, s.
        refs: Ids of the evidence that it names.
    """

    role: Literal["assistant"] = "assistant"
    text: str
    learn: bool = True
    op: str | None = None
    target: Target | None = None
    pointing: list[Box | None] | None = None
    span: tuple[float, float] | None = None
    refs: list[str] = []


Turn = Annotated[Union[UserTurn, AssistantTurn, ToolTurn], Field(discriminator="role")]


class Record(_Part):
    """One episode.

    Attributes:
        version: Of this layout.
        id: Unique in its corpus.
        env_id: The environment's registered id; "" where none was played.
        env_kwargs: The environment's keyword arguments.
        index: The task's index in its source.
        variant: Which of the episodes on this task it is, from 0.
        task_type: The question type.
        level: Difficulty, 1..3; 0 = unknown.
        gold: The task's right answer; None = unknown.
        score: Of the episode, 0..1; None = unknown.
        turns: The question, then turns of the agent and the tools in turn; an answer comes last.
        trace: File of the episode's trace in the corpus' folder; None where none was played.
        medium: File of the image or video that it was played on, in the corpus' folder; None where
            the environment makes or finds it by itself.
    """

    version: Literal["pixelis-cota-1"] = VERSION
    id: str = Field(pattern=r"^[A-Za-z0-9_.+-]{1,128}$")
    env_id: str = ""
    env_kwargs: dict[str, Any] = {}
    index: int
    variant: int = 0
    task_type: str
    level: int = 0
    gold: str | None = None
    score: float | None = None
    turns: list[Turn]
    trace: str | None = None
    medium: str | None = None
    _folder: Path | None = PrivateAttr(default=None)

    def observation(self, turn: int) -> dict[str, Any]:
        """What turn number `turn` showed, as `pixelis_env.wrappers.ToolCall` gives it.

        Its images are `StoredImage`s: they are read when their pixels are needed.

        Raises:
            ValueError: It is a turn of the agent, or the record was not read from a corpus.
        """
        said = self.turns[turn]
        if isinstance(said, AssistantTurn):
            raise ValueError(f"turn {turn} of {self.id} is the agent's: it shows nothing")
        return {
            "text": said.text,
            "images": [self.image(ref) for ref in said.images],
            "times": [ref.time for ref in said.images],
            "regions": [ref.region for ref in said.images],
        }

    def image(self, ref: ImageRef) -> StoredImage:
        """An image as it was shown.

        Raises:
            ValueError: The record was not read from a corpus.
        """
        if self._folder is None:
            raise ValueError(f"record {self.id} was not read from a corpus: its images are unknown")
        x0, y0, x1, y1 = ref.region
        size = (x1 - x0) * ref.factor, (y1 - y0) * ref.factor
        return StoredImage(self._folder / ref.file, ref.factor, *size)

    def direct(self) -> Record:
        """The same question answered at once and rightly, for a policy without tools.

        Raises:
            ValueError: The right answer is unknown.
        """
        if self.gold is None:
            raise ValueError(f"the right answer to {self.id} is unknown")
        answer = AssistantTurn(text=f"<answer>{self.gold}</answer>", op="answer")
        update = {"turns": [self.turns[0], answer], "score": 1.0, "trace": None}
        return self.model_copy(update=update)


class Corpus(Sequence[Record]):
    """The records of a folder, read one at a time when they are asked for.

    Args:
        folder: What `cota.generate` or `cota.convert` wrote.
        direct: Give each record's version without tools (`Record.direct`).

    Raises:
        CorpusError: The folder holds no shards.
    """

    def __init__(self, folder: str | Path, *, direct: bool = False) -> None:
        self.folder = Path(folder)
        self.shards = sorted(self.folder.glob("shard-*.jsonl"))
        if not self.shards:
            raise CorpusError(f"{self.folder} holds no shard-*.jsonl: is it a corpus?")
        self._direct = direct
        self._offsets = [_line_offsets(path) for path in self.shards]
        self._ends = list(accumulate(len(offsets) for offsets in self._offsets))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"no record {index}: there are {len(self)}")
        index %= len(self)
        shard = bisect_right(self._ends, index)
        line = index - (self._ends[shard - 1] if shard else 0)
        with self.shards[shard].open("rb") as file:
            file.seek(self._offsets[shard][line])
            data = file.readline()
        where = f"{self.shards[shard].name} line {line + 1}"
        record = parse_record(data, where, self.folder)
        return record.direct() if self._direct else record

    def __iter__(self) -> Iterator[Record]:
        return (self[i] for i in range(len(self)))


def read_cota(folder: str | Path, *, direct: bool = False) -> Corpus:
    """Opens a corpus; see `Corpus`."""
    return Corpus(folder, direct=direct)


def parse_record(data: bytes, where: str, folder: Path) -> Record:
    """A record from its line; `where` is what messages call it.

    Raises:
        CorpusError: It is no record; the message names the first field that is wrong.
    """
    try:
        record = Record.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"])) or "its start"
        raise CorpusError(f"{where} is no record: at {field}: {first['msg']}") from None
    record._folder = folder
    return record


def record_line(record: Record) -> bytes:
    """A record's line: equal records are equal bytes."""
    data = record.model_dump(mode="json")
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _line_offsets(path: Path) -> list[int]:
    """Where each line of a file begins, bytes."""
    offsets, at = [], 0
    with path.open("rb") as file:
        for line in file:
            offsets.append(at)
            at += len(line)
    return offsets
