"""Rollouts of many episodes at once, each at its own pace.

The policy is asked about whichever episodes are ready; meanwhile worker processes carry out the
turns of others and make the tasks of the next ones. What an episode comes to depends on the
environment's arguments, its index, the seed and the policy, not on timing; only the order in which
episodes are yielded does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_futures
from multiprocessing.connection import wait as wait_connections
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from pixelis_agent.collect.finished import Finished, RolloutError, Unreadable, readable
from pixelis_agent.collect.flight import Flight, Flown, Ticket, tickets
from pixelis_agent.collect.workers import (
    Begin,
    Begun,
    Died,
    Failed,
    Host,
    LocalWorker,
    Play,
    Reply,
    WorkerProcess,
    unpack,
)
from pixelis_agent.policies.base import Episode, Policy, Turn

PATIENCE = 0.02
"""Seconds without news after which the policy is asked about fewer episodes than a batch."""

_GLANCE = 0.01
"""Seconds between looks at turns that are being written elsewhere."""


@runtime_checkable
class AsyncPolicy(Protocol):
    """A policy whose turns are written elsewhere, so that no episode waits for another's turn."""

    name: str
    needs_oracle: bool

    def submit(self, episode: Episode) -> Future[Turn]:
        """Begins to write the next turn of an episode."""
        ...

    def finish(self, episode: Episode) -> None:
        """As of `Policy`."""
        ...


class Collector:
    """Environments that episodes are played in, kept from one round of rollouts to the next.

    Worker processes are spawned, as `multiprocessing` does it: a script that uses them keeps its
    own work under ``if __name__ == "__main__":``. Use as a context manager, or `close` it.

    Args:
        env_id: A registered environment, e.g. `"Pixelis-v0"`.
        env_kwargs: Its keyword arguments; `workers` > 0 needs them to pickle.
        workers: Worker processes; 0 plays in this one.
        envs_per_worker: Environments in each; a room that is played takes about 50 MB.

    Attributes:
        source: Where the tasks come from.
        size: How many tasks the source has; None: one for every index in 0..2**62-1.

    Raises:
        ValueError: A number out of range, or arguments that the environment does not take.
    """

    def __init__(
        self,
        env_id: str,
        env_kwargs: Mapping[str, Any] | None = None,
        *,
        workers: int = 2,
        envs_per_worker: int = 4,
    ) -> None:
        if workers < 0:
            raise ValueError(f"workers must be 0 (this process) or more, not {workers}")
        if envs_per_worker < 1:
            raise ValueError(f"envs_per_worker must be at least 1, not {envs_per_worker}")
        self.env_id = env_id
        self._env_kwargs = dict(env_kwargs or {})
        self._n_workers, self._slots = workers, envs_per_worker
        # Also with workers: wrong arguments are refused here, before anything is spawned.
        self._host = Host(env_id, self._env_kwargs, envs_per_worker if workers == 0 else 1)
        self.source, self.size = self._host.source, self._host.size
        self._local = LocalWorker(self._host)
        self._workers: list[WorkerProcess] = []

    def __enter__(self) -> Collector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the worker processes and closes the environments."""
        self._stop_workers()
        self._host.close()

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
        """Plays one episode of each task, as many at once as there are environments.

        Args:
            policy: Who plays. An `AsyncPolicy` is asked about each episode as it becomes ready.
            indices: The tasks; taken as there is room, so it may be endless. An index that comes
                again is played again, with another seed.
            batch: At the most so many episodes are given to `policy.act` at once.
            seed: From which each episode's own is made.
            traces: Whether to make traces.
            lockstep: Always ask about the first `batch` episodes that are unfinished, waiting for
                all of them: then the batches too are the same in every run, to the last bit of a
                policy whose arithmetic depends on who else is in the batch. Slower. With fewer
                environments than `batch`, they are the batch.
            unreadable: Where given, a task whose medium cannot be read ends nothing: its index and
                what is wrong are put in here, and it has no episode.

        Yields:
            Episodes as they end.

        Raises:
            RolloutError: An environment failed, or a worker died.
            ValueError: `batch` or `seed` out of range.
        """
        if batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, not {seed}")
        rest = tickets(indices, seed)
        played = self.play(
            policy, lambda: next(rest, None), batch=batch, traces=traces, lockstep=lockstep
        )
        yield from readable(played, unreadable)

    def play(
        self,
        policy: Policy | AsyncPolicy,
        take: Callable[[], Ticket | None],
        *,
        batch: int = 16,
        traces: bool = False,
        lockstep: bool = False,
    ) -> Generator[Finished | Unreadable, None, None]:
        """Plays episodes as they come in; the arguments that `run` has too are those of `run`.

        Args:
            policy: Who plays.
            take: Gives the next episode when there is room for it, None where none waits. The run
                is over when none waits and none is being played.
            batch: As of `run`.
            traces: As of `run`.
            lockstep: As of `run`.

        Yields:
            Episodes as they end, and those that cannot begin.

        Raises:
            RolloutError: An environment failed, or a worker died.
        """
        self._start_workers()
        flight = Flight()
        homes = range(max(self._n_workers, 1))
        flight.free.extend((worker, slot) for slot in range(self._slots) for worker in homes)
        try:
            yield from self._fly(policy, flight, take, batch, traces, lockstep)
        finally:
            for play in flight.plays.values():
                policy.finish(play.episode)
            if flight.plays:
                # What they are still at would come back in the next run.
                self._local.clear()
                self._stop_workers()

    def _fly(
        self,
        policy: Policy | AsyncPolicy,
        flight: Flight,
        take: Callable[[], Ticket | None],
        batch: int,
        traces: bool,
        lockstep: bool,
    ) -> Generator[Finished | Unreadable, None, None]:
        while self._fill(policy, flight, take, traces):
            if isinstance(policy, AsyncPolicy):
                self._submit(policy, flight)
                news = self._news(flight, _GLANCE)
            else:
                due = flight.due(batch, lockstep)
                news = None if due else self._news(flight, None if lockstep else PATIENCE)
                if news is None:
                    self._act(policy, due or flight.ready()[:batch], flight)
            if news is None:
                continue
            over = self._book(news, flight)
            if over is not None:
                if isinstance(over, Finished):
                    policy.finish(over.episode)
                # First, so that the next task is made while the caller looks at this episode.
                self._fill(policy, flight, take, traces)
                yield over

    def _fill(
        self,
        policy: Policy | AsyncPolicy,
        flight: Flight,
        take: Callable[[], Ticket | None],
        traces: bool,
    ) -> bool:
        """Begins an episode in every free seat; says whether any is being played."""
        while flight.free and (ticket := take()) is not None:
            play = flight.begin(ticket, self._host.tools)
            self._send(play, Begin(play.slot, ticket.index, policy.needs_oracle, traces), flight)
        return bool(flight.plays)

    def _act(self, policy: Policy, plays: Sequence[Flown], flight: Flight) -> None:
        """Asks the policy about some episodes and sends what it wrote."""
        if not plays:
            return
        started = time.perf_counter()
        turns = policy.act([play.episode for play in plays])
        share = (time.perf_counter() - started) / len(plays)
        for play, turn in zip(plays, turns, strict=True):
            self._play(play, turn, share, flight)

    def _submit(self, policy: AsyncPolicy, flight: Flight) -> None:
        """Asks the policy about every episode that is ready, and sends the turns that are done."""
        for play in list(flight.plays.values()):
            if play.ready:
                play.ready, play.asked_at = False, time.perf_counter()
                play.future = policy.submit(play.episode)
            if play.future is not None and play.future.done():
                turn, play.future = play.future.result(), None
                self._play(play, turn, time.perf_counter() - play.asked_at, flight)

    def _play(self, play: Flown, turn: Turn, seconds: float, flight: Flight) -> None:
        play.ready = False
        play.episode.turns.append(turn)
        play.policy_seconds += seconds
        self._send(play, Play(play.slot, turn.text), flight)

    def _send(self, play: Flown, request: Begin | Play, flight: Flight) -> None:
        if not self._workers:
            self._local.send(request)
            return
        try:
            self._workers[play.worker].send(request)
        except Died as error:
            raise self._death(play.worker, error, flight) from None

    def _news(self, flight: Flight, timeout: float | None) -> tuple[int, Reply] | None:
        """The next reply and whose it is; None where none came within `timeout` seconds."""
        if not self._workers:
            reply = self._local.receive()
            if reply is None and timeout is not None:
                futures = [play.future for play in flight.plays.values() if play.future]
                wait_futures(futures, timeout, return_when=FIRST_COMPLETED)
            return None if reply is None else (0, reply)
        connections = [worker.connection for worker in self._workers]
        for connection in wait_connections(connections, timeout):
            number = connections.index(connection)  # type: ignore[arg-type]
            try:
                return number, self._workers[number].receive()
            except Died as error:
                raise self._death(number, error, flight) from None
        return None

    def _book(self, news: tuple[int, Reply], flight: Flight) -> Finished | Unreadable | None:
        """Books a reply; the episode where it was the last of one."""
        worker, reply = news
        play = flight.seats[worker, reply.slot]
        if isinstance(reply, Failed):
            index = play.episode.index
            error = RolloutError(
                f"task {index} of {self.env_id} failed after "
                f"{len(play.episode.turns)} turns: {reply.error}\n\n{reply.where}",
                [index],
            )
            if reply.unreadable is None:
                raise error
            flight.end(play)
            return Unreadable(play.position, index, reply.unreadable, error)
        play.env_seconds += reply.seconds
        play.episode.observations.append(unpack(reply.observation))
        if isinstance(reply, Begun):
            play.asked, play.episode.oracle = reply.asked, reply.oracle
        else:
            play.reward += reply.reward
            if reply.end is not None:
                flight.end(play)
                return Finished.of(play, reply.end)
        play.ready = True
        return None

    def _death(self, worker: int, error: Died, flight: Flight) -> RolloutError:
        indices = [p.episode.index for p in flight.plays.values() if p.worker == worker]
        held = ", ".join(map(str, indices))
        return RolloutError(f"worker {worker}, which held the tasks {held}, {error}", indices)

    def _start_workers(self) -> None:
        while len(self._workers) < self._n_workers:
            self._workers.append(WorkerProcess(self.env_id, self._env_kwargs, self._slots))

    def _stop_workers(self) -> None:
        for worker in self._workers:
            worker.close()
        self._workers = []


def collect(
    policy: Policy | AsyncPolicy,
    env_id: str,
    indices: Iterable[int],
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    workers: int = 2,
    envs_per_worker: int = 4,
    batch: int = 16,
    seed: int = 0,
    traces: bool = False,
    lockstep: bool = False,
) -> Iterator[Finished]:
    """Plays one episode of each task; see `Collector` and its `run`, which this calls once."""
    with Collector(env_id, env_kwargs, workers=workers, envs_per_worker=envs_per_worker) as own:
        yield from own.run(
            policy, indices, batch=batch, seed=seed, traces=traces, lockstep=lockstep
        )
