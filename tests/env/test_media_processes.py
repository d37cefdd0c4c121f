"""A video is used from many threads and processes at once and stays right."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from pixelis_env.media import Media, open_media
from tests.env.media_samples import HEIGHT, WIDTH, decode_all, write_format

TIMEOUT_S = 60


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_format(tmp_path_factory.mktemp("video"), "h264.mp4", n=90)


def read_some(media: Media, seed: int, n: int = 40) -> dict[int, bytes]:
    """Frames in an order that `seed` decides."""
    order = np.random.default_rng(seed).integers(0, media.n_frames, n)
    return {int(i): media.frame(int(i)).tobytes() for i in order}


def expected(video: Path) -> dict[int, bytes]:
    return {i: frame.tobytes() for i, frame in enumerate(decode_all(video))}


def test_threads_agree_with_sequential_decoding(video: Path) -> None:
    media = open_media(video, cache_bytes=4 * WIDTH * HEIGHT * 3)
    right = expected(video)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda seed: read_some(media, seed), range(8)):
            assert found.items() <= right.items()


def test_threads_survive_close(video: Path) -> None:
    media = open_media(video, cache_bytes=0)
    right = expected(video)
    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read_some, media, seed) for seed in range(3)]
        while not all(reader.done() for reader in readers):
            media.close()
        for reader in readers:
            assert reader.result().items() <= right.items()


def _child(media: Media, answers: Connection) -> None:
    answers.send(read_some(media, 7))
    answers.close()


def in_child(method: str, media: Media) -> dict[int, bytes]:
    """What `read_some` finds in a child process; fails when it hangs or crashes."""
    context = multiprocessing.get_context(method)
    answers, end = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(media, end))
    child.start()
    end.close()
    try:
        assert answers.poll(TIMEOUT_S), f"the {method} child hangs"
        found: dict[int, bytes] = answers.recv()
        child.join(TIMEOUT_S)
        assert child.exitcode == 0
    finally:
        child.kill()
        child.join()
    return found


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_reader_opened_before_a_child_starts(video: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this platform has no {method}")
    media = open_media(video)
    right = expected(video)
    media.frame(50)
    assert in_child(method, media).items() <= right.items()
    assert read_some(media, 3).items() <= right.items()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_while_a_thread_is_reading(video: Path) -> None:
    media = open_media(video, cache_bytes=0)
    right = expected(video)
    done = threading.Event()

    def read_on() -> None:
        seed = 0
        while not done.is_set():
            seed += 1
            assert read_some(media, seed, n=5).items() <= right.items()

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_on)
        try:
            for _ in range(3):
                assert in_child("fork", media).items() <= right.items()
        finally:
            done.set()
        reading.result(TIMEOUT_S)
