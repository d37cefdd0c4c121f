"""Layouts, camera paths and motions: what is promised of every scene, whatever the seed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelis_env.rooms import SHIFTS, box_distance, corners, make_scene
from pixelis_env.rooms.boxes import footprint, overlap, rectangle, rectangle_distance
from pixelis_env.rooms.furnish import furnish
from pixelis_env.rooms.furniture import ASSETS, COLORS, color_name, mesh, models
from pixelis_env.rooms.kinds import CLUTTER, DETAILS, FLOOR_CLUTTER, KINDS, MOVERS
from pixelis_env.rooms.scene import Placed, Scene
from pixelis_env.rooms.themes import THEMES

scenes = st.builds(
    make_scene,
    st.integers(0, 2**40),
    level=st.integers(1, 3),
    signs=st.integers(0, 3),
    details=st.integers(0, 4),
    movers=st.integers(0, 2),
    tags=st.integers(0, 3),
    shift=st.sampled_from(["none", "none", "clutter", "camera"]),
    n_frames=st.just(40),
)


@settings(max_examples=25, deadline=None)
@given(scenes)
def test_every_scene_keeps_its_promises(scene: Scene) -> None:
    """One scene, all geometric laws: drawing a scene costs more than checking it."""
    room, objects = scene.room, scene.room.objects
    assert [o.id for o in objects] == list(range(1, len(objects) + 1))
    for item in objects:
        points = corners(item)
        assert (points >= -1e-3).all(), item
        assert (points <= np.array([room.width, room.depth, room.height]) + 1e-3).all(), item
        if item.mount == "floor":
            assert abs(points[:, 2].min()) < 0.01
        if item.mount == "top":
            below = scene.object(item.support)
            assert 0 <= points[:, 2].min() - corners(below)[:, 2].max() < 2e-3
            assert rectangle_distance(footprint(item), footprint(below)) == 0.0
    for a, b in itertools.combinations(objects, 2):
        assert not overlap(a, b), (a, b)
    _check_camera(scene)
    _check_motions(scene)


def _check_camera(scene: Scene) -> None:
    room, camera = scene.room, scene.camera
    assert camera.position.shape == (scene.n_frames, 3)
    assert np.isfinite(camera.position).all()
    assert np.isfinite(camera.yaw).all()
    low, high = camera.position.min(0), camera.position.max(0)
    assert (low > 0.05).all()
    assert (high < np.array([room.width, room.depth, room.height]) - 0.05).all()
    step = np.sqrt((np.diff(camera.position[:, :2], axis=0) ** 2).sum(1)) * camera.fps
    assert step.max() < 1.5, "faster than a brisk walk"
    for index in range(0, scene.n_frames, 2):
        eye = Placed(1, "eye", "", tuple(camera.position[index]), (0.1, 0.1, 0.1), 0.0, "")
        for item in scene.room.objects:
            now = scene.at(item.id, index)
            # On the floor plan, for no one can walk over a table either.
            if now.mount == "floor":
                assert rectangle_distance(footprint(eye), footprint(now)) > 0.05, (index, now)


def _check_motions(scene: Scene) -> None:
    for motion in scene.motions:
        item = scene.object(motion.object_id)
        assert np.allclose(motion.centers[0], item.center, atol=1e-6)
        assert 0 <= motion.start < motion.end <= scene.n_frames - 1
        step = np.sqrt((np.diff(motion.centers, axis=0) ** 2).sum(1))
        assert (step[: motion.start] == 0).all()
        assert (step[motion.end :] == 0).all()
        moving = step[motion.start : motion.end]
        assert np.allclose(moving, motion.distance / (motion.end - motion.start), atol=1e-5)
        assert motion.distance > 0.5
    moving_ids = {m.object_id for m in scene.motions}
    for index in range(0, scene.n_frames, 3):
        for a, b in itertools.combinations([scene.at(k, index) for k in moving_ids], 2):
            assert not overlap(a, b)
        for k in moving_ids:
            for other in scene.room.objects:
                if other.id not in moving_ids:
                    assert not overlap(scene.at(k, index), other), (index, other)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_asked_for_things_are_there(level: int) -> None:
    scene = make_scene(5, level=level, signs=3, details=3)
    signs = [o for o in scene.room.objects if o.text]
    assert len(signs) == 3
    assert len({o.color for o in signs}) == 3
    assert len({o.text for o in signs}) == 3
    for sign in signs:
        inwards = np.array([math.sin(sign.yaw), -math.cos(sign.yaw)])
        ahead = np.array(sign.center[:2]) + 0.3 * inwards
        assert (ahead > 0).all()
        assert (ahead < [scene.room.width, scene.room.depth]).all()
        assert 1.2 < sign.center[2] < 2.0
    unique = [c for c in DETAILS if len(scene.by_category.get(c, ())) == 1]
    assert len(unique) >= 3
    assert len(make_scene(5, level=level, movers=2).motions) == 2


@pytest.mark.parametrize("level", [1, 2, 3])
def test_tags_hang_apart_each_of_its_own_colour_and_number(level: int) -> None:
    room = make_scene(5, level=level, tags=4).room
    tags = [o for o in room.objects if o.category == "tag"]
    assert len(tags) == len({o.color for o in tags}) == len({o.text for o in tags}) == 4
    for tag in tags:
        assert tag.text is not None
        assert len(tag.text) == 3
        assert 100 <= int(tag.text) <= 999
        assert 1.1 < tag.center[2] < 1.6
        assert max(tag.size) < 0.36, "smaller than any sign"
        assert all(box_distance(tag, other) > 0.29 for other in tags if other is not tag)


def test_no_tags_no_other_room() -> None:
    plain, tagged = make_scene(9), make_scene(9, tags=1)
    assert make_scene(9, tags=0).digest == plain.digest != tagged.digest


def test_unique_and_repeated_categories_both_occur() -> None:
    counts = [len(g) for s in range(12) for g in make_scene(s).by_category.values()]
    assert 1 in counts
    assert max(counts) >= 2


def test_level_three_follows_the_prior_of_areas() -> None:
    layouts = [furnish(np.random.default_rng(s), 3, 0, 0) for s in range(60)]
    areas = [layout.width * layout.depth for layout in layouts]
    assert 12 < np.median(areas) < 24
    assert min(areas) < 10
    assert max(areas) > 30


def test_same_arguments_same_scene() -> None:
    one, two = (make_scene(9, level=2, signs=1, movers=1) for _ in range(2))
    assert one.digest == two.digest
    assert one.digest != make_scene(10, level=2, signs=1, movers=1).digest
    np.random.seed(0)  # noqa: NPY002  (the global state must not matter)
    assert make_scene(9, level=2, signs=1, movers=1).digest == one.digest


@pytest.mark.parametrize("shift", SHIFTS)
def test_shifts_keep_the_room(shift: str) -> None:
    base, moved = (make_scene(4, level=2, signs=2, shift=s) for s in ("none", shift))
    n = len(base.room.objects)
    if shift == "clutter":
        assert len(moved.room.objects) > n
    else:
        assert len(moved.room.objects) == n
    for a, b in zip(base.room.objects, moved.room.objects, strict=False):
        assert (a.center, a.size, a.yaw, a.category, a.text, a.color) == (
            b.center,
            b.size,
            b.yaw,
            b.category,
            b.text,
            b.color,
        )
    same_path = np.array_equal(base.camera.position, moved.camera.position)
    assert same_path == (shift != "camera")
    assert (base.digest == moved.digest) == (shift == "none")


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"level": 4}, "1..3"),
        ({"shift": "fog"}, "lighting"),
        ({"signs": 7}, "0..6"),
        ({"tags": 7}, "tags=7 is out of range; give 0..6"),
        ({"n_frames": 1}, "2..2000"),
    ],
)
def test_errors_state_the_range(kwargs: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_scene(**{"seed": 0, **kwargs})  # type: ignore[arg-type]


def test_unknown_object_names_the_valid_ids() -> None:
    with pytest.raises(KeyError, match=r"1\.\."):
        make_scene(0).object(99)


quads = st.builds(
    rectangle,
    st.floats(-2, 2),
    st.floats(-2, 2),
    st.floats(0.1, 2),
    st.floats(0.1, 2),
    st.floats(-3.2, 3.2),
)


@settings(max_examples=60, deadline=None)
@given(quads, quads)
def test_rectangle_distance_is_the_least_of_samples(a: np.ndarray, b: np.ndarray) -> None:
    t = np.linspace(0, 1, 40)[:, None, None]
    rims = [(q + t * (np.roll(q, -1, 0) - q)).reshape(-1, 2) for q in (a, b)]
    sampled = np.sqrt(((rims[0][:, None] - rims[1][None]) ** 2).sum(-1).min())
    exact = rectangle_distance(a, b)
    assert exact == rectangle_distance(b, a)
    if exact > 0:
        assert exact - 1e-9 <= sampled <= exact + 0.08
    else:
        assert sampled < 2.9


def test_box_distance_adds_height() -> None:
    low = Placed(1, "a", "", (0, 0, 0.5), (1, 1, 1), 0.0, "")
    high = Placed(2, "b", "", (4.0, 0, 5.5), (1, 1, 1), 0.0, "")
    assert box_distance(low, high) == pytest.approx(5.0)


def test_models_are_sound() -> None:
    named = {m for kind in KINDS.values() for m in kind.models}
    assert named <= set(models())
    for name in models():
        shape = mesh(name)
        assert np.abs(shape.points).max() <= 0.5 + 1e-5
        assert shape.faces.max() < len(shape.points)
        assert shape.faces.min() >= 0
        assert np.isfinite(shape.normals).all()
        assert all(0.02 < v < 2.6 for v in shape.size), (name, shape.size)
    wanted = {*DETAILS, *CLUTTER, *FLOOR_CLUTTER, *MOVERS}
    for theme in THEMES.values():
        wanted |= {c for c, _, _ in theme.must} | set(theme.may)
    assert wanted <= set(KINDS)


def test_color_names_agree_with_their_colors() -> None:
    for name, rgb in COLORS.items():
        for shade in (0.87, 1.0, 1.09):
            assert color_name(tuple(min(255, int(v * shade)) for v in rgb)) == name  # type: ignore[arg-type]


def test_furniture_has_provenance_and_licence() -> None:
    text = (ASSETS / "PROVENANCE.md").read_text()
    assert "CC0 1.0" in text
    assert "make_furniture.py" in text
    assert "CC0 1.0 Universal" in (ASSETS / "LICENSE-CC0").read_text()
    with np.load(ASSETS / "furniture.npz") as data:
        for name in data["names"]:
            assert f"| {name} |" in text, f"{name} has no row in PROVENANCE.md"
    assert (ASSETS / "furniture.npz").stat().st_size < 2_500_000
