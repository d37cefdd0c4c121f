"""The oracle of an agent that saw the overview only: it looks nowhere else, and knows no time."""

from __future__ import annotations

import numpy as np
import pytest

from pixelis_env.actions import Track, Zoom
from pixelis_env.coordinates import box_from_source
from pixelis_env.env import PixelisEnv
from pixelis_env.observation import overview_indices
from pixelis_env.rooms.questions.looks import ASIDE
from tests.env.task_laws import frame_of


@pytest.mark.parametrize(
    "name", ["search_color", "object_size_estimation", "text_read", "time_first", "motion_speed"]
)
def test_a_zoom_follows_from_the_object_s_box_and_holds_it_off_the_middle(name: str) -> None:
    env, seen, places = PixelisEnv(types=[name]), 0, set()
    for index in range(4):
        env.reset(options={"index": index})
        frames = overview_indices(env.task.media)
        try:
            zoom = env.oracle(np.random.default_rng(index), frames)[0]
        except LookupError:  # no frame of the overview shows it
            continue
        seen += 1
        assert isinstance(zoom, Zoom)
        assert zoom.time is not None
        assert env.task.truth is not None
        box = env.task.truth.box(0, frame_of(env, zoom.time))
        assert box is not None
        grow = [max(8 - (box[k + 2] - box[k]), 0) / 2 for k in (0, 1)]
        x0, y0, x1, y1 = (
            max(box[0] - grow[0], 0),
            max(box[1] - grow[1], 0),
            box[2] + grow[0],
            box[3] + grow[1],
        )
        longer = max(x1 - x0, y1 - y0)
        margin = max(0.5 * longer, (80 - longer) / 2)
        off = ASIDE * margin
        least = (x0 - margin - off, y0 - margin - off, x1 + margin - off, y1 + margin - off)
        most = (x0 - margin + off, y0 - margin + off, x1 + margin + off, y1 + margin + off)
        low, high = (
            box_from_source(corners, "rel1000", env.workspace.bounds) for corners in (least, most)
        )
        assert all(a - 1 <= b <= c + 1 for a, b, c in zip(low, zoom.box, high, strict=True))
        inside = box_from_source(box, "rel1000", env.workspace.bounds)
        assert all(w <= edge + 1 for w, edge in zip(zoom.box[:2], inside[:2], strict=True))
        assert all(w >= edge - 1 for w, edge in zip(zoom.box[2:], inside[2:], strict=True))
        places.add(zoom.box)
        again = env.oracle(np.random.default_rng(index + 100), frames)[0]
        places.add(again.box)  # type: ignore[union-attr]
    assert len(places) > seen  # another generator, another place
    assert seen


def test_the_generator_decides_what_is_free_and_nothing_else() -> None:
    env = PixelisEnv(types=["search_color"])
    env.reset(options={"index": 1})
    plain = env.oracle()
    assert env.oracle() == plain
    varied = [env.oracle(np.random.default_rng(seed)) for seed in range(4)]
    assert varied[0] == env.oracle(np.random.default_rng(0))
    assert len({chain[0].model_dump_json() for chain in varied}) == 4
    assert {chain[-1].model_dump_json() for chain in varied} == {plain[-1].model_dump_json()}
    # Looking at every frame that the oracle would choose from finds the same one.
    every = range(env.task.media.n_frames)
    (first, *_), (other, *_) = env.oracle(frames=every), env.oracle(frames=[*every][::-1])
    assert first == other


def test_frames_that_show_nothing_are_refused_by_name() -> None:
    env = PixelisEnv(types=["time_first"])
    env.reset(options={"index": 0})
    assert env.task.truth is not None
    (name,) = env.task.truth.names
    # What is asked when it first comes into view is out of view at the start.
    with pytest.raises(LookupError, match=f"{name} .*none of the frames 0, 1 shows it clearly"):
        env.oracle(frames=[1, 0])
    for wrong in ([], [0, 9999], [-1]):
        with pytest.raises(ValueError, match=r"frames=\[.*\]: give some of 0\.\.\d+"):
            env.oracle(frames=wrong)


def test_letters_that_are_too_small_are_not_read() -> None:
    plain, small = (PixelisEnv(types=["search_number"], shift=shift) for shift in ("none", "fonts"))
    for env in (plain, small):
        env.reset(options={"index": 6})
    assert plain.task.question == small.task.question
    frames = overview_indices(plain.task.media)
    plain.oracle(frames=frames)
    with pytest.raises(LookupError, match="letters large enough to read"):
        small.oracle(frames=frames)


def test_what_moves_is_followed_from_the_middle_of_its_way() -> None:
    env = PixelisEnv(types=["motion_distance"], tools="oracle")
    for index in range(3):
        env.reset(options={"index": index})
        frames = overview_indices(env.task.media)
        (motion,) = env.task.media.scene.motions  # type: ignore[attr-defined]
        (track,) = (a for a in env.oracle(frames=frames) if isinstance(a, Track))
        assert track.span is not None
        start = frame_of(env, track.span[0])
        moving = [frame for frame in frames if motion.start <= frame <= motion.end]
        middle = (motion.start + motion.end) / 2
        assert abs(start - middle) == min(abs(frame - middle) for frame in moving)
    with pytest.raises(LookupError, match="shows it while it moves"):
        env.oracle(frames=[motion.end + 1])
