"""V*Bench: small details of large photographs.

Wu and Xie, "V*: Guided Visual Search as a Core Mechanism in Multimodal LLMs", CVPR 2024. 191 rows:
an image and a JSON file of its name in `direct_attributes/` and `relative_position/`, or the same
questions with the options in a fixed order in `test_questions.jsonl`.

In the JSON files the first option is always the right one, so options are put in an order that
depends on the row's id. The boxes that they hold (x, y, width, height) become the task's truth.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixelis_env.coordinates import Box
from pixelis_env.media.folder import SUFFIXES
from pixelis_env.tasks.benchmarks.rows import BadRow, Locator, Row, inside, text, texts
from pixelis_env.tasks.benchmarks.source import Layout, with_shuffled_options
from pixelis_env.tasks.benchmarks.tables import Record, read_table
from pixelis_env.tasks.stated import StatedTruth

TYPES = ("direct_attributes", "relative_position")
_OPTION = re.compile(r"^\(([A-Z])\)\s*(.*?)\s*$", re.MULTILINE)


def _records(root: Path, split: str) -> Iterator[Record]:
    listed = root / "test_questions.jsonl"
    if listed.is_file():
        yield from read_table(listed)
        return
    found = False
    for kind in TYPES:
        for file in sorted((root / kind).glob("*.json")):
            found = True
            where = f"{kind}/{file.name}"
            try:
                values = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                values = None
            yield Record(where, {**values, "type": kind} if isinstance(values, dict) else {})
    if not found:
        raise ValueError(
            f"{root} holds neither test_questions.jsonl nor {' or '.join(TYPES)} with JSON files"
        )


def _parse(root: Path, record: Record) -> Row:
    return _of_list(root, record) if "text" in record.values else _of_file(root, record)


def _of_file(root: Path, record: Record) -> Row:
    """A row of a JSON file beside its image."""
    values, name = record.values, record.where.removesuffix(".json")
    options = texts(values, "options")
    row = Row(
        id=name,
        type=text(values, "type"),
        question=text(values, "question"),
        options=tuple(options),
        answer="A",
        metric="letter",
        medium=Locator(_image(root / name)),
        truth=_truth(values),
        columns=values,
    )
    return with_shuffled_options(row, 0)


def _of_list(root: Path, record: Record) -> Row:
    """A row of `test_questions.jsonl`, whose text holds the options."""
    values = record.values
    image = inside(root, text(values, "image"))
    whole = text(values, "text")
    options = _OPTION.findall(whole)
    if not options:
        raise BadRow("the text names no option (A), (B), ... at the beginning of a line")
    beside = image.with_suffix(".json")
    stated = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    return Row(
        id=text(values, "question_id"),
        type=text(values, "category"),
        question=whole[: whole.index(f"({options[0][0]})")].strip(),
        options=tuple(option for _, option in options),
        answer=text(values, "label").strip().upper(),
        metric="letter",
        medium=Locator(image),
        truth=_truth(stated),
        columns=values,
    )


def _truth(values: dict[str, Any]) -> StatedTruth | None:
    if not values.get("bbox"):
        return None
    boxes: list[dict[int, Box]] = []
    for box in values["bbox"]:
        x, y, width, height = (float(number) for number in box)
        boxes.append({0: (x, y, x + width, y + height)})
    names = texts(values, "target_object")
    if len(names) != len(boxes):
        raise BadRow(f"{len(names)} entries in 'target_object' but {len(boxes)} in 'bbox'")
    return StatedTruth(names, boxes)


def _image(stem: Path) -> Path:
    found = sorted(p for p in stem.parent.glob(f"{stem.name}.*") if p.suffix.lower() in SUFFIXES)
    return found[0] if found else stem.with_name(f"{stem.name}.jpg")


V_STAR = Layout(
    name="v-star",
    scorers=("letter-accuracy",),
    splits=("test",),
    types=TYPES,
    records=_records,
    parse=_parse,
    id_column="question_id",
)
