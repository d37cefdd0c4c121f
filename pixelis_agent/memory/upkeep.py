"""Looking after a memory: its figures, whether it holds together, and a copy for others."""

from __future__ import annotations

import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelis_agent.cota.media import image_digest
from pixelis_agent.memory.schema import FLOATS
from pixelis_agent.memory.store import Memory
from pixelis_env.trace import Trace


def stats(memory: Memory) -> dict[str, Any]:
    """What it holds, in figures: entries, those learned from, images, updates, bytes in all (of
    the ledger too) and an entry."""
    count = len(memory)
    files = [f for f in memory.folder.iterdir() if f.is_file()]
    size = sum(file.stat().st_size for file in files)
    one = lambda sql: memory.record.execute(sql).fetchone()[0]  # noqa: E731
    return {
        "entries": count,
        "without_answer": one("SELECT count(*) FROM votes WHERE answer IS NULL"),
        "learned": one("SELECT count(*) FROM votes WHERE learned"),
        "traces": one("SELECT count(*) FROM traces"),
        "images": one("SELECT count(*) FROM images"),
        "updates": one("SELECT count(DISTINCT step) FROM updates"),
        "mean_confidence": one("SELECT avg(confidence) FROM votes"),
        "search": "graph" if memory.index.is_graph else "exact",
        "bytes": size,
        "bytes_per_entry": size / count if count else None,
    }


def verify(memory: Memory) -> list[str]:
    """What does not hold together; nothing if all is well.

    The file's own integrity, references, every trace's chain, every image's digest, and that
    the index holds just what the record does.
    """
    memory.sync()
    wrong = [str(row[0]) for row in memory.record.execute("PRAGMA integrity_check")]
    wrong = [line for line in wrong if line != "ok"]
    wrong += [
        f"a lost reference: {row}" for row in memory.record.execute("PRAGMA foreign_key_check")
    ]
    for number, trace in memory.record.execute("SELECT query, trace FROM traces"):
        try:
            Trace.parse(zlib.decompress(trace))
        except (zlib.error, ValueError) as error:
            wrong.append(f"a trace of entry {number}: {error}")
    for digest, webp in memory.record.execute("SELECT digest, webp FROM images"):
        try:
            found = image_digest(Image.open(io.BytesIO(webp)))
        except OSError as error:
            found = str(error)
        if found != digest:
            wrong.append(f"image {digest}: its pixels are others ({found})")
    ids = set()
    for number, vector in memory.record.execute("SELECT id, vector FROM queries"):
        ids.add(number)
        held = number in memory.index.ids and memory.index.vector(number)
        if not np.array_equal(np.frombuffer(vector, FLOATS), held):
            wrong.append(f"the index has another vector of entry {number}, or none")
    extra = sorted(memory.index.ids - ids)
    return wrong + [f"the index has entry {number}, the record has not" for number in extra]


def export(memory: Memory, path: str | Path) -> int:
    """Writes every entry as a line of JSON, images left out; returns how many."""
    path = Path(path)
    numbers = [n for (n,) in memory.record.execute("SELECT id FROM queries ORDER BY id")]
    with path.open("w") as file:
        for number in numbers:
            entry = memory.get(number)
            line = {
                "id": number,
                "task_id": entry.task_id,
                "task_type": entry.task_type,
                "question": entry.question,
                "media_digest": entry.media_digest,
                "images": [image_digest(image) for image in entry.images],
                "answer": entry.answer,
                "confidence": entry.confidence,
                "margin": entry.margin,
                "exemplar": entry.exemplar,
                "learned": entry.learned,
                "rollouts": [
                    {
                        "fidelity": one.fidelity,
                        "weight": one.weight,
                        "trace": json.loads(one.trace.to_json()),
                    }
                    for one in entry.rollouts
                ],
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return len(numbers)
