"""The laws of Segment."""

from __future__ import annotations

import numpy as np

from pixelis_env.actions import Segment
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import RLE, Mask
from pixelis_env.metrics.overlap import mask_iou
from pixelis_env.tools import Toolbox
from tests.laws.law import Bench, law
from tests.laws.scenes import Still, rng_of, still


def _prompt(scene: Still, by_point: bool) -> Segment:
    if by_point:
        return Segment(point=scene.point, frame="px")
    x0, y0, x1, y1 = scene.box
    return Segment(box=(x0 - 2, y0 - 2, x1 + 2, y1 + 2), frame="px")


@law(examples=30)
def law_segment_gives_a_mask_of_the_frame(toolbox: Toolbox, seed: int) -> None:
    """Non-empty, of the frame's shape; area and box are those of the run-length code."""
    rng, scene = rng_of(seed), still(seed)
    bench = Bench(toolbox, scene.media)
    x, y = rng.uniform(0, (scene.media.width, scene.media.height))
    x1, y1 = rng.uniform((x, y), (scene.media.width, scene.media.height))
    action = (
        Segment(point=(x, y), frame="px")
        if rng.random() < 0.5
        else Segment(box=(x, y, x1, y1), frame="px")
    )
    try:
        _, mask = bench.run(action)
    except InvalidCall:
        return
    pixels = mask.rle.decode()
    assert pixels.shape == (scene.media.height, scene.media.width)
    assert mask.area == pixels.sum() > 0
    assert 0.0 <= mask.score <= 1.0
    assert mask == Mask.of(pixels, frame_index=0, time=0.0, score=mask.score)
    assert RLE.encode(pixels) == mask.rle


@law(examples=25)
def law_segment_contains_its_point(toolbox: Toolbox, seed: int) -> None:
    """Or finds nothing there."""
    rng, scene = rng_of(seed), still(seed)
    # Anywhere: on the object, on the background, and on the far edges of the frame.
    point = (
        float(rng.choice([scene.point[0], rng.uniform(0, scene.media.width), scene.media.width])),
        float(rng.choice([scene.point[1], rng.uniform(0, scene.media.height), 0.0])),
    )
    try:
        _, mask = Bench(toolbox, scene.media).run(Segment(point=point, frame="px"))
    except InvalidCall:
        return
    x = min(int(point[0]), scene.media.width - 1)
    y = min(int(point[1]), scene.media.height - 1)
    assert mask.rle.decode()[y, x]


@law(examples=20)
def law_segment_moves_with_the_medium(toolbox: Toolbox, seed: int) -> None:
    """Translating the medium translates the mask, pixel for pixel."""
    rng = rng_of(seed)
    dx, dy = (int(v) for v in rng.integers(-8, 9, 2))
    by_point = bool(rng.random() < 0.5)
    scene, moved = still(seed), still(seed, shift=(dx, dy))
    _, mask = Bench(toolbox, scene.media).run(_prompt(scene, by_point))
    _, other = Bench(toolbox, moved.media).run(_prompt(moved, by_point))
    rows, columns = np.nonzero(mask.rle.decode())
    expected = np.zeros((moved.media.height, moved.media.width), bool)
    inside = (
        (rows - dy >= 0)
        & (rows - dy < moved.media.height)
        & (columns - dx >= 0)
        & (columns - dx < moved.media.width)
    )
    expected[rows[inside] - dy, columns[inside] - dx] = True
    assert np.array_equal(other.rle.decode(), expected)


@law(examples=25)
def law_segment_finds_a_plain_object(toolbox: Toolbox, seed: int) -> None:
    scene = still(seed)
    for by_point in (False, True):
        _, mask = Bench(toolbox, scene.media).run(_prompt(scene, by_point))
        assert mask_iou(mask.rle.decode(), scene.mask) > 0.85
