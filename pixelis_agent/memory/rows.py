"""Entries as rows of a memory's record, and back: a change is made whole or not at all."""

from __future__ import annotations

import io
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from PIL import Image

from pixelis_agent.cota.media import encoded, image_digest
from pixelis_agent.images import read_picture
from pixelis_agent.memory.entries import Entry, Voted
from pixelis_agent.memory.index import Vectors
from pixelis_agent.memory.schema import FLOATS
from pixelis_agent.memory.tokens import pack_rollout, unpack_rollout
from pixelis_env.trace import Trace


@contextmanager
def writing(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A transaction: all of it or nothing, on the disk at its end."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def insert(db: sqlite3.Connection, entry: Entry, vector: Vectors) -> int:
    """Writes an entry; its id, larger than any before."""
    shown = {-1: entry.images} | {
        place: tuple(map(read_picture, one.rollout.images))
        for place, one in enumerate(entry.rollouts)
        if one.rollout is not None
    }
    digests = {k: [image_digest(image) for image in images] for k, images in shown.items()}
    pixels = {d: i for k in shown for d, i in zip(digests[k], shown[k], strict=True)}
    # To encode an image takes ten times as long as to see that it is known.
    new = {d: encoded(i) for d, i in pixels.items() if not _knows(db, d)}
    with writing(db):
        come_to(db, max(next_place(db), entry.place + 1))
        number = db.execute(
            "INSERT INTO queries"
            " (created, place, task_id, task_type, question, media_digest, vector)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                time.time(),
                entry.place,
                entry.task_id,
                entry.task_type,
                entry.question,
                entry.media_digest,
                vector.tobytes(),
            ),
        ).lastrowid
        assert number is not None
        # By now another process may have forgotten what was known, or have added it.
        known = {d for d in pixels if d in new or _knows(db, d)}
        new |= {d: encoded(pixels[d]) for d in pixels.keys() - known}
        db.executemany("INSERT OR IGNORE INTO images VALUES (?, ?)", new.items())
        db.executemany(
            "INSERT INTO query_images VALUES (?, ?, ?, ?)",
            [(number, k, place, d) for k, own in digests.items() for place, d in enumerate(own)],
        )
        db.executemany(
            "INSERT INTO traces VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    number,
                    place,
                    zlib.compress(one.trace.to_json()),
                    None if one.rollout is None else pack_rollout(one.rollout),
                    np.array(one.gains, FLOATS).tobytes(),
                    one.fidelity,
                    one.weight,
                )
                for place, one in enumerate(entry.rollouts)
            ],
        )
        chosen = None if entry.exemplar is None else entry.rollouts[entry.exemplar].trace
        ops = [step.action.op for step in chosen.steps if step.valid] if chosen else []
        db.execute(
            "INSERT INTO votes (query, answer, confidence, margin, exemplar, ops, neighbours,"
            " learned) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                entry.answer,
                entry.confidence,
                entry.margin,
                entry.exemplar,
                " ".join(ops),
                " ".join(map(str, entry.neighbours)),
                entry.learned,
            ),
        )
    return number


def read(db: sqlite3.Connection, number: int) -> Entry:
    """An entry by its id.

    Raises:
        KeyError: There is none, or no longer.
    """
    row = db.execute(
        "SELECT task_id, task_type, question, media_digest, answer, confidence, margin,"
        " exemplar, place, neighbours, learned FROM queries JOIN votes ON query = id"
        " WHERE id = ?",
        (number,),
    ).fetchone()
    if row is None:
        raise KeyError(f"there is no entry {number}")
    rollouts = db.execute(
        "SELECT trace, tokens, fidelity, weight, gains FROM traces WHERE query = ? ORDER BY place",
        (number,),
    ).fetchall()
    return Entry(
        task_id=row[0],
        task_type=row[1],
        question=row[2],
        media_digest=row[3],
        images=_images(db, number, -1),
        rollouts=tuple(
            Voted(
                _trace(number, trace),
                fidelity,
                weight,
                tokens and unpack_rollout(tokens, _images(db, number, place)),
                tuple(np.frombuffer(gains, FLOATS).tolist()),
            )
            for place, (trace, tokens, fidelity, weight, gains) in enumerate(rollouts)
        ),
        answer=row[4],
        confidence=row[5],
        margin=row[6],
        exemplar=row[7],
        place=row[8],
        neighbours=tuple(map(int, row[9].split())),
        learned=bool(row[10]),
    )


def read_traces(db: sqlite3.Connection, number: int) -> list[Trace]:
    """The traces of an entry's rollouts, without their images; none where it is forgotten."""
    rows = db.execute("SELECT trace FROM traces WHERE query = ? ORDER BY place", (number,))
    return [_trace(number, packed) for (packed,) in rows]


def delete(db: sqlite3.Connection, numbers: Sequence[int], place: int | None = None) -> None:
    """Deletes entries and the images that only they showed.

    Args:
        db: The record.
        numbers: Their ids.
        place: Where the stream goes on; None: where it stands.
    """
    with writing(db):
        if place is not None:
            come_to(db, place)
        db.executemany("DELETE FROM queries WHERE id = ?", [(number,) for number in numbers])
        db.execute("DELETE FROM images WHERE digest NOT IN (SELECT image FROM query_images)")


def next_place(db: sqlite3.Connection) -> int:
    """The place in the stream after all that were met, forgotten ones too; 0 before any."""
    met = db.execute("SELECT value FROM about WHERE name = 'next_place'").fetchone()
    if met is not None:
        return int(met[0])
    last = db.execute("SELECT max(place) FROM queries").fetchone()[0]
    return 0 if last is None else int(last) + 1


def come_to(db: sqlite3.Connection, place: int) -> None:
    """Says where the stream goes on; part of a transaction."""
    db.execute("INSERT OR REPLACE INTO about VALUES ('next_place', ?)", (str(place),))


def _knows(db: sqlite3.Connection, digest: str) -> bool:
    found = db.execute("SELECT 1 FROM images WHERE digest = ?", (digest,))
    return found.fetchone() is not None


def _images(db: sqlite3.Connection, number: int, rollout: int) -> tuple[Image.Image, ...]:
    """The images of an entry's rollout, or (-1) those that it began with."""
    rows = db.execute(
        "SELECT webp FROM query_images JOIN images ON image = digest"
        " WHERE query = ? AND rollout = ? ORDER BY place",
        (number, rollout),
    )
    return tuple(Image.open(io.BytesIO(webp)).convert("RGB") for (webp,) in rows)


def _trace(number: int, packed: bytes) -> Trace:
    return Trace.parse(zlib.decompress(packed), f"a trace of entry {number}")
