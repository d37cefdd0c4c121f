"""The laws of Zoom."""

from __future__ import annotations

import numpy as np

from pixelis_env.actions import Zoom
from pixelis_env.coordinates import Box, Frame, Region, box_from_source, limits
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import View, pixel_digest
from pixelis_env.media.base import ArrayMedia
from pixelis_env.tools import Toolbox
from tests.laws.law import Bench, law
from tests.laws.scenes import rng_of, texture

_FRAMES: tuple[Frame, ...] = ("rel1000", "unit", "px")


def _media(rng: np.random.Generator) -> ArrayMedia:
    width, height, n_frames = (int(v) for v in rng.integers((1, 1, 1), (90, 70, 4)))
    return ArrayMedia(np.array([texture(rng, width, height) for _ in range(n_frames)]))


def _box(rng: np.random.Generator, frame: Frame, region: Region) -> Box:
    """A box over `region`, sometimes reaching its borders."""
    (x0, x1), (y0, y1) = (
        sorted(rng.choice([0.0, top, *rng.uniform(0, top, 4)], 2, replace=False))
        for top in limits(frame, region)
    )
    return float(x0), float(y0), float(x1), float(y1)


def _pixels(media: ArrayMedia, view: View) -> str:
    x0, y0, x1, y1 = view.region
    return pixel_digest(media.frame(view.frame_index)[y0:y1, x0:x1])


@law(examples=150)
def law_zoom_shows_the_pixels_it_names(toolbox: Toolbox, seed: int) -> None:
    """A view is the smallest whole-pixel region around its box, and carries those pixels."""
    rng = rng_of(seed)
    media = _media(rng)
    bench = Bench(toolbox, media)
    frame = _FRAMES[int(rng.integers(3))]
    box, index = _box(rng, frame, bench.workspace.bounds), int(rng.integers(media.n_frames))
    _, view = bench.run(Zoom(box=box, time=float(media.times[index]), frame=frame))
    top_x, top_y = limits(frame, bench.workspace.bounds)
    x0, x1 = (v * media.width / top_x for v in box[::2])
    y0, y1 = (v * media.height / top_y for v in box[1::2])
    near = 1e-6
    assert view.region.x0 <= x0 + near < view.region.x0 + 1 + 2 * near
    assert view.region.y0 <= y0 + near < view.region.y0 + 1 + 2 * near
    assert view.region.x1 >= x1 - near > view.region.x1 - 1 - 2 * near
    assert view.region.y1 >= y1 - near > view.region.y1 - 1 - 2 * near
    assert (view.frame_index, view.time) == (index, float(media.times[index]))
    assert view.pixels == _pixels(media, view)


@law(examples=150)
def law_zoom_of_a_zoom_is_one_zoom(toolbox: Toolbox, seed: int) -> None:
    """zoom∘zoom = zoom of the composed box, pixel for pixel; every view lies in its parent."""
    rng = rng_of(seed)
    media = _media(rng)
    bench = Bench(toolbox, media)
    frame = _FRAMES[int(rng.integers(3))]
    name, parent = bench.run(Zoom(box=_box(rng, frame, bench.workspace.bounds), frame=frame))
    inner = _box(rng, frame, parent.region)
    _, child = bench.run(Zoom(source=name, box=inner, frame=frame))
    assert parent.region.contains(child.region)
    top_x, top_y = limits(frame, parent.region)
    composed = (
        parent.region.x0 + inner[0] * parent.region.width / top_x,
        parent.region.y0 + inner[1] * parent.region.height / top_y,
        parent.region.x0 + inner[2] * parent.region.width / top_x,
        parent.region.y0 + inner[3] * parent.region.height / top_y,
    )
    direct = box_from_source(composed, "unit", bench.workspace.bounds)
    _, at_once = bench.run(Zoom(box=direct, frame="unit"))
    assert at_once == child
    assert child.pixels == _pixels(media, child)


@law(examples=60)
def law_zoom_on_the_full_box_is_identity(toolbox: Toolbox, seed: int) -> None:
    rng = rng_of(seed)
    bench = Bench(toolbox, _media(rng))
    frame = _FRAMES[int(rng.integers(3))]
    name, parent = bench.run(Zoom(box=_box(rng, frame, bench.workspace.bounds), frame=frame))
    full = (0.0, 0.0, *limits(frame, parent.region))
    _, again = bench.run(Zoom(source=name, box=full, frame=frame))
    assert again == parent


@law(examples=60)
def law_zoom_refuses_what_lies_outside(toolbox: Toolbox, seed: int) -> None:
    """Out of range is an InvalidCall that states the valid range and the size of the view."""
    rng = rng_of(seed)
    media = _media(rng)
    bench = Bench(toolbox, media)
    frame = _FRAMES[int(rng.integers(3))]
    top_x, top_y = limits(frame, bench.workspace.bounds)
    wrong = [
        (0.0, 0.0, top_x * 1.01, top_y),
        (-0.01 * top_x, 0.0, top_x, top_y),
        (0.0, 0.0, top_x, top_y + 1),
        (top_x, 0.0, 0.0, top_y),
        (0.5 * top_x, 0.0, 0.5 * top_x, top_y),
    ][int(rng.integers(5))]
    message = _refusal(bench, Zoom(box=wrong, frame=frame))
    assert f"0..{top_x:g}" in message
    assert f"{media.width}x{media.height}" in message
    late = Zoom(box=(0, 0, top_x, top_y), frame=frame, time=media.duration + 0.5)
    assert f"0..{media.duration:g}" in _refusal(bench, late)


def _refusal(bench: Bench, action: Zoom) -> str:
    try:
        bench.run(action)
    except InvalidCall as error:
        return str(error)
    raise AssertionError(f"{action} was accepted")
