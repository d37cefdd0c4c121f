"""The laws of Localize."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np

from pixelis_env.actions import Localize, Track, Zoom
from pixelis_env.evidence import Intervals
from pixelis_env.media.base import ArrayMedia, Media
from pixelis_env.metrics.overlap import interval_iou
from pixelis_env.tools import Toolbox
from tests.laws.law import Bench, law
from tests.laws.scenes import clip, cuts, page, rng_of


def _shown(rng: np.random.Generator, n_frames: int) -> tuple[int, int]:
    """A stretch of at least five frames."""
    first = int(rng.integers(0, n_frames - 5))
    return first, int(rng.integers(first + 5, n_frames))


def _check_form(found: Intervals, media: Media, start: float, end: float) -> None:
    assert len(found.spans) == len(found.scores)
    assert all(0.0 <= score <= 1.0 for score in found.scores)
    assert all(start <= a < b <= end for a, b in found.spans)
    assert all(a[1] <= b[0] for a, b in pairwise(found.spans))
    edges = {*media.times.tolist(), media.duration}
    assert all(a in edges and b in edges for a, b in found.spans)


@law(examples=12)
def law_localize_stays_in_its_span(toolbox: Toolbox, seed: int) -> None:
    rng = rng_of(seed)
    scene = clip(seed, n_frames=20, shown=_shown(rng, 20))
    bench = Bench(toolbox, scene.media)
    at = next(i for i, box in enumerate(scene.boxes) if box)
    name, _ = bench.run(Zoom(box=scene.boxes[at], time=at / 10, frame="px"))
    first, last = sorted(int(v) for v in rng.choice(20, 2, replace=False))
    span = (float(scene.media.times[first]), float(scene.media.times[last]))
    for action in (Localize(target=name, span=span), Localize(span=span)):
        _, found = bench.run(action)
        _check_form(found, scene.media, *span)


@law(examples=10)
def law_localize_finds_when_the_object_is_there(toolbox: Toolbox, seed: int) -> None:
    """And finds the same when it searches the found interval again."""
    rng = rng_of(seed)
    first, last = _shown(rng, 24)
    scene = clip(seed, n_frames=24, speed=(1, 0), shown=(first, last))
    bench = Bench(toolbox, scene.media)
    at = int(rng.integers(first, last + 1))
    name, _ = bench.run(Zoom(box=scene.boxes[at], time=float(scene.media.times[at]), frame="px"))
    _, found = bench.run(Localize(target=name))
    _check_form(found, scene.media, 0.0, scene.media.duration)
    end = scene.media.times[last + 1] if last < 23 else scene.media.duration
    assert interval_iou(found.spans, [(float(scene.media.times[first]), float(end))]) >= 0.85
    for span in found.spans:
        _, again = bench.run(Localize(target=name, span=span))
        assert again.spans == (span,)


@law(examples=8)
def law_localize_of_what_is_always_there_is_the_whole_span(toolbox: Toolbox, seed: int) -> None:
    rng, scene = rng_of(seed), clip(seed, n_frames=int(rng_of(seed, 9).integers(2, 20)))
    bench = Bench(toolbox, scene.media)
    at = int(rng.integers(len(scene.boxes)))
    name, _ = bench.run(Zoom(box=scene.boxes[at], time=float(scene.media.times[at]), frame="px"))
    _, found = bench.run(Localize(target=name))
    assert found.spans == ((0.0, scene.media.duration),)


@law(examples=10)
def law_localize_of_a_track_is_where_it_is_visible(toolbox: Toolbox, seed: int) -> None:
    scene = clip(seed, n_frames=14, shown=(0, 8))
    bench = Bench(toolbox, scene.media)
    view, _ = bench.run(Zoom(box=scene.boxes[0], frame="px"))
    name, track = bench.run(Track(target=view))
    _, found = bench.run(Localize(target=name))
    _check_form(found, scene.media, 0.0, scene.media.duration)
    for time, visible in zip(track.times, track.visible, strict=True):
        assert visible == any(a <= time < b for a, b in found.spans)


@law(examples=15)
def law_localize_cuts_a_clip_into_its_scenes(toolbox: Toolbox, seed: int) -> None:
    """Without a target: the scenes, which fill the span without gap or overlap."""
    rng = rng_of(seed)
    lengths = tuple(int(v) for v in rng.integers(4, 12, int(rng.integers(1, 5))))
    media = cuts(seed, lengths)
    bench = Bench(toolbox, media)
    _, found = bench.run(Localize())
    _check_form(found, media, 0.0, media.duration)
    starts = [0, *accumulate(lengths)][:-1]
    assert [start for start, _ in found.spans] == [float(media.times[i]) for i in starts]
    assert all(a[1] == b[0] for a, b in pairwise(found.spans))
    assert found.spans[-1][1] == media.duration
    for span in found.spans:
        assert bench.run(Localize(span=span))[1].spans == (span,)


@law(examples=2)
def law_localize_finds_a_text(toolbox: Toolbox, seed: int) -> None:
    """Whatever its case; what is always there fills the span, what is nowhere gives nothing."""
    scene = page(seed, n_lines=1)
    shown = scene.media.frame(0)
    empty = np.broadcast_to(shown[:1, :1], shown.shape)
    media = ArrayMedia(np.array([empty] * 4 + [shown] * 6))
    bench = Bench(toolbox, media)
    _, found = bench.run(Localize(text=scene.lines[0].lower()))
    assert found.spans == ((float(media.times[4]), media.duration),)
    assert bench.run(Localize(text=scene.lines[0], span=found.spans[0]))[1].spans == found.spans
    assert bench.run(Localize(text="zebra crossing"))[1].spans == ()
