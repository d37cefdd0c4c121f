"""What an agent met before: queries, what they look like, how they were solved and voted on.

SQLite is the record. What `Memory.add` has returned from is on the disk, whatever happens to the
process then; the index of `pixelis_agent.memory.index` is derived from the record and mended by it
when the memory is opened. Images are stored once, by the digest of their pixels. Ids are never
used again. Several processes may read while one writes.
"""

from __future__ import annotations

import io
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from pixelis_agent.cota.media import encoded, image_digest
from pixelis_agent.images import read_picture
from pixelis_agent.memory.entries import Entry, Neighbour, Voted
from pixelis_agent.memory.index import EXACT, MemoryIndex, Vectors
from pixelis_agent.memory.schema import FLOATS, InvalidMemory, open_record
from pixelis_agent.memory.tokens import pack_rollout, unpack_rollout
from pixelis_env.trace import Trace

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

    Attributes:
        folder: Where it is.
        record: The database.
        index: What is derived from it.

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
        file = self.folder / "memory.sqlite"
        if (encoder is None or size is None) and not file.is_file():
            raise InvalidMemory(f"there is no memory in {self.folder}: {file.name} is missing")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record = open_record(file)
        about = {"encoder": encoder, "size": None if size is None else str(size)}
        self._size = int(self._check({k: v for k, v in about.items() if v is not None})["size"])
        self.index = MemoryIndex(self._size, exact)
        self.index.load(self._saved)
        self._unsaved = 0
        self._writes_seen: int | None = None
        self.sync()

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self.record.execute("SELECT count(*) FROM queries").fetchone()[0])

    def close(self) -> None:
        """Closes it; nothing that was added waits for this."""
        if self._unsaved:
            self._save_index()
        self.record.close()

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
        vector = np.asarray(vector, FLOATS)
        if vector.shape != (self._size,) or not np.isfinite(vector).all():
            raise ValueError(f"a vector here is {self._size} finite numbers, not {vector.shape}")
        shown = {-1: entry.images} | {
            place: tuple(map(read_picture, one.rollout.images))
            for place, one in enumerate(entry.rollouts)
            if one.rollout is not None
        }
        digests = {k: [image_digest(image) for image in images] for k, images in shown.items()}
        pixels = {d: i for k in shown for d, i in zip(digests[k], shown[k], strict=True)}
        # To encode an image takes ten times as long as to see that it is known.
        new = {d: encoded(i) for d, i in pixels.items() if not self._knows(d)}
        with self._writing() as db:
            self._passed(entry.place)
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
            known = {d for d in pixels if d in new or self._knows(d)}
            new |= {d: encoded(pixels[d]) for d in pixels.keys() - known}
            db.executemany("INSERT OR IGNORE INTO images VALUES (?, ?)", new.items())
            db.executemany(
                "INSERT INTO query_images VALUES (?, ?, ?, ?)",
                [
                    (number, k, place, d)
                    for k, own in digests.items()
                    for place, d in enumerate(own)
                ],
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
        self.index.add([number], vector[None])
        self._unsaved += 1
        if self._unsaved >= SAVED_EVERY:
            self._save_index()
        return number

    def get(self, number: int) -> Entry:
        """An entry by its id.

        Raises:
            KeyError: There is none, or no longer.
        """
        row = self.record.execute(
            "SELECT task_id, task_type, question, media_digest, answer, confidence, margin,"
            " exemplar, place, neighbours, learned FROM queries JOIN votes ON query = id"
            " WHERE id = ?",
            (number,),
        ).fetchone()
        if row is None:
            raise KeyError(f"there is no entry {number}")
        rollouts = self.record.execute(
            "SELECT trace, tokens, fidelity, weight, gains FROM traces WHERE query = ?"
            " ORDER BY place",
            (number,),
        ).fetchall()
        return Entry(
            task_id=row[0],
            task_type=row[1],
            question=row[2],
            media_digest=row[3],
            images=self._images(number, -1),
            rollouts=tuple(
                Voted(
                    _trace(number, trace),
                    fidelity,
                    weight,
                    tokens and unpack_rollout(tokens, self._images(number, place)),
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

    def traces(self, number: int) -> list[Trace]:
        """The traces of an entry's rollouts, without their images; none where it is forgotten."""
        rows = self.record.execute(
            "SELECT trace FROM traces WHERE query = ? ORDER BY place", (number,)
        )
        return [_trace(number, packed) for (packed,) in rows]

    def nearest(self, vector: Vectors, k: int) -> list[tuple[int, float]]:
        """Ids and similarities of the `k` entries most like a vector, the nearest first."""
        self.sync()
        return self.index.nearest(np.asarray(vector, np.float32), k)

    def recall(self, vector: Vectors, k: int, *, least: float = 0.0) -> list[Neighbour]:
        """The entries most like a vector, the nearest first.

        Of those that were not learned from the confidence is 0.

        Args:
            vector: float32 (size,).
            k: How many at the most.
            least: The least similarity.
        """
        near = dict(pair for pair in self.nearest(vector, k) if pair[1] >= least)
        marks = ",".join("?" * len(near))
        rows = self.record.execute(
            "SELECT id, media_digest, answer, confidence * learned, ops FROM queries JOIN votes"
            f" ON query = id WHERE id IN ({marks})",
            [*near],
        ).fetchall()
        found = [
            Neighbour(n, near[n], digest, answer, sure, tuple(ops.split()))
            for n, digest, answer, sure, ops in rows
        ]
        return sorted(found, key=lambda one: list(near).index(one.id))

    def prune(self, keep: int, last: int | None = None) -> list[int]:
        """Forgets all but the `keep` entries of most value.

        An entry that was learned from is worth its vote's confidence times (1 + how many entries
        have it among their neighbours), half as much for every `HALF_LIFE` entries that came after
        it. What goes depends on what is there alone: the same memory forgets the same.

        Args:
            keep: How many stay.
            last: Entries newer than this one stay in any case, and count among `keep`.

        Returns:
            The ids that are gone.

        Raises:
            ValueError: `keep` is negative.
        """
        if keep < 0:
            raise ValueError(f"keep must be 0 or more, not {keep}")
        if len(self) <= keep:
            return []
        rows = self.record.execute(
            "SELECT id, confidence * learned, neighbours FROM queries JOIN votes ON query = id"
        ).fetchall()
        uses = Counter(int(number) for _, _, near in rows for number in near.split())
        newest = max(number for number, _, _ in rows)
        worth = {n: sure * (1 + uses[n]) * 0.5 ** ((newest - n) / HALF_LIFE) for n, sure, _ in rows}
        safe = {n for n in worth if last is not None and n > last}
        order = sorted(worth.keys() - safe, key=lambda n: (-worth[n], -n))
        gone = order[max(0, keep - len(safe)) :]
        self._forget(gone)
        return sorted(gone)

    def after(self, number: int, most: int) -> list[int]:
        """The ids of the first `most` entries that are newer than one, the oldest first."""
        rows = self.record.execute(
            "SELECT id FROM queries WHERE id > ? ORDER BY id LIMIT ?", (number, most)
        )
        return [n for (n,) in rows]

    def times_learned(self, question: str, media_digest: str) -> int:
        """How many entries of this question about this medium were learned from."""
        row = self.record.execute(
            "SELECT count(*) FROM queries JOIN votes ON votes.query = id"
            " WHERE media_digest = ? AND question = ? AND learned",
            (media_digest, question),
        ).fetchone()
        return int(row[0])

    @property
    def next_place(self) -> int:
        """The place in the stream after all that were met, forgotten ones too; 0 before any."""
        met = self.record.execute("SELECT value FROM about WHERE name = 'next_place'").fetchone()
        if met is not None:
            return int(met[0])
        last = self.record.execute("SELECT max(place) FROM queries").fetchone()[0]
        return 0 if last is None else int(last) + 1

    def pass_over(self, place: int) -> None:
        """Says that the stream has come past a place of which there is nothing to remember."""
        with self._writing():
            self._passed(place)

    def forget_after(self, number: int) -> None:
        """Forgets entries newer than one: of a run that goes on from before they were met."""
        gone = self.record.execute(
            "SELECT id, place FROM queries WHERE id > ?", (number,)
        ).fetchall()
        self._forget([n for n, _ in gone], min((place for _, place in gone), default=None))

    def _passed(self, place: int) -> None:
        self._comes_to(max(self.next_place, place + 1))

    def _comes_to(self, place: int) -> None:
        self.record.execute("INSERT OR REPLACE INTO about VALUES ('next_place', ?)", (str(place),))

    def _knows(self, digest: str) -> bool:
        found = self.record.execute("SELECT 1 FROM images WHERE digest = ?", (digest,))
        return found.fetchone() is not None

    def _images(self, number: int, rollout: int) -> tuple[Image.Image, ...]:
        """The images of an entry's rollout, or (-1) those that it began with."""
        rows = self.record.execute(
            "SELECT webp FROM query_images JOIN images ON image = digest"
            " WHERE query = ? AND rollout = ? ORDER BY place",
            (number, rollout),
        )
        return tuple(Image.open(io.BytesIO(webp)).convert("RGB") for (webp,) in rows)

    @property
    def _saved(self) -> Path:
        return self.folder / "memory.index"

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it or nothing, on the disk at its end."""
        self.record.execute("BEGIN IMMEDIATE")
        try:
            yield self.record
        except BaseException:
            self.record.execute("ROLLBACK")
            raise
        self.record.execute("COMMIT")

    def _forget(self, numbers: list[int], next_place: int | None = None) -> None:
        if not numbers:
            return
        with self._writing() as db:
            if next_place is not None:
                self._comes_to(next_place)
            db.executemany("DELETE FROM queries WHERE id = ?", [(number,) for number in numbers])
            db.execute("DELETE FROM images WHERE digest NOT IN (SELECT image FROM query_images)")
        self.index.remove(numbers)

    def _check(self, about: dict[str, str]) -> dict[str, str]:
        """Compares what the memory is of with what it is opened as; a new one is of that."""
        known = dict(self.record.execute("SELECT name, value FROM about"))
        if not known:
            if len(about) < 2:  # what began it died before it had said of what it is
                raise InvalidMemory(
                    f"the memory in {self.folder} was never begun: open it with an encoder's name "
                    "and the size of its vectors"
                )
            with self._writing() as db:
                db.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", about.items())
            known = dict(self.record.execute("SELECT name, value FROM about"))
        for name, value in about.items():
            if known.get(name) != value:
                raise InvalidMemory(
                    f"{self.folder} is a memory with {name} {known.get(name)}, not {value}: "
                    "vectors of two encoders do not compare; open it with its own, or begin a "
                    "new one in another folder"
                )
        return known

    def sync(self) -> None:
        """Brings the index up to what other processes wrote, or to the whole record at first."""
        writes = self.record.execute("PRAGMA data_version").fetchone()[0]
        if writes == self._writes_seen:
            return
        recorded = {n for (n,) in self.record.execute("SELECT id FROM queries")}
        self.index.remove(self.index.ids - recorded)
        missing = sorted(recorded - self.index.ids)
        for start in range(0, len(missing), 500):
            part = missing[start : start + 500]
            marks = ",".join("?" * len(part))
            rows = self.record.execute(
                f"SELECT id, vector FROM queries WHERE id IN ({marks}) ORDER BY id", part
            ).fetchall()
            vectors = [np.frombuffer(vector, FLOATS) for _, vector in rows]
            self.index.add([number for number, _ in rows], np.stack(vectors))
        self._writes_seen = writes

    def _save_index(self) -> None:
        if self.index.is_graph:
            self.index.save(self._saved)
        self._unsaved = 0


def _trace(number: int, packed: bytes) -> Trace:
    return Trace.parse(zlib.decompress(packed), f"a trace of entry {number}")
