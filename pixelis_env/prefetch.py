"""The next episode, made while the present one is played."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor

from pixelis_env.observation import Observer
from pixelis_env.scoring import check_gold
from pixelis_env.tasks.base import Task, TaskSource
from pixelis_env.workspace import Workspace


def make_episode(source: TaskSource, index: int) -> tuple[Task, Observer]:
    """The task at `index` and its observer, with the overview made.

    Raises:
        ValueError: The task's metric is none, or its answer does not fit it.
    """
    task = source.task(index)
    check_gold(task)
    return task, Observer(task)


class Prefetcher:
    """Makes the next task and its first observation in a thread, one task ahead.

    Args:
        source: Where the tasks come from.
    """

    def __init__(self, source: TaskSource) -> None:
        self._source = source
        self._pool: ThreadPoolExecutor | None = None
        self._pending: tuple[int, Future[tuple[Task, Observer]]] | None = None
        self._owner_pid = os.getpid()

    def start(self, index: int) -> None:
        """Begins to make the task at `index`; one begun before and not taken is dropped."""
        self._forget_a_parents_thread()
        if self._pending is not None:
            if self._pending[0] == index:
                return
            self._pending[1].cancel()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="pixelis-prefetch")
        self._pending = (index, self._pool.submit(self._make, index))

    def take(self, index: int) -> tuple[Task, Observer] | None:
        """The task at `index` if it was asked for; waits until it is made."""
        self._forget_a_parents_thread()
        if self._pending is None or self._pending[0] != index:
            return None
        future, self._pending = self._pending[1], None
        return future.result()

    def close(self) -> None:
        """Ends the thread; a later `start` begins a new one."""
        self._forget_a_parents_thread()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = self._pending = None

    def _forget_a_parents_thread(self) -> None:
        # A fork copies the pool without its thread: waiting for it would last for ever.
        if self._owner_pid != os.getpid():
            self._pool = self._pending = None
            self._owner_pid = os.getpid()

    def _make(self, index: int) -> tuple[Task, Observer]:
        task, observer = make_episode(self._source, index)
        # Renders the first frame too: it stays in the medium's cache and the observer's.
        observer.observe(Workspace(task.media), 0.0)
        return task, observer
