"""A procedural task's truth: what its targets are called, and where exactly they show."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from pixelis_env.rooms.questions.survey import IN_VIEW
from pixelis_env.rooms.questions.truth import RoomTruth
from pixelis_env.rooms.video import RoomVideo
from pixelis_env.tasks.rooms import RoomsSource


def test_a_box_is_tight_and_there_where_the_object_is_in_view() -> None:
    task = RoomsSource("search", types=["search_color"]).task(1)
    video, truth = task.media, task.truth
    assert isinstance(video, RoomVideo)
    assert isinstance(truth, RoomTruth)
    (target,) = truth.targets
    seen = []
    for frame in range(0, video.n_frames, 4):
        shown = video.ids(frame) == target
        box = truth.box(0, frame)
        seen.append(box is not None)
        assert seen[-1] == (shown.mean() >= IN_VIEW)
        if box is not None:
            x0, y0, x1, y1 = (int(v) for v in box)
            assert shown[y0:y1, x0:x1].sum() == shown.sum()
            edges = (shown[y0], shown[y1 - 1], shown[:, x0], shown[:, x1 - 1])
            assert all(np.any(edge) for edge in edges)
    assert any(seen)
    assert not all(seen)


def test_counted_things_are_each_a_target() -> None:
    truth = RoomsSource("vsi", types=["object_counting"]).task(0).truth
    assert isinstance(truth, RoomTruth)
    assert len(set(truth.targets)) == len(truth.targets) >= 2
    assert len(set(truth.names)) == 1


def test_the_truth_survives_pickling_and_says_what_is_not_there() -> None:
    task = RoomsSource("search").task(3)
    truth = pickle.loads(pickle.dumps(task.truth))
    frame = task.media.n_frames // 2
    assert task.truth is not None
    assert truth.names == task.truth.names
    assert truth.box(0, frame) == task.truth.box(0, frame)
    for k, index, what in ((1, 0, "no target 1"), (-1, 0, "no target -1"), (0, 10**6, "1000000")):
        with pytest.raises(IndexError, match=what):
            truth.box(k, index)
