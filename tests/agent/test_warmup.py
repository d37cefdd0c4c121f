"""Labelled pictures of rooms, and the warm-up of the vision tower on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pixelis_agent.tiny import batches, frames, labels, pointing, warmup
from pixelis_agent.tiny.config import IMAGE
from pixelis_env.rooms import RoomVideo, make_scene
from pixelis_env.tasks.seeding import generator

FIRST = 18
"""Rooms 18 and 19: the second one is held out."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rooms")
    frames.write_shard(out / "rooms-0000-00018.npz", 0, range(FIRST, FIRST + 2))
    return out


@pytest.fixture(scope="module")
def rooms(folder: Path) -> labels.Rooms:
    return labels.Rooms.load(folder / "rooms-0000-00018.npz")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_the_same_room_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    frames.write_shard(tmp_path / "again.npz", 0, range(FIRST, FIRST + 2))
    assert (tmp_path / "again.npz").read_bytes() == (folder / "rooms-0000-00018.npz").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.npz"]


def test_a_whole_file_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rooms-0000-00000.npz").write_bytes(b"kept")
    assert frames.main(["--rooms", "50", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "rooms-0000-00000.npz").read_bytes() == b"kept"
    assert "kept" in capsys.readouterr().out


def test_rooms_are_not_those_of_tasks() -> None:
    seeds = [frames.room_seed(s, i) for s in (0, 1, 2047) for i in (0, 1, frames.MAX_ROOMS - 1)]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 2**31
    assert max(seeds) < 2**32
    # What this rests on: a task's room has a seed below 2**31.
    assert int(generator("room", "vsi", 1, 0, 0).integers(2**31)) < 2**31
    for seed, index in ((-1, 0), (2048, 0), (0, -1), (0, frames.MAX_ROOMS)):
        with pytest.raises(ValueError, match="is out of range; give 0"):
            frames.room_seed(seed, index)


def test_pictures_are_what_the_image_processor_makes(rooms: labels.Rooms) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(**IMAGE)
    scene = frames.scene_arguments(np.random.default_rng([0, FIRST, 1]))
    video = RoomVideo(make_scene(frames.room_seed(0, FIRST), level=1, **scene))
    crops = np.flatnonzero(rooms.shard.room == 0)[8:]
    for index in (3, *crops):
        x0, y0, x1, y1 = rooms.shard.region[index]
        source = video.frame(int(rooms.shard.room_frames[0, rooms.shard.slot[index]]))
        source = source[y0:y1, x0:x1]
        if index in crops:
            source = frames.enlarged(source)
        told = processor(images=[Image.fromarray(source)])
        batch = batches.collate(
            [rooms.picture(index)], [rooms.targets(index, rooms.picture(index))]
        )
        np.testing.assert_array_equal(told["image_grid_thw"], batch.grid)
        np.testing.assert_allclose(told["pixel_values"], batch.patches, atol=1e-6)
        assert len(batch.targets.depth) * 4 == len(batch.patches)


def test_crops_hold_an_object_and_are_enlarged(rooms: labels.Rooms) -> None:
    shard = rooms.shard
    for index in np.flatnonzero(np.diff(shard.region[:, ::2])[:, 0] < 320):
        objects = np.flatnonzero(shard.object_room == shard.room[index])
        boxes = shard.box[objects, shard.slot[index]]
        x0, y0, x1, y1 = shard.region[index]
        whole = (boxes[:, :2] >= (x0, y0)).all(1) & (boxes[:, 2:] <= (x1, y1)).all(1)
        assert (whole & (shard.pixels[objects, shard.slot[index]] >= frames.LEAST_PIXELS)).any()
    for height, width in ((9, 30), (240, 320), (224, 10), (113, 100)):
        big = frames.enlarged(np.zeros((height, width, 3), np.uint8))
        assert 224 <= max(big.shape) < 448
        assert big.shape[0] * width == big.shape[1] * height


def test_boxes_and_pixels_agree_with_ids(rooms: labels.Rooms) -> None:
    shard = rooms.shard
    x0, y0, x1, y1 = np.moveaxis(shard.box, -1, 0)
    seen = shard.pixels > 0
    assert ((x0 >= 0) & (x0 < x1) & (x1 <= 320) & (y0 >= 0) & (y0 < y1) & (y1 <= 240))[seen].all()
    assert not shard.box[~seen].any()
    for row, key, pixels in zip(shard.object_room, shard.object_id, shard.pixels, strict=True):
        for slot, index in enumerate(np.flatnonzero(shard.room == row)[:8]):
            share = (rooms.picture(int(index)).ids == key).mean()
            assert share == pytest.approx(pixels[slot] / (320 * 240), abs=0.01)


def test_coverage_is_that_of_the_frame(rooms: labels.Rooms) -> None:
    """Tokens of 40x40 pixels of the native id image, counted one by one."""
    scene = frames.scene_arguments(np.random.default_rng([0, FIRST, 1]))
    video = RoomVideo(make_scene(frames.room_seed(0, FIRST), level=1, **scene))
    ids = video.ids(int(rooms.shard.room_frames[0, 5]))
    told = rooms.targets(5, rooms.picture(5)).classes
    expected = np.zeros_like(told)
    for item in video.scene.room.objects:
        name = f"{item.color} {item.category}" if item.text else item.category
        for token in range(48):
            top, left = 40 * (token // 8), 40 * (token % 8)
            cell = ids[top : top + 40, left : left + 40]
            expected[token, labels.CLASSES.index(name)] += (cell == item.id).mean()
    np.testing.assert_allclose(told, expected, atol=0.04)
    assert told.max() > 0.3
    depth = video.depth(int(rooms.shard.room_frames[0, 5]))
    mean = np.log(depth.reshape(6, 40, 8, 40)).mean((1, 3)).ravel()
    np.testing.assert_allclose(
        rooms.targets(5, rooms.picture(5)).depth * 0.64 + np.log(0.2) + 2.56, mean, atol=0.03
    )


@given(arrays(np.uint8, (32, 48), elements=st.integers(0, 5)))
def test_coverage_sums_to_what_is_covered(index: np.ndarray) -> None:
    told = labels.coverage(index, 5)
    assert told.shape == (6, 5)
    assert told.sum() * 256 == pytest.approx((index > 0).sum())
    assert (told.sum(1) <= 1 + 1e-6).all()
    mirrored = labels.coverage(np.ascontiguousarray(index[:, ::-1]), 5)
    np.testing.assert_array_equal(mirrored.reshape(2, 3, 5), told.reshape(2, 3, 5)[:, ::-1])


@given(st.integers(0, 2**32))
@settings(max_examples=30)
def test_augmentation_moves_labels_with_pixels(seed: int) -> None:
    """The ids are drawn in grey: wherever a pixel goes, its id must go."""
    ids = np.random.default_rng(seed).integers(0, 2, (32, 64)).astype(np.uint8)
    plain = labels.Picture(
        np.repeat(ids[..., None] * 100 + 80, 3, axis=2).astype(np.uint8), ids, ids
    )
    changed = batches.augment(plain, np.random.default_rng(seed))
    bright = changed.rgb.astype(int).sum(2)
    assert bright[changed.ids == 1].min() > bright[changed.ids == 0].max()
    np.testing.assert_array_equal(changed.ids, changed.depth)


@given(arrays(np.float32, 12, elements=st.floats(0, 1, width=16)), arrays(bool, 12))
def test_average_precision(score: np.ndarray, positive: np.ndarray) -> None:
    told = pointing.average_precision(score, positive)
    if not positive.any():
        assert np.isnan(told)
        return
    assert 0 < told <= 1
    assert pointing.average_precision(positive.astype(float), positive) == 1
    order = np.argsort(-score, kind="stable")
    by_hand = [positive[order[: k + 1]].mean() for k in range(12) if positive[order[k]]]
    assert told == pytest.approx(np.mean(by_hand))


def test_pointing_and_frame_choice() -> None:
    box = np.zeros((2, 8, 4), np.int16)
    box[0, 2], box[0, 3], box[1, 2] = (40, 80, 120, 160), (0, 0, 39, 39), (300, 200, 310, 210)
    pixels = np.zeros((2, 8), np.int32)
    pixels[0, 2], pixels[0, 3], pixels[1, 2] = 6400, 1500, 100
    response = np.full((8, 48, 2), -9.0)
    classes = np.array([0, 1])
    response[2, [17, 18, 25, 26], 0] = 3.0  # rows 2 and 3, columns 1 and 2
    assert pointing.tokens_in(box[0, 2]).nonzero()[0].tolist() == [17, 18, 25, 26]
    assert pointing.tokens_in(box[1, 2]).nonzero()[0].tolist() == [5 * 8 + 7]
    response[3, 5, 0] = 1.0
    assert pointing.points(response, classes, box, pixels) == [(0, True), (0, False)]
    assert pointing.chosen_frames(response, classes, pixels) == [(0, True)]
    response[3, :, 0] = 3.0
    assert pointing.chosen_frames(response, classes, pixels) == [(0, False)]
    # Of two of a class either will do, and no frame is asked for.
    assert pointing.points(response, np.array([0, 0]), box, pixels)[0] == (0, True)
    assert pointing.chosen_frames(response, np.array([0, 0]), pixels) == []


def test_training_lowers_the_loss_and_resumes_exactly(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH", 4)
    straight = warmup.Run(folder, tmp_path / "a", 6)
    losses = [row["loss"] for row in straight.train()]
    assert np.mean(losses[-2:]) < 0.9 * np.mean(losses[:2])
    broken = warmup.Run(folder, tmp_path / "b", 6)
    for row in broken.train():
        if row["step"] == 4:  # in the second pass: 14 pictures make three steps
            break
    broken.save()
    again = warmup.Run(folder, tmp_path / "b", 6)
    assert (again.progress.step, again.progress.epoch) == (4, 1)
    assert [row["loss"] for row in again.train()] == losses[4:]
    for key, value in straight.average.state_dict().items():
        torch.testing.assert_close(again.average.state_dict()[key], value, rtol=0, atol=0)
    with pytest.raises(ValueError, match="has seed 0, not 1"):
        warmup.Run(folder, tmp_path / "b", 6, seed=1)


def test_the_written_tower_is_the_averaged_one_at_the_promised_scale(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    monkeypatch.setattr(batches, "BATCH", 8)
    status = warmup.main(["--data", str(folder), "--out", str(tmp_path), "--steps", "2"])
    assert status == 0
    found = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert found["step"] == 2
    assert 0 <= found["pointing"] <= 1
    assert found["per_class"]
    warm = warmup.Warmer(3)
    warm.visual.load_state_dict(load_file(tmp_path / "warm.safetensors"))
    run = warmup.Run(folder, tmp_path, 2)
    data = batches.Data(folder, run.progress.files, {})
    batch = next(data.held_out())[0]
    with torch.no_grad():
        pairs = zip(warm.features(batch), run.average.features(batch), strict=True)
        for written, averaged in pairs:
            assert written.square().mean().sqrt() == pytest.approx(warmup.FEATURE_RMS, rel=0.05)
            ratio = warmup.FEATURE_RMS / averaged.square().mean().sqrt()
            torch.testing.assert_close(written, averaged * ratio, rtol=1e-2, atol=1e-2)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no rooms-\*\.npz"):
        warmup.Run(tmp_path, tmp_path / "out", 5)


def test_tokens_know_the_box_they_belong_to() -> None:
    ids = np.zeros((32, 48), np.uint8)
    ids[4:20, 10:40] = 7  # covers most of the first row's middle, little of the second row
    ids[0:2, 0:2] = 9  # too little of any token
    told = labels.token_boxes(ids).reshape(2, 3, 4)
    thing = np.array([10 / 48, 4 / 32, 40 / 48, 20 / 32])
    np.testing.assert_allclose(told[0, 0], thing, atol=1e-6)
    np.testing.assert_allclose(told[0, 1], thing, atol=1e-6)
    np.testing.assert_allclose(told[1, 1], thing, atol=1e-6)
    # Where nothing stands, a token says where it is itself.
    np.testing.assert_allclose(told[1, 0], [0, 0.5, 1 / 3, 1], atol=1e-6)


@given(arrays(np.uint8, (32, 48), elements=st.integers(0, 3)))
def test_token_boxes_lie_in_the_picture_and_move_with_it(ids: np.ndarray) -> None:
    told = labels.token_boxes(ids)
    assert ((told >= 0) & (told <= 1)).all()
    assert (told[:, :2] < told[:, 2:]).all()
    mirrored = labels.token_boxes(np.ascontiguousarray(ids[:, ::-1])).reshape(2, 3, 4)[:, ::-1]
    back = np.stack(
        [1 - mirrored[..., 2], mirrored[..., 1], 1 - mirrored[..., 0], mirrored[..., 3]]
    )
    np.testing.assert_allclose(np.moveaxis(back, 0, -1), told.reshape(2, 3, 4), atol=1e-6)
