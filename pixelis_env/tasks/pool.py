"""Tasks that stay in memory, and a finite choice of a source's tasks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from pixelis_env.tasks.base import Task, TaskSource


class Recent:
    """A source whose last used tasks stay in memory.

    Keeping a task keeps its medium's caches too, so a revisited room is not rendered again.
    Environments of one process may share it: a group of rollouts on a task then makes it once.

    Args:
        source: Where the tasks come from.
        keep: How many stay; a room takes about 50 MB once it was played.

    Raises:
        ValueError: `keep` is out of range.
    """

    def __init__(self, source: TaskSource, keep: int) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}")
        self._source, self._keep = source, keep
        self._tasks: OrderedDict[int, Task] = OrderedDict()
        self.name, self.size = source.name, source.size

    def task(self, index: int) -> Task:
        """As of the source."""
        if index not in self._tasks:
            self._tasks[index] = self._source.task(index)
            while len(self._tasks) > self._keep:
                self._tasks.popitem(last=False)
        self._tasks.move_to_end(index)
        return self._tasks[index]


class Pool:
    """Some rows of a source as a source of their own; the last used stay in memory.

    Args:
        source: Where the tasks come from.
        indices: Their indices in `source`; row i of the pool is the i-th. Training and held-out
            pools are disjoint when their indices are.
        keep: How many tasks stay in memory; a room takes about 50 MB once it was played.
    """

    def __init__(self, source: TaskSource, indices: Iterable[int], keep: int = 16) -> None:
        self._recent = Recent(source, keep)
        self._indices = tuple(indices)
        if not self._indices:
            raise ValueError("a pool needs at least one index")
        self.name = f"{source.name}[{len(self._indices)}]"
        self.size = len(self._indices)

    def task(self, index: int) -> Task:
        """Row `index` of the pool."""
        if not 0 <= index < self.size:
            raise IndexError(f"{self.name} has no task {index}: give 0..{self.size - 1}")
        return self._recent.task(self._indices[index])
