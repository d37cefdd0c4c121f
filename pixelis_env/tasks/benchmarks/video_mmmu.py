"""Video-MMMU: what is learned from lectures, in three tracks.

Hu et al., "Video-MMMU", 2025. A parquet file a track (`Perception/`, `Comprehension/`,
`Adaptation/`) or one tab-separated table of all, and `<discipline>/<id>.mp4`. The videos end with
the image of the Adaptation question; the prompts say so, in the words of the published protocol.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixelis_env.scoring import GOLD_SEPARATOR
from pixelis_env.tasks.benchmarks.rows import (
    BadRow,
    Locator,
    Row,
    golds,
    inside,
    text,
    texts,
    unlettered,
)
from pixelis_env.tasks.benchmarks.source import Layout
from pixelis_env.tasks.benchmarks.tables import Record, read_tables

TRACKS = ("Perception", "Comprehension", "Adaptation")
_LETTER = "Answer with the option's letter from the given choices directly."
_IGNORE = "Please ignore the Quiz question in last frame of the video."
_LEARN = (
    "You should watch and learn the video content. Then apply what you learned to answer the "
    "following {} question. The image for this question is at the end of the video."
)


def _records(root: Path, split: str) -> Iterator[Record]:
    tracks = [track for track in TRACKS if split in ("all", track.lower())]
    table = root / "VideoMMMU.tsv"
    tables = [file for track in tracks for file in sorted((root / track).glob("*.parquet"))]
    if not tables and not table.is_file():
        wanted = ", ".join(f"{track}/*.parquet" for track in tracks)
        raise ValueError(f"{root} holds none of {wanted}, {table.name}")
    videos = _videos(root)
    for file in tables or [table]:
        for where, values in read_tables([file], ("image",) if tables else ()):
            track = file.parent.name if tables else str(values.get("category"))
            if track in tracks:
                name = str(values.get("id"))
                stated = values.get("video") or videos.get(name, f"{name}.mp4")
                known = {"type": track, "video": stated}
                yield Record(f"{track}/{where}", values and {**values, **known})


def _parse(root: Path, record: Record) -> Row:
    values = record.values
    track, name = values["type"], text(values, "id")
    options = unlettered(_options(values))
    adapted = track == "Adaptation"
    form = None if adapted else f"{_IGNORE}\n{_LETTER}"
    kind = "multi-choice" if options else "open-ended"
    return Row(
        id=f"{track.lower()}/{name}",
        type=track,
        question=text(values, "question"),
        options=options or None,
        answer=text(values, "answer").strip() if options else _open_answers(values),
        metric="letter" if options else "open",
        medium=Locator(inside(root, text(values, "video"))),
        lead=_LEARN.format(kind) if adapted else None,
        form=form if options else None,
        columns=values,
    )


def _options(values: dict[str, Any]) -> list[str]:
    """The options: a list, or one as JSON text in a text table."""
    stated = values.get("options")
    if isinstance(stated, str):
        try:
            stated = json.loads(stated or "[]")
        except ValueError as error:
            raise BadRow(f"the column 'options' is no JSON list: {error}") from None
    return texts({"options": stated or []}, "options")


def _open_answers(values: dict[str, Any]) -> str | None:
    """The right answers; several stand as a list in Python's notation."""
    stated = text(values, "answer").strip()
    if stated.startswith("["):
        try:
            several = ast.literal_eval(stated)
        except (ValueError, SyntaxError):
            several = None
        if isinstance(several, list) and several:
            return golds([str(one) for one in several])
    return golds(stated.split(GOLD_SEPARATOR))


def _videos(root: Path) -> dict[str, str]:
    """Where every video lies, by name; those that show nothing but the question are left out."""
    files = sorted(file.relative_to(root) for file in root.rglob("*.mp4"))
    return {file.stem: str(file) for file in files if "question_only" not in file.parts}


VIDEO_MMMU = Layout(
    name="video-mmmu",
    scorers=("mmmu-accuracy",),
    splits=("all", *(track.lower() for track in TRACKS)),
    types=TRACKS,
    records=_records,
    parse=_parse,
    id_column="id",
)
