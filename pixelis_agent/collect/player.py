"""What plays episodes in a process of its own, as they come in; `cluster` puts it on Ray actors."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Thread
from typing import Any, Union

from pixelis_agent.collect.collector import AsyncPolicy, Collector
from pixelis_agent.collect.finished import Finished, Unreadable
from pixelis_agent.collect.flight import Ticket
from pixelis_agent.policies.base import Policy

Over = Union[Finished, Unreadable]
"""How an episode ends."""


@dataclass(frozen=True)
class _Run:
    """What all episodes of a run have in common."""

    policy: Policy | AsyncPolicy
    batch: int
    traces: bool


class Player:
    """What runs in a Ray actor: a collector in its process, and a copy of the policy.

    Args:
        env_id: As of `Collector`.
        env_kwargs: As of `Collector`.
        slots: Episodes at one time.
    """

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any], slots: int) -> None:
        import cv2

        cv2.setNumThreads(1)  # one core a worker; OpenCV would take them all
        self._collector = Collector(env_id, env_kwargs, workers=0, envs_per_worker=slots)
        self._inbox: Queue[_Run | tuple[Ticket, Future[Over]]] = Queue()
        self._policy: Any = None
        Thread(target=self._work, daemon=True).start()

    def begin(self, policy: Policy | AsyncPolicy, batch: int, traces: bool) -> None:
        """The episodes that follow are played by this policy. Called between episodes."""
        close = getattr(self._policy, "close", None)
        if close is not None:
            close()
        self._policy = policy
        self._inbox.put(_Run(policy, batch, traces))

    def play(self, ticket: Ticket) -> tuple[Over, Any]:
        """Plays an episode; what came of it, and what the policy has counted so far.

        Called in several threads at once, which wait for the one that plays.
        """
        future: Future[Over] = Future()
        self._inbox.put((ticket, future))
        return future.result(), getattr(self._policy, "usage", None)

    def _work(self) -> None:
        run: _Run | None = None
        waiting: dict[int, Future[Over]] = {}

        def take() -> Ticket | None:
            nonlocal run
            try:
                news = self._inbox.get(block=not waiting)
            except Empty:
                return None
            if isinstance(news, _Run):
                run = news
                return None
            ticket, waiting[news[0].position] = news
            return ticket

        while True:
            if run is None:
                take()
                continue
            try:
                for over in self._collector.play(
                    run.policy, take, batch=run.batch, traces=run.traces
                ):
                    waiting.pop(over.position).set_result(over)
            except Exception as error:
                for future in waiting.values():
                    future.set_exception(error)
                waiting.clear()
