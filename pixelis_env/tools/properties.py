"""Properties: measurements of evidence. Pure functions of it, and of its pixels for colour.

One target gives plain names (`area_px`); several give each target's own under its id
(`e3.area_px`) and what holds between them (`union_area_px`, `e3_e5.iou`). Names end in their unit;
a name without one is a ratio, a count or a word.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from pixelis_env.actions import Properties
from pixelis_env.coordinates import Box, Point
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import (
    Evidence,
    Intervals,
    Mask,
    Measurement,
    Medium,
    TextLines,
    Tracklet,
    View,
)
from pixelis_env.media.base import Media
from pixelis_env.metrics.overlap import box_iou
from pixelis_env.tools.colours import colour_name
from pixelis_env.workspace import Workspace

Value = float | str | tuple[float, ...]
Values = dict[str, Value]


def properties(action: Properties, workspace: Workspace) -> Measurement:
    """Measurement evidence of one target, or of several and how they relate.

    Raises:
        InvalidCall: A target does not exist or is nothing that can be measured.
    """
    ids = tuple(dict.fromkeys(action.targets))
    evidence = {name: workspace.get(name) for name in ids}
    own = {name: _measure(name, item, workspace.media) for name, item in evidence.items()}
    if len(ids) == 1:
        return Measurement(targets=ids, values=own[ids[0]])
    values: Values = {
        f"{name}.{key}": value for name, table in own.items() for key, value in table.items()
    }
    values.update(_together(evidence))
    for a, b in combinations(ids, 2):
        for key, value in _between(evidence[a], evidence[b], own[a], own[b]).items():
            values[f"{a}_{b}.{key}"] = value
    return Measurement(targets=ids, values=values)


def _measure(name: str, evidence: Evidence, media: Media) -> Values:
    if isinstance(evidence, Medium):
        return {
            "width_px": float(evidence.size[0]),
            "height_px": float(evidence.size[1]),
            "n_frames": float(evidence.n_frames),
            "duration_s": evidence.duration,
        }
    if isinstance(evidence, View):
        x0, y0, x1, y1 = evidence.region
        pixels = media.frame(evidence.frame_index)[y0:y1, x0:x1]
        return {**_box_values(evidence.region.box), "time_s": evidence.time, **_colour(pixels)}
    if isinstance(evidence, Mask):
        return _measure_mask(evidence, media)
    if isinstance(evidence, Tracklet):
        return _measure_track(evidence)
    if isinstance(evidence, TextLines):
        confidences = [line.confidence for line in evidence.lines]
        return {
            "text": evidence.text,
            "n_lines": float(len(evidence.lines)),
            "time_s": evidence.time,
            "confidence": min(confidences, default=0.0),
        }
    if isinstance(evidence, Intervals):
        return _measure_intervals(evidence)
    raise InvalidCall(
        f"{name} is a {evidence.kind}, which has no properties of its own: "
        "name a medium, view, mask, tracklet, text or intervals"
    )


def _box_values(box: Box) -> Values:
    width, height = box[2] - box[0], box[3] - box[1]
    return {
        "box_px": box,
        "width_px": width,
        "height_px": height,
        "area_px": width * height,
        "centroid_px": ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2),
    }


def _measure_mask(mask: Mask, media: Media) -> Values:
    x0, y0, x1, y1 = (int(v) for v in mask.box)
    inside = np.ascontiguousarray(mask.rle.decode()[y0:y1, x0:x1], np.uint8)
    # First and second moments from the sums over rows and columns.
    weights = inside.astype(np.float64)
    per_column, per_row = weights.sum(axis=0), weights.sum(axis=1)
    columns, rows = np.arange(x1 - x0), np.arange(y1 - y0)
    x, y = float(per_column @ columns) / mask.area, float(per_row @ rows) / mask.area
    dx, dy = columns - x, rows - y
    xx, yy, xy = float(per_column @ dx**2), float(per_row @ dy**2), float(dy @ weights @ dx)
    # The angle of the long axis from the x axis, counter-clockwise as seen (y points down).
    angle = math.degrees(0.5 * math.atan2(-2 * xy, xx - yy)) % 180.0
    return {
        **_box_values(mask.box),
        "area_px": float(mask.area),
        "centroid_px": (x0 + x + 0.5, y0 + y + 0.5),
        "orientation_deg": angle,
        "elongation": math.hypot(xx - yy, 2 * xy) / max(xx + yy, 1e-12),
        "time_s": mask.time,
        **_colour(media.frame(mask.frame_index)[y0:y1, x0:x1], inside),
    }


def _colour(pixels: NDArray[np.uint8], inside: NDArray[np.uint8] | None = None) -> Values:
    """Mean colour, its name, all over `pixels` or where `inside` is not 0."""
    import cv2

    mean = cv2.mean(np.ascontiguousarray(pixels), mask=inside)
    red, green, blue = (round(v, 2) for v in mean[:3])
    return {"colour_rgb": (red, green, blue), "colour": colour_name(red, green, blue)}


def _measure_track(track: Tracklet) -> Values:
    order = sorted(range(len(track.times)), key=lambda i: track.times[i])
    seen = [i for i in order if track.visible[i]]
    values: Values = {
        "n_frames": float(len(order)),
        "visible_share": len(seen) / len(order),
    }
    if not seen:
        return values
    times = np.array([track.times[i] for i in seen])
    boxes = np.array([track.boxes[i] for i in seen])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    (dx, dy), duration = centres[-1] - centres[0], float(times[-1] - times[0])
    path = float(np.hypot(*np.diff(centres, axis=0).T).sum())
    values.update(
        {
            "start_s": float(times[0]),
            "end_s": float(times[-1]),
            "duration_s": duration,
            "displacement_px": (float(dx), float(dy)),
            "distance_px": math.hypot(dx, dy),
            "path_px": path,
            "speed_px_s": path / duration if duration > 0 else 0.0,
            "growth": math.sqrt(_area(boxes[-1]) / max(_area(boxes[0]), 1e-9)),
        }
    )
    if dx or dy:
        # Counter-clockwise from the right, as seen: 90 is up.
        values["direction_deg"] = math.degrees(math.atan2(-dy, dx)) % 360.0
    return values


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _measure_intervals(intervals: Intervals) -> Values:
    spans = intervals.spans
    values: Values = {
        "n_intervals": float(len(spans)),
        "duration_s": float(sum(end - start for start, end in spans)),
    }
    if spans:
        values.update({"start_s": spans[0][0], "end_s": spans[-1][1]})
    return values


def _together(evidence: dict[str, Evidence]) -> Values:
    """What holds of all targets: the area they cover, and their order in time."""
    values: Values = {}
    masks = [item for item in evidence.values() if isinstance(item, Mask)]
    if len(masks) == len(evidence) and len({mask.frame_index for mask in masks}) == 1:
        values["union_area_px"] = float(coco.area(coco.merge([_coco(mask) for mask in masks])))
    starts = {name: _start(item) for name, item in evidence.items()}
    known = [(start, name) for name, start in starts.items() if start is not None]
    if len(known) == len(evidence):
        values["order_in_time"] = " ".join(
            name for _, name in sorted(known, key=lambda pair: pair[0])
        )
    return values


def _start(evidence: Evidence) -> float | None:
    """When evidence begins to hold, in seconds."""
    if isinstance(evidence, (View, Mask, TextLines)):
        return evidence.time
    if isinstance(evidence, Tracklet):
        seen = [time for time, shown in zip(evidence.times, evidence.visible, strict=True) if shown]
        return min(seen, default=None)
    if isinstance(evidence, Intervals):
        return evidence.spans[0][0] if evidence.spans else None
    return None


def _between(a: Evidence, b: Evidence, own_a: Values, own_b: Values) -> Values:
    """How two things in the picture lie to each other; `b` as seen from `a` for the offset."""
    if not (isinstance(a, (View, Mask)) and isinstance(b, (View, Mask))):
        return {}
    centre_a, centre_b = (cast(Point, own["centroid_px"]) for own in (own_a, own_b))
    dx, dy = centre_b[0] - centre_a[0], centre_b[1] - centre_a[1]
    if isinstance(a, Mask) and isinstance(b, Mask):
        iou = float(coco.iou([_coco(a)], [_coco(b)], [0])[0, 0])
    else:
        iou = box_iou(cast(Box, own_a["box_px"]), cast(Box, own_b["box_px"]))
    return {
        "iou": iou,
        "centre_distance_px": math.hypot(dx, dy),
        "horizontal": "left of" if dx > 0 else "right of" if dx < 0 else "level with",
        "vertical": "above" if dy > 0 else "below" if dy < 0 else "level with",
        "area_ratio": cast(float, own_a["area_px"]) / cast(float, own_b["area_px"]),
    }


def _coco(mask: Mask) -> dict[str, Any]:
    return {"size": list(mask.rle.size), "counts": mask.rle.counts.encode("ascii")}
