"""The laws of Properties."""

from __future__ import annotations

import math

import cv2
import numpy as np

from pixelis_env.actions import Properties, Segment, Zoom
from pixelis_env.evidence import Mask, Measurement, Tracklet
from pixelis_env.media.base import ArrayMedia
from pixelis_env.tools import Toolbox
from tests.laws.law import Bench, law
from tests.laws.scenes import Still, clip, rng_of, still, texture


def _measure(bench: Bench, *targets: str) -> Measurement:
    return bench.run(Properties(targets=targets))[1]


def _masks(seed: int) -> tuple[ArrayMedia, list[np.ndarray]]:
    """A medium and two random blobs."""
    rng = rng_of(seed)
    width, height = 60, 45
    blobs = []
    for _ in range(2):
        blob = np.zeros((height, width), np.uint8)
        at, size = rng.integers(5, (width - 5, height - 5)), rng.integers(2, 12, 2)
        cv2.ellipse(
            blob,
            tuple(int(v) for v in at),
            tuple(int(v) for v in size),
            float(rng.uniform(0, 180)),
            0,
            360,
            1,
            -1,
        )
        blobs.append(blob > 0)
    return ArrayMedia(texture(rng, width, height)), blobs


def _file(bench: Bench, mask: np.ndarray) -> str:
    return bench.workspace.add(Mask.of(mask, frame_index=0, time=0.0, score=1.0))


@law(examples=80)
def law_properties_add_up_areas(toolbox: Toolbox, seed: int) -> None:
    """Disjoint areas add; overlapping ones count once."""
    media, (a, b) = _masks(seed)
    bench = Bench(toolbox, media)
    one, two = _file(bench, a), _file(bench, b)
    values = _measure(bench, one, two).values
    assert values[f"{one}.area_px"] == a.sum()
    assert values[f"{two}.area_px"] == b.sum()
    assert values["union_area_px"] == (a | b).sum()
    shared = (a & b).sum()
    assert math.isclose(values[f"{one}_{two}.iou"], shared / (a | b).sum(), abs_tol=1e-12)
    apart = b & ~a
    if apart.any():
        three = _file(bench, apart)
        values = _measure(bench, one, three).values
        assert values["union_area_px"] == values[f"{one}.area_px"] + values[f"{three}.area_px"]


@law(examples=80)
def law_properties_measure_what_is_there(toolbox: Toolbox, seed: int) -> None:
    """Against definitions written out here."""
    media, (mask, other) = _masks(seed)
    bench = Bench(toolbox, media)
    name = _file(bench, mask)
    values = _measure(bench, name).values
    rows, columns = np.nonzero(mask)
    assert values["area_px"] == len(rows)
    assert np.allclose(values["centroid_px"], (columns.mean() + 0.5, rows.mean() + 0.5))
    assert values["width_px"] == np.ptp(columns) + 1
    assert values["height_px"] == np.ptp(rows) + 1
    assert np.allclose(values["colour_rgb"], media.frame(0)[mask].mean(axis=0), atol=0.006)
    # The long axis is the direction of greatest spread.
    if values["elongation"] > 0.1:
        angles = np.radians(np.arange(0, 180, 1.0))
        spread = [np.var(columns * np.cos(t) - rows * np.sin(t)) for t in angles]
        off = abs(values["orientation_deg"] - float(np.argmax(spread)))
        assert min(off, 180 - off) <= 1.0
    second = _file(bench, other)
    between = _measure(bench, name, second).values
    other_x, other_y = (v.mean() + 0.5 for v in np.nonzero(other)[::-1])
    dx, dy = other_x - values["centroid_px"][0], other_y - values["centroid_px"][1]
    assert math.isclose(between[f"{name}_{second}.centre_distance_px"], math.hypot(dx, dy))
    if abs(dx) > 1e-9:
        assert between[f"{name}_{second}.horizontal"] == ("left of" if dx > 0 else "right of")
    if abs(dy) > 1e-9:
        assert between[f"{name}_{second}.vertical"] == ("above" if dy > 0 else "below")


@law(examples=40)
def law_properties_measure_motion(toolbox: Toolbox, seed: int) -> None:
    """Speed, displacement and direction of a straight track; the same read backwards."""
    scene = clip(seed, n_frames=9)
    order = list(range(9)) if seed % 2 else list(range(8, -1, -1))
    track = Tracklet(
        frame_indices=tuple(order),
        times=tuple(float(scene.media.times[i]) for i in order),
        boxes=tuple(scene.boxes[i] for i in order),
        visible=(True,) * 9,
        scores=(1.0,) * 9,
    )
    bench = Bench(toolbox, scene.media)
    values = _measure(bench, bench.workspace.add(track)).values
    (ax, ay, *_), (bx, by, *_) = scene.boxes[0], scene.boxes[8]
    assert np.allclose(values["displacement_px"], (bx - ax, by - ay))
    assert math.isclose(values["duration_s"], 0.8)
    assert values["speed_px_s"] >= math.hypot(bx - ax, by - ay) / 0.8 - 1e-9
    assert values["speed_px_s"] <= (math.hypot(bx - ax, by - ay) + 8) / 0.8
    if (bx, by) != (ax, ay):
        expected = math.degrees(math.atan2(ay - by, bx - ax)) % 360
        assert math.isclose(values["direction_deg"], expected)


@law(examples=30)
def law_properties_depend_on_their_evidence_alone(toolbox: Toolbox, seed: int) -> None:
    """Not on its id, on what else the workspace holds, or on when they are asked for."""
    media, (mask, other) = _masks(seed)
    first, second = Bench(toolbox, media), Bench(toolbox, media)
    for _ in range(1 + seed % 3):
        _file(second, other)
    a, b = _measure(first, _file(first, mask)), _measure(second, _file(second, mask))
    assert a.values == b.values
    assert _measure(first, "e1") == a


@law(examples=10)
def law_properties_do_not_know_the_crop(toolbox: Toolbox, seed: int) -> None:
    """A mask prompted through a zoomed view measures as the one prompted on the whole frame."""
    scene: Still = still(seed)
    bench = Bench(toolbox, scene.media)
    x0, y0, x1, y1 = scene.box
    whole, _ = bench.run(Segment(box=scene.box, frame="px"))
    view, seen = bench.run(Zoom(box=(x0 - 6, y0 - 5, x1 + 4, y1 + 7), frame="px"))
    left, top = seen.region.x0, seen.region.y0
    crop, _ = bench.run(
        Segment(source=view, box=(x0 - left, y0 - top, x1 - left, y1 - top), frame="px")
    )
    assert _measure(bench, whole).values == _measure(bench, crop).values
