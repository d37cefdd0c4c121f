"""Every kind of image file comes out as the RGB a viewer shows, or as a clear MediaError."""

from __future__ import annotations

import hashlib
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelis_env.media import MAX_PIXELS, MediaError, open_media
from tests.env.media_samples import package_file

RGB = np.random.default_rng(1).integers(0, 256, (21, 33, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def saved(path: Path, image: Image.Image, **kwargs: object) -> np.ndarray:
    image.save(path, **kwargs)
    return open_media(path).frame(0)


def grey_rgb(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp", "gif", "jp2"])
def test_lossless_rgb(tmp_path: Path, suffix: str) -> None:
    kwargs = {"webp": {"lossless": True}, "jp2": {"irreversible": False}}.get(suffix, {})
    got = saved(tmp_path / f"a.{suffix}", Image.fromarray(RGB), **kwargs)
    tolerance = 60 if suffix == "gif" else 0  # 256 colours
    assert np.abs(got.astype(int) - RGB).max() <= tolerance
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    assert not got.flags.writeable


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "clip.mp4", format="PNG")
    assert np.array_equal(open_media(tmp_path / "clip.mp4").frame(0), RGB)


def test_one_frame_without_duration_and_with_the_files_digest(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    media = open_media(str(tmp_path / "a.png"))
    assert (media.width, media.height, media.n_frames) == (33, 21, 1)
    assert (media.duration, media.is_video, media.index_at(0.0)) == (0.0, False, 0)
    assert media.digest == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    with pytest.raises(IndexError, match=r"a\.png"):
        media.frame(1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = saved(tmp_path / "a.png", Image.fromarray(np.ascontiguousarray(undo(RGB))), exif=exif)
    assert np.array_equal(got, RGB)


def test_grey_and_one_bit(tmp_path: Path) -> None:
    assert np.array_equal(saved(tmp_path / "a.png", Image.fromarray(GREY)), grey_rgb(GREY))
    bits = GREY > 127
    assert np.array_equal(saved(tmp_path / "b.png", Image.fromarray(bits)), grey_rgb(bits * 255))


def test_16_bit_grey_keeps_black_white_and_order(tmp_path: Path) -> None:
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for suffix in ("png", "tiff", "pgm"):
        got = saved(tmp_path / f"a.{suffix}", Image.fromarray(deep))
        assert np.array_equal(got, grey_rgb(np.round(deep / 257)))


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    alpha = np.full((21, 33), 255, np.uint8)
    alpha[:, :11], alpha[:, 11:20] = 0, 128
    got = saved(tmp_path / "a.png", Image.fromarray(np.dstack([RGB, alpha])))
    expected = RGB * (alpha[..., None] / 255) + 255 * (1 - alpha[..., None] / 255)
    assert np.abs(got - expected).max() <= 1
    got = saved(tmp_path / "b.png", Image.fromarray(np.dstack([GREY, alpha]), "LA"))
    assert (got[:, :11] == 255).all()
    assert np.array_equal(got[:, 20:], grey_rgb(GREY)[:, 20:])


def test_palette_with_and_without_a_transparent_colour(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).quantize(16)
    shown = np.asarray(palette.convert("RGB"))
    assert np.array_equal(saved(tmp_path / "a.png", palette), shown)
    clear = np.asarray(palette) == 3
    assert clear.any()
    got = saved(tmp_path / "b.png", palette, transparency=3)
    assert np.array_equal(got, np.where(clear[..., None], 255, shown))


def test_cmyk_jpeg(tmp_path: Path) -> None:
    flat = Image.new("RGB", (32, 32), (200, 60, 20))
    got = saved(tmp_path / "a.jpg", flat.convert("CMYK"), quality=95)
    assert np.abs(got.astype(int) - (200, 60, 20)).max() <= 6


@pytest.mark.parametrize("values", [np.linspace(0, 9, 12), np.full(12, 2**20), np.full(12, -1)])
def test_pixels_without_an_agreed_white_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    kind = np.float32 if values.dtype.kind == "f" else np.int32
    Image.fromarray(values.reshape(3, 4).astype(kind)).save(tmp_path / "a.tiff")
    with pytest.raises(MediaError, match=r"a\.tiff: .*no agreed white; scale"):
        open_media(tmp_path / "a.tiff")


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    for width, height in ((8192, MAX_PIXELS // 8192 + 1), (60000, 60000)):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        chunks = chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
        (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
        with pytest.raises(MediaError, match=r"bomb\.png"):
            open_media(tmp_path / "bomb.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "bmp", "gif", "jp2"])
def test_truncated_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(np.tile(RGB, (4, 4, 1))).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match=rf"cut\.{suffix}: .*(again|convert)"):
        open_media(path)


def test_first_page_of_several(tmp_path: Path) -> None:
    pages = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    got = saved(tmp_path / "a.tiff", pages[0], save_all=True, append_images=pages[1:])
    assert np.array_equal(got, RGB)


def test_pickle_carries_the_path_and_close_can_be_undone(tmp_path: Path) -> None:
    Image.fromarray(np.tile(RGB, (20, 20, 1))).save(tmp_path / "a.png")
    media = open_media(tmp_path / "a.png")
    stored = pickle.dumps(media)
    assert len(stored) < 2000
    copy = pickle.loads(stored)
    assert np.array_equal(copy.frame(0), media.frame(0))
    assert (copy.digest, copy.width, copy.height) == (media.digest, media.width, media.height)
    media.close()
    assert np.array_equal(media.frame(0), copy.frame(0))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("coffee.png", (600, 400)),
        ("chelsea.png", (451, 300)),
        ("astronaut.png", (512, 512)),
        ("rocket.jpg", (640, 427)),
        ("page.png", (384, 191)),
        ("camera.png", (512, 512)),
        ("logo.png", (500, 500)),
        ("multipage.tif", (10, 15)),
    ],
)
def test_real_pictures(name: str, size: tuple[int, int]) -> None:
    media = open_media(package_file("skimage", f"data/{name}"))
    assert (media.width, media.height) == size
    assert media.frame(0).shape == (size[1], size[0], 3)
    assert media.frame(0).std() > 0
    assert max(media.thumbnail(0, 64).shape) == 64
