"""Batches of pictures for the warm-up of the vision tower, as the image processor hands them on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pixelis_agent.tiny.labels import CELL, CLASSES, Picture, Rooms, Targets
from pixelis_env.observation import OVERVIEW_FRAMES

PATCH = 8
BATCH = 32

SHIFT = 8
"""How far a picture is moved, px of the resized picture."""


class Batch(NamedTuple):
    """Pictures as the vision tower takes them.

    Attributes:
        patches: float32 (patches, 384), -1..1.
        grid: int64 (pictures, 3): time, height and width in patches.
        targets: Of all tokens, picture after picture.
    """

    patches: NDArray[np.float32]
    grid: NDArray[np.int64]
    targets: Targets


class Data:
    """The rooms of some files, kept in memory.

    Args:
        folder: Where `pixelis_agent.tiny.frames` writes.
        files: Their names.
        known: Rooms that are loaded already, by file name; new ones are added.
    """

    def __init__(self, folder: Path, files: Sequence[str], known: dict[str, Rooms]) -> None:
        for name in files:
            if name not in known:
                known[name] = Rooms.load(folder / name)
        self._rooms = [known[name] for name in files]
        pairs = [(k, r.pictures(held_out=False)) for k, r in enumerate(self._rooms)]
        self._train = np.concatenate([np.stack([np.full_like(p, k), p], 1) for k, p in pairs])
        if len(self._train) < BATCH:
            raise ValueError(f"{folder} holds {len(self._train)} pictures; a step needs {BATCH}")

    @property
    def steps(self) -> int:
        """Whole batches of one pass."""
        return len(self._train) // BATCH

    def batch(self, seed: int, epoch: int, number: int) -> Batch:
        """Batch `number` of a pass; the same arguments give the same one."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self._train))
        rng = np.random.default_rng([seed, epoch, number])
        pictures, targets = [], []
        for k in order[number * BATCH : (number + 1) * BATCH]:
            rooms, index = self._rooms[self._train[k, 0]], int(self._train[k, 1])
            pictures.append(augment(rooms.picture(index), rng))
            targets.append(rooms.targets(index, pictures[-1]))
        return collate(pictures, targets)

    @cached_property
    def class_weight(self) -> NDArray[np.float32]:
        """Rarer classes count more, by the root of how much less they are seen; 1/2..4.

        Returns:
            (len(CLASSES),).
        """
        seen = np.zeros(len(CLASSES))
        for rooms in self._rooms:
            for row, key, pixels in zip(
                rooms.shard.object_room, rooms.shard.object_id, rooms.shard.pixels, strict=True
            ):
                # By frames, not by area: small things are no rarer for being small.
                seen[rooms.class_at[row, key] - 1] += (pixels > 0).sum()
        usual = np.median(seen[seen > 0])
        return np.sqrt(usual / np.maximum(seen, 1)).clip(0.5, 4).astype(np.float32)

    def held_out(self) -> Iterator[tuple[Batch, NDArray[np.int64], Rooms, NDArray[np.bool_]]]:
        """The frames of each held-out room, with its objects' classes and their rows."""
        for rooms in self._rooms:
            for room in np.flatnonzero(rooms.held_out):
                chosen = np.flatnonzero(rooms.shard.room == room)[:OVERVIEW_FRAMES]
                pictures = [rooms.picture(int(k)) for k in chosen]
                targets = [rooms.targets(int(k), p) for k, p in zip(chosen, pictures, strict=True)]
                rows = rooms.shard.object_room == room
                classes = rooms.class_at[room][rooms.shard.object_id[rows]].astype(np.int64) - 1
                yield collate(pictures, targets), classes, rooms, rows


def augment(picture: Picture, rng: Generator) -> Picture:
    """Mirrors a picture every other time, moves it a little and changes its light.

    Text is mirrored as well: the tower learns that there is a sign, not what it says.
    """
    if rng.random() < 0.5:
        picture = Picture(*(np.ascontiguousarray(part[:, ::-1]) for part in picture))
    down, right = (int(v) for v in rng.integers(-SHIFT, SHIFT + 1, 2))
    rows, columns = _moved(picture.ids.shape[0], down), _moved(picture.ids.shape[1], right)
    rgb, ids, depth = (part[rows[:, None], columns] for part in picture)
    contrast, tint = rng.uniform(0.75, 1.25), rng.uniform(0.95, 1.05, 3)
    light = rgb * (contrast * tint) + (127.5 * (1 - contrast) + rng.uniform(-25, 25))
    return Picture(light.clip(0, 255).astype(np.uint8), ids, depth)


def collate(pictures: Sequence[Picture], targets: Sequence[Targets]) -> Batch:
    """A batch of pictures of any sizes."""
    return Batch(
        np.concatenate([patches(picture.rgb) for picture in pictures]),
        np.array([(1, *(side // PATCH for side in p.ids.shape)) for p in pictures], np.int64),
        Targets(*(np.concatenate(parts) for parts in zip(*targets, strict=True))),
    )


def patches(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A resized picture, uint8 (h, w, 3), as the image processor hands it on: (patches, 384).

    The four patches of a token stand together; a patch holds channel, time (twice the same), row
    and column; values are -1..1.
    """
    height, width = (side // CELL for side in rgb.shape[:2])
    cut = (rgb * np.float32(2 / 255) - 1).reshape(height, 2, PATCH, width, 2, PATCH, 3)
    cut = cut.transpose(0, 3, 1, 4, 6, 2, 5)[:, :, :, :, :, None]
    return np.repeat(cut, 2, axis=5).reshape(height * width * 4, -1)


def _moved(length: int, by: int) -> NDArray[np.int64]:
    """Where each pixel of a line moved by `by` comes from; the edge is repeated."""
    return np.clip(np.arange(length) - by, 0, length - 1)
