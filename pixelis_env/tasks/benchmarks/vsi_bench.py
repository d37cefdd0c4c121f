"""VSI-Bench: spatial questions about indoor walk-throughs.

Yang et al., "Thinking in Space", CVPR 2025. 5,130 rows in `test.jsonl` (or
`test-00000-of-00001.parquet`), videos in `{dataset}/{scene_name}.mp4`. The split `debiased` leaves
out the rows that can be answered without looking, which the column `pruned` or `pruned_ids.txt`
names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pixelis_env.tasks.benchmarks.rows import (
    BadRow,
    Locator,
    Row,
    first_there,
    inside,
    text,
    texts,
    unlettered,
)
from pixelis_env.tasks.benchmarks.source import Layout
from pixelis_env.tasks.benchmarks.tables import Record, find_tables, read_tables

# In the order of the paper's tables.
NUMERIC = (
    "object_counting",
    "object_abs_distance",
    "object_size_estimation",
    "room_size_estimation",
)
CHOICE = (
    "object_rel_distance",
    "object_rel_direction_easy",
    "object_rel_direction_medium",
    "object_rel_direction_hard",
    "route_planning",
    "obj_appearance_order",
)


def _records(root: Path, split: str) -> Iterator[Record]:
    if split != "full":
        ready = sorted(root.glob(f"test_{split}.parquet"))
        if ready and not (root / "test.jsonl").is_file():
            yield from read_tables(ready)
            return
    rows = read_tables(find_tables(root, "test.jsonl", "test-*.parquet", "test.parquet"))
    if split == "full":
        yield from rows
        return
    ids = root / "pruned_ids.txt"
    listed = set(ids.read_text(encoding="utf-8").split()) if ids.is_file() else None
    for row in rows:
        pruned = row.values.get("pruned")
        if pruned is None:
            if listed is None:
                raise ValueError(
                    f"split={split!r} needs the column 'pruned' or the file {ids}: neither is there"
                )
            pruned = str(row.values.get("id")) in listed
        if bool(pruned) == (split == "pruned"):
            yield row


def _parse(root: Path, record: Record) -> Row:
    values = record.values
    kind = text(values, "question_type")
    if kind not in NUMERIC + CHOICE:
        raise BadRow(f"the question_type {kind!r} is none of {', '.join(NUMERIC + CHOICE)}")
    options = unlettered(texts(values, "options")) if kind in CHOICE else None
    name = (text(values, "dataset"), f"{text(values, 'scene_name')}.mp4")
    return Row(
        id=text(values, "id"),
        type=kind,
        question=text(values, "question"),
        options=options,
        answer=text(values, "ground_truth"),
        metric="mra" if options is None else "letter",
        medium=Locator(first_there(inside(root, *name), inside(root, "videos", *name))),
        columns=values,
    )


VSI_BENCH = Layout(
    name="vsi-bench",
    scorers=("vsi-official", "vsi-lenient"),
    splits=("full", "debiased", "pruned"),
    types=NUMERIC + CHOICE,
    records=_records,
    parse=_parse,
    id_column="id",
)
