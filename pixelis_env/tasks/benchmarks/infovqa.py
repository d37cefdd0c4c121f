"""InfographicVQA: questions about infographics, several right answers each.

Mathew et al., WACV 2022. `infographicsVQA_val_v1.0_withQT.json` with the images in a folder beside
it, or parquet files that hold them. The test split's answers are secret: it is played unscored.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pixelis_env.tasks.benchmarks.rows import Locator, Row, first_there, golds, inside, text, texts
from pixelis_env.tasks.benchmarks.source import Layout
from pixelis_env.tasks.benchmarks.tables import Cell, Record, find_tables, read_tables

_FOLDERS = ("infographicsvqa_images", "images", ".")
_LATER = ("image", "ocr")


def _records(root: Path, split: str) -> Iterator[Record]:
    published = "validation" if split == "val" else split
    tables = find_tables(
        root,
        f"infographicsVQA_{split}_v1.0*.json",
        f"InfographicVQA/{published}-*.parquet",
        f"data/{published}-*.parquet",
        f"{published}-*.parquet",
    )
    return read_tables(tables, _LATER)


def _parse(root: Path, record: Record) -> Row:
    values = record.values
    place = values.get("image")
    if not isinstance(place, Cell):
        name = text(values, "image_local_name")
        place = first_there(*(inside(root, folder, name) for folder in _FOLDERS))
    kinds = values.get("answer_type") or []
    return Row(
        id=text(values, "questionId"),
        type=str(kinds[0]) if kinds else "infographic",
        question=text(values, "question"),
        options=None,
        answer=golds(texts(values, "answers")) if values.get("answers") is not None else None,
        metric="anls",
        medium=Locator(place),
        form="Answer the question using a single word or phrase.",
        columns=values,
    )


INFOVQA = Layout(
    name="infovqa",
    scorers=("anls",),
    splits=("val", "test", "train"),
    types=(),
    records=_records,
    parse=_parse,
    id_column="questionId",
)
