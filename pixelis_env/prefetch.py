"""The next episode, made while the present one is played."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from pixelis_env.observation import Observer
from pixelis_env.tasks.base import Task, TaskSource
from pixelis_env.workspace import Workspace


def make_episode(source: TaskSource, index: int) -> tuple[Task, Observer]:
    """The task at `index` and its observer, with the overview made."""
    task = source.task(index)
    return task, Observer(task)


class Prefetcher:
    """Makes the next task and its first observation in a thread. One task ahead, never more.

    Args:
        source: Where the tasks come from.
    """

    def __init__(self, source: TaskSource) -> None:
        self._source = source
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="pixelis-prefetch")
        self._pending: tuple[int, Future[tuple[Task, Observer]]] | None = None

    def start(self, index: int) -> None:
        """Begins to make the task at `index`."""
        if self._pending is None or self._pending[0] != index:
            self._pending = (index, self._pool.submit(self._make, index))

    def take(self, index: int) -> tuple[Task, Observer] | None:
        """The task at `index` if it was asked for; waits until it is made."""
        if self._pending is None or self._pending[0] != index:
            return None
        future, self._pending = self._pending[1], None
        return future.result()

    def close(self) -> None:
        """Ends the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, index: int) -> tuple[Task, Observer]:
        task, observer = make_episode(self._source, index)
        # Renders the first frame too: it stays in the medium's cache and the observer's.
        observer.observe(Workspace(task.media), 0.0)
        return task, observer
