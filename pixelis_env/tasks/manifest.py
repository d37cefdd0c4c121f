"""A user's own questions: a file of JSON lines beside the media.

Each line is an object. `media` (an image, a video, or with `fps` a folder of numbered images,
relative to the file) and `question` (without options) are required. There may be:

- `id`, unique in the file (default: `<file>:<line>`), and `type`, the question type;
- `options`, the texts of 2..26 options without letters;
- `answer`, a letter, number, text, `start-end` in seconds, or a list of right texts; without it
  episodes are not scored;
- `metric`, one of `scoring.METRICS` (default: `letter` with options, else `anls`);
- `span`, [start, end] in seconds: the medium is this part of the video and no more;
- `fps`, frames a second of a folder of images;
- `evidence`, where the targets show: `[{"name": ..., "boxes": [{"frame": 0, "box": [x0, y0, x1,
  y1]}]}]`, in source pixels, frames from 0 (of the part, where there is a `span`);
- `meta`, an object of your own columns, for `where=`.

`python -m pixelis_env.tasks.validate FILE` names every fault by its line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)

from pixelis_env.media import Decoder
from pixelis_env.tasks.benchmarks.rows import BadRow, Fault, Locator, Row, golds, read_rows
from pixelis_env.tasks.benchmarks.source import RowSource, Where
from pixelis_env.tasks.benchmarks.tables import Record, read_table
from pixelis_env.tasks.stated import StatedTruth

SUFFIX = ".jsonl"

SCORERS = ("metric-mean", "letter-accuracy", "anls", "vsi-official", "vsi-lenient", "mmmu-accuracy")

_Number = Union[StrictInt, StrictFloat]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class BoxAt(_Part):
    """Where a target shows in one frame."""

    frame: Annotated[StrictInt, Field(ge=0)]
    box: tuple[_Number, _Number, _Number, _Number]


class Target(_Part):
    """A target of the question."""

    name: StrictStr
    boxes: list[BoxAt]


class Entry(_Part):
    """A line of a manifest; see the module."""

    media: StrictStr
    question: StrictStr
    id: Union[StrictStr, None] = None
    type: StrictStr = "question"
    options: Union[list[StrictStr], None] = None
    answer: Union[StrictStr, StrictInt, StrictFloat, list[StrictStr], None] = None
    metric: Union[Literal["letter", "mra", "anls", "open", "tiou"], None] = None
    span: Union[tuple[_Number, _Number], None] = None
    fps: Annotated[Union[_Number, None], Field(gt=0)] = None
    evidence: list[Target] = []
    meta: dict[str, Any] = {}


class ManifestSource(RowSource):
    """The questions of a manifest.

    Args:
        path: The file.
        scorer: One of `SCORERS`; None: the first, each line's own metric.
        types: See `RowSource`, as the rest.
        where: See `RowSource`; the columns are those of `meta`.
        shuffle: See `RowSource`.
        shuffle_options: See `RowSource`.
        limit: See `RowSource`.
        strict: See `RowSource`.
        decoder: See `RowSource`.

    Raises:
        FaultyRows: `strict`, and a line cannot be asked.
        ValueError: The file cannot be read, or an argument is not as above.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        scorer: str | None = None,
        types: Sequence[str] | None = None,
        where: Where | None = None,
        shuffle: int | None = None,
        shuffle_options: int | None = None,
        limit: int | None = None,
        strict: bool = True,
        decoder: Decoder = "pyav",
    ) -> None:
        file = Path(path).absolute()
        rows = read_manifest(file)
        if not rows:
            raise ValueError(f"{file}: holds no line; a line is a question: see docs/sources.md")
        super().__init__(
            file.name,
            rows,
            protocol=SCORERS[0] if scorer is None else scorer,
            scorers=SCORERS,
            types=types,
            where=where,
            shuffle=shuffle,
            shuffle_options=shuffle_options,
            limit=limit,
            strict=strict,
            decoder=decoder,
        )


def read_manifest(file: Path) -> list[Row | Fault]:
    """Every line as a row or as a fault.

    Raises:
        ValueError: The file cannot be read.
    """
    return read_rows(read_table(file), lambda record: _parse(file.parent, record), "id")


def _parse(folder: Path, record: Record) -> Row:
    try:
        entry = Entry.model_validate(record.values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"][:1])) or "the line"
        raise BadRow(f"{where}: {first['msg']}") from None
    several = entry.answer if isinstance(entry.answer, list) else None
    metric = entry.metric or ("letter" if entry.options is not None else "anls")
    if several is not None and metric not in ("anls", "open"):
        raise BadRow(f"answer: a list of right answers goes with anls or open, not {metric!r}")
    answer = None if entry.answer is None else str(entry.answer)
    return Row(
        id=record.where if entry.id is None else entry.id,
        type=entry.type,
        question=entry.question,
        options=None if entry.options is None else tuple(entry.options),
        answer=answer if several is None else golds(several),
        metric=metric,
        medium=Locator(folder / entry.media, entry.span, entry.fps),
        truth=_truth(entry.evidence),
        columns=entry.meta,
    )


def _truth(targets: Sequence[Target]) -> StatedTruth | None:
    if not targets:
        return None
    for target in targets:
        for at in target.boxes:
            x0, y0, x1, y1 = at.box
            if not (x0 < x1 and y0 < y1):
                raise BadRow(f"evidence: the box {list(at.box)} is not x0 < x1 and y0 < y1")
    return StatedTruth(
        [target.name for target in targets],
        [{at.frame: at.box for at in target.boxes} for target in targets],
    )
