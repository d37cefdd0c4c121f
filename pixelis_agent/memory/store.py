"""What an agent met before: queries, what they look like, how they were solved and voted on, and
what was learned from them.

SQLite is the record. What `Memory.add` has returned from is on the disk, whatever happens to the
process then; the index of `pixelis_agent.memory.index` is derived from the record and mended by it
when the memory is opened. Images are stored once, by the digest of their pixels. Ids are never
used again. Several processes may read while one writes.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from pixelis_agent.memory import rows
from pixelis_agent.memory.entries import Entry, Neighbour
from pixelis_agent.memory.index import EXACT, MemoryIndex, Vectors
from pixelis_agent.memory.ledger import Ledger
from pixelis_agent.memory.schema import FLOATS, RECORD, InvalidMemory, open_record
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
        ledger: What was decided, update by update; another table of the record.

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
        file = self.folder / RECORD
        if (encoder is None or size is None) and not file.is_file():
            raise InvalidMemory(f"there is no memory in {self.folder}: {file.name} is missing")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record = open_record(file)
        about = {"encoder": encoder, "size": None if size is None else str(size)}
        self._size = int(self._check({k: v for k, v in about.items() if v is not None})["size"])
        self.ledger = Ledger(self.record)
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
        number = rows.insert(self.record, entry, vector)
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
        return rows.read(self.record, number)

    def traces(self, number: int) -> list[Trace]:
        """The traces of an entry's rollouts, without their images; none where it is forgotten."""
        return rows.read_traces(self.record, number)

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
        told = self.record.execute(
            "SELECT id, media_digest, answer, confidence * learned, ops FROM queries JOIN votes"
            f" ON query = id WHERE id IN ({marks})",
            [*near],
        ).fetchall()
        found = [
            Neighbour(n, near[n], digest, answer, sure, tuple(ops.split()))
            for n, digest, answer, sure, ops in told
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
        held = self.record.execute(
            "SELECT id, confidence * learned, neighbours FROM queries JOIN votes ON query = id"
        ).fetchall()
        uses = Counter(int(number) for _, _, near in held for number in near.split())
        newest = max(number for number, _, _ in held)
        worth = {n: sure * (1 + uses[n]) * 0.5 ** ((newest - n) / HALF_LIFE) for n, sure, _ in held}
        safe = {n for n in worth if last is not None and n > last}
        order = sorted(worth.keys() - safe, key=lambda n: (-worth[n], -n))
        gone = order[max(0, keep - len(safe)) :]
        self._forget(gone)
        return sorted(gone)

    def after(self, number: int, most: int) -> list[int]:
        """The ids of the first `most` entries that are newer than one, the oldest first."""
        newer = self.record.execute(
            "SELECT id FROM queries WHERE id > ? ORDER BY id LIMIT ?", (number, most)
        )
        return [n for (n,) in newer]

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
        return rows.next_place(self.record)

    def pass_over(self, place: int) -> None:
        """Says that the stream has come past a place of which there is nothing to remember."""
        with rows.writing(self.record):
            rows.come_to(self.record, max(self.next_place, place + 1))

    def forget_after(self, number: int) -> None:
        """Forgets entries newer than one: of a run that goes on from before they were met."""
        gone = self.record.execute(
            "SELECT id, place FROM queries WHERE id > ?", (number,)
        ).fetchall()
        self._forget([n for n, _ in gone], min((place for _, place in gone), default=None))

    @property
    def _saved(self) -> Path:
        return self.folder / "memory.index"

    def _forget(self, numbers: list[int], next_place: int | None = None) -> None:
        if numbers:
            rows.delete(self.record, numbers, next_place)
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
            with rows.writing(self.record) as db:
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
        self._index_where("id > ?", [self.index.newest])
        # Ids only grow: where there are as many, they are the same, and all need not be read.
        if len(self) != len(self.index):
            recorded = {n for (n,) in self.record.execute("SELECT id FROM queries")}
            self.index.remove(self.index.ids - recorded)
            missing = sorted(recorded - self.index.ids)
            for start in range(0, len(missing), 500):
                part = missing[start : start + 500]
                self._index_where(f"id IN ({','.join('?' * len(part))})", part)
        self._writes_seen = writes

    def _index_where(self, condition: str, values: list[int]) -> None:
        """Adds entries of the record to the index."""
        found = self.record.execute(
            f"SELECT id, vector FROM queries WHERE {condition} ORDER BY id", values
        )
        while read := found.fetchmany(500):
            vectors = [np.frombuffer(vector, FLOATS) for _, vector in read]
            self.index.add([number for number, _ in read], np.stack(vectors))

    def _save_index(self) -> None:
        if self.index.is_graph:
            self.index.save(self._saved)
        self._unsaved = 0
