"""Environments for `collect`: several in a process of their own, or in this one.

A worker process holds a few environments and carries out what the parent asks for, one thing at a
time: turns before new episodes, so that a task is generated while nothing waits for an answer.
It imports neither torch nor transformers.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import PriorityQueue
from threading import Thread
from typing import Any, Union

import numpy as np
from PIL import Image

from pixelis_agent.behaviour import Extent
from pixelis_env.env import PixelisEnv
from pixelis_env.making import make_env
from pixelis_env.media import MediaError
from pixelis_env.metrics.pointing import Aim, aims
from pixelis_env.observation import overview_indices
from pixelis_env.tasks.base import Task, TaskSource
from pixelis_env.tasks.pool import Recent
from pixelis_env.trace import Step, Trace


@dataclass(frozen=True)
class Begin:
    """Start an episode. `oracle`: with the calls that solve it; `trace`: end it with its trace."""

    slot: int
    index: int
    oracle: bool
    trace: bool


@dataclass(frozen=True)
class Play:
    """Carry out a turn."""

    slot: int
    text: str


@dataclass(frozen=True)
class Asked:
    """What an episode's task is, without its answer.

    Attributes:
        task_id: Unique in its source.
        task_type: The question type.
        question: As it is put to the agent, with options and the form of the answer.
        metric: What scores an answer: it says of what kind an answer is.
        n_options: How many options there are; 0 of an open question.
        media_digest: The medium's content digest.
        extent: What the medium spans.
    """

    task_id: str
    task_type: str
    question: str
    metric: str
    n_options: int
    media_digest: str
    extent: Extent

    @classmethod
    def of(cls, task: Task) -> Asked:
        """What is asked in a task."""
        media = task.media
        return cls(
            task_id=task.id,
            task_type=task.type,
            question=task.prompt,
            metric=task.metric,
            n_options=len(task.options or ()),
            media_digest=media.digest,
            extent=Extent(media.width, media.height, media.duration),
        )


@dataclass(frozen=True)
class Begun:
    """An episode's first observation, images as uint8 arrays; `seconds` in the environment."""

    slot: int
    observation: dict[str, Any]
    asked: Asked
    oracle: list[dict[str, Any]] | None
    seconds: float


@dataclass(frozen=True)
class Played:
    """What came of a turn; `end` where it was the last."""

    slot: int
    observation: dict[str, Any]
    reward: float
    end: Ending | None
    seconds: float


@dataclass(frozen=True)
class Ending:
    """What is known of a finished episode; see `collect.Finished`."""

    score: float | None
    steps: tuple[Step, ...]
    aims: tuple[Aim, ...]
    oracle_ops: tuple[tuple[str, ...], ...]
    trace: Trace | None


@dataclass(frozen=True)
class Failed:
    """An exception inside an environment: its one line, and where it was raised.

    `unreadable` is what is wrong with the task's medium, where that is why it could not begin.
    """

    slot: int
    error: str
    where: str
    unreadable: str | None = None


Request = Union[Begin, Play]
Reply = Union[Begun, Played, Failed]


KEPT = 3
"""Tasks that a worker keeps beyond those that are played."""


class Died(Exception):
    """A worker process ended on its own; the message says how."""


class Host:
    """Some environments of one kind.

    Args:
        env_id: A registered environment, or `module:id`.
        env_kwargs: Its keyword arguments.
        slots: How many.

    Raises:
        ValueError: There is no such environment, or it does not take these arguments.
    """

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any], slots: int) -> None:
        self._envs = [make_env(env_id, env_kwargs) for _ in range(slots)]
        self._trace = [False] * slots
        self.source: TaskSource = self._inner(0).source
        # Rollouts of a group come one after another: their task, and what is rendered of it, is
        # made once.
        shared = Recent(self.source, min(slots, KEPT))
        for env in self._envs:
            env.unwrapped.source = shared  # type: ignore[attr-defined]
        self.tools = self._envs[0].tools()
        self.size: int | None = self.source.size

    def run(self, request: Request) -> Reply:
        """Carries out a request; an exception becomes a `Failed`."""
        started = time.perf_counter()
        try:
            if isinstance(request, Begin):
                return self._begin(request, started)
            return self._play(request, started)
        except Exception as error:
            line = f"{type(error).__name__}: {error}"
            lost = isinstance(error, MediaError) and isinstance(request, Begin)
            reason = str(error) if lost else None
            return Failed(request.slot, line, traceback.format_exc(), reason)

    def close(self) -> None:
        """Closes the environments."""
        for env in self._envs:
            env.close()

    def _inner(self, slot: int) -> PixelisEnv:
        return self._envs[slot].unwrapped  # type: ignore[return-value]

    def _begin(self, request: Begin, started: float) -> Begun:
        observation, _ = self._envs[request.slot].reset(options={"index": request.index})
        self._trace[request.slot] = request.trace
        calls = None
        if request.oracle:
            inner = self._inner(request.slot)
            calls = [inner.tool_calls.encode(action) for action in inner.oracle()]
        return Begun(
            request.slot,
            pack(observation),
            Asked.of(self._inner(request.slot).task),
            calls,
            time.perf_counter() - started,
        )

    def _play(self, request: Play, started: float) -> Played:
        env = self._envs[request.slot]
        observation, reward, terminated, truncated, info = env.step(request.text)
        spent = time.perf_counter() - started
        end = None
        if terminated or truncated:
            end = self._ending(request.slot, info.get("score"))
        return Played(request.slot, pack(observation), reward, end, spent)

    def _ending(self, slot: int, score: float | None) -> Ending:
        inner = self._inner(slot)
        truth = inner.task.truth
        return Ending(
            score=score,
            steps=inner.steps,
            aims=() if truth is None else aims(inner.steps, inner.workspace, truth),
            oracle_ops=_oracle_ops(inner),
            trace=inner.trace() if self._trace[slot] else None,
        )


def _oracle_ops(env: PixelisEnv) -> tuple[tuple[str, ...], ...]:
    """The operations of the oracle that sees everything, and of the one that saw the overview."""
    if env.task.oracle is None:
        return ()
    chains = [env.oracle()]
    with suppress(LookupError):  # where these frames do not show enough
        chains.append(env.oracle(frames=overview_indices(env.task.media)))
    return tuple(tuple(action.op for action in chain[:-1]) for chain in chains)


def pack(observation: dict[str, Any]) -> dict[str, Any]:
    """An observation of `ToolCall` with its images as uint8 arrays, which travel cheaply."""
    return {**observation, "images": [np.asarray(image) for image in observation["images"]]}


def unpack(observation: dict[str, Any]) -> dict[str, Any]:
    """The observation that `pack` packed."""
    return {**observation, "images": [Image.fromarray(array) for array in observation["images"]]}


class LocalWorker:
    """A host in this process; requests are carried out when their replies are asked for."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._turns: deque[Request] = deque()
        self._episodes: deque[Request] = deque()

    def send(self, request: Request) -> None:
        """Puts a request in the queue."""
        (self._episodes if isinstance(request, Begin) else self._turns).append(request)

    def receive(self) -> Reply | None:
        """Carries out the next request; None where there is none."""
        queue = self._turns or self._episodes
        return self._host.run(queue.popleft()) if queue else None

    def clear(self) -> None:
        """Drops what was asked for."""
        self._turns.clear()
        self._episodes.clear()


class WorkerProcess:
    """A host in a process of its own, which ends when this process or its handle does.

    Args:
        env_id: As of `Host`.
        env_kwargs: As of `Host`; must pickle.
        slots: As of `Host`.
    """

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any], slots: int) -> None:
        # Spawned, not forked: torch may have threads here, and video readers break over a fork.
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, env_id, dict(env_kwargs), slots), daemon=True
        )
        self._process.start()
        theirs.close()

    def send(self, request: Request) -> None:
        """Hands over a request."""
        try:
            self.connection.send(request)
        except OSError:
            raise Died(self._how()) from None

    def receive(self) -> Reply:
        """The next reply; waits for it."""
        try:
            reply: Reply = self.connection.recv()
        except (EOFError, OSError):
            raise Died(self._how()) from None
        return reply

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self.connection.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _how(self) -> str:
        self._process.join(5)
        code = self._process.exitcode
        if code is None:
            return "closed its connection"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name} (out of memory?)"
        return f"ended with exit status {code}; what it wrote to stderr says more"


def _serve(connection: Connection, env_id: str, env_kwargs: dict[str, Any], slots: int) -> None:
    """The worker process."""
    # Ctrl-C reaches the whole terminal group; the parent decides, and then closes the connection.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2

    cv2.setNumThreads(1)  # one core a worker; OpenCV would take them all
    host = Host(env_id, env_kwargs, slots)
    inbox: PriorityQueue[tuple[bool, int, Request]] = PriorityQueue()

    def read() -> None:
        # A thread, so that the parent never waits to be read while this waits for it to read.
        number = 0
        try:
            while True:
                request: Request = connection.recv()
                inbox.put((isinstance(request, Begin), number, request))
                number += 1
        except (EOFError, OSError):
            os._exit(0)  # the parent has gone, or wants no more: nothing here is worth keeping

    Thread(target=read, daemon=True).start()
    with suppress(OSError):  # the parent has gone
        while True:
            connection.send(host.run(inbox.get()[2]))
