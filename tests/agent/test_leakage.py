"""What leaks is found: the same medium, and one that looks the same."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from pixelis_agent.leakage import Fingerprint, leaks
from pixelis_env.observation import overview_indices


@pytest.fixture(scope="module")
def rooms() -> dict[tuple[int, str], Fingerprint]:
    found = {}
    for shift in ("none", "lighting"):
        with gym.make("Pixelis-Text-v0", tools="oracle", shift=shift) as env:
            for index in range(4):
                env.reset(options={"index": index})
                task = env.unwrapped.task
                images = [
                    Image.fromarray(task.media.frame(i)) for i in overview_indices(task.media)
                ]
                found[index, shift] = Fingerprint.of(task.id, task.media.digest, images)
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
    assert leaks([one], [Fingerprint.of("d", "4", [image, image])]) == []
