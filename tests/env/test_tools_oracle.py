"""The oracle backends: exact without noise, spoilt by rule with it, and for rooms only."""

from __future__ import annotations

import numpy as np
import pytest

from pixelis_env.actions import Localize, Properties, ReadText, Segment, Track, Zoom
from pixelis_env.coordinates import Box
from pixelis_env.errors import InvalidCall
from pixelis_env.metrics.overlap import box_iou, mask_iou
from pixelis_env.metrics.text import cer
from pixelis_env.rooms import RoomVideo, make_scene
from pixelis_env.tools import Toolbox
from pixelis_env.workspace import Workspace
from tests.laws.scenes import still

OPS = ("segment", "track", "read_text", "localize")


def _noisy(noise: float) -> Toolbox:
    return Toolbox({op: {"name": "oracle", "noise": noise} for op in OPS})


@pytest.fixture(scope="module")
def room() -> RoomVideo:
    """A short walk with two signs; ids cost little, and no frame is rendered."""
    return RoomVideo(make_scene(3, level=1, signs=2, n_frames=24))


def _seen(room: RoomVideo, frame: int) -> list[int]:
    counts = np.bincount(room.ids(frame).ravel())
    return [number for number in np.flatnonzero(counts > 200) if number]


def _box(room: RoomVideo, frame: int, number: int) -> Box:
    x0, y0, x1, y1 = (float(v) for v in room.object_box(frame, number))
    return x0, y0, x1, y1


def _sign(room: RoomVideo) -> tuple[int, int, str]:
    """A sign and the frame that shows most of it: id, frame, text."""
    counts = room.visible()
    number = max(
        (o.id for o in room.scene.room.objects if o.text), key=lambda n: counts[:, n].max()
    )
    text = room.scene.object(number).text
    assert text is not None
    return number, int(counts[:, number].argmax()), text


def test_masks_are_exact(room: RoomVideo) -> None:
    toolbox, workspace = Toolbox("oracle"), Workspace(room)
    for number in _seen(room, 0):
        mask = toolbox.run(Segment(box=_box(room, 0, number), frame="px"), workspace)
        assert np.array_equal(mask.rle.decode(), room.mask(0, number))
        assert mask.score == 1.0
        y, x = np.argwhere(room.mask(0, number))[7]
        mask = toolbox.run(Segment(point=(x + 0.5, y + 0.5), frame="px"), workspace)
        assert np.array_equal(mask.rle.decode(), room.mask(0, number))


def test_tracks_are_exact_both_ways(room: RoomVideo) -> None:
    toolbox, workspace = Toolbox("oracle"), Workspace(room)
    number = _seen(room, 8)[0]
    segment = Segment(box=_box(room, 8, number), time=0.8, frame="px")
    target = workspace.add(toolbox.run(segment, workspace))
    track = toolbox.run(Track(target=target, span=(1.5, 0.0)), workspace)
    assert track.frame_indices == tuple(range(15, -1, -1))
    for index, box, visible in zip(track.frame_indices, track.boxes, track.visible, strict=True):
        truth = room.object_box(index, number)
        assert visible == (truth is not None)
        if visible:
            assert box == tuple(truth)


def test_signs_are_read_where_they_are(room: RoomVideo) -> None:
    toolbox, workspace = Toolbox("oracle"), Workspace(room)
    number, index, text = _sign(room)
    time = float(room.times[index])
    whole = toolbox.run(ReadText(time=time), workspace)
    assert text in [line.text for line in whole.lines]
    view = workspace.add(
        toolbox.run(Zoom(box=_box(room, index, number), time=time, frame="px"), workspace)
    )
    assert toolbox.run(ReadText(source=view), workspace).text == text


def test_intervals_are_exact(room: RoomVideo) -> None:
    toolbox, workspace = Toolbox("oracle"), Workspace(room)
    number, index, text = _sign(room)
    seen = room.visible()[:, number] > 0
    found = toolbox.run(Localize(text=text), workspace)
    for k, time in enumerate(room.times):
        assert seen[k] == any(a <= time < b for a, b in found.spans)
    time = float(room.times[index])
    view = workspace.add(
        toolbox.run(Zoom(box=_box(room, index, number), time=time, frame="px"), workspace)
    )
    assert toolbox.run(Localize(target=view), workspace).spans == found.spans
    assert toolbox.run(Localize(), workspace).spans == ((0.0, room.duration),)
    assert toolbox.run(Localize(text="no such sign"), workspace).spans == ()


def test_what_shows_no_object_is_refused(room: RoomVideo) -> None:
    toolbox, workspace = Toolbox("oracle"), Workspace(room)
    y, x = np.argwhere(room.ids(0) == 0)[0]
    with pytest.raises(InvalidCall, match="room itself"):
        toolbox.run(Segment(point=(x + 0.5, y + 0.5), frame="px"), workspace)
    with pytest.raises(InvalidCall, match="rooms only"):
        toolbox.run(Segment(point=(500, 500)), Workspace(still(0).media))


def test_noise_is_by_rule_and_repeats_itself(room: RoomVideo) -> None:
    workspace = Workspace(room)
    number = _seen(room, 0)[0]
    action = Segment(box=_box(room, 0, number), frame="px")
    truth = room.mask(0, number)
    for noise in (0.3, 1.0):
        mask = _noisy(noise).run(action, workspace)
        assert mask == _noisy(noise).run(action, Workspace(RoomVideo(room.scene)))
        assert mask.score == pytest.approx(mask_iou(mask.rle.decode(), truth))
        assert mask.score > 0.2
    target = workspace.add(Toolbox("oracle").run(action, workspace))
    exact = Toolbox("oracle").run(Track(target=target), workspace)
    track = _noisy(1.0).run(Track(target=target), workspace)
    assert track.boxes[0] == exact.boxes[0]
    dropped = [a and not b for a, b in zip(exact.visible, track.visible, strict=True)]
    assert 0 <= sum(dropped) <= 0.6 * len(dropped)
    ious = [
        box_iou(a, b)
        for a, b, seen in zip(exact.boxes, track.boxes, track.visible, strict=True)
        if seen
    ]
    assert 0.5 < np.mean(ious[1:]) < 0.99


def test_more_noise_is_worse(room: RoomVideo) -> None:
    """On average over what can be segmented, and over a long text."""
    workspace = Workspace(room)
    scores = []
    for noise in (0.0, 0.5, 1.0):
        found = [
            _noisy(noise).run(
                Segment(box=_box(room, index, number), time=float(room.times[index]), frame="px"),
                workspace,
            )
            for index in (0, 8, 16, 23)
            for number in _seen(room, index)
        ]
        scores.append(float(np.mean([mask.score for mask in found])))
    assert scores[0] == 1.0 > scores[1] > scores[2] > 0.3
    _, index, text = _sign(room)
    errors = []
    for noise in (0.0, 1.0):
        reads = [
            _noisy(noise).run(ReadText(time=float(room.times[k])), workspace)
            for k in range(max(0, index - 4), min(room.n_frames, index + 5))
        ]
        mine = [line.text for read in reads for line in read.lines if len(line.text) == len(text)]
        errors.append(float(np.mean([cer(item, text) for item in mine])))
    assert errors[0] == 0.0
    assert 0.02 < errors[1] < 0.5


def test_oracle_evidence_is_measured_like_any_other(room: RoomVideo) -> None:
    toolbox, workspace = Toolbox("oracle"), Workspace(room)
    numbers = _seen(room, 0)[:2]
    targets = tuple(
        workspace.add(toolbox.run(Segment(box=_box(room, 0, n), frame="px"), workspace))
        for n in numbers
    )
    values = toolbox.run(Properties(targets=targets), workspace).values
    total = sum(int(room.mask(0, n).sum()) for n in numbers)
    assert values["union_area_px"] == total
