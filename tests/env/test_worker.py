"""A worker process answers, says why it cannot, and can crash or hang without taking us along."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelis_env.worker import Worker, WorkerError, WorkerGone

SERVE = Path(__file__).with_name("echo_serve.py")


@pytest.fixture(scope="module")
def lasting() -> Iterator[Worker]:
    worker = Worker(SERVE, "a", timeout_s=30)
    yield worker
    worker.stop()


@settings(max_examples=20)
@given(request=st.binary(max_size=2000).filter(lambda data: data not in (b"hang", b"crash")))
def test_every_request_has_its_answer(lasting: Worker, request: bytes) -> None:
    assert lasting.first == b"A"
    if request not in (b"fail", b"imports"):
        assert lasting.ask(request, timeout_s=30) == b"a" + request[::-1]


def test_large_requests_come_through(lasting: Worker) -> None:
    request = os.urandom(3_000_000)
    assert lasting.ask(request, timeout_s=30) == b"a" + request[::-1]


def test_a_failure_is_said_and_survived(lasting: Worker) -> None:
    with pytest.raises(WorkerError, match="ValueError: not that one") as failure:
        lasting.ask(b"fail", timeout_s=30)
    assert not isinstance(failure.value, WorkerGone)
    assert lasting.ask(b"x", timeout_s=30) == b"ax"


def test_it_imports_nothing_of_ours(lasting: Worker) -> None:
    """Its environment may be another, without Pixelis, numpy or torch."""
    modules = lasting.ask(b"imports", timeout_s=30).decode().split()
    assert not {"pixelis_env", "numpy", "torch"} & set(modules)


def test_a_crash_is_said_with_its_exit_status() -> None:
    worker = Worker(SERVE, "a", timeout_s=30)
    with pytest.raises(WorkerGone, match=r"crashed \(exit status 3\)"):
        worker.ask(b"crash", timeout_s=30)
    with pytest.raises(WorkerGone, match="crashed"):
        worker.ask(b"x", timeout_s=30)


def test_a_hung_call_is_ended_in_time() -> None:
    worker = Worker(SERVE, "a", timeout_s=30)
    start = time.monotonic()
    with pytest.raises(WorkerGone, match=r"no answer within 0\.3 s"):
        worker.ask(b"hang", timeout_s=0.3)
    assert time.monotonic() - start < 10
    worker.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


@pytest.mark.parametrize(
    ("argument", "timeout", "says"),
    [("refuse", 30, "no such model"), ("hang", 0.5, "no answer within")],
)
def test_a_start_that_fails_is_said(argument: str, timeout: float, says: str) -> None:
    with pytest.raises(WorkerError, match=says):
        Worker(SERVE, argument, timeout_s=timeout)


def test_it_ends_with_its_object() -> None:
    worker = Worker(SERVE, "a", timeout_s=30)
    pid = worker.pid
    del worker
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
