"""MMBench: twenty abilities by choices about images.

Liu et al., ECCV 2024. A tab-separated table whose images are base64 text, or parquet. The tables
for CircularEval hold each question once for every rotation of its options, with 1,000,000 added to
its index for each: such rows count once, and only if every one is right. There an image may stand
once, and in other rows the index of its row.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixelis_env.tasks.benchmarks.rows import BadRow, Locator, Row, text
from pixelis_env.tasks.benchmarks.source import Layout
from pixelis_env.tasks.benchmarks.tables import Cell, Record, find_tables, read_tables

ROTATION = 1_000_000


def _records(root: Path, split: str) -> Iterator[Record]:
    part, language = split.split("_")[:2]
    version = r"(_\d{8})?" if split.count("_") == 1 else "_V11"
    name = re.compile(rf"mmbench_{part}_{language}{version}\.tsv", re.IGNORECASE)
    tables = [file for file in sorted(root.glob("*.tsv")) if name.fullmatch(file.name)]
    if not tables:
        tables = find_tables(
            root,
            f"MMBench_{split.upper()}.tsv",
            f"{language}/{part}-*.parquet",
            f"data/{part}-*.parquet",
            f"{part}-*.parquet",
        )
    rows = list(read_tables(tables, ("image",)))
    images = {
        str(row.values.get("index")): row.values["image"]
        for row in rows
        if isinstance(row.values.get("image"), Cell)
    }
    for row in rows:
        image = row.values.get("image")
        if not isinstance(image, Cell) and image is not None and str(image) in images:
            row.values["image"] = images[str(image)]
        yield row


def _parse(root: Path, record: Record) -> Row:
    values = record.values
    image = values["image"]
    if not isinstance(image, Cell):
        raise BadRow("the image is neither base64 text nor the index of a row that has one")
    index = text(values, "index")
    if not index.isdecimal():
        raise BadRow(f"the index {index!r} is no whole number")
    options = [
        text(values, letter)
        for letter in string.ascii_uppercase
        if letter in values and not _absent(values[letter])
    ]
    hint = "" if _absent(values.get("hint")) else f"{text(values, 'hint')}\n"
    return Row(
        id=index,
        type=text(values, "category"),
        question=hint + text(values, "question"),
        options=tuple(options),
        answer=None if _absent(values.get("answer")) else text(values, "answer").strip(),
        metric="letter",
        medium=Locator(image),
        unit=str(int(index) % ROTATION),
        columns=values,
    )


def _absent(value: Any) -> bool:
    """Whether a cell is empty, in one of the ways that tables are."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or str(value).strip().lower() in ("", "nan", "none")


MMBENCH = Layout(
    name="mmbench",
    scorers=("circular-accuracy", "letter-accuracy"),
    splits=(
        *("dev_en", "test_en", "dev_cn", "test_cn"),
        *("dev_en_v11", "test_en_v11", "dev_cn_v11", "test_cn_v11"),
    ),
    types=(),
    records=_records,
    parse=_parse,
    id_column="index",
)
