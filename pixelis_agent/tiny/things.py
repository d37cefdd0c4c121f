"""The objects of a pictured room that a name tells apart, and which pictures show them well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pixelis_agent.tiny.frames import CATEGORIES, COLOR_NAMES, Shard
from pixelis_env.coordinates import Box, Region
from pixelis_env.rooms.questions.survey import LOOKALIKES

FRAME = Region(0, 0, 320, 240)
"""Of an overview frame, px."""

LEAST_PIXELS = 250
"""An object that no frame shows with this many pixels of 320x240 is not asked for."""

CUT_OFF = 4.0
"""A frame that cuts the object off must show it this many times larger to be the better one."""

GOOD = 0.5
"""A frame is good enough to zoom in if it shows this share of what the best one shows of it."""

CLOSE = 0.02
"""A crop shows an object well that covers this share of it."""


@dataclass(frozen=True)
class Thing:
    """An object.

    Attributes:
        id: Its value in the id images.
        name: What it is asked for by.
        boxes: In each picture, xyxy px of it; None where it is hidden.
        pixels: In each picture, how many show it.
    """

    id: int
    name: str
    boxes: tuple[Box | None, ...]
    pixels: tuple[int, ...]

    @property
    def best(self) -> int:
        """The frame that shows it best."""
        worth = [
            0.0 if box is None else pixels / (CUT_OFF if _cut(box) else 1.0)
            for box, pixels in zip(self.boxes, self.pixels, strict=True)
        ]
        return int(np.argmax(worth))


def _cut(box: Box) -> bool:
    return box[0] <= 0 or box[1] <= 0 or box[2] >= FRAME.width or box[3] >= FRAME.height


def named_things(shard: Shard, row: int) -> list[Thing]:
    """The objects of a room that a name tells apart and that some frame shows."""
    own = np.flatnonzero(shard.object_room == row)
    names = []
    for k in own:
        name = CATEGORIES[shard.category[k]]
        if name in ("sign", "tag"):
            name = f"{COLOR_NAMES[shard.color[k]]} {name}"
        names.append(name)
    things = []
    for k, name in zip(own, names, strict=True):
        alike = any(other in names for other in LOOKALIKES.get(name, ()))
        if names.count(name) > 1 or alike or shard.pixels[k].max() < LEAST_PIXELS:
            continue
        boxes = tuple(
            None if pixels == 0 else tuple(float(v) for v in box)
            for box, pixels in zip(shard.box[k], shard.pixels[k], strict=True)
        )
        seen = tuple(int(p) for p in shard.pixels[k])
        things.append(Thing(int(shard.object_id[k]), name, boxes, seen))  # type: ignore[arg-type]
    return things


def shown_near(things: Sequence[Thing], ids: NDArray[np.uint8]) -> list[Thing]:
    """The things that a crop shows well, with their boxes in it.

    Args:
        things: Of the room.
        ids: (h, w), the object at each pixel of the resized crop.
    """
    found = []
    for thing in things:
        y, x = np.nonzero(ids == thing.id)
        if len(x) < CLOSE * ids.size:
            continue
        box = (float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1))
        found.append(replace(thing, boxes=(box,), pixels=(len(x),)))
    return found


def largest_inside(
    near: Sequence[Thing], things: Sequence[Thing], slot: int, region: Region
) -> Thing | None:
    """The largest thing that a crop shows whole, in a frame that shows it well; None: none."""
    close = {thing.id for thing in near}
    found: list[tuple[float, Thing]] = []
    for thing in things:
        box = thing.boxes[slot]
        if box is None or thing.id not in close or thing.pixels[slot] < GOOD * max(thing.pixels):
            continue
        x0, y0, x1, y1 = box
        if x0 >= region.x0 and y0 >= region.y0 and x1 <= region.x1 and y1 <= region.y1:
            found.append(((x1 - x0) * (y1 - y0), thing))
    return max(found, key=lambda pair: pair[0])[1] if found else None
