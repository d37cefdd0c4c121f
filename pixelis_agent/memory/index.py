"""The index of a memory: nearest vectors by inner product, derived from the record.

Up to `EXACT` entries every vector is compared; beyond that FAISS' navigable small-world graph finds
almost always the same. A graph forgets nothing, so entries that were removed are passed over, and
once they are many the graph is made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelis_agent.files import replace_file

EXACT = 20_000
"""Entries up to which the search is exact."""
LINKS, BUILD_EFFORT, EFFORT = 24, 80, 96
"""Of the graph: links a node, and candidates that are kept in building and in searching."""
STALE = 0.2
"""Share of removed entries from which on the graph is made anew."""

Vectors = NDArray[np.float32]


class MemoryIndex:
    """Ids and unit vectors.

    Args:
        size: Numbers of a vector.
        exact: Entries up to which the search is exact.

    Attributes:
        ids: Of what it holds.
        newest: The largest id that it ever held; 0 before any.
    """

    def __init__(self, size: int, exact: int = EXACT) -> None:
        import faiss

        # Threads would make a graph's links depend on which of them was first.
        faiss.omp_set_num_threads(1)
        self._size, self._exact = size, exact
        self._gone: set[int] = set()
        self.ids: set[int] = set()
        self.newest = 0
        self._index = self._new(graph=False)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_graph(self) -> bool:
        """Whether the search is approximate."""
        import faiss

        return isinstance(faiss.downcast_index(self._index.index), faiss.IndexHNSWFlat)

    def add(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Adds entries with new ids; float32 (n, size)."""
        if not len(ids):
            return
        if not self.is_graph and len(self) + len(ids) > self._exact:
            self._rebuild(graph=True)
        self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.array(ids, np.int64))
        self.ids.update(ids)
        self.newest = max(self.newest, *ids)

    def remove(self, ids: Iterable[int]) -> None:
        """Forgets entries."""
        gone = self.ids.intersection(ids)
        if not gone:
            return
        self.ids -= gone
        if not self.is_graph:
            self._index.remove_ids(np.array(sorted(gone), np.int64))
            return
        self._gone |= gone
        if len(self._gone) > STALE * len(self.ids) or len(self.ids) <= self._exact:
            self._rebuild(graph=len(self.ids) > self._exact)

    def nearest(self, vector: Vectors, k: int) -> list[tuple[int, float]]:
        """Up to `k` ids and inner products, the largest first; equal ones by their id."""
        total, wanted = self._index.ntotal, k
        found: list[tuple[int, float]] = []
        while wanted > 0 and len(found) < min(k, len(self.ids)):
            near, ids = self._index.search(np.ascontiguousarray(vector[None], np.float32), wanted)
            found = [
                (int(i), float(s))
                for i, s in zip(ids[0], near[0], strict=True)
                if int(i) in self.ids
            ]
            if wanted == total:
                break
            wanted = min(4 * wanted, total)
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k]

    def vector(self, entry: int) -> Vectors:
        """The vector of an id that it holds."""
        found: Vectors = self._index.reconstruct(entry)
        return found

    def save(self, path: Path) -> None:
        """Writes it whole or not at all: a checksum, then FAISS' own bytes."""
        import faiss

        body = faiss.serialize_index(self._index).tobytes()
        replace_file(path, hashlib.sha256(body).digest() + body)

    def load(self, path: Path) -> bool:
        """Takes over what was saved; False where there is nothing, or not what was written."""
        import faiss

        try:
            data = path.read_bytes()
        except OSError:
            return False
        digest, body = data[:32], data[32:]
        # FAISS trusts what it reads; only bytes that it wrote itself reach it.
        if hashlib.sha256(body).digest() != digest:
            return False
        index = faiss.deserialize_index(np.frombuffer(body, np.uint8))
        if index.d != self._size:
            return False
        self._index, self._gone = index, set()
        self.ids = set(faiss.vector_to_array(self._index.id_map).tolist())
        self.newest = max(self.ids, default=0)
        return True

    def _new(self, graph: bool) -> Any:
        import faiss

        if not graph:
            return faiss.IndexIDMap2(faiss.IndexFlatIP(self._size))
        inner = faiss.IndexHNSWFlat(self._size, LINKS, faiss.METRIC_INNER_PRODUCT)
        inner.hnsw.efConstruction, inner.hnsw.efSearch = BUILD_EFFORT, EFFORT
        return faiss.IndexIDMap2(inner)

    def _rebuild(self, graph: bool) -> None:
        kept = sorted(self.ids)
        vectors = [self._index.reconstruct(entry) for entry in kept]
        self._index, self._gone = self._new(graph), set()
        if kept:
            self._index.add_with_ids(np.stack(vectors), np.array(kept, np.int64))
