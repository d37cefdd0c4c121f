"""Rollouts on many machines: Ray actors that hold environments and play whole episodes.

The driver gives out tickets (`flight.Ticket`), never more than there are environments, and counts
an episode when its result has come in. When a worker dies, what it was at is given to others and
a fresh worker takes its place. A ticket says all that an episode depends on, so the results are
those of a `Collector`, wherever and however often an episode was begun.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from pixelis_agent.collect.collector import AsyncPolicy
from pixelis_agent.collect.finished import Finished, RolloutError, readable
from pixelis_agent.collect.flight import Ticket, tickets
from pixelis_agent.collect.player import Over, Player
from pixelis_agent.collect.workers import Host
from pixelis_agent.policies.base import Policy
from pixelis_env.errors import require

TRIES = 3
"""So many workers may die one after another under an episode, or in one place without an episode
between them; then the run ends."""

LATE = 60.0
"""Seconds after which a warning says which workers have not started, and what the cluster has."""


@dataclass
class _Worker:
    """A place for an actor.

    Attributes:
        actor: The one that is there; None where no more are put.
        life: How many were there before it.
        ready: Whether it has begun the run.
        busy: Episodes that it plays.
        deaths: Actors that died here since an episode came from here.
        task: The index that came last.
    """

    actor: Any
    life: int = 0
    ready: bool = False
    busy: int = 0
    deaths: int = 0
    task: int | None = None


@dataclass(frozen=True)
class _Call:
    """A call that is under way. `ticket`: None where it begins the run."""

    worker: _Worker
    life: int
    ticket: Ticket | None


@dataclass
class _Fleet:
    """What a run has under way.

    Attributes:
        workers: All places.
        slots: Episodes that each plays at one time.
        calls: By the reference to their results.
        again: Episodes of workers that died.
        tries: By position, how many workers died under an episode.
        used: What each actor's policy has counted.
        patience: On the clock of `time.monotonic`, until when workers may start without a word.
    """

    workers: list[_Worker]
    slots: int
    calls: dict[Any, _Call] = field(default_factory=dict)
    again: deque[Ticket] = field(default_factory=deque)
    tries: Counter[int] = field(default_factory=Counter)
    used: dict[tuple[int, int], Any] = field(default_factory=dict)
    patience: float = field(default_factory=lambda: time.monotonic() + LATE)

    def free(self) -> list[_Worker]:
        """The workers that have a free environment."""
        return [w for w in self.workers if w.ready and w.busy < self.slots]

    def seat(self, ticket: Ticket) -> _Worker:
        """Who is to play an episode, of those that are free.

        That is where the same task was begun last, which is made, and read, only once there; else
        who has the most free environments.
        """
        return min(self.free(), key=lambda worker: (worker.task != ticket.index, worker.busy))

    def playing(self) -> bool:
        """Whether any episode is under way."""
        return bool(self.again) or any(call.ticket for call in self.calls.values())


class RayCollector:
    """Environments on a Ray cluster, with the interface of `Collector`.

    Args:
        env_id: A registered environment; `module:id` where importing pixelis does not register it.
        env_kwargs: Its keyword arguments; must pickle. Paths in them must exist on every machine.
        workers: Actors, each on one CPU of the cluster. Those that find no place yet join when
            they do.
        envs_per_worker: Environments in each, which is how many episodes it plays at one time; a
            room that is played takes about 50 MB.
        gpus: Of the cluster's, that each actor takes, e.g. 1 or 0.5; for policies that compute.
        address: Of the cluster: "auto" for the one that this machine belongs to, or "host:6379";
            None starts a Ray of its own on this machine. Where the process is connected already,
            that connection is used.

    Attributes:
        source: Where the tasks come from.
        size: How many tasks the source has; None: one for every index in 0..2**62-1.

    Raises:
        MissingExtra: Ray is not installed.
        ValueError: A number out of range, or arguments that the environment does not take.
    """

    def __init__(
        self,
        env_id: str,
        env_kwargs: Mapping[str, Any] | None = None,
        *,
        workers: int = 2,
        envs_per_worker: int = 4,
        gpus: float = 0.0,
        address: str | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        if envs_per_worker < 1:
            raise ValueError(f"envs_per_worker must be at least 1, not {envs_per_worker}")
        if gpus < 0:
            raise ValueError(f"gpus must be 0 or more, not {gpus:g}")
        require("RayCollector", "ray", "ray")
        self.env_id = env_id
        self._env_kwargs = dict(env_kwargs or {})
        self._n_workers, self._slots, self._gpus = workers, envs_per_worker, gpus
        self._address = address
        # Wrong arguments are refused here, before anything is started.
        host = Host(env_id, self._env_kwargs, 1)
        self.source, self.size = host.source, host.size
        host.close()
        self._workers: list[_Worker] = []
        self._own_ray = False

    def __enter__(self) -> RayCollector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the actors, and Ray where this started it."""
        if self._workers:
            self._stop(self._workers)
        if self._own_ray:
            import ray

            ray.shutdown()
            self._own_ray = False

    def run(
        self,
        policy: Policy | AsyncPolicy,
        indices: Iterable[int],
        *,
        batch: int = 16,
        seed: int = 0,
        traces: bool = False,
        lockstep: bool = False,
        unreadable: dict[int, str] | None = None,
    ) -> Iterator[Finished]:
        """Plays one episode of each task; see `Collector.run`.

        Args:
            policy: Who plays; must pickle, for each worker plays with a copy of its own. What the
                copies count in `usage` is given to `policy.count`.
            indices: The tasks. No more are taken than there is room for, and none while the caller
                looks at an episode.
            batch: At the most so many episodes of one worker are given to its `policy.act` at once.
            seed: From which each episode's own is made.
            traces: Whether to make traces.
            lockstep: Must be False: which episodes meet in a worker is a matter of timing. Only a
                policy whose arithmetic depends on who else is in the batch would tell.
            unreadable: As of `Collector.run`.

        Yields:
            Episodes as they end.

        Raises:
            RolloutError: An environment failed; or `TRIES` workers died one after another under an
                episode, or in every place.
            ValueError: A number out of range, or `lockstep`.
        """
        if batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, not {seed}")
        if lockstep:
            raise ValueError("lockstep must be False on a cluster: its batches depend on timing")
        played = self._play(policy, tickets(indices, seed), batch, traces)
        yield from readable(played, unreadable)

    def _play(
        self, policy: Policy | AsyncPolicy, rest: Iterator[Ticket], batch: int, traces: bool
    ) -> Generator[Over, None, None]:
        ray = self._connect()
        self._start_workers()
        shared = ray.put(policy)
        fleet = _Fleet(self._workers, self._slots)

        def begin(worker: _Worker) -> None:
            reference = worker.actor.begin.remote(shared, batch, traces)
            fleet.calls[reference] = _Call(worker, worker.life, None)

        def fill() -> None:
            while fleet.free():
                ticket = fleet.again.popleft() if fleet.again else next(rest, None)
                if ticket is None:
                    return
                worker = fleet.seat(ticket)
                worker.busy += 1
                worker.task = ticket.index
                fleet.calls[worker.actor.play.remote(ticket)] = _Call(worker, worker.life, ticket)

        for worker in self._workers:
            worker.ready = False
            begin(worker)
        try:
            while not any(worker.ready for worker in self._workers) or fleet.playing():
                reference = self._wait(fleet)
                call = fleet.calls.pop(reference)
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                except ray.exceptions.RayError as error:
                    if self._bury(call, fleet, str(error)):
                        begin(call.worker)
                    fill()
                    continue
                over = self._book(call, result, fleet)
                fill()
                if over is not None:
                    yield over
        finally:
            # What they are still at would come in between the episodes of the next run.
            left = any(call.ticket for call in fleet.calls.values())
            self._stop([w for w in self._workers if left or not w.ready])
            count = getattr(policy, "count", None)
            if count is not None:
                for used in fleet.used.values():
                    count(used)

    def _wait(self, fleet: _Fleet) -> Any:
        """The reference to a result that has come in."""
        import ray

        calls, started = list(fleet.calls), sum(worker.ready for worker in fleet.workers)
        if started == len(fleet.workers) or fleet.patience == math.inf:
            return ray.wait(calls)[0][0]
        done, _ = ray.wait(calls, timeout=max(0.0, fleet.patience - time.monotonic()))
        if done:
            return done[0]
        fleet.patience = math.inf
        every, free = ray.cluster_resources(), ray.available_resources()
        needs = {"CPU": 1.0} | ({"GPU": self._gpus} if self._gpus else {})
        found = "; ".join(
            f"{need:g} {kind}, of which the cluster has {every.get(kind, 0):g} and "
            f"{free.get(kind, 0):g} are free"
            for kind, need in needs.items()
        )
        warnings.warn(
            f"after {LATE:g} s {started} of {len(fleet.workers)} workers have started: each takes "
            f"{found}",
            stacklevel=2,
        )
        return ray.wait(calls)[0][0]

    def _book(self, call: _Call, result: Any, fleet: _Fleet) -> Over | None:
        """Books what a call gave; the episode where it played one."""
        worker = call.worker
        if call.ticket is None:
            worker.ready = worker.life == call.life
            return None
        over: Over
        over, used = result
        if used is not None:
            fleet.used[fleet.workers.index(worker), call.life] = used
        if worker.life == call.life:
            worker.busy -= 1
            worker.deaths = 0
        return over

    def _bury(self, call: _Call, fleet: _Fleet, last_words: str) -> bool:
        """Books a call whose worker died; whether a fresh one has taken its place.

        Raises:
            RolloutError: It must not be played again, or no worker is left.
        """
        worker, ticket = call.worker, call.ticket
        if ticket is not None:
            fleet.tries[ticket.position] += 1
            if fleet.tries[ticket.position] == TRIES:
                raise RolloutError(
                    f"{TRIES} workers died while they played task {ticket.index} of "
                    f"{self.env_id}, the last: {last_words}",
                    [ticket.index],
                )
            fleet.again.append(ticket)
        if worker.life != call.life:
            return False  # its other calls have told so already
        import ray

        # It may be out of reach and not dead: then it is to end when it is back.
        ray.kill(worker.actor)
        worker.life += 1
        worker.deaths += 1
        worker.ready, worker.busy, worker.task = False, 0, None
        if worker.deaths < TRIES:
            worker.actor = self._actor()
            return True
        worker.actor = None
        if all(other.actor is None for other in fleet.workers):
            held = [ticket.index for ticket in fleet.again]
            raise RolloutError(f"every worker died {TRIES} times, the last: {last_words}", held)
        return False

    def _connect(self) -> Any:
        import ray

        if not ray.is_initialized():
            own = {"num_cpus": self._n_workers, "include_dashboard": False}
            ray.init(
                self._address or "local",
                # Standard output is the command's own.
                log_to_driver=False,
                logging_level="warning",
                **({} if self._address else own),
            )
            self._own_ray = True
        return ray

    def _actor(self) -> Any:
        import ray

        # No restarts by Ray: a fresh actor must begin the run before it plays.
        remote = ray.remote(
            num_cpus=1, num_gpus=self._gpus, max_restarts=0, max_concurrency=self._slots
        )
        return remote(Player).remote(self.env_id, self._env_kwargs, self._slots)

    def _start_workers(self) -> None:
        self._workers = [worker for worker in self._workers if worker.actor is not None]
        while len(self._workers) < self._n_workers:
            self._workers.append(_Worker(self._actor()))

    def _stop(self, workers: Iterable[_Worker]) -> None:
        import ray

        for worker in workers:
            if worker.actor is not None and ray.is_initialized():
                ray.kill(worker.actor)
            worker.actor = None
