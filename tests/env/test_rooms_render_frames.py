"""Frames of rooms: exact ids and depth, determinism, shifts, thumbnails, visibility."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from pixelis_env.rooms import SHIFTS, RoomVideo, make_scene
from pixelis_env.rooms.boxes import corners
from pixelis_env.rooms.kinds import KINDS
from pixelis_env.rooms.raster import rasterize
from pixelis_env.rooms.scene import Lettering, Placed, Sensor
from pixelis_env.rooms.sensor import expose
from pixelis_env.rooms.tracer import available

needs_embree = pytest.mark.skipif(not available(), reason="embreex has no wheel here")


def _sha(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def video() -> RoomVideo:
    return RoomVideo(make_scene(3, level=1, movers=1, signs=1))


def test_the_contract_of_a_medium(video: RoomVideo) -> None:
    frame = video.frame(5)
    assert frame.shape == (video.height, video.width, 3)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous
    assert not frame.flags.writeable
    assert video.times[0] == 0.0
    assert video.duration == pytest.approx(video.n_frames / 10)
    assert video.index_at(0.35) == 3
    with pytest.raises(IndexError, match=f"0..{video.n_frames - 1}"):
        video.frame(video.n_frames)
    with pytest.raises(ValueError, match="choose one of"):
        RoomVideo(video.scene, "opengl")
    ids, depth = video.ids(5), video.depth(5)
    assert ids.dtype == np.int32
    assert depth.dtype == np.float32
    assert ids.shape == depth.shape == frame.shape[:2]
    assert ids.min() >= 0
    assert ids.max() <= len(video.scene.room.objects)
    assert depth.min() > 0.02
    assert depth.max() < 20


@needs_embree
@pytest.mark.parametrize("seed", range(5))
def test_numpy_and_embree_agree(seed: int) -> None:
    scene = make_scene(seed, level=1 + seed % 2, movers=seed % 3 > 1, signs=1)
    a, b = RoomVideo(scene, "embree"), RoomVideo(scene, "numpy")
    for index in (0, scene.n_frames // 2, scene.n_frames - 1):
        other = a.ids(index) != b.ids(index)
        deeper = np.abs(a.depth(index) - b.depth(index)) > 1e-3
        # A ray through the very edge of a triangle may go either way in single precision.
        assert (other | deeper).sum() <= 3, f"ids {other.sum()}, depth {deeper.sum()} pixels"


def test_rasteriser_on_a_triangle_through_the_camera_plane() -> None:
    """A floor that reaches behind the camera, against ray-plane intersection."""
    floor = np.array([[[-9, -9, 0], [9, -9, 0], [0, 9, 0]]], np.float32)
    width, height, focal = 40, 30, 30.0
    axes = (np.array([1.0, 0, 0]), np.array([0, 0, -1.0]), np.array([0, 1.0, 0]))
    x = ((np.arange(width) + 0.5 - width / 2) / focal)[None, :].repeat(height, 0)
    y = ((np.arange(height) + 0.5 - height / 2) / focal)[:, None].repeat(width, 1)
    rays = np.stack([x, np.ones_like(x), -y]).astype(np.float32)
    hits = rasterize(floor, np.array([0, 0, 1.5], np.float32), rays, axes, focal)
    depth = 1.5 / np.maximum(y, 1e-9)
    px, py = x * depth, depth
    inside = (y > 0) & (py < 9 - 2 * np.abs(px))
    edge = np.abs(py - (9 - 2 * np.abs(px))) < 1e-3
    got = hits.tri.reshape(height, width) == 0
    assert (got == inside)[~edge].all()
    assert inside.any()
    assert np.allclose(hits.depth.reshape(height, width)[got], depth[got], rtol=1e-5)


def test_ids_match_boxes(video: RoomVideo) -> None:
    """Every visible pixel of an object lies within the projection of its oriented box."""
    scene = video.scene
    for index in (0, 30, 60):
        ids, depth = video.ids(index), video.depth(index)
        right, down, forward = scene.camera.axes(index)
        for object_id in np.unique(ids[ids > 0]):
            rows, columns = np.nonzero(ids == object_id)
            z = depth[rows, columns].astype(float)
            a = (columns + 0.5 - video.width / 2) / scene.camera.focal * z
            b = (rows + 0.5 - video.height / 2) / scene.camera.focal * z
            points = scene.camera.position[index] + (
                a[:, None] * right + b[:, None] * down + z[:, None] * forward
            )
            item = scene.at(int(object_id), index)
            offset = points - item.center
            c, s = np.cos(item.yaw), np.sin(item.yaw)
            local = np.stack(
                [
                    offset[:, 0] * c + offset[:, 1] * s,
                    offset[:, 1] * c - offset[:, 0] * s,
                    offset[:, 2],
                ],
                1,
            )
            assert (np.abs(local) <= np.array(item.size) / 2 + 2e-3).all(), item


def test_boxes_follow_motion() -> None:
    scene = make_scene(12, level=1, movers=2)
    video = RoomVideo(scene)
    for motion in scene.motions:
        seen = 0
        for index in range(0, scene.n_frames, 6):
            box = video.object_box(index, motion.object_id)
            xy, z = scene.camera.project(corners(scene.at(motion.object_id, index)), index)
            if box is None or (z < 0.2).any():
                continue
            seen += 1
            low, high = xy.min(0) - 1, xy.max(0) + 1
            assert (box[:2] >= low).all()
            assert (box[2:] <= high).all()
            assert video.mask(index, motion.object_id).sum() > 0
        assert seen >= 5
        counts = video.visible()[motion.start : motion.end + 1, motion.object_id]
        assert (counts > 0).mean() > 0.7, "the camera must watch the moving object"


def test_visible_agrees_with_ids(video: RoomVideo) -> None:
    counts = video.visible(stride=10, size=video.width)
    assert counts.shape == (-(-video.n_frames // 10), len(video.scene.room.objects) + 1)
    for row, index in enumerate(range(0, video.n_frames, 10)):
        full = np.bincount(video.ids(index).ravel(), minlength=counts.shape[1])
        assert np.array_equal(counts[row], full)
    small = video.visible(stride=10)
    assert (small.sum(1) == 80 * 60).all()
    share, rough = counts / counts.sum(1, keepdims=True), small / small.sum(1, keepdims=True)
    assert np.abs(share - rough).max() < 0.02


def test_most_furniture_gets_seen() -> None:
    seen, total = 0, 0
    for seed in range(8):
        video = RoomVideo(make_scene(seed))
        big = [o.id for o in video.scene.room.objects if o.mount == "floor"]
        shown = (video.visible(3) > 8).any(0)
        seen, total = seen + int(shown[big].sum()), total + len(big)
    assert seen / total > 0.85


def test_details_and_signs_get_seen() -> None:
    pixels, heights = [], []
    for seed in range(6):
        video = RoomVideo(make_scene(seed, details=2, signs=1))
        counts = video.visible(2, 160)
        for item in video.scene.room.objects:
            if item.category == "sign":
                boxes = [
                    video.object_box(int(k) * 2, item.id)
                    for k in np.argsort(-counts[:, item.id])[:16:3]
                ]
                heights.append(max(b[3] - b[1] for b in boxes if b is not None))
            elif item.category in ("mug", "vase", "bowl", "gift"):
                pixels.append(counts[:, item.id].max() * 4)
    assert np.median(pixels) > 100
    assert np.median(heights) > 24


def test_same_bytes_again_pickled_and_threaded(video: RoomVideo) -> None:
    want = {i: _sha(video.frame(i)) for i in (0, 33, 34)}
    thumb = _sha(video.thumbnail(33, 112))
    again = RoomVideo(make_scene(3, level=1, movers=1, signs=1))
    # Another order, after other work: nothing may depend on what was rendered before.
    again.thumbnail(50, 64)
    assert {i: _sha(again.frame(i)) for i in (34, 33, 0)} == want
    blob = pickle.dumps(video)
    assert len(blob) < 100_000, "geometry and caches must stay behind"
    copy = pickle.loads(blob)
    assert copy.digest == video.digest
    assert _sha(copy.thumbnail(33, 112)) == thumb
    got: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda i=i: got.update({i: _sha(copy.frame(i))})) for i in want
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == want
    video.close()
    assert _sha(video.frame(33)) == want[33]


def test_same_bytes_in_another_process(video: RoomVideo) -> None:
    code = (
        "import hashlib; from pixelis_env.rooms import make_scene, RoomVideo;"
        "v = RoomVideo(make_scene(3, level=1, movers=1, signs=1));"
        "print(hashlib.sha256(v.frame(33).tobytes()).hexdigest(), v.digest,"
        " hashlib.sha256(v.ids(33).tobytes()).hexdigest())"
    )
    env = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "2"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
    )
    want = [_sha(video.frame(33)), video.digest, _sha(video.ids(33))]
    assert result.stdout.split() == want


@needs_embree
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_rendering_starts_no_threads() -> None:
    """A worker thread inside Embree may hold a lock while the process forks."""
    code = (
        "import os, numpy as np; from pixelis_env.rooms.tracer import Tracer;"
        "n = lambda: len(os.listdir('/proc/self/task')); cpus = os.sched_getaffinity(0);"
        "import embreex.rtcore_scene, embreex.mesh_construction; before = n();"
        "t = Tracer(np.random.default_rng(0).random((30000, 3, 3), np.float32));"
        "print(n() - before, os.sched_getaffinity(0) == cpus)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["0", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_renders_the_same(video: RoomVideo) -> None:
    want = _sha(video.frame(20))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, (_sha(video.frame(20)) + _sha(video.frame(21))).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        got = pipe.read()
    os.waitpid(child, 0)
    assert got == want + _sha(video.frame(21))


@pytest.mark.parametrize("shift", [s for s in SHIFTS if s not in ("none", "camera", "clutter")])
def test_shifts_keep_ids_and_change_pictures(shift: str) -> None:
    kwargs = {"level": 1, "signs": 2}
    base = RoomVideo(make_scene(6, **kwargs))  # type: ignore[arg-type]
    moved = RoomVideo(make_scene(6, shift=shift, **kwargs))  # type: ignore[arg-type]
    sign = next(o.id for o in base.scene.room.objects if o.text)
    index = int(base.visible()[:, sign].argmax())
    assert np.array_equal(base.ids(index), moved.ids(index))
    assert np.array_equal(base.depth(index), moved.depth(index))
    change = np.abs(base.frame(index).astype(int) - moved.frame(index)).max(-1)
    if shift == "fonts":
        assert change[base.mask(index, sign)].mean() > 4
    else:
        assert (change > 8).mean() > 0.05


def test_thumbnails_resemble_frames(video: RoomVideo) -> None:
    import cv2

    for index in (0, 40):
        thumb = video.thumbnail(index, 112)
        assert thumb.shape == (84, 112, 3)
        assert not thumb.flags.writeable
        shrunk = cv2.resize(video.frame(index), (112, 84), interpolation=cv2.INTER_AREA)
        assert np.abs(shrunk.astype(int) - thumb).mean() < 4
    with pytest.raises(ValueError, match="at least 1"):
        video.thumbnail(0, 0)


def test_numpy_renderer_makes_pictures() -> None:
    scene = make_scene(2)
    video = RoomVideo(scene, "numpy")
    frame = video.frame(10)
    assert frame.std() > 15
    if available():
        other = RoomVideo(scene, "embree").frame(10)
        assert np.abs(frame.astype(int) - other).mean() < 20


def test_pictures_are_well_exposed() -> None:
    for seed in range(6):
        frame = RoomVideo(make_scene(seed)).frame(20)
        assert 70 < frame.mean() < 210
        assert (frame.max(-1) >= 254).mean() < 0.15, "burnt out"


def test_sign_text_is_drawn() -> None:
    from pixelis_env.rooms.drawing import draw_face

    def face(text: str, **kwargs: object) -> np.ndarray:
        item = Placed(
            1,
            "sign",
            "sign",
            (0, 0, 1.5),
            (0.9, 0.024, 0.34),
            0.0,
            "white",
            text,
            lettering=Lettering(**kwargs),
        )  # type: ignore[arg-type]
        return draw_face(item).levels[0]

    plain = face("EXIT")
    assert (plain.min(-1) < 0.1).mean() > 0.05, "no ink"
    assert not np.array_equal(plain, face("OPEN"))
    assert not np.array_equal(plain, face("EXIT", slant=0.3))
    assert not np.array_equal(plain, face("EXIT", case="lower"))
    for text in ("LOST AND FOUND", "INFORMATION 58", "I"):
        border = face(text)[:, 2:5]
        assert border.min() > 0.8, f"{text!r} runs over the edge"


@pytest.mark.parametrize("fill", [0.62, 0.4])
def test_the_height_of_letters_is_that_of_the_drawn_ones(fill: float) -> None:
    from pixelis_env.rooms.drawing import draw_face, letter_height

    tag = next(o for o in make_scene(2, tags=2).room.objects if o.category == "tag")
    tag = replace(tag, lettering=replace(tag.lettering, fill=fill))
    face = draw_face(tag).levels[0].mean(2)
    rows, columns = face.shape
    inner = face[rows // 12 : -rows // 12, columns // 12 : -columns // 12]
    ink = np.abs(inner - np.median(inner)) > 0.2
    (lines,) = np.nonzero(ink.any(1))
    drawn = (lines[-1] + 1 - lines[0]) / rows * tag.size[2] * 0.284 / 0.3
    assert letter_height(tag) == pytest.approx(drawn, rel=0.04)
    with pytest.raises(ValueError, match="nothing is written on object"):
        letter_height(replace(tag, text=None))


def test_perfect_sensor_changes_nothing_and_noise_is_seeded() -> None:
    image = np.full((30, 40, 3), 128, np.uint8)
    assert expose(image, Sensor(), (1,)) is image
    noisy = Sensor(noise=6.0)
    assert np.array_equal(expose(image, noisy, (1,)), expose(image, noisy, (1,)))
    assert not np.array_equal(expose(image, noisy, (1,)), expose(image, noisy, (2,)))
    assert abs(float(expose(image, noisy, (1,)).astype(float).std()) - 6) < 1


def test_every_category_renders() -> None:
    """Each model, alone in front of a camera, shows pixels of its own."""
    import dataclasses

    from pixelis_env.rooms.furniture import usual_size

    scene = make_scene(1, n_frames=2)
    room = dataclasses.replace(scene.room, width=8.0, depth=8.0, openings=())
    camera = dataclasses.replace(
        scene.camera,
        position=np.array([[4.0, 1.0, 1.2]] * 2),
        yaw=np.full(2, np.pi / 2),
        pitch=np.full(2, -0.1),
        width=96,
        height=72,
    )
    for category, kind in KINDS.items():
        for model in kind.models:
            size = usual_size(model)
            item = Placed(
                1,
                category,
                model,
                (4.0, 4.2, size[2] / 2 + 0.4),
                size,
                0.0,
                "red",
                rgb=(200, 40, 40),
                pattern=5,
            )
            alone = dataclasses.replace(
                scene, room=dataclasses.replace(room, objects=(item,)), camera=camera
            )
            assert RoomVideo(alone).mask(0, 1).sum() >= 2, (category, model)
