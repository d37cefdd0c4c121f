"""A benchmark's rows: what is asked, where the medium lies, and what is wrong with a row."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelis_env.media import Decoder, Media, open_media
from pixelis_env.media.clip import Clip
from pixelis_env.media.folder import FrameFolder
from pixelis_env.media.image import ImageFile
from pixelis_env.scoring import GOLD_SEPARATOR, METRICS, fits
from pixelis_env.tasks.base import Truth
from pixelis_env.tasks.benchmarks.tables import Cell, Record

MAX_OPTIONS = len(string.ascii_uppercase)


class BadRow(ValueError):
    """A row that cannot be asked; the message says why."""


@dataclass(frozen=True)
class Locator:
    """Where a medium lies; equal locators are one medium.

    Attributes:
        place: A file, a folder of frames, or an image inside a table.
        span: The part of a video that is shown, (start, end) in seconds; None: all of it.
        fps: Of a folder of frames.
    """

    place: Path | Cell
    span: tuple[float, float] | None = None
    fps: float | None = None

    @property
    def missing(self) -> bool:
        """Whether nothing is there; the medium is not opened."""
        if isinstance(self.place, Cell):
            return not self.place.file.is_file()
        return not (self.place.is_dir() if self.fps is not None else self.place.is_file())

    def open(self, decoder: Decoder = "pyav") -> Media:
        """The medium.

        Raises:
            MediaError: It is missing or damaged.
        """
        if isinstance(self.place, Cell):
            media: Media = ImageFile(self.place.read(), name=str(self.place))
        elif self.fps is not None:
            media = FrameFolder(self.place, self.fps)
        else:
            media = open_media(self.place, decoder=decoder)
        return media if self.span is None else Clip(media, *self.span)


@dataclass(frozen=True)
class Row:
    """A row that can be asked, its medium unopened.

    Attributes:
        id: Unique in the benchmark.
        type: The question type.
        question: As the benchmark words it, without options.
        options: Their texts, without letters; None for an open question.
        answer: As of `Task`; None: the benchmark keeps it secret.
        metric: As of `Task`.
        medium: Where the medium lies.
        lead: As of `Task`.
        form: As of `Task`.
        unit: Rows of one unit count once, and only as well as the worst of them.
        truth: As of `Task`.
        columns: What the file says of the row; `where=` looks at it.
    """

    id: str
    type: str
    question: str
    options: tuple[str, ...] | None
    answer: str | None
    metric: str
    medium: Locator
    lead: str | None = None
    form: str | None = None
    unit: str | None = None
    truth: Truth | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """A row that cannot be asked.

    Attributes:
        id: The row's; where it has none, `where`.
        where: Where it stands, e.g. `test.jsonl:17`.
        reason: What is wrong with it.
        type: Its question type, as far as that is known.
        unit: As of `Row`.
        columns: As of `Row`.
    """

    id: str
    where: str
    reason: str
    type: str | None = None
    unit: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        place = "" if self.where == self.id else f" ({self.where})"
        return f"{self.id}{place}: {self.reason}"


def read_rows(
    records: Iterable[Record], parse: Callable[[Record], Row], id_column: str | None
) -> list[Row | Fault]:
    """Every record as a row or as a fault, in the records' order.

    Args:
        records: As the files have them.
        parse: Makes a row; `BadRow`, `KeyError` or `TypeError` where it cannot.
        id_column: What names a record that may be broken; None or not there: where it stands.
    """
    found: list[Row | Fault] = []
    seen: dict[str, str] = {}
    for record in records:
        name = str(record.values.get(id_column or "") or record.where)
        try:
            if not record.values:
                raise BadRow("holds no object with columns")
            row = parse(record)
            check_row(row)
            if row.id in seen:
                raise BadRow(f"the id stands at {seen[row.id]} already")
        except BadRow as error:
            found.append(_fault(name, record, str(error)))
        except KeyError as error:
            found.append(_fault(name, record, f"has no column {error.args[0]!r}"))
        except TypeError as error:
            found.append(_fault(name, record, f"a column has the wrong type: {error}"))
        else:
            seen[row.id] = record.where
            if row.medium.missing:
                place = row.medium.place
                lost = place.file if isinstance(place, Cell) else place
                found.append(_fault(row.id, record, f"{lost} is missing", row))
            else:
                found.append(row)
    return found


def _fault(name: str, record: Record, reason: str, row: Row | None = None) -> Fault:
    stated = record.values.get("question_type", record.values.get("type"))
    kind = row.type if row else stated if isinstance(stated, str) else None
    columns = row.columns if row else record.values
    return Fault(name, record.where, reason, kind, row.unit if row else None, columns)


def check_row(row: Row) -> None:
    """Says what of a row cannot be asked or scored.

    Raises:
        BadRow: The message says what, and what would have been valid.
    """
    if not row.id.strip():
        raise BadRow("the id is empty")
    if not row.question.strip():
        raise BadRow("the question is empty")
    if row.metric not in METRICS:
        raise BadRow(f"there is no metric {row.metric!r}; there are {', '.join(METRICS)}")
    if row.options is not None:
        if not 2 <= len(row.options) <= MAX_OPTIONS:
            raise BadRow(f"a choice has 2..{MAX_OPTIONS} options, not {len(row.options)}")
        if row.metric != "letter":
            raise BadRow(f"options go with the metric 'letter', not {row.metric!r}")
        letters = string.ascii_uppercase[: len(row.options)]
        if row.answer is not None and (len(row.answer) != 1 or row.answer not in letters):
            raise BadRow(f"the answer must be one of the letters {letters}, not {row.answer!r}")
    elif row.metric == "letter":
        raise BadRow("the metric 'letter' needs options")
    if row.answer is not None and not fits(row.metric, row.answer):
        raise BadRow(f"the answer {row.answer!r} does not fit the metric {row.metric!r}")
    if row.medium.span is not None:
        start, end = row.medium.span
        if not (0 <= start < end and math.isfinite(end)):
            raise BadRow(f"no clip from {start} to {end} s: give 0 <= start < end")


def text(values: Mapping[str, Any], column: str) -> str:
    """A column that holds text or a number, as text.

    Raises:
        BadRow: It holds neither.
        KeyError: There is no such column.
    """
    value = values[column]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadRow(f"the column {column!r} holds {type(value).__name__}, not text")
    return str(value)


def texts(values: Mapping[str, Any], column: str) -> list[str]:
    """A column that holds a list of texts or numbers; raises as `text` does."""
    value = values[column]
    if not isinstance(value, (list, tuple)):
        raise BadRow(f"the column {column!r} holds {type(value).__name__}, not a list")
    return [text({column: item}, column) for item in value]


def golds(answers: Sequence[str]) -> str | None:
    """Several right answers as one `Task.answer`; None where there are none."""
    kept = [" ".join(answer.split()) for answer in answers]
    return GOLD_SEPARATOR.join(answer for answer in kept if answer) or None


_LETTERED = re.compile(r"\(?([A-Z])[.):]\s*")


def unlettered(options: Sequence[str]) -> tuple[str, ...]:
    """The options without the letters A, B, ... before them, where all have theirs."""
    found = [_LETTERED.match(option) for option in options]
    letters = [match[1] if match else "" for match in found]
    if letters != list(string.ascii_uppercase[: len(options)]):
        return tuple(options)
    return tuple(option[match.end() :] for option, match in zip(options, found) if match)  # noqa: B905


def first_there(*paths: Path) -> Path:
    """The first that exists, else the first."""
    return next((path for path in paths if path.exists()), paths[0])


def inside(root: Path, *parts: str) -> Path:
    """A path below `root`.

    Raises:
        BadRow: It leads out of it.
    """
    path = root.joinpath(*parts)
    if not path.is_relative_to(root) or ".." in path.relative_to(root).parts:
        raise BadRow(f"the path {'/'.join(parts)!r} leads out of {root}")
    return path
