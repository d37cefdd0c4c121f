"""Warm-up dialogues for `pixelis-tiny`: find named objects among the frames of a room.

``python -m pixelis_agent.tiny.find --frames DIR --out DIR`` turns the pictures of
`pixelis_agent.tiny.frames` into a corpus of short episodes in the layout of
`pixelis_agent.cota.record`: a request that names a few objects, and for each a call that outlines
it in the overview frame that shows it best, answered with its true outline. So the language model
learns which frame and which box a name means before it meets questions. ``--asked 0`` shows one
frame at a time: a fifth of the tokens, so that names and boxes are learned first and cheaply.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from pixelis_agent.cota.media import store_image
from pixelis_agent.cota.plan import coarse
from pixelis_agent.cota.record import (
    AssistantTurn,
    ImageRef,
    Record,
    Target,
    ToolTurn,
    UserTurn,
    record_line,
)
from pixelis_agent.tiny.config import GRID
from pixelis_agent.tiny.frames import CATEGORIES, COLOR_NAMES, Shard, load_shard
from pixelis_env.actions import Segment, ToolCallCodec
from pixelis_env.coordinates import Box, Region, box_from_source
from pixelis_env.rooms.questions.survey import LOOKALIKES

FRAME = Region(0, 0, 320, 240)
FPS = 10.0
LEAST_PIXELS = 250
"""An object that no frame shows with this many pixels of 320x240 is not asked for."""

CUT_OFF = 4.0
"""A frame that cuts the object off must show it this many times larger to be the better one."""

MIN_SIDE = 8.0
"""Boxes are written at least this wide and high, px."""

_ASK = ("Outline the {names}.", "Find the {names}.", "Where is the {names}?", "Show the {names}.")
_SAY = (
    "The {name} shows best at {time} seconds; outline it.",
    "At {time} seconds the {name} is in view; outline it.",
    "Outline the {name} in the frame at {time} seconds.",
    "I see the {name} at {time} seconds; draw a box around it.",
)
_SAY_HERE = (
    "Outline the {name}.",
    "I see the {name}; draw a box around it.",
    "The {name} is in view; outline it.",
)
SIGHTS = 4
"""Frames of one object, and objects of one crop, that are asked about, at the most."""

CLOSE = 0.02
"""A crop shows an object well that covers this share of it."""


@dataclass(frozen=True)
class _Thing:
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


def _things(shard: Shard, row: int) -> list[_Thing]:
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
        things.append(_Thing(int(shard.object_id[k]), name, boxes, seen))  # type: ignore[arg-type]
    return things


def room_records(shard: Shard, row: int, seed: int, asked: int, out: Path) -> Iterator[Record]:
    """Episodes about one room.

    With `asked` = 0 they are about single frames: one object in one of the frames that show it, up
    to `SIGHTS` frames an object. Otherwise about all frames: `asked` objects an episode, every
    object once.

    Args:
        shard: Its pictures.
        row: Of the room in the shard.
        seed: Of the order and the words.
        asked: Objects an episode asks for, at the most.
        out: The corpus' folder, for the images.
    """
    number = int(shard.room_seed[row])
    rng = np.random.default_rng([seed, number])
    things = _things(shard, row)
    times = [round(float(frame) / FPS, 3) for frame in shard.room_frames[row]]
    starts = np.concatenate([[0], np.cumsum(shard.shape.astype(int).prod(1))])

    def picture(index: int, time: float, view: Region) -> ImageRef:
        height, width = (int(v) for v in shard.shape[index])
        pixels = shard.rgb[starts[index] : starts[index + 1]].reshape(height, width, 3)
        file = store_image(out, Image.fromarray(pixels))
        return ImageRef(
            file=file, factor=1, time=time, region=(*view[:2], *view[2:]), size=view[2:]
        )

    own = np.flatnonzero(shard.room == row)
    frames, crops = own[: len(times)], own[len(times) :]
    shown = [picture(k, times[shard.slot[k]], FRAME) for k in frames]
    if asked == 0:
        yield from _glances(number, things, shown, rng)
        for crop, index in enumerate(crops):
            height, width = (int(v) for v in shard.shape[index])
            ids = shard.ids[starts[index] : starts[index + 1]].reshape(height, width)
            near = _near(things, ids)
            if near:
                image = picture(index, 0.0, Region(0, 0, width, height))
                yield from _close_ups(number, crop, near, image, rng)
        return
    order = [things[k] for k in rng.permutation(len(things))]
    for variant, start in enumerate(range(0, len(order), asked)):
        some = order[start : start + asked]
        yield _episode(number, variant, some, shown, times, rng)


def _glances(
    number: int, things: Sequence[_Thing], shown: Sequence[ImageRef], rng: Generator
) -> Iterator[Record]:
    """Episodes about single frames, as if each were an image."""
    variant = 0
    for thing in things:
        seen = np.flatnonzero(np.array(thing.pixels) >= LEAST_PIXELS)
        for frame in rng.permutation(seen)[:SIGHTS]:
            image = shown[frame].model_copy(update={"time": 0.0})
            alone = replace(thing, boxes=(thing.boxes[frame],), pixels=(thing.pixels[frame],))
            yield _episode(number, variant, [alone], [image], None, rng)
            variant += 1


def _near(things: Sequence[_Thing], ids: NDArray[np.uint8]) -> list[_Thing]:
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


def _close_ups(
    number: int, crop: int, near: Sequence[_Thing], image: ImageRef, rng: Generator
) -> Iterator[Record]:
    """Episodes about a crop, as if it were an image."""
    for k in rng.permutation(len(near))[:SIGHTS]:
        yield _episode(number, 1000 * (crop + 1) + int(k), [near[k]], [image], None, rng)


def _episode(
    number: int,
    variant: int,
    things: Sequence[_Thing],
    shown: Sequence[ImageRef],
    times: Sequence[float] | None,
    rng: Generator,
) -> Record:
    names = ", the ".join(thing.name for thing in things)
    view = Region(*shown[0].region)
    request = _ASK[rng.integers(len(_ASK))].format(names=names)
    if times is None:
        text = f"{request}\ne0 medium: image, {view.width}x{view.height} px"
    else:
        frames = round(times[-1] * FPS) + 1
        medium = f"e0 medium: video, 320x240 px, {frames / FPS:.3f} s, {frames} frames"
        text = f"These are frames of a video.\n{request}\n{medium}"
    turns: list[UserTurn | AssistantTurn | ToolTurn] = [UserTurn(text=text, images=list(shown))]
    seen = list(range(len(shown)))  # the overview frame that each image so far shows
    codec = ToolCallCodec()
    for step, thing in enumerate(things, start=1):
        best = thing.best
        box = thing.boxes[best]
        assert box is not None
        time = None if times is None else times[best]
        written = box_from_source(_least(box, view), "rel1000", view)
        action = Segment(time=time, box=coarse(written, GRID))
        words = _SAY_HERE if time is None else _SAY
        say = words[rng.integers(len(words))].format(name=thing.name, time=f"{time or 0:g}")
        turns.append(
            AssistantTurn(
                text=f"{say} <tool_call>{json.dumps(codec.encode(action))}</tool_call>",
                op="segment",
                target=Target(name=thing.name, k=step - 1, time=time or 0.0, box=box),
                pointing=[thing.boxes[k] for k in seen],
            )
        )
        place = ", ".join(f"{v:.0f}" for v in box_from_source(box, "rel1000", view))
        result = (
            f"e{step} mask: {thing.pixels[best]} px in [{place}] of e0, {time or 0:.3f} s, "
            "score 1.00"
        )
        turns.append(ToolTurn(text=result, images=[shown[best]]))
        seen.append(best)
    turns.pop()  # the last result is for nobody
    return Record(
        id=f"find-{number}-{variant}",
        env_id="",
        env_kwargs={},
        index=number,
        variant=variant,
        task_type="find",
        level=1,
        gold=None,
        score=None,
        turns=turns,
        trace=None,
    )


def _least(box: Box, view: Region) -> Box:
    """The box, grown to the least size and kept inside the view."""
    x0, y0, x1, y1 = box
    grow_x, grow_y = max(MIN_SIDE - (x1 - x0), 0) / 2, max(MIN_SIDE - (y1 - y0), 0) / 2
    right, bottom = float(view.width), float(view.height)
    return (
        max(x0 - grow_x, 0),
        max(y0 - grow_y, 0),
        min(x1 + grow_x, right),
        min(y1 + grow_y, bottom),
    )


def write_corpus(frames: Path, out: Path, seed: int = 0, asked: int = 3) -> int:
    """Writes the corpus, a shard for each file of pictures; whole ones are kept.

    Returns:
        How many episodes were written now.

    Raises:
        FileNotFoundError: There are no pictures.
    """
    files = sorted(frames.glob("rooms-*.npz"))
    if not files:
        raise FileNotFoundError(f"{frames} holds no rooms-*.npz: write pictures first")
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for file in files:
        final = out / f"shard-{file.stem.removeprefix('rooms-')}.jsonl"
        if final.exists():
            continue
        shard = load_shard(file)
        lines = [
            record_line(record)
            for row in range(len(shard.room_seed))
            for record in room_records(shard, row, seed, asked, out)
        ]
        unfinished = final.with_suffix(".unfinished")
        unfinished.write_bytes(b"".join(lines))
        unfinished.replace(final)
        count += len(lines)
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m pixelis_agent.tiny.find", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--frames", type=Path, required=True, help="folder of rooms-*.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--seed", type=int, default=0, help="of order and words")
    parser.add_argument(
        "--asked", type=int, default=3, help="objects an episode asks for; 0: one, in one frame"
    )
    given = parser.parse_args(arguments)
    print(write_corpus(given.frames, given.out, given.seed, given.asked), "episodes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
