"""Tables as benchmarks publish them: JSON, JSON lines, tab-separated text and parquet.

Columns that hold images may take gigabytes; what is in them is read when it is asked for.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pixelis_env.errors import MissingExtra
from pixelis_env.media import MediaError


class Record(NamedTuple):
    """A row as the file has it. `where` names it in messages, e.g. `test.jsonl:17`."""

    where: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """A value that stays in its file until it is read.

    Attributes:
        file: The table.
        column: The column's name.
        start: Where its row begins: a byte of a text table, the row's number in parquet.
    """

    file: Path
    column: str
    start: int

    def read(self) -> bytes:
        """The image's bytes: what base64 text encodes, or what parquet holds.

        Raises:
            MediaError: The cell holds no image.
            MissingExtra: It is in parquet, and the extra `parquet` is not installed.
        """
        value = _parquet_cell(self) if self.file.suffix == ".parquet" else _text_cell(self)
        if isinstance(value, dict):  # how the datasets library stores an image
            value = value.get("bytes")
        if isinstance(value, bytes) and value:
            return value
        try:
            decoded = base64.b64decode(value or "", validate=False)
        except (TypeError, ValueError, binascii.Error) as error:
            raise MediaError(f"{self}: is no base64 text ({error})") from None
        if not decoded:
            raise MediaError(f"{self}: is empty; the table has no image in it")
        return decoded

    def __str__(self) -> str:
        return f"{self.file.name}, column {self.column!r} of the row at {self.start}"


def find_tables(root: Path, *patterns: str) -> list[Path]:
    """The files below `root` that match the first pattern which any matches, sorted.

    Raises:
        ValueError: None matches; the message names what was looked for.
    """
    for pattern in patterns:
        if found := sorted(root.glob(pattern)):
            return found
    raise ValueError(f"{root} holds none of {', '.join(patterns)}")


def read_tables(files: Iterable[Path], later: Collection[str] = ()) -> Iterator[Record]:
    """The rows of several tables, one after the other; see `read_table`."""
    for file in files:
        yield from read_table(file, later)


def read_table(file: Path, later: Collection[str] = ()) -> Iterator[Record]:
    """The rows of a `.json`, `.jsonl`, `.tsv` or `.parquet` file, in its order.

    A line of JSON that cannot be read is a record without values: who asks says which it was.

    Args:
        file: The table.
        later: Columns that hold images or the like: their values are `Cell`s. Text tables and
            parquet only.

    Raises:
        ValueError: The file cannot be read as what its name says.
        MissingExtra: It is parquet, and the extra `parquet` is not installed.
    """
    readers = {".json": _json, ".jsonl": _json_lines}
    try:
        if file.suffix in readers:
            return iter(list(readers[file.suffix](file)))
        if file.suffix == ".tsv":
            return iter(list(_tsv(file, later)))
        if file.suffix == ".parquet":
            return _parquet(file, later)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise ValueError(f"{file}: cannot be read: {error}") from None
    raise ValueError(f"{file}: no table; give a file that ends in .json, .jsonl, .tsv or .parquet")


def _json(file: Path) -> Iterator[Record]:
    data = json.loads(file.read_text(encoding="utf-8"))
    if isinstance(data, dict):  # InfographicVQA wraps its rows
        data = data.get("data")
    if not isinstance(data, list):
        raise ValueError(f"{file}: holds no list of rows, nor an object with one under 'data'")
    for number, values in enumerate(data):
        where = f"{file.name}[{number}]"
        yield Record(where, values if isinstance(values, dict) else {})


def _json_lines(file: Path) -> Iterator[Record]:
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except json.JSONDecodeError:
            values = None
        yield Record(f"{file.name}:{number}", values if isinstance(values, dict) else {})


def _tsv(file: Path, later: Collection[str]) -> Iterator[Record]:
    with file.open("rb") as stream, _long_fields():
        position = stream.tell()

        def lines() -> Iterator[str]:
            nonlocal position
            for line in stream:
                position += len(line)
                yield line.decode("utf-8-sig" if position == len(line) else "utf-8")

        rows = csv.reader(lines(), delimiter="\t")
        header = next(rows, [])
        while True:
            start = position
            row = next(rows, None)
            if row is None:
                return
            values: dict[str, Any] = dict(zip(header, row, strict=False))
            for column in values.keys() & set(later):
                # Some tables give an image once and its row's index where it comes again.
                if len(values[column]) > _INDEX_LENGTH:
                    values[column] = Cell(file, column, start)
            yield Record(f"{file.name}, row {rows.line_num}", values)


_INDEX_LENGTH = 64
"""The longest text that refers to another row's image; base64 of an image is far longer."""


def _text_cell(cell: Cell) -> str:
    with cell.file.open("rb") as stream, _long_fields():
        header = next(csv.reader(io.TextIOWrapper(stream, "utf-8-sig", newline=""), delimiter="\t"))
    with cell.file.open("rb") as stream, _long_fields():
        stream.seek(cell.start)
        row = next(csv.reader(io.TextIOWrapper(stream, "utf-8", newline=""), delimiter="\t"))
    return row[header.index(cell.column)]


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lets the csv module read fields as long as an image, as long as this lasts."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _parquet(file: Path, later: Collection[str]) -> Iterator[Record]:
    with _parquet_file(file) as table:
        names = table.schema_arrow.names
        rows = table.read(columns=[name for name in names if name not in later]).to_pylist()
    for number, values in enumerate(rows):
        cells = {name: Cell(file, name, number) for name in names if name in later}
        yield Record(f"{file.name}, row {number}", {**values, **cells})


def _parquet_cell(cell: Cell) -> Any:
    with _parquet_file(cell.file) as table:
        start = cell.start
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            if start < rows:
                column = table.read_row_group(group, columns=[cell.column])
                return column.column(cell.column)[start].as_py()
            start -= rows
    raise MediaError(f"{cell}: the table has become shorter since it was read")


def _parquet_file(file: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtra(f"reading {file.name}", "parquet") from None
    try:
        return parquet.ParquetFile(file, memory_map=True)
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(f"{file}: cannot be read as parquet: {error}") from None
