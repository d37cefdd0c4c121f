"""A cache bounded by the bytes that it holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Anything that knows its size: an array, a tensor."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        ...


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Sized)


class ByteCache(Generic[K, V]):
    """What was used last, never more than `limit` bytes of it (0 keeps nothing)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[K, V] = OrderedDict()
        self.n_bytes = 0

    def get(self, key: K) -> V | None:
        """What is kept under `key`, if it still is."""
        value = self._kept.get(key)
        if value is not None:
            self._kept.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep `value` under a `key` not kept yet, and drop what was unused for longest."""
        self._kept[key] = value
        self.n_bytes += value.nbytes
        while self.n_bytes > self._limit:
            _, dropped = self._kept.popitem(last=False)
            self.n_bytes -= dropped.nbytes
