"""Warm-up dialogues for `pixelis-tiny`: find named objects among the frames of a room.

``python -m pixelis_agent.tiny.find --frames DIR --out DIR`` turns the pictures of
`pixelis_agent.tiny.frames` into a corpus of short episodes in the layout of
`pixelis_agent.cota.record`: a request that names a few objects, and for each a call that outlines
it in the overview frame that shows it best, answered with its true outline. So the language model
learns which frame and which box a name means before it meets questions. Where there is a crop of
the object in that frame, another episode zooms to it first and outlines the object there.
``--asked 0`` shows one picture at a time, frame or crop: a fifth of the tokens, so that names and
boxes are learned first and cheaply.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image

from pixelis_agent.cota.media import store_image
from pixelis_agent.cota.plan import rounded
from pixelis_agent.cota.record import (
    AssistantTurn,
    ImageRef,
    Record,
    Target,
    ToolTurn,
    Turn,
    UserTurn,
    record_line,
)
from pixelis_agent.files import replace_file
from pixelis_agent.policies.scripted import call_text
from pixelis_agent.tiny.config import GRID
from pixelis_agent.tiny.frames import MIN_SIDE as ENLARGED
from pixelis_agent.tiny.frames import Shard, load_shard, shown_size
from pixelis_agent.tiny.things import (
    FRAME,
    LEAST_PIXELS,
    Thing,
    largest_inside,
    named_things,
    shown_near,
)
from pixelis_env.actions import Segment, ToolCallCodec, Zoom
from pixelis_env.coordinates import Box, Region, box_from_source
from pixelis_env.observation import OVERVIEW_FRAMES

FPS = 10.0
MIN_SIDE = 8.0
"""Boxes are written at least this wide and high, px."""

_ASK = ("Outline the {names}.", "Find the {names}.", "Where is the {names}?", "Show the {names}.")
# No time in these words: which frame it is must be known where the arguments begin, where the heads
# are read.
_SAY = (
    "Outline the {name} where it shows best.",
    "The {name} is in view; outline it.",
    "I see the {name}; draw a box around it.",
)
_SAY_HERE = (
    "Outline the {name}.",
    "I see the {name}; draw a box around it.",
    "The {name} is in view; outline it.",
)
SIGHTS = 4
"""Frames of one object, and objects of one crop, that are asked about, at the most."""

_CLOSER = (
    "The {name} is in view; zoom in on it.",
    "Look closer at the {name}.",
    "Zoom in where the {name} shows best.",
)


def room_records(
    shard: Shard, row: int, seed: int, asked: int, out: Path, most: int = OVERVIEW_FRAMES
) -> Iterator[Record]:
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
        most: Frames that an episode shows, at the most: 2..8; of fewer than all just those that
            are asked for show the objects.
    """
    number = int(shard.room_seed[row])
    rng = np.random.default_rng([seed, number])
    things = named_things(shard, row)
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
        near = shown_near(things, ids)
        slot, region = int(shard.slot[index]), Region(*map(int, shard.region[index]))
        if asked == 0 and near:
            image = picture(index, 0.0, Region(0, 0, width, height))
            yield from _close_ups(number, crop, near, image, rng)
        elif asked and (thing := largest_inside(near, things, slot, region)) is not None:
            image = _view(picture(index, times[slot], FRAME), region)
            # The stored picture is enlarged once more: only where that leaves its shape alone.
            if shown_size(height * image.factor, width * image.factor) == (height, width):
                film = _film([thing], shown, most, rng, slot)
                if film is not None:
                    yield _zoom(number, 1000 * (crop + 1), film, image, rng)
    if asked == 0:
        return
    order = [things[k] for k in rng.permutation(len(things))]
    for variant, start in enumerate(range(0, len(order), asked)):
        film = _film(order[start : start + asked], shown, most, rng)
        if film is not None:
            yield _episode(number, variant, film, rng)


@dataclass(frozen=True)
class _Film:
    """What an episode shows and asks for.

    Attributes:
        things: What is asked for, with one box for each image.
        shown: The images, by time.
        last: Time of the video's last frame, s; None: the one image is no frame of a video.
    """

    things: list[Thing]
    shown: list[ImageRef]
    last: float | None


def _film(
    things: Sequence[Thing],
    shown: Sequence[ImageRef],
    most: int,
    rng: Generator,
    slot: int | None = None,
) -> _Film | None:
    """Frames that show things: each one's best (or frame `slot`), and others, up to `most`.

    Where not all frames are shown, the others are such as show none of the things; None where there
    are no such: exactly the frames asked for are right, not merely better than others.
    """
    wanted = {thing.best for thing in things} if slot is None else {slot}
    others = [k for k in range(len(shown)) if k not in wanted]
    if most < len(shown):
        others = [k for k in others if all(thing.boxes[k] is None for thing in things)]
        if not others:
            return None
        others = rng.permutation(others)[: int(rng.integers(1, most))].tolist()
    kept = sorted([*wanted, *others])
    return _Film(
        [
            replace(
                thing,
                boxes=tuple(thing.boxes[k] for k in kept),
                pixels=tuple(thing.pixels[k] for k in kept),
            )
            for thing in things
        ],
        [shown[k] for k in kept],
        shown[-1].time,
    )


def _glances(
    number: int, things: Sequence[Thing], shown: Sequence[ImageRef], rng: Generator
) -> Iterator[Record]:
    """Episodes about single frames, as if each were an image."""
    variant = 0
    for thing in things:
        seen = np.flatnonzero(np.array(thing.pixels) >= LEAST_PIXELS)
        for frame in rng.permutation(seen)[:SIGHTS]:
            image = shown[frame].model_copy(update={"time": 0.0})
            alone = replace(thing, boxes=(thing.boxes[frame],), pixels=(thing.pixels[frame],))
            yield _episode(number, variant, _Film([alone], [image], None), rng)
            variant += 1


def _close_ups(
    number: int, crop: int, near: Sequence[Thing], image: ImageRef, rng: Generator
) -> Iterator[Record]:
    """Episodes about a crop, as if it were an image."""
    for k in rng.permutation(len(near))[:SIGHTS]:
        yield _episode(number, 1000 * (crop + 1) + int(k), _Film([near[k]], [image], None), rng)


def _view(image: ImageRef, region: Region) -> ImageRef:
    """The image of a crop as `zoom` shows it."""
    factor = -(-ENLARGED // max(region.width, region.height))
    return image.model_copy(update={"region": tuple(region), "factor": factor})


def _zoom(number: int, variant: int, film: _Film, image: ImageRef, rng: Generator) -> Record:
    """An episode that zooms to the film's one thing, then outlines it there."""
    (thing,), shown = film.things, film.shown
    codec, view = ToolCallCodec(), Region(*image.region)
    box = thing.boxes[[frame.time for frame in shown].index(image.time)]
    assert box is not None
    closer, here = (words[rng.integers(len(words))] for words in (_CLOSER, _SAY_HERE))
    where = box_from_source(_corners(view), "rel1000", FRAME)
    zoom = Zoom(time=image.time, box=rounded(where, GRID))
    written = box_from_source(_least(box, view), "rel1000", view)
    segment = Segment(source="e1", box=rounded(written, GRID))
    target = Target(name=thing.name, k=0, time=image.time, box=box)

    def turn(say: str, action: Zoom | Segment, images: int) -> AssistantTurn:
        said = say.format(name=thing.name)
        return AssistantTurn(
            text=f"{said} {call_text(**codec.encode(action))}",
            op=action.op,
            target=target,
            pointing=[*thing.boxes, box][:images],
        )

    place = ", ".join(f"{v:.0f}" for v in where)
    result = f"e1 view: {view.width}x{view.height} px at [{place}] of e0, {image.time:.3f} s"
    turns: list[Turn] = [
        UserTurn(text=_request(film, rng), images=list(shown)),
        turn(closer, zoom, len(shown)),
        ToolTurn(text=result, images=[image]),
        turn(here, segment, len(shown) + 1),
    ]
    return _record(number, variant, turns)


def _request(film: _Film, rng: Generator) -> str:
    """What is asked, and what the medium is."""
    names = ", the ".join(thing.name for thing in film.things)
    request = _ASK[rng.integers(len(_ASK))].format(names=names)
    if film.last is None:
        _, _, width, height = film.shown[0].region
        return f"{request}\ne0 medium: image, {width}x{height} px"
    frames = round(film.last * FPS) + 1
    medium = f"e0 medium: video, 320x240 px, {frames / FPS:.3f} s, {frames} frames"
    return f"These are frames of a video.\n{request}\n{medium}"


def _corners(region: Region) -> Box:
    return float(region.x0), float(region.y0), float(region.x1), float(region.y1)


def _episode(number: int, variant: int, film: _Film, rng: Generator) -> Record:
    """An episode that outlines the things of a film one after the other."""
    things, shown = film.things, film.shown
    view = Region(*shown[0].region)
    turns: list[Turn] = [UserTurn(text=_request(film, rng), images=list(shown))]
    seen = list(range(len(shown)))  # the overview frame that each image so far shows
    codec = ToolCallCodec()
    for step, thing in enumerate(things, start=1):
        best = thing.best
        box = thing.boxes[best]
        assert box is not None
        time = None if film.last is None else shown[best].time
        written = box_from_source(_least(box, view), "rel1000", view)
        action = Segment(time=time, box=rounded(written, GRID))
        words = _SAY_HERE if time is None else _SAY
        say = words[rng.integers(len(words))].format(name=thing.name)
        turns.append(
            AssistantTurn(
                text=f"{say} {call_text(**codec.encode(action))}",
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
    return _record(number, variant, turns)


def _record(number: int, variant: int, turns: list[Turn]) -> Record:
    name = f"find-{number}-{variant}"
    return Record(id=name, index=number, variant=variant, level=1, task_type="find", turns=turns)


def _least(box: Box, view: Region) -> Box:
    """The box, grown to the least size and kept inside the view."""
    x0, y0, x1, y1 = box
    grow_x, grow_y = max(MIN_SIDE - (x1 - x0), 0) / 2, max(MIN_SIDE - (y1 - y0), 0) / 2
    left, top, right, bottom = _corners(view)
    return (
        max(x0 - grow_x, left),
        max(y0 - grow_y, top),
        min(x1 + grow_x, right),
        min(y1 + grow_y, bottom),
    )


def write_corpus(
    frames: Path, out: Path, seed: int = 0, asked: int = 3, most: int = OVERVIEW_FRAMES
) -> int:
    """Writes the corpus, a shard for each file of pictures; whole ones are kept.

    Returns:
        How many episodes were written now.

    Raises:
        FileNotFoundError: There are no pictures.
    """
    files = sorted(frames.glob("rooms-*.npz"))
    if not files:
        raise FileNotFoundError(f"{frames} holds no rooms-*.npz: write pictures first")
    count = 0
    for file in files:
        final = out / f"shard-{file.stem.removeprefix('rooms-')}.jsonl"
        if final.exists():
            continue
        shard = load_shard(file)
        lines = [
            record_line(record)
            for row in range(len(shard.room_seed))
            for record in room_records(shard, row, seed, asked, out, most)
        ]
        replace_file(final, b"".join(lines))
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
    parser.add_argument(
        "--most", type=int, default=OVERVIEW_FRAMES, help="frames an episode shows, at the most"
    )
    given = parser.parse_args(arguments)
    count = write_corpus(given.frames, given.out, given.seed, given.asked, given.most)
    print(count, "episodes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
