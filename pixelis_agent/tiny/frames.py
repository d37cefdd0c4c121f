"""Pictures of procedural rooms as `pixelis-tiny` sees them, with what each pixel of them shows.

``python -m pixelis_agent.tiny.frames --rooms 2500 --seed 0 --out DIR`` writes files of fifty rooms,
``rooms-0000-00000.npz``, ``rooms-0000-00050.npz``, ...: named by the seed and their first room. A
room gives the frames of its overview and some crops of them as `zoom` yields; each picture is
resized as the model's image processor does it. `Shard` says what a file holds.

The same arguments write the same bytes. Whole files that are there already are kept, so a run that
was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from pixelis_agent.files import whole
from pixelis_agent.tiny.config import IMAGE
from pixelis_env import wrappers
from pixelis_env.coordinates import Region, snap
from pixelis_env.observation import OVERVIEW_FRAMES, overview_indices
from pixelis_env.rooms import RoomVideo, make_scene
from pixelis_env.rooms.furniture import COLORS
from pixelis_env.rooms.kinds import KINDS
from pixelis_env.rooms.questions import FAMILIES, TYPES

SHARD_ROOMS = 50
FIRST_SEED = 2**31
"""Tasks draw their rooms' seeds below this, these pictures draw theirs from here on."""

MAX_SEEDS, MAX_ROOMS = 2**11, 2**20
"""Every pair of `--seed` and room has a room seed of its own below 2**32."""

CROPS = 6
MIN_SIDE = 224
"""A crop is enlarged by whole factors until its longer side has this many pixels (`ToolCall`)."""

LEAST_PIXELS = 40
"""A crop is taken around an object of at least this many pixels of 320x240."""

CATEGORIES = tuple(KINDS)
COLOR_NAMES = tuple(COLORS)

_NEAR, _STEPS = 0.2, 50.0


@dataclass(frozen=True)
class Shard:
    """Some rooms' pictures. R rooms, P pictures, N objects, Q = the pictures' pixels together.

    Attributes:
        room_seed: int64 (R,), argument of `make_scene`.
        room_frames: int16 (R, 8), the frame numbers of the overview.
        shape: int16 (P, 2), height and width of each picture; multiples of 16 px. A room's
            pictures stand together: its eight frames (96x128), then its crops.
        room: int16 (P,), the row of the room.
        slot: int8 (P,), which frame of the overview it shows, 0..7.
        region: int16 (P, 4), xyxy, the part of the 320x240 frame that it shows, px.
        rgb: uint8 (Q, 3), the pictures' pixels, row by row, one picture after another.
        ids: uint8 (Q,), object at the pixel's centre; 0 = walls, floor, ceiling.
        depth: uint8 (Q,), distance along the viewing axis; `depth_metres` decodes it.
        object_room: int16 (N,), the row of the room.
        object_id: uint8 (N,), value in `ids`.
        category: uint8 (N,), index into `CATEGORIES`; a file holds names (str), which a new
            category leaves alone.
        color: uint8 (N,), index into `COLOR_NAMES`; a file holds names (str).
        text: str (N,), what is written on it; empty = nothing.
        box: int16 (N, 8, 4), box in each frame of the overview, xyxy px of 320x240; zeros where
            it is hidden.
        pixels: int32 (N, 8), pixels of 320x240 that show it.
    """

    room_seed: NDArray[np.int64]
    room_frames: NDArray[np.int16]
    shape: NDArray[np.int16]
    room: NDArray[np.int16]
    slot: NDArray[np.int8]
    region: NDArray[np.int16]
    rgb: NDArray[np.uint8]
    ids: NDArray[np.uint8]
    depth: NDArray[np.uint8]
    object_room: NDArray[np.int16]
    object_id: NDArray[np.uint8]
    category: NDArray[np.uint8]
    color: NDArray[np.uint8]
    text: NDArray[np.str_]
    box: NDArray[np.int16]
    pixels: NDArray[np.int32]


def load_shard(path: Path) -> Shard:
    """Reads a file that `write_shard` wrote."""
    with np.load(path, allow_pickle=False) as data:
        arrays = {field.name: data[field.name] for field in fields(Shard)}
    for name, known in (("category", CATEGORIES), ("color", COLOR_NAMES)):
        arrays[name] = np.array([known.index(value) for value in arrays[name]], np.uint8)
    return Shard(**arrays)


def write_shard(path: Path, seed: int, rooms: Sequence[int]) -> None:
    """Renders rooms into one file, which appears under its name only when it is whole."""
    parts = [_room(seed, index, row) for row, index in enumerate(rooms)]
    shard: dict[str, Any] = {
        name: np.concatenate([part[name] for part in parts]) for name in parts[0]
    }
    with whole(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, **shard)


def room_seed(seed: int, index: int) -> int:
    """The `make_scene` seed of a room: no two pairs share one, and no task of `RoomsSource`.

    Raises:
        ValueError: `seed` or `index` is out of range.
    """
    if not 0 <= seed < MAX_SEEDS:
        raise ValueError(f"seed {seed} is out of range; give 0..{MAX_SEEDS - 1}")
    if not 0 <= index < MAX_ROOMS:
        raise ValueError(f"room {index} is out of range; give 0..{MAX_ROOMS - 1}")
    return FIRST_SEED + seed * MAX_ROOMS + index


def scene_arguments(rng: Generator) -> dict[str, Any]:
    """Arguments of `make_scene`: those of a random question type, every other time with more in it.

    Families are drawn evenly, then a type of the family.
    """
    family = str(rng.choice(FAMILIES))
    kinds = [kind for kind in TYPES.values() if kind.family == family]
    wanted = dict(kinds[int(rng.integers(len(kinds)))].scene)
    if rng.random() < 0.5:
        wanted["details"] = wanted.get("details", 0) + int(rng.integers(1, 5))
        wanted["signs"] = wanted.get("signs", 0) + int(rng.integers(0, 3))
        wanted["tags"] = wanted.get("tags", 0) + int(rng.integers(0, 4))
    return wanted


def shown(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture as the model's image processor resizes it, uint8 (h, w, 3) of any size."""
    height, width = shown_size(*pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Height and width to which the image processor resizes a picture, px."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    side: Any = IMAGE["size"]
    cell: Any = int(IMAGE["patch_size"]) * int(IMAGE["merge_size"])  # type: ignore[call-overload]
    return smart_resize(height, width, cell, side["shortest_edge"], side["longest_edge"])


def enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture enlarged by a whole factor to a longer side of at least `MIN_SIDE` px."""
    factor = -(-MIN_SIDE // max(pixels.shape[:2]))
    return np.asarray(wrappers.enlarged(Image.fromarray(pixels), factor))


def sampled(values: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """The values at the centres of `height` x `width` even cells of an array (H, W)."""
    rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(int)
    return values[rows[:, None], columns]


def depth_code(metres: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Distances as bytes, 2 % apart from 0.2 m to 33 m."""
    steps = np.log(np.maximum(metres, _NEAR) / _NEAR) * _STEPS
    return np.minimum(steps.round(), 255).astype(np.uint8)


def depth_metres(code: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The distances that `depth_code` wrote, m."""
    return (_NEAR * np.exp(code / _STEPS)).astype(np.float32)


def _room(seed: int, index: int, row: int) -> dict[str, NDArray[Any]]:
    """The arrays of `Shard` for one room."""
    place = room_seed(seed, index)
    rng = np.random.default_rng([seed, index, 1])
    video = RoomVideo(make_scene(place, level=1, **scene_arguments(rng)))
    objects = video.scene.room.objects
    if len(objects) > 255:
        raise ValueError(f"room {index} has {len(objects)} objects; ids hold at most 255")
    frames = overview_indices(video)
    pictures: dict[str, list[Any]] = {name: [] for name in ("rgb", "ids", "depth")}
    table: dict[str, list[Any]] = {name: [] for name in ("shape", "slot", "region")}

    def add(slot: int, region: Region, rgb: NDArray[np.uint8]) -> None:
        inside = slice(region.y0, region.y1), slice(region.x0, region.x1)
        size = rgb.shape[:2]
        pictures["rgb"].append(rgb.reshape(-1, 3))
        pictures["ids"].append(sampled(video.ids(frames[slot])[inside], *size).ravel())
        pictures["depth"].append(sampled(depth[slot][inside], *size).ravel())
        table["shape"].append(size)
        table["slot"].append(slot)
        table["region"].append(region)

    whole = Region(0, 0, video.width, video.height)
    box = np.zeros((len(objects), OVERVIEW_FRAMES, 4), np.int16)
    depth: list[NDArray[np.uint8]] = []
    for slot, frame in enumerate(frames):
        # Right after the picture: the video keeps few views, and a view is most of the work.
        rgb = shown(video.frame(frame))
        depth.append(depth_code(video.depth(frame)))
        add(slot, whole, rgb)
        for k, item in enumerate(objects):
            found = video.object_box(frame, item.id)
            box[k, slot] = 0 if found is None else found
    counts = [np.bincount(video.ids(i).ravel(), minlength=len(objects) + 1)[1:] for i in frames]
    pixels = np.stack(counts, 1).astype(np.int32)
    seen = [k for k in range(len(objects)) if (pixels[k] >= LEAST_PIXELS).any()]
    for _ in range(CROPS if seen else 0):
        k = int(rng.choice(seen))
        slot = int(rng.choice(np.flatnonzero(pixels[k] >= LEAST_PIXELS)))
        region = _around(box[k, slot], whole, rng)
        crop = video.frame(frames[slot])[region.y0 : region.y1, region.x0 : region.x1]
        add(slot, region, shown(enlarged(crop)))
    return {
        "room_seed": np.array([place], np.int64),
        "room_frames": np.array([frames], np.int16),
        "shape": np.array(table["shape"], np.int16),
        "room": np.full(len(table["slot"]), row, np.int16),
        "slot": np.array(table["slot"], np.int8),
        "region": np.array(table["region"], np.int16),
        "rgb": np.concatenate(pictures["rgb"]),
        "ids": np.concatenate(pictures["ids"]).astype(np.uint8),
        "depth": np.concatenate(pictures["depth"]),
        "object_room": np.full(len(objects), row, np.int16),
        "object_id": np.array([item.id for item in objects], np.uint8),
        "category": np.array([item.category for item in objects], np.str_),
        "color": np.array([item.color for item in objects], np.str_),
        "text": np.array([item.text or "" for item in objects], np.str_),
        "box": box,
        "pixels": pixels,
    }


def _around(box: NDArray[np.int16], whole: Region, rng: Generator) -> Region:
    """A region that holds the box; each margin is up to a random share of its longer side."""
    x0, y0, x1, y1 = (float(v) for v in box)
    left, top, right, bottom = rng.uniform(0, rng.uniform() * max(x1 - x0, y1 - y0), 4)
    wide = (max(x0 - left, 0.0), max(y0 - top, 0.0))
    far = (min(x1 + right, float(whole.x1)), min(y1 + bottom, float(whole.y1)))
    return snap((*wide, *far), whole)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pixelis_agent.tiny.frames", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rooms", type=int, default=2500, help="how many; rounded up to files")
    parser.add_argument("--seed", type=int, default=0, help=f"0..{MAX_SEEDS - 1}")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    options = parser.parse_args(arguments)
    if not 1 <= options.rooms <= MAX_ROOMS:
        parser.error(f"--rooms {options.rooms}: give 1..{MAX_ROOMS}")
    if not 0 <= options.seed < MAX_SEEDS:
        parser.error(f"--seed {options.seed}: give 0..{MAX_SEEDS - 1}")
    if options.workers < 1:
        parser.error(f"--workers {options.workers}: give 1 or more")
    options.out.mkdir(parents=True, exist_ok=True)
    write = partial(_write_if_missing, options.out, options.seed)
    with ProcessPoolExecutor(options.workers) as pool:
        for name in pool.map(write, range(0, options.rooms, SHARD_ROOMS)):
            print(name, flush=True)
    return 0


def _write_if_missing(folder: Path, seed: int, first: int) -> str:
    path = folder / f"rooms-{seed:04d}-{first:05d}.npz"
    if path.exists():
        return f"{path}: kept"
    write_shard(path, seed, range(first, first + SHARD_ROOMS))
    return f"{path}: written"


if __name__ == "__main__":
    raise SystemExit(main())
