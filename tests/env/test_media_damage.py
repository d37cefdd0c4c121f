"""Whatever a file holds: what can be read is right, the rest is a MediaError, in finite time."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelis_env.media import Media, MediaError, open_media
from tests.env.media_samples import decode_all, number_of, write_format, write_video


def assert_lawful(media: Media) -> None:
    """The laws of a timeline hold, and each frame is as promised or a MediaError."""
    assert media.times[0] == 0.0
    assert (np.diff(media.times) > 0).all()
    assert np.isfinite(media.duration)
    assert media.duration >= media.times[-1]
    for index in sorted({0, media.n_frames // 2, media.n_frames - 1}, reverse=True):
        try:
            assert media.frame(index).shape == (media.height, media.width, 3)
        except MediaError as error:
            named = media.name in str(error)
            assert named
    media.close()


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
@pytest.mark.parametrize(
    "name", ["h264_open_gop.mkv", "h264.ts", "hevc.ts", "vp9.webm", "mpeg4.avi", "mpeg2.mpg"]
)
def test_a_video_cut_short_has_the_whole_frames_before_the_cut(
    tmp_path: Path, name: str, share: float
) -> None:
    path = write_format(tmp_path, name)
    whole = decode_all(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    media = open_media(path)
    assert 4 <= media.n_frames < 70
    sure = media.n_frames - (3 if name.startswith("hevc") else 0)  # its decoder marks no damage
    for i in [*range(sure), *reversed(range(sure))]:
        frame = media.frame(i)
        number = number_of(frame)
        assert number - i in (0, 1, 2), "only frames that lean on the cut one are missing"
        assert np.array_equal(frame, whole[number])
    assert_lawful(media)


@pytest.mark.parametrize("name", ["h264_open_gop.mkv", "mpeg4.avi", "hevc.mp4"])
def test_damaged_frames_do_not_depend_on_what_was_read_before(tmp_path: Path, name: str) -> None:
    path = write_format(tmp_path, name)
    data = bytearray(path.read_bytes())
    for start in (len(data) // 4, len(data) // 2):
        data[start : start + 300] = bytes(300)
    path.write_bytes(data)

    def read(media: Media, index: int) -> bytes | None:
        try:
            return media.frame(index).tobytes()
        except MediaError:
            return None

    media = open_media(path, cache_bytes=0)
    alone = []
    for i in range(media.n_frames):
        alone.append(read(media, i))
        media.close()
    assert sum(frame is None for frame in alone) < media.n_frames // 2
    order = np.random.default_rng(0).permutation(media.n_frames).tolist()
    for i in [*range(media.n_frames), *reversed(range(media.n_frames)), *order]:
        assert read(media, i) == alone[i], f"frame {i}"


def test_an_mp4_cut_short(tmp_path: Path) -> None:
    index_first = {"movflags": "faststart"}
    path = write_video(tmp_path / "a.mp4", n=70, mux=index_first)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.7)])
    media = open_media(path)
    assert 1 < media.n_frames < 70
    for i in range(media.n_frames - 2):
        assert number_of(media.frame(i)) == i
    path.write_bytes(write_video(tmp_path / "b.mp4", n=70).read_bytes()[:4000])
    with pytest.raises(MediaError, match=r"a\.mp4: neither an image nor a video .*complete"):
        open_media(path)


def test_a_hole_in_a_video_costs_no_frame_before_it(tmp_path: Path) -> None:
    path = write_format(tmp_path, "h264_open_gop.mkv")
    data = bytearray(path.read_bytes())
    start = len(data) // 2
    data[start : start + 600] = bytes(600)
    path.write_bytes(data)
    media = open_media(path)
    good = 0
    for i in range(media.n_frames):
        try:
            good += number_of(media.frame(i)) == round(media.times[i] * 25)
        except MediaError as error:
            named = f"frame {i} at" in str(error)
            assert named
    assert good >= 30
    assert_lawful(media)


def _playlist(folder: Path) -> None:
    write_format(folder, "h264.ts")
    (folder / "x").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2.8,\nh264.ts\n")


def _sound(folder: Path) -> None:
    with av.open(str(folder / "x"), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        for i in range(4):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            sound.sample_rate, sound.pts = 8000, i * 1024
            container.mux(stream.encode(sound))
        container.mux(stream.encode(None))


def _no_frames(folder: Path) -> None:
    with av.open(str(folder / "x"), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()


def _huge(folder: Path) -> None:
    header = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"VP80", 9000, 9000, 25, 1, 1, 0)
    (folder / "x").write_bytes(header + struct.pack("<IQ", 99, 0) + bytes(99))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: (folder / "x").mkdir(), "is a folder; name an image or video"),
        (lambda folder: (folder / "x").write_bytes(b""), "neither an image nor a video"),
        (lambda folder: (folder / "x").write_text("Hello " * 999), "neither an image nor a video"),
        (lambda folder: (folder / "x").write_bytes(bytes(9999)), "neither an image nor a video"),
        (lambda folder: os.mkfifo(folder / "x"), "is no regular file; copy"),
        (lambda folder: (folder / "x").symlink_to(folder / "y"), "cannot be found"),
        (lambda folder: (folder / "x").symlink_to("/dev/zero"), "is no regular file; copy"),
        (_playlist, "neither an image nor a video"),
        (_sound, "holds no video stream"),
        (_no_frames, "holds 0 frames"),
        (_huge, "9000x9000 px is more than"),
    ],
)
def test_what_is_no_medium(tmp_path: Path, make: Callable[[Path], object], says: str) -> None:
    make(tmp_path)
    with pytest.raises(MediaError, match=f"{tmp_path / 'x'}.*{says}"):
        open_media(tmp_path / "x")


@pytest.mark.parametrize("path", ["", "\0", "no/such/file", "http://localhost/a.mp4", "\udcff.mp4"])
def test_paths_that_name_no_file(path: str) -> None:
    with pytest.raises(MediaError):
        open_media(path)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    source = write_format(tmp_path, "mjpeg.avi", n=3)
    try:
        strange = source.rename(tmp_path / "caf\udce9.avi")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    try:
        assert_lawful(open_media(strange))
    except MediaError as error:
        refused = "neither" in str(error)
        assert refused


def test_frames_cut_away_by_an_edit_list_are_not_shown(tmp_path: Path) -> None:
    stamps = list(range(-10, 60))
    path = write_video(
        tmp_path / "a.mp4", "mpeg4", {"g": "30"}, stamps=stamps, mux={"avoid_negative_ts": "0"}
    )
    media = open_media(path)
    frames = decode_all(path)
    assert media.n_frames == len(frames)
    assert media.times[0] == 0.0
    for i in (len(frames) - 1, 0, 5):
        assert np.array_equal(media.frame(i), frames[i])


def test_a_file_that_vanishes_is_a_media_error(tmp_path: Path) -> None:
    path = write_format(tmp_path, "mjpeg.avi", n=3)
    media = open_media(path)
    path.unlink()
    with pytest.raises(MediaError, match=r"mjpeg\.avi"):
        media.frame(0)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("samples")
    small = {"n": 12, "tick": Fraction(1, 10)}
    videos = [
        write_format(folder, name, **small)
        for name in ("h264.mp4", "h264_open_gop.mkv", "h264.ts", "h264.avi", "hevc.mp4")
    ] + [
        write_format(folder, name, **small)
        for name in ("mpeg4.avi", "mpeg2.mpg", "mjpeg.avi", "vp9.webm", "animation.gif")
    ]
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8))
    images = [folder / f"a.{suffix}" for suffix in ("png", "jpg", "webp", "tiff", "bmp", "jp2")]
    for image in images:
        picture.save(image)
    picture.quantize(8).save(folder / "palette.png", transparency=1)
    return [file.read_bytes() for file in (*videos, *images, folder / "palette.png")]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore:Image size:Warning:PIL")
@settings(max_examples=200)
@given(data=st.data())
def test_fuzzed_bytes_never_raise_anything_but_media_error(
    samples: list[bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(data.draw(st.sampled_from(samples)))
    # Half of the damage goes into the first kilobyte, where the headers are.
    for _ in range(data.draw(st.integers(1, 12))):
        end = min(len(content), data.draw(st.sampled_from([1024, len(content)])))
        at = data.draw(st.integers(0, end - 1))
        content[at : at + data.draw(st.integers(1, 4))] = data.draw(st.binary(max_size=6))
        if not content:
            break
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(content)
    try:
        media = open_media(path)
    except MediaError as error:
        named = str(path) in str(error)
        assert named
    else:
        assert_lawful(media)
