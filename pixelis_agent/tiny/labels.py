"""What each image token of a picture shows: the targets of the vision tower's warm-up.

A token is a cell of 16x16 px of the resized picture, in the order in which the model's image
processor lays them out: row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelis_agent.tiny.frames import (
    CATEGORIES,
    COLOR_NAMES,
    FIRST_SEED,
    MAX_ROOMS,
    Shard,
    load_shard,
)
from pixelis_env.rooms.kinds import KINDS

CELL = 16
LETTERED = ("sign", "tag")
"""Categories that questions tell apart by colour, as there are several in a room."""

CLASSES = (
    *(name for name in KINDS if name not in LETTERED),
    *(f"{color} {name}" for name in LETTERED for color in KINDS[name].colors),
)
"""What a question may name: categories, and signs and tags by their colour."""

MOSTLY = 0.25
"""Share of a token that an object must cover for the token to stand for it."""

HELD_OUT = 20
"""Every so many rooms one is kept from training: the same ones however many rooms there are."""


class Picture(NamedTuple):
    """A picture and what it shows: rgb uint8 (h, w, 3), ids uint8 (h, w), depth uint8 (h, w)."""

    rgb: NDArray[np.uint8]
    ids: NDArray[np.uint8]
    depth: NDArray[np.uint8]


class Targets(NamedTuple):
    """What tokens show, float32.

    Attributes:
        classes: (tokens, len(CLASSES)), the share of the token that each class covers, 0..1.
        colors: (tokens, 11), the share that coloured things of each colour cover, signs and
            tags left out (their colour is in their class), 0..1.
        depth: (tokens,), mean log distance: 0 at 2.6 m, 1 step = a factor of 1.9.
        boxes: (tokens, 4), xyxy in 0..1 of the picture: the box of the object that covers most of
            the token; of the token itself where none covers `MOSTLY` of it.
    """

    classes: NDArray[np.float32]
    colors: NDArray[np.float32]
    depth: NDArray[np.float32]
    boxes: NDArray[np.float32]


def class_of(category: int, color: int) -> int:
    """The index in `CLASSES` of an object, from its indices in `CATEGORIES` and `COLOR_NAMES`."""
    name = CATEGORIES[category]
    return CLASSES.index(f"{COLOR_NAMES[color]} {name}" if name in LETTERED else name)


@dataclass(frozen=True)
class Rooms:
    """A file of rooms, ready for random access.

    Attributes:
        shard: The file's arrays.
        start: int64 (P + 1,), where each picture's pixels start.
        class_at: uint8 (R, 256), the room's object id -> index in `CLASSES` + 1; 0 = none.
        color_at: uint8 (R, 256), the room's object id -> index in `COLOR_NAMES` + 1; 0 = none or
            a thing whose category has no colours to choose from, or a sign or tag.
        held_out: bool (R,).
    """

    shard: Shard
    start: NDArray[np.int64]
    class_at: NDArray[np.uint8]
    color_at: NDArray[np.uint8]
    held_out: NDArray[np.bool_]

    @classmethod
    def load(cls, path: Path) -> Rooms:
        """Reads a file of `pixelis_agent.tiny.frames`."""
        shard = load_shard(path)
        class_at = np.zeros((len(shard.room_seed), 256), np.uint8)
        color_at = np.zeros_like(class_at)
        for row, key, category, color in zip(
            shard.object_room, shard.object_id, shard.category, shard.color, strict=True
        ):
            class_at[row, key] = class_of(int(category), int(color)) + 1
            name = CATEGORIES[category]
            if KINDS[name].colors and name not in LETTERED:
                color_at[row, key] = color + 1
        start = np.concatenate([[0], np.cumsum(shard.shape.astype(np.int64).prod(1))])
        number = (shard.room_seed - FIRST_SEED) % MAX_ROOMS
        return cls(shard, start, class_at, color_at, number % HELD_OUT == HELD_OUT - 1)

    def pictures(self, held_out: bool) -> NDArray[np.int64]:
        """The pictures of the rooms that are, or are not, held out."""
        return np.flatnonzero(self.held_out[self.shard.room] == held_out)

    def picture(self, index: int) -> Picture:
        """A picture of the file."""
        height, width = (int(v) for v in self.shard.shape[index])
        inside = slice(self.start[index], self.start[index + 1])
        return Picture(
            self.shard.rgb[inside].reshape(height, width, 3),
            self.shard.ids[inside].reshape(height, width),
            self.shard.depth[inside].reshape(height, width),
        )

    def targets(self, index: int, picture: Picture) -> Targets:
        """What the tokens show of the picture `index`, or of a changed copy of it."""
        room = int(self.shard.room[index])
        return Targets(
            coverage(self.class_at[room][picture.ids], len(CLASSES)),
            coverage(self.color_at[room][picture.ids], len(COLOR_NAMES)),
            ((_cells(picture.depth).mean(1) - 128) / 32).astype(np.float32),
            token_boxes(picture.ids),
        )


def coverage(index: NDArray[np.uint8], count: int) -> NDArray[np.float32]:
    """The share of each token that each index covers.

    Args:
        index: (h, w), 1..count; 0 counts for nothing.
        count: How many indices there are.

    Returns:
        float32 (tokens, count), 0..1.
    """
    cells = _cells(index).astype(np.int64)
    cells += np.arange(len(cells))[:, None] * (count + 1)
    found = np.bincount(cells.ravel(), minlength=len(cells) * (count + 1))
    return (found.reshape(len(cells), count + 1)[:, 1:] / CELL**2).astype(np.float32)


def token_boxes(ids: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The box that each token belongs to; see `Targets`.

    Args:
        ids: (h, w), the object at each pixel; 0 = none.

    Returns:
        float32 (tokens, 4), xyxy in 0..1 of the picture.
    """
    height, width = ids.shape
    rows, columns = height // CELL, width // CELL
    down, across = np.divmod(np.arange(rows * columns), columns)
    own = np.stack([across, down, across + 1, down + 1], 1) * np.float32(CELL)
    cells = _cells(ids).astype(np.int64) + np.arange(len(own))[:, None] * 256
    found = np.bincount(cells.ravel(), minlength=len(own) * 256).reshape(len(own), 256)
    found[:, 0] = 0
    most = found.argmax(1)
    covered = found.max(1) >= MOSTLY * CELL**2
    for key in np.unique(most[covered]):
        y, x = np.nonzero(ids == key)
        own[covered & (most == key)] = (x.min(), y.min(), x.max() + 1, y.max() + 1)
    return (own / np.array([width, height, width, height])).astype(np.float32)


def _cells(values: NDArray[Any]) -> NDArray[Any]:
    """The values of each token's pixels, (tokens, 256)."""
    height, width = (side // CELL for side in values.shape)
    cut = values.reshape(height, CELL, width, CELL).swapaxes(1, 2)
    return cut.reshape(height * width, CELL * CELL)
