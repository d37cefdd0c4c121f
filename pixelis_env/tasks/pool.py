"""A finite choice of a source's tasks: a training set, a held-out set, or a cache."""

from __future__ import annotations

from collections.abc import Iterable

from pixelis_env.tasks.base import Task, TaskSource


class Pool:
    """Some rows of a source as a source of their own, each kept once it was made.

    Keeping a task keeps its medium's caches too, so a revisited room is not rendered again.

    Args:
        source: Where the tasks come from.
        indices: Their indices in `source`; row i of the pool is the i-th. Training and held-out
            pools are disjoint when their indices are.
    """

    def __init__(self, source: TaskSource, indices: Iterable[int]) -> None:
        self._source = source
        self._indices = tuple(indices)
        if not self._indices:
            raise ValueError("a pool needs at least one index")
        self._tasks: dict[int, Task] = {}
        self.name = f"{source.name}[{len(self._indices)}]"
        self.size = len(self._indices)

    def task(self, index: int) -> Task:
        """Row `index` of the pool."""
        if not 0 <= index < self.size:
            raise IndexError(f"{self.name} has no task {index}: give 0..{self.size - 1}")
        if index not in self._tasks:
            self._tasks[index] = self._source.task(self._indices[index])
        return self._tasks[index]
