"""What leaks is found: the same medium, and one that looks the same."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from pixelis_env.leakage import Fingerprint, leaks, main
from tests.env import benchmark_samples as samples


@pytest.fixture(scope="module")
def rooms() -> dict[tuple[int, str], Fingerprint]:
    found = {}
    for shift in ("none", "lighting"):
        with gym.make("Pixelis-Text-v0", tools="oracle", shift=shift) as env:
            for index in range(4):
                env.reset(options={"index": index})
                task = env.unwrapped.task
                found[index, shift] = Fingerprint.of_medium(task.id, task.media)
    return found


def test_other_rooms_do_not_leak(rooms: dict[tuple[int, str], Fingerprint]) -> None:
    stream = [rooms[0, "none"], rooms[1, "none"]]
    assert leaks(stream, [rooms[2, "none"], rooms[3, "none"]]) == []
    assert leaks([], stream) == []


def test_the_same_room_leaks_by_content_and_by_its_looks(
    rooms: dict[tuple[int, str], Fingerprint],
) -> None:
    one = rooms[0, "none"]
    (found,) = leaks([one], [rooms[1, "none"], one])
    assert (found.same_content, found.difference) == (True, 0.0)
    (found,) = leaks([rooms[0, "lighting"]], [one, rooms[1, "none"]])
    assert not found.same_content


def test_a_picture_that_was_saved_anew_looks_the_same() -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    image = coarse.resize((320, 240), Image.Resampling.BICUBIC)
    noisy = np.asarray(image, np.int16) + rng.integers(-6, 6, (240, 320, 3))
    copy = Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).resize((200, 150))
    one, other = Fingerprint.of("a", "1", [image]), Fingerprint.of("b", "2", [copy])
    (found,) = leaks([one], [other])
    assert not found.same_content
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert leaks([one], [Fingerprint.of("c", "3", [mirrored])]) == []
    (found,) = leaks([one], [Fingerprint.of("a clip", "4", [mirrored, image])])
    assert (found.other, found.difference) == ("a clip", 0.0)


def test_differences_are_those_of_each_pair_alone() -> None:
    rng = np.random.default_rng(0)
    sets = [
        [
            Fingerprint(f"{s}{k}", f"{s}{k}", rng.random((int(rng.integers(0, 5)), 64)) < 0.5)
            for k in range(12)
        ]
        for s in "ab"
    ]
    together = {(leak.one, leak.other): leak.difference for leak in leaks(*sets, near=1.0)}
    assert len(together) == 144
    for one in sets[0]:
        for other in sets[1]:
            few, many = sorted((one.bits, other.bits), key=len)
            expected = 1.0
            if len(few):
                expected = np.mean([min((f != m).mean() for m in many) for f in few])
            assert together[one.task_id, other.task_id] == pytest.approx(expected, abs=1e-6)
            if len(one.bits) != len(other.bits):
                (back,) = leaks([other], [one], near=1.0)
                assert back.difference == pytest.approx(expected, abs=1e-6)


def test_frames_of_one_colour_are_not_the_same_picture() -> None:
    black, white = (Image.new("RGB", (64, 48), colour) for colour in ("black", "white"))
    one, other = Fingerprint.of("a", "1", [black]), Fingerprint.of("b", "2", [white])
    assert leaks([one], [other]) == []
    assert leaks([one], [Fingerprint.of("c", "1", [black])])[0].same_content


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Path:
    """Room 3 as VSI-Bench and MVBench have it, a frame of it saved anew, and another room."""
    root = tmp_path_factory.mktemp("sets")
    samples.vsi_bench(root / "vsi")
    frames = [samples.room(seed)[0] for seed in samples.SEEDS]
    (root / "copy").mkdir()
    Image.fromarray(frames[0][0]).resize((200, 150)).save(root / "copy" / "frame.webp", quality=60)
    samples.write_mp4(root / "copy" / "deep" / "recoded.mp4", frames[0][::2])
    samples.write_jpeg(root / "apart" / "a.jpg", frames[1][5])
    (root / "apart" / "notes.txt").write_text("no medium")
    rows = [{"media": "../copy/frame.webp", "question": "What?"}] * 2
    samples.write_jsonl(root / "apart" / "mine.jsonl", rows)
    return root


def pairs(capsys, *words: str) -> tuple[int, set[tuple[str, str]], dict]:
    code = main([*words, "--json"])
    out = capsys.readouterr().out
    data = json.loads(out)
    return code, {(leak["one"], leak["other"]) for leak in data["leaks"]}, data


def test_the_command_finds_copies_between_folders_manifests_and_benchmarks(sets, capsys) -> None:
    vsi = f"vsi-bench={sets / 'vsi'}"
    code, found, data = pairs(capsys, vsi, str(sets / "copy"))
    assert (code, data["a"], data["b"]) == (1, 2, 2)
    assert found == {("0", "deep/recoded.mp4"), ("0", "frame.webp")}
    assert not any(leak["same_content"] for leak in data["leaks"])
    code, found, data = pairs(capsys, str(sets / "apart" / "mine.jsonl"), str(sets / "copy"))
    assert ("mine.jsonl:1", "frame.webp") in found
    assert data["a"] == 1, "one medium that two lines ask about is one"
    assert pairs(capsys, str(sets / "apart"), str(sets / "copy"))[:2] == (0, set())
    assert main([vsi, vsi]) == 1
    assert "same content" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vsi-bench", "say where it lies"),
        ("nowhere", "no folder, no file"),
        (".", "holds no image"),
    ],
)
def test_a_set_that_is_none_is_named(name: str, words: str, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([name, name]) == 2
    assert words in capsys.readouterr().err


def test_a_damaged_medium_is_named_and_the_rest_compared(sets, tmp_path, capsys) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    Image.open(sets / "copy" / "frame.webp").save(tmp_path / "same.png")
    code, found, data = pairs(capsys, str(tmp_path), str(sets / "copy"))
    assert (code, data["a"]) == (1, 1)
    assert ("same.png", "frame.webp") in found
    assert "broken.jpg" in data["unread"][0]
