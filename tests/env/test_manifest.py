"""A user's own questions, and the parts of media that they may name."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelis_env.env import PixelisEnv
from pixelis_env.media import ArrayMedia, MediaError, open_media
from pixelis_env.media.clip import Clip
from pixelis_env.media.folder import FrameFolder
from pixelis_env.media.image import ImageFile
from pixelis_env.replay import replay
from pixelis_env.tasks import make_source
from pixelis_env.tasks.benchmarks.source import FaultyRows
from pixelis_env.tasks.validate import main
from tests.env import benchmark_samples as samples

GOOD = [
    {"media": "clip.mp4", "question": "How many?", "answer": 3, "metric": "mra"},
    {
        "media": "clip.mp4",
        "span": [1, 2.5],
        "id": "side",
        "type": "direction",
        "question": "Which side?",
        "options": ["left", "right"],
        "answer": "B",
        "evidence": [{"name": "chair", "boxes": [{"frame": 1, "box": [10, 20, 30.5, 40]}]}],
        "meta": {"place": "home"},
    },
    {"media": "frames", "fps": 2, "question": "What is said?", "answer": ["exit", "way out"]},
    {"media": "a.jpg", "question": "Unknown?"},
    {"media": "clip.mp4", "question": "When?", "answer": "0.5-1.5", "metric": "tiou"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("own")
    frames = samples.room(3)[0]
    samples.write_mp4(root / "clip.mp4", frames)
    samples.write_jpeg(root / "a.jpg", frames[0])
    for number in (2, 10, 9):  # in the order of numbers, not of names
        samples.write_jpeg(root / "frames" / f"f{number}.jpg", frames[number])
    return root


def manifest(folder: Path, rows: list, name: str = "pixelis.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows))
    return path


def test_every_line_is_a_task(folder: Path) -> None:
    source = make_source(manifest(folder, GOOD))
    tasks = [source.task(k) for k in range(source.size)]
    assert [t.id for t in tasks] == [
        f"pixelis.jsonl:{n}" if n != 2 else "side" for n in range(1, 6)
    ]
    assert [t.metric for t in tasks] == ["mra", "letter", "anls", "anls", "tiou"]
    assert [t.answer for t in tasks] == ["3", "B", "exit\nway out", None, "0.5-1.5"]
    assert tasks[1].media.duration == 1.5
    assert tasks[1].truth.box(0, 1) == (10, 20, 30.5, 40)
    assert tasks[2].media.times.tolist() == [0.0, 0.5, 1.0]
    assert not tasks[3].media.is_video
    assert make_source(folder / "pixelis.jsonl", where={"place": "home"}).size == 1
    assert make_source(folder / "pixelis.jsonl", types=["direction"]).size == 1


def test_a_manifest_plays_and_its_trace_replays_beside_it(folder: Path) -> None:
    path = manifest(folder, GOOD)
    env = PixelisEnv(path)
    env.reset(options={"index": 1})
    env.step({"op": "zoom", "box": [0, 0, 500, 500]})
    assert env.step({"op": "answer", "text": "B"})[4]["score"] == 1.0
    trace = env.trace()
    assert trace.header.media_file == "pixelis.jsonl"
    assert str(folder) not in trace.to_json().decode()
    assert replay(trace, media=path).ok


BAD = [
    ("{not json\n", "holds no object"),
    ({"question": "?"}, "media"),
    ({"media": "a.jpg"}, "question"),
    ({"media": "a.jpg", "question": "?", "anwser": "x"}, "anwser"),
    ({"media": "a.jpg", "question": "?", "options": ["x"]}, "2..26 options"),
    ({"media": "a.jpg", "question": "?", "options": ["x", "y"], "answer": "C"}, "letters AB"),
    ({"media": "a.jpg", "question": "?", "answer": "many", "metric": "mra"}, "'many' does not fit"),
    ({"media": "a.jpg", "question": "?", "metric": "letter"}, "needs options"),
    ({"media": "a.jpg", "question": "?", "metric": "bleu"}, "metric"),
    ({"media": "a.jpg", "question": "?", "answer": ["1", "2"], "metric": "mra"}, "list of right"),
    ({"media": "clip.mp4", "question": "?", "span": [2, 1]}, "0 <= start < end"),
    ({"media": "gone.mp4", "question": "?"}, "gone.mp4 is missing"),
    ({"media": "frames", "question": "?"}, "frames is missing"),
    ({"media": "a.jpg", "question": " "}, "question is empty"),
    ({"media": "a.jpg", "question": "?", "id": "one"}, "already"),
]
OPENED = [
    ({"media": "clip.mp4", "question": "?", "span": [9, 10]}, "no clip from 9 to 10 s"),
    ({"media": "broken.jpg", "question": "?"}, "broken.jpg"),
    (
        {"media": "a.jpg", "question": "?",
         "evidence": [{"name": "x", "boxes": [{"frame": 4, "box": [0, 0, 1, 1]}]}]},
        "frame 4 must lie within 0..0",
    ),
    (
        {"media": "a.jpg", "question": "?",
         "evidence": [{"name": "x", "boxes": [{"frame": 0, "box": [0, 0, 999, 1]}]}]},
        "320x240 px",
    ),
]  # fmt: skip


def test_validate_names_each_fault_by_its_line(folder: Path, capsys) -> None:
    (folder / "broken.jpg").write_text("no image")
    first = {"media": "a.jpg", "question": "?", "id": "one"}
    path = manifest(folder, [first, "\n", *(row for row, _ in BAD + OPENED)], "bad.jsonl")
    assert main([str(path)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"{1 + len(BAD + OPENED)} lines, {len(BAD + OPENED)} faults"
    for line, (_, words) in enumerate(BAD + OPENED, start=3):
        (own,) = [text for text in said if text.startswith(f"{path}:{line}: ")]
        assert words in own
    assert main([str(path), "--quick"]) == 1
    assert f"{len(BAD)} faults" in capsys.readouterr().out
    with pytest.raises(FaultyRows, match=r"bad\.jsonl:3.*\n"):
        make_source(path)


def test_validate_is_content_with_a_good_manifest_and_refuses_none(folder: Path) -> None:
    path = manifest(folder, GOOD)
    command = [sys.executable, "-m", "pixelis_env.tasks.validate"]
    done = subprocess.run([*command, path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "5 lines, 0 faults\n")
    done = subprocess.run([*command, folder / "none.jsonl"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "none.jsonl" in done.stderr
    with pytest.raises(ValueError, match="holds no line"):
        make_source(manifest(folder, [], "empty.jsonl"))


# ---- parts of media ----


@settings(max_examples=60)
@given(st.integers(1, 20), st.floats(0, 4.5), st.floats(0, 6))
def test_a_clip_shows_what_the_video_shows_then(n: int, start: float, length: float) -> None:
    video = ArrayMedia(np.arange(n, dtype=np.uint8)[:, None, None, None].repeat(3, 3), fps=4.0)
    end = start + length
    if not start < min(end, video.duration):
        with pytest.raises(MediaError, match="no clip from"):
            Clip(video, start, end)
        return
    clip = Clip(video, start, end)
    assert clip.times[0] == 0
    assert (np.diff(clip.times) > 0).all()
    assert clip.duration == min(end, video.duration) - start
    for k, time in enumerate(clip.times):
        shown = video.frame(video.index_at(min(start + float(time) + 1e-6, video.duration)))
        assert np.array_equal(clip.frame(k), shown)
    assert start + clip.times[-1] < end + 1e-6


def test_digests_tell_parts_apart(folder: Path) -> None:
    video = open_media(folder / "clip.mp4")
    parts = [Clip(video, 0, 1), Clip(video, 0, 1.5), Clip(video, 0.5, 1.5), video]
    assert len({part.digest for part in parts}) == 4
    assert Clip(open_media(folder / "clip.mp4"), 0, 1).digest == parts[0].digest
    with pytest.raises(MediaError, match="an image has no clip"):
        Clip(open_media(folder / "a.jpg"), 0, 1)


def test_a_folder_of_frames(folder: Path, tmp_path: Path) -> None:
    frames = FrameFolder(folder / "frames", 2.0)
    assert (frames.n_frames, frames.duration, frames.width) == (3, 1.5, 320)
    again = pickle.loads(pickle.dumps(frames))
    for k, number in enumerate((2, 9, 10)):
        expected = ImageFile(folder / "frames" / f"f{number}.jpg").frame(0)
        assert np.array_equal(frames.frame(k), expected)
        assert np.array_equal(again.frame(k), expected)
    assert FrameFolder(folder / "frames", 3.0).digest != frames.digest
    with pytest.raises(MediaError, match="holds no numbered image"):
        FrameFolder(tmp_path, 3.0)
    with pytest.raises(MediaError, match="positive number"):
        FrameFolder(folder / "frames", 0.0)
    samples.write_jpeg(tmp_path / "1.jpg", samples.room(3)[0][0])
    samples.write_jpeg(tmp_path / "2.jpg", samples.room(3)[0][0][:100])
    with pytest.raises(MediaError, match="scale them to one size"):
        FrameFolder(tmp_path, 3.0).frame(1)
    (tmp_path / "002.png").write_bytes((tmp_path / "2.jpg").read_bytes())
    with pytest.raises(MediaError, match="have one number"):
        FrameFolder(tmp_path, 3.0)


def test_an_image_in_memory_is_the_file(folder: Path) -> None:
    data = (folder / "a.jpg").read_bytes()
    held, file = ImageFile(data, name="cell"), ImageFile(folder / "a.jpg")
    assert (held.digest, held.name) == (file.digest, "cell")
    assert np.array_equal(pickle.loads(pickle.dumps(held)).frame(0), file.frame(0))
    with pytest.raises(MediaError, match="cell"):
        ImageFile(data[:100], name="cell")
