"""The laws of Track."""

from __future__ import annotations

import numpy as np

from pixelis_env.actions import Track, Zoom
from pixelis_env.evidence import Tracklet
from pixelis_env.media.base import ArrayMedia
from pixelis_env.metrics.overlap import box_iou
from pixelis_env.tools import Toolbox
from tests.laws.law import Bench, law
from tests.laws.scenes import Clip, clip, rng_of


def _track(
    toolbox: Toolbox, scene: Clip, at: int = 0, span: tuple[int, int] | None = None
) -> Tracklet:
    """The object zoomed onto in frame `at` and tracked between two frames."""
    bench = Bench(toolbox, scene.media)
    times = scene.media.times
    name, _ = bench.run(Zoom(box=scene.boxes[at], time=float(times[at]), frame="px"))
    seconds = None if span is None else (float(times[span[0]]), float(times[span[1]]))
    _, tracklet = bench.run(Track(target=name, span=seconds))
    return tracklet


def _frames(rng: np.random.Generator, n_frames: int) -> tuple[int, int, int]:
    at, first, last = (int(v) for v in rng.integers(0, n_frames, 3))
    return at, first, last


@law(examples=12)
def law_track_stands_still_on_a_still_clip(toolbox: Toolbox, seed: int) -> None:
    scene = clip(seed, speed=(0, 0))
    tracklet = _track(toolbox, scene)
    assert set(tracklet.boxes) == {scene.boxes[0]}
    assert all(tracklet.visible)


@law(examples=12)
def law_track_starts_with_its_prompt(toolbox: Toolbox, seed: int) -> None:
    """Wherever in the span the prompt's frame lies, the box there is the prompt."""
    rng, scene = rng_of(seed), clip(seed)
    at, first, last = _frames(rng, len(scene.boxes))
    first, last = min(first, at), max(last, at)
    span = (last, first) if rng.random() < 0.5 else (first, last)
    tracklet = _track(toolbox, scene, at, span)
    where = tracklet.frame_indices.index(at)
    assert tracklet.boxes[where] == scene.boxes[at]
    assert tracklet.visible[where]
    assert tracklet.scores[where] == max(tracklet.scores)


@law(examples=20)
def law_track_keeps_the_order_of_its_span(toolbox: Toolbox, seed: int) -> None:
    """Every frame between the ends, in their order, within the clip; boxes within the frame."""
    rng, scene = rng_of(seed), clip(seed, n_frames=8)
    at, first, last = _frames(rng, len(scene.boxes))
    tracklet = _track(toolbox, scene, at, (first, last))
    step = 1 if last >= first else -1
    assert tracklet.frame_indices == tuple(range(first, last + step, step))
    assert tracklet.times == tuple(float(scene.media.times[i]) for i in tracklet.frame_indices)
    assert {len(tracklet.boxes), len(tracklet.visible), len(tracklet.scores)} == {
        len(tracklet.frame_indices)
    }
    for x0, y0, x1, y1 in tracklet.boxes:
        assert 0 <= x0 < x1 <= scene.media.width
        assert 0 <= y0 < y1 <= scene.media.height
    assert all(0.0 <= score <= 1.0 for score in tracklet.scores)


@law(examples=10)
def law_track_of_the_reversed_clip_is_the_reversed_track(toolbox: Toolbox, seed: int) -> None:
    scene = clip(seed)
    last = len(scene.boxes) - 1
    frames = np.array([scene.media.frame(i) for i in range(last, -1, -1)])
    turned = Clip(ArrayMedia(frames), scene.boxes[::-1])
    forward, backward = _track(toolbox, turned), _track(toolbox, scene, last, (last, 0))
    assert backward.frame_indices == tuple(range(last, -1, -1))
    assert backward.visible == forward.visible
    for a, b in zip(forward.boxes, backward.boxes, strict=True):
        assert box_iou(a, b) > 0.99


@law(examples=12)
def law_track_follows(toolbox: Toolbox, seed: int) -> None:
    """A rigid object moving straight is found where it is, in every frame, both ways in time."""
    rng, scene = rng_of(seed), clip(seed)
    at = int(rng.integers(len(scene.boxes)))
    tracklet = _track(toolbox, scene, at, (0, len(scene.boxes) - 1))
    for index, box, visible in zip(
        tracklet.frame_indices, tracklet.boxes, tracklet.visible, strict=True
    ):
        assert visible
        assert box_iou(box, scene.boxes[index]) > 0.75


@law(examples=10)
def law_track_of_a_part_is_part_of_the_track(toolbox: Toolbox, seed: int) -> None:
    """A span away from the target's frame reports what the whole track says about it."""
    rng, scene = rng_of(seed), clip(seed)
    first = int(rng.integers(1, len(scene.boxes)))
    whole, part = _track(toolbox, scene), _track(toolbox, scene, 0, (first, len(scene.boxes) - 1))
    assert part.boxes == whole.boxes[first:]
    assert part.visible == whole.visible[first:]


@law(examples=8)
def law_track_knows_when_the_object_is_gone(toolbox: Toolbox, seed: int) -> None:
    """Gone is not visible, with the last box seen."""
    scene = clip(seed, n_frames=14, shown=(0, 7))
    tracklet = _track(toolbox, scene)
    assert False in tracklet.visible
    gone = tracklet.visible.index(False)
    assert 7 <= gone <= 9
    assert not any(tracklet.visible[gone:])
    assert set(tracklet.boxes[gone:]) == {tracklet.boxes[gone - 1]}
