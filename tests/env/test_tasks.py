from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelis_env.env import PixelisEnv
from pixelis_env.media import ArrayMedia, MediaError
from pixelis_env.tasks import Task, TaskSource, make_source
from pixelis_env.tasks.pool import Pool
from pixelis_env.tasks.rooms import RoomsSource
from pixelis_env.tasks.single import SingleSource

PICTURE = ArrayMedia(np.full((6, 8, 3), 7, np.uint8))


class Numbers:
    """A user's own source."""

    name = "numbers"
    size = 3

    def task(self, index: int) -> Task:
        return Task(f"n{index}", "number", PICTURE, "How many?", None, str(index + 2), "mra")


def test_a_users_own_source_plays_and_is_drawn_from_evenly() -> None:
    assert isinstance(Numbers(), TaskSource)
    env = PixelisEnv(Numbers())
    env.reset(seed=0)
    seen = {env.reset()[1]["task_id"] for _ in range(40)}
    assert seen == {"n0", "n1", "n2"}
    env.reset(options={"index": 2})
    assert env.step({"op": "answer", "text": "4"})[4]["score"] == 1.0
    with pytest.raises(ValueError, match=r"0\.\.2"):
        env.reset(options={"index": 3})
    with pytest.raises(ValueError, match="oracle"):
        env.oracle()


def test_a_pool_is_the_sources_rows_and_keeps_them() -> None:
    source = RoomsSource("time")
    pool = Pool(source, [4, 9])
    assert pool.task(1).id == source.task(9).id
    assert pool.task(1) is pool.task(1)
    with pytest.raises(IndexError, match=r"0\.\.1"):
        pool.task(2)
    with pytest.raises(ValueError, match="at least one"):
        Pool(source, [])
    small = Pool(source, [4, 9], keep=1)
    first = small.task(0)
    assert small.task(1).id == source.task(9).id
    assert small.task(0) is not first


def test_a_file_and_a_question(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 20), (9, 9, 9)).save(path)
    source = make_source(path, question="Which?", options=["x", "y"], answer="B")
    task = source.task(0)
    assert task.prompt.startswith("Which?\nOptions:\nA. x\nB. y")
    env = PixelisEnv(path, question="Which?", options=["x", "y"])
    env.reset()
    info = env.step({"op": "answer", "text": "B"})[4]
    assert "score" not in info, "an episode without a known answer is not scored"
    assert "task" not in info["reward_terms"]


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({}, "needs a question"),
        ({"question": "?", "options": ["only one"]}, r"2\.\.26"),
        ({"question": "?", "options": ["a", "b"], "answer": "C"}, "letters AB"),
        ({"question": "?", "decoder": "magic"}, "magic"),
        ({"question": "?", "level": 2}, "level"),
        ({"question": "?", "types": ["text_read"]}, "types"),
    ],
)
def test_a_bad_question_is_named(tmp_path: Path, kwargs: dict, words: str) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 20)).save(path)
    with pytest.raises((ValueError, MediaError), match=words):
        make_source(path, **kwargs)


def test_a_file_that_is_no_medium_is_a_media_error(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(MediaError, match=r"notes\.txt"):
        SingleSource(path, "?")
