"""Results of operations, shared by every environment of a process.

A group of rollouts asks the same things of the same medium. Evidence is immutable, so all of them
may hold the same object.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from pixelis_env.evidence import Evidence

CAPACITY = 512
"""Results kept in a process; most take about 1 kB, the track of a long clip 100 kB."""


class ResultCache:
    """The `capacity` most recently used results.

    There is no lock: each statement is atomic, losing a race costs a recomputation, and a lock
    held across a fork would hang the child.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._results: OrderedDict[Hashable, Evidence] = OrderedDict()

    def __len__(self) -> int:
        return len(self._results)

    def get(self, key: Hashable, compute: Callable[[], Evidence]) -> Evidence:
        """The result under `key`, computed if it is not there. Exceptions are not kept."""
        try:
            result = self._results[key]
            self._results.move_to_end(key)
            return result
        except KeyError:
            pass
        result = self._results[key] = compute()
        while len(self._results) > self.capacity:
            try:
                self._results.popitem(last=False)
            except KeyError:
                break
        return result

    def clear(self) -> None:
        """Forgets every result."""
        self._results.clear()


RESULTS = ResultCache(CAPACITY)
