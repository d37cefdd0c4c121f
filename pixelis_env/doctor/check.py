"""One thing that is looked at, in a process of its own, and what was found."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelis_env.doctor import _serve as serve
from pixelis_env.doctor.outcome import Outcome, Status
from pixelis_env.worker import Worker, WorkerError, WorkerGone

START_S = 60.0
"""The longest that a process may take to start: Python itself, and the import of Pixelis."""


@dataclass(frozen=True)
class Check:
    """A thing to look at.

    Attributes:
        subject: What it belongs to, e.g. an operation; reports are grouped by it.
        name: What is looked at, e.g. a backend.
        run: "module:function" of what looks. It returns an `Outcome`; whatever it raises is a
            failure, but a `MissingExtra`, which is what it says.
        arguments: Of the function.
        extra: The extra that it needs; None: the base install.
        needed: Whether the base is broken where it fails or is missing.
        packages: What it leans on, so that a mend can be named.
        timeout_s: The longest that it may take, in seconds.
    """

    subject: str
    name: str
    run: str
    arguments: tuple[str, ...] = ()
    extra: str | None = None
    needed: bool = False
    packages: tuple[str, ...] = ()
    timeout_s: float = 120.0


@dataclass(frozen=True)
class Finding:
    """A check's outcome, as reports have it.

    Attributes:
        subject: See `Check`.
        name: See `Check`.
        status: See `Outcome`.
        detail: See `Outcome`.
        mend: See `Outcome`.
        needed: See `Check`.
        extra: See `Check`.
        seconds: What it took.
    """

    subject: str
    name: str
    status: Status
    detail: str
    mend: str
    needed: bool
    extra: str | None
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether this is no reason to call the installation broken."""
        return self.status in ("ok", "note") or not self.needed


def examine(checks: Iterable[Check]) -> Iterator[Finding]:
    """Carries the checks out, one after the other, and yields what each found.

    They run in another process, which imports from where this one does: a library that crashes or
    hangs takes its own check along and no other. A process serves until a check fails in it; what
    fails in a used one is tried again in a fresh one, since it may have been what ran before.
    """
    worker: Worker | None = None
    for check in checks:
        started, used = time.perf_counter(), worker is not None
        worker, outcome = _ask(worker, check)
        if outcome.status == "failed" and used:
            worker, outcome = _ask(worker, check)
        yield _finding(check, outcome, time.perf_counter() - started)
    if worker is not None:
        worker.stop()


def _ask(worker: Worker | None, check: Check) -> tuple[Worker | None, Outcome]:
    """What the check finds in this process, or in a fresh one; and the process, if it may go on."""
    request = json.dumps([check.run, *check.arguments]).encode()
    try:
        if worker is None:
            worker = Worker(Path(serve.__file__), json.dumps(sys.path), timeout_s=START_S)
        outcome = Outcome(**json.loads(worker.ask(request, timeout_s=check.timeout_s)))
    except WorkerError as error:
        outcome = Outcome("failed", _reason(error))
    if outcome.status == "failed" and worker is not None:
        worker.stop()
        worker = None
    return worker, outcome


def pip_install(*packages: str, again: bool = False) -> str:
    """The command that installs packages; `again`: in place of what is there."""
    quoted = " ".join(f"'{each}'" if set(each) & set("[<>=;") else each for each in packages)
    return f"pip install {'--force-reinstall --no-deps ' if again else ''}{quoted}"


def _finding(check: Check, outcome: Outcome, seconds: float) -> Finding:
    mend = outcome.mend
    if not mend and outcome.status == "missing" and check.extra is not None:
        mend = pip_install(f"pixelis[{check.extra}]")
    elif not mend and outcome.status in ("missing", "failed"):
        packages = check.packages or ("pixelis",)
        mend = pip_install(*packages, again=outcome.status == "failed")
    return Finding(
        subject=check.subject,
        name=check.name,
        status=outcome.status,
        detail=outcome.detail,
        mend=mend,
        needed=check.needed,
        extra=check.extra,
        seconds=round(seconds, 3),
    )


def _reason(error: WorkerError) -> str:
    if isinstance(error, WorkerGone) and error.status is not None and error.status < 0:
        return f"{error}: {_signal(-error.status)}"
    return str(error)


def _signal(number: int) -> str:
    """How a signal is called, and what it mostly means."""
    known: dict[Any, str] = {
        signal.SIGILL: "the processor does not know one of its instructions",
        signal.SIGSEGV: "it touched memory that is not its own",
        signal.SIGABRT: "it gave up by itself",
    }
    if os.name == "posix":
        known[signal.SIGKILL] = "something ended it, as systems do that run out of memory"
    name = signal.Signals(number).name
    return f"{name}, {known[number]}" if number in known else name
