"""torchcodec gives the frames that PyAV gives, or says why it cannot be used."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pixelis_env.media import MediaError, open_media
from tests.env.media_samples import number_of, write_format, write_video


def _works() -> bool:
    try:
        importlib.import_module("torchcodec.decoders")
    except (ImportError, OSError, RuntimeError):
        return False
    return True


WORKS = _works()
needs_torchcodec = pytest.mark.skipif(not WORKS, reason="torchcodec cannot be imported")


@pytest.mark.skipif(WORKS, reason="torchcodec works here")
def test_the_error_without_it_names_the_mend(tmp_path: Path) -> None:
    path = write_format(tmp_path, "h264.mp4", n=2)
    with pytest.raises(MediaError, match=r"torchcodec.* use decoder='pyav'"):
        open_media(path, decoder="torchcodec")


@needs_torchcodec
@pytest.mark.parametrize("name", ["h264.mp4", "hevc.mp4", "h264_open_gop.mkv", "h264.ts"])
def test_same_frames_or_an_error(tmp_path: Path, name: str) -> None:
    path = write_format(tmp_path, name, n=40)
    ours, theirs = (open_media(path, decoder=d, cache_bytes=0) for d in ("pyav", "torchcodec"))
    for index in np.random.default_rng(0).permutation(40).tolist():
        try:
            frame = theirs.frame(index)
        except MediaError as error:
            assert "use decoder='pyav'" in str(error)  # noqa: PT017  (an error is not demanded)
            continue
        assert number_of(frame) == index
        difference = np.abs(frame.astype(int) - ours.frame(index))
        assert difference.mean() < 2  # colours are converted by another library


@needs_torchcodec
def test_turned_files_are_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", n=5, rotation=90)
    with pytest.raises(MediaError, match="turned or mirrored"):
        open_media(path, decoder="torchcodec")
