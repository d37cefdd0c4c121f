"""What an agent met before: queries, what they look like, how they were solved and voted on.

SQLite is the record. What `Memory.add` has returned from is on the disk, whatever happens to the
process then; the index of `pixelis_agent.memory.index` is derived from the record and mended by it
when the memory is opened. Images are stored once, by the digest of their pixels. Ids are never
used again. Several processes may read while one writes.
"""

from __future__ import annotations

import io
import json
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelis_agent.cota.media import encoded, image_digest
from pixelis_agent.memory.entries import Entry, Neighbour, Voted
from pixelis_agent.memory.index import EXACT, MemoryIndex, Vectors
from pixelis_agent.memory.schema import InvalidMemory, open_record
from pixelis_env.trace import Trace

_FLOATS = np.dtype("<f4")
HALF_LIFE = 10_000
"""Entries after which an entry that was of use counts half."""
SAVED_EVERY = 5_000
"""Additions after which a graph is written, so that opening need not make it anew."""


class Memory:
    """Opens a memory, or begins one.

    Args:
        folder: Where it is.
        encoder: The name of what makes the vectors: those of two encoders do not compare. None:
            that of the memory that is there.
        size: Numbers of a vector; likewise.
        exact: Entries up to which the search is exact.

    Raises:
        InvalidMemory: The folder holds the memory of another encoder, of a newer version, or none
            where one must be there.
    """

    def __init__(
        self,
        folder: str | Path,
        encoder: str | None = None,
        size: int | None = None,
        *,
        exact: int = EXACT,
    ) -> None:
        self.folder = Path(folder)
        record = self.folder / "memory.sqlite"
        if (encoder is None or size is None) and not record.is_file():
            raise InvalidMemory(f"there is no memory in {self.folder}: {record.name} is missing")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._db = open_record(record)
        about = {"encoder": encoder, "size": None if size is None else str(size)}
        self._size = int(self._check({k: v for k, v in about.items() if v is not None})["size"])
        self._index = MemoryIndex(self._size, exact)
        self._index.load(self._saved)
        self._unsaved = 0
        self._writes_seen: int | None = None
        self._sync()

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM queries").fetchone()[0])

    def close(self) -> None:
        """Closes it; nothing that was added waits for this."""
        if self._unsaved:
            self._save_index()
        self._db.close()

    def add(self, entry: Entry, vector: Vectors) -> int:
        """Remembers an entry; it is on the disk when this returns.

        Args:
            entry: What to remember.
            vector: float32 (size,), of length 1 or 0.

        Returns:
            Its id, larger than any before.

        Raises:
            ValueError: The vector does not fit.
        """
        vector = np.asarray(vector, _FLOATS)
        if vector.shape != (self._size,) or not np.isfinite(vector).all():
            raise ValueError(f"a vector here is {self._size} finite numbers, not {vector.shape}")
        pictures = [(image_digest(image), encoded(image)) for image in entry.images]
        with self._writing() as db:
            number = db.execute(
                "INSERT INTO queries (created, task_id, task_type, question, media_digest, vector)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    time.time(),
                    entry.task_id,
                    entry.task_type,
                    entry.question,
                    entry.media_digest,
                    vector.tobytes(),
                ),
            ).lastrowid
            assert number is not None
            db.executemany("INSERT OR IGNORE INTO images VALUES (?, ?)", pictures)
            db.executemany(
                "INSERT INTO query_images VALUES (?, ?, ?)",
                [(number, place, digest) for place, (digest, _) in enumerate(pictures)],
            )
            db.executemany(
                "INSERT INTO traces VALUES (?, ?, ?, ?, ?)",
                [
                    (number, place, zlib.compress(one.trace.to_json()), one.fidelity, one.weight)
                    for place, one in enumerate(entry.rollouts)
                ],
            )
            chosen = None if entry.exemplar is None else entry.rollouts[entry.exemplar].trace
            ops = [step.action.op for step in chosen.steps if step.valid] if chosen else []
            db.execute(
                "INSERT INTO votes VALUES (?, ?, ?, ?, ?, ?)",
                (
                    number,
                    entry.answer,
                    entry.confidence,
                    entry.margin,
                    entry.exemplar,
                    " ".join(ops),
                ),
            )
        self._index.add([number], vector[None])
        self._unsaved += 1
        if self._unsaved >= SAVED_EVERY:
            self._save_index()
        return number

    def get(self, number: int) -> Entry:
        """An entry by its id.

        Raises:
            KeyError: There is none, or no longer.
        """
        row = self._db.execute(
            "SELECT task_id, task_type, question, media_digest, answer, confidence, margin,"
            " exemplar FROM queries JOIN votes ON votes.query = queries.id WHERE id = ?",
            (number,),
        ).fetchone()
        if row is None:
            raise KeyError(f"there is no entry {number}")
        images = self._db.execute(
            "SELECT webp FROM query_images JOIN images ON image = digest WHERE query = ?"
            " ORDER BY place",
            (number,),
        ).fetchall()
        rollouts = self._db.execute(
            "SELECT trace, fidelity, weight FROM traces WHERE query = ? ORDER BY place", (number,)
        ).fetchall()
        return Entry(
            task_id=row[0],
            task_type=row[1],
            question=row[2],
            media_digest=row[3],
            images=tuple(Image.open(io.BytesIO(webp)).convert("RGB") for (webp,) in images),
            rollouts=tuple(
                Voted(Trace.parse(zlib.decompress(trace), f"a trace of entry {number}"), f, w)
                for trace, f, w in rollouts
            ),
            answer=row[4],
            confidence=row[5],
            margin=row[6],
            exemplar=row[7],
        )

    def nearest(self, vector: Vectors, k: int) -> list[tuple[int, float]]:
        """Ids and similarities of the `k` entries most like a vector, the nearest first."""
        self._sync()
        return self._index.nearest(np.asarray(vector, np.float32), k)

    def recall(self, vector: Vectors, k: int, *, least: float = 0.0) -> list[Neighbour]:
        """The entries most like a vector, the nearest first; that they were of use is counted.

        Args:
            vector: float32 (size,).
            k: How many at the most.
            least: The least similarity.
        """
        near = dict(pair for pair in self.nearest(vector, k) if pair[1] >= least)
        marks = ",".join("?" * len(near))
        with self._writing() as db:
            db.execute(f"UPDATE queries SET uses = uses + 1 WHERE id IN ({marks})", [*near])
            rows = db.execute(
                "SELECT id, media_digest, answer, confidence, ops FROM queries JOIN votes"
                f" ON query = id WHERE id IN ({marks})",
                [*near],
            ).fetchall()
        found = [
            Neighbour(n, near[n], digest, answer, sure, tuple(ops.split()))
            for n, digest, answer, sure, ops in rows
        ]
        return sorted(found, key=lambda one: list(near).index(one.id))

    def prune(self, keep: int) -> list[int]:
        """Forgets all but the `keep` entries of most value.

        An entry is worth its vote's confidence times (1 + its uses), half as much for every
        `HALF_LIFE` entries that came after it.

        Returns:
            The ids that are gone.

        Raises:
            ValueError: `keep` is negative.
        """
        if keep < 0:
            raise ValueError(f"keep must be 0 or more, not {keep}")
        rows = self._db.execute(
            "SELECT id, confidence * (1 + uses) FROM queries JOIN votes ON votes.query = id"
        ).fetchall()
        newest = max((number for number, _ in rows), default=0)
        worth = {n: value * 0.5 ** ((newest - n) / HALF_LIFE) for n, value in rows}
        gone = sorted(worth, key=lambda n: (-worth[n], -n))[keep:]
        self._forget(gone)
        return sorted(gone)

    def forget_after(self, number: int) -> None:
        """Forgets entries newer than one: of a run that goes on from before they were met."""
        gone = [n for (n,) in self._db.execute("SELECT id FROM queries WHERE id > ?", (number,))]
        self._forget(gone)

    def stats(self) -> dict[str, Any]:
        """What it holds, in figures: entries, abstentions, images, bytes in all and an entry."""
        count = len(self)
        files = [f for f in self.folder.iterdir() if f.is_file()]
        size = sum(file.stat().st_size for file in files)
        one = lambda sql: self._db.execute(sql).fetchone()[0]  # noqa: E731
        return {
            "entries": count,
            "without_answer": one("SELECT count(*) FROM votes WHERE answer IS NULL"),
            "traces": one("SELECT count(*) FROM traces"),
            "images": one("SELECT count(*) FROM images"),
            "mean_confidence": one("SELECT avg(confidence) FROM votes"),
            "search": "graph" if self._index.is_graph else "exact",
            "bytes": size,
            "bytes_per_entry": size / count if count else None,
        }

    def verify(self) -> list[str]:
        """What does not hold together; nothing if all is well.

        The file's own integrity, references, every trace's chain, every image's digest, and that
        the index holds just what the record does.
        """
        self._sync()
        wrong = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check")]
        wrong = [line for line in wrong if line != "ok"]
        wrong += [
            f"a lost reference: {row}" for row in self._db.execute("PRAGMA foreign_key_check")
        ]
        for number, trace in self._db.execute("SELECT query, trace FROM traces"):
            try:
                Trace.parse(zlib.decompress(trace))
            except (zlib.error, ValueError) as error:
                wrong.append(f"a trace of entry {number}: {error}")
        for digest, webp in self._db.execute("SELECT digest, webp FROM images"):
            try:
                found = image_digest(Image.open(io.BytesIO(webp)))
            except OSError as error:
                found = str(error)
            if found != digest:
                wrong.append(f"image {digest}: its pixels are others ({found})")
        ids = set()
        for number, vector in self._db.execute("SELECT id, vector FROM queries"):
            ids.add(number)
            held = number in self._index.ids and self._index.vector(number)
            if not np.array_equal(np.frombuffer(vector, _FLOATS), held):
                wrong.append(f"the index has another vector of entry {number}, or none")
        extra = sorted(self._index.ids - ids)
        return wrong + [f"the index has entry {number}, the record has not" for number in extra]

    def export(self, path: str | Path) -> int:
        """Writes every entry as a line of JSON, images left out; returns how many."""
        path = Path(path)
        numbers = [n for (n,) in self._db.execute("SELECT id FROM queries ORDER BY id")]
        with path.open("w") as file:
            for number in numbers:
                entry = self.get(number)
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

    @property
    def _saved(self) -> Path:
        return self.folder / "memory.index"

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it or nothing, on the disk at its end."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _forget(self, numbers: list[int]) -> None:
        if not numbers:
            return
        with self._writing() as db:
            db.executemany("DELETE FROM queries WHERE id = ?", [(number,) for number in numbers])
            db.execute("DELETE FROM images WHERE digest NOT IN (SELECT image FROM query_images)")
        self._index.remove(numbers)

    def _check(self, about: dict[str, str]) -> dict[str, str]:
        """Compares what the memory is of with what it is opened as; a new one is of that."""
        known = dict(self._db.execute("SELECT name, value FROM about"))
        if not known:
            with self._writing() as db:
                db.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", about.items())
            known = dict(self._db.execute("SELECT name, value FROM about"))
        for name, value in about.items():
            if known.get(name) != value:
                raise InvalidMemory(
                    f"{self.folder} is a memory with {name} {known.get(name)}, not {value}: "
                    "vectors of two encoders do not compare; open it with its own, or begin a "
                    "new one in another folder"
                )
        return known

    def _sync(self) -> None:
        """Brings the index up to what other processes wrote, or to the whole record at first."""
        writes = self._db.execute("PRAGMA data_version").fetchone()[0]
        if writes == self._writes_seen:
            return
        recorded = {n for (n,) in self._db.execute("SELECT id FROM queries")}
        self._index.remove(self._index.ids - recorded)
        missing = sorted(recorded - self._index.ids)
        for start in range(0, len(missing), 500):
            part = missing[start : start + 500]
            marks = ",".join("?" * len(part))
            rows = self._db.execute(
                f"SELECT id, vector FROM queries WHERE id IN ({marks}) ORDER BY id", part
            ).fetchall()
            vectors = [np.frombuffer(vector, _FLOATS) for _, vector in rows]
            self._index.add([number for number, _ in rows], np.stack(vectors))
        self._writes_seen = writes

    def _save_index(self) -> None:
        if self._index.is_graph:
            self._index.save(self._saved)
        self._unsaved = 0
