"""RoomsSource: a pure function of the index, balanced, the same under every shift; the writer."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pixelis_env.actions import Answer
from pixelis_env.rooms.__main__ import main
from pixelis_env.rooms.questions import FAMILIES, TYPES
from pixelis_env.rooms.questions.question import arrange
from pixelis_env.scoring import perturb, score
from pixelis_env.tasks.base import Task, TaskSource
from pixelis_env.tasks.rooms import RoomsSource
from pixelis_env.tasks.seeding import generator

DUMP = """
import sys
from pixelis_env.tasks.rooms import RoomsSource
source = RoomsSource("all", types=sys.argv[1].split(","))
for index in range(len(source.types)):
    task = source.task(index)
    print([task.id, task.type, task.question, task.options, task.answer, task.media.digest])
    print([action.model_dump_json() for action in task.oracle()])
"""


def record(task: Task) -> tuple[object, ...]:
    assert task.oracle is not None
    chain = [action.model_dump() for action in task.oracle()]
    return task.id, task.type, task.question, task.options, task.answer, task.media.digest, chain


@pytest.mark.parametrize("name", TYPES)
def test_the_oracle_answers_right_with_linked_evidence(name: str) -> None:
    task = RoomsSource("all", types=[name]).task(0)
    assert task.type == name
    assert task.oracle is not None
    *work, answer = task.oracle()
    assert isinstance(answer, Answer)
    assert 2 <= len(work) <= 4
    assert len({action.op for action in work}) >= 2
    assert answer.evidence == tuple(f"e{k}" for k in range(1, len(work) + 1))
    assert score(task.metric, answer.text, task) == 1
    assert score(task.metric, "", task) == 0
    assert score(task.metric, perturb(task, np.random.default_rng(0)), task) < 1


def test_a_task_survives_pickling() -> None:
    task = RoomsSource("search").task(3)
    assert record(pickle.loads(pickle.dumps(task))) == record(task)


def test_tasks_are_the_same_in_every_process_and_under_every_hash_seed() -> None:
    names = "object_rel_distance,search_item,text_nearest,motion_which,time_order"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", DUMP, names],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "4242")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0].splitlines()) == 10


def test_the_global_random_state_changes_nothing() -> None:
    source = RoomsSource("search")
    before = record(source.task(7))
    np.random.seed(1)  # noqa: NPY002  (the global state is what is poisoned)
    state = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    assert record(source.task(7)) == before
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index]  # noqa: NPY002


@pytest.mark.parametrize("family", [*FAMILIES, "all"])
def test_types_take_turns_evenly(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = RoomsSource(family)
    drawn: list[str] = []

    def note(kind: object, index: int) -> object:
        drawn.append(kind.name)  # type: ignore[attr-defined]
        raise InterruptedError

    # The room itself is not needed to see whose turn it is.
    monkeypatch.setattr(source, "_find", note)
    for index in range(20 * len(source.types)):
        with pytest.raises(InterruptedError):
            source.task(index)
    assert Counter(drawn) == dict.fromkeys(source.types, 20)
    first, second = drawn[: len(source.types)], drawn[len(source.types) : 2 * len(source.types)]
    assert len(source.types) < 4 or first != second


@pytest.mark.parametrize("n_options", [2, 3, 4])
def test_letters_are_even_over_400_indices(n_options: int) -> None:
    wrong = [f"w{k}" for k in range(6)]
    counts = Counter(
        arrange("right", wrong, generator("options", "vsi", 1, index), n_options)[1]
        for index in range(400)
    )
    expected = 400 / n_options
    chi_square = sum((counts[letter] - expected) ** 2 / expected for letter in "ABCD"[:n_options])
    assert chi_square < 16  # P < 0.002 for 3 degrees of freedom
    assert sum(counts.values()) == 400


def test_the_letter_depends_on_the_index_alone() -> None:
    for name in ("object_rel_distance", "search_color", "time_order"):
        for index in range(3):
            task = RoomsSource("all", types=[name]).task(index)
            drawn = generator("options", "all", 1, index)
            assert task.answer == arrange("right", ["a", "b", "c"], drawn)[1]


SHOWN = ["object_abs_distance", "search_color", "text_read"]


@pytest.mark.parametrize("shift", ["lighting", "texture", "blur", "fonts"])
def test_a_shift_of_looks_changes_the_video_and_not_the_question(shift: str) -> None:
    plain, shifted = (RoomsSource("all", shift=name, types=SHOWN) for name in ("none", shift))
    for index in range(3):
        a, b = plain.task(index), shifted.task(index)
        assert a.media.digest != b.media.digest
        assert (a.question, a.options, a.answer) == (b.question, b.options, b.answer)
        assert a.id != b.id


@pytest.mark.parametrize("shift", ["camera", "clutter"])
def test_a_shifted_view_asks_what_it_shows(shift: str) -> None:
    """What no longer shows, or is no longer the only one, cannot be asked about again."""
    plain, shifted = (RoomsSource("all", shift=name, types=SHOWN) for name in ("none", shift))
    same = 0
    for index in range(6):
        a, b = plain.task(index), shifted.task(index)
        assert (a.type, a.metric) == (b.type, b.metric)
        same += (a.question, a.options, a.answer) == (b.question, b.options, b.answer)
        assert b.oracle is not None
        assert b.oracle()
    assert same >= 3


def test_the_arguments_are_checked() -> None:
    assert isinstance(RoomsSource(), TaskSource)
    with pytest.raises(ValueError, match="family must be one of vsi, search"):
        RoomsSource("vision")
    with pytest.raises(ValueError, match="level must be 1, 2 or 3, not 4"):
        RoomsSource(level=4)
    with pytest.raises(ValueError, match="shift must be one of none, lighting"):
        RoomsSource(shift="snow")
    with pytest.raises(ValueError, match=r"types must be some of .*; not \['text_read'\]"):
        RoomsSource("vsi", types=["text_read"])
    with pytest.raises(ValueError, match="types must be some of"):
        RoomsSource(types=[])
    for index in (-1, 2**62):
        with pytest.raises(IndexError, match="must lie within 0"):
            RoomsSource().task(index)


def test_the_writer_leaves_video_masks_and_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import av

    from pixelis_env.rooms import RoomVideo, make_scene

    out = tmp_path / "room.mp4"
    assert main(["--seed", "7", "--out", str(out), "--n-frames", "8", "--movers", "1"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("room.mp4", "room.masks.npz", "room.json"))
    video = RoomVideo(make_scene(7, signs=2, tags=2, details=3, movers=1, n_frames=8))
    with av.open(str(out)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 8
    assert np.abs(frames[0].astype(int) - video.frame(0)).mean() < 8
    ids = np.load(tmp_path / "room.masks.npz")["ids"]
    assert ids.shape == (8, 240, 320)
    assert (ids[5] == video.ids(5)).all()
    data = json.loads((tmp_path / "room.json").read_text())
    assert [item["id"] for item in data["objects"]] == list(range(1, len(data["objects"]) + 1))
    assert {item["type"] for item in data["questions"]} >= {"room_size_estimation"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "7", "--out", "room.avi"], "name it so"),
        (["--seed", "7", "--out", "nowhere/room.mp4"], "there is no folder nowhere"),
        (["--seed", "-1", "--out", "room.mp4"], "seed=-1"),
        (["--seed", "7", "--out", "room.mp4", "--signs", "99"], "signs=99"),
        (["--seed", "7", "--out", "room.mp4", "--per-type", "-1"], "give 0 or more"),
    ],
)
def test_the_writer_refuses_what_it_cannot_do(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
