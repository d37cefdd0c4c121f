"""Warm-up dialogues in words alone, for `pixelis-tiny`: it learns to copy, then to look things up.

``python -m pixelis_agent.tiny.words --kind echo --out DIR`` writes episodes that ask to repeat what
was said: names, numbers, boxes, made-up words. ``--kind film`` writes episodes that run like those
of the tasks, but after each frame's time stand names and boxes instead of the frame: find the
name, copy its frame's time and its box, and copy what a tool returned into the answer. ``--kind
drift`` writes ends of episodes: from a displacement that was measured to the option it speaks for.

Why: a small transformer begins to copy late, and suddenly. Short echoes are the quickest way there
that was found; the longer "film" is begun with when they are learned. It is forgotten where a
later stage has no words, so they belong into each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator

from pixelis_agent.cota.answers import direction_of
from pixelis_agent.cota.record import (
    AssistantTurn,
    Record,
    ToolTurn,
    Turn,
    UserTurn,
    record_line,
)
from pixelis_agent.files import replace_file
from pixelis_agent.policies.scripted import call_text
from pixelis_agent.tiny.config import GRID
from pixelis_agent.tiny.labels import CLASSES
from pixelis_env.actions import Action, Localize, Properties, ReadText, ToolCallCodec, Zoom
from pixelis_env.describe import reading
from pixelis_env.rooms.questions.movement import DIRECTIONS

SHARD = 2000
_ZOOM = (
    "Look closer at the {name}.",
    "Look closer at the {name} at {time} seconds.",
    "At {time} seconds the {name} is in view; zoom in on it.",
    "The {name} shows best at {time} seconds.",
)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def echo(number: int, seed: int) -> Record:
    """An episode that asks to say a few things after it.

    Args:
        number: Of the episode.
        seed: Of the corpus.
    """
    rng = np.random.default_rng([seed, number, 1])
    makers = (
        lambda: str(rng.choice(CLASSES)),
        lambda: _text(rng),
        lambda: str(_box(rng)),
        lambda: f"{rng.uniform(0, 15):.1f} s",
    )
    said = "; ".join(makers[rng.integers(len(makers))]() for _ in range(int(rng.integers(2, 5))))
    turns: list[Turn] = [
        UserTurn(text=f"Say {said}.", images=[]),
        AssistantTurn(text=f"<answer>{said}</answer>", op="answer"),
    ]
    return Record(id=f"echo-{number}", index=number, level=1, task_type="echo", turns=turns)


def film(number: int, seed: int) -> Record:
    """An episode that finds a thing, zooms to it, reads or localizes it, and answers.

    Args:
        number: Of the episode.
        seed: Of the corpus.
    """
    rng = np.random.default_rng([seed, number])
    frames = int(rng.integers(2, 5))
    duration = round(float(rng.uniform(3, 15)), 1)
    times = [round(float(t), 1) for t in np.linspace(0, duration - 0.1, frames)]
    names = [str(name) for name in rng.choice(CLASSES, int(rng.integers(frames, frames + 2)))]
    name = names[0]
    names = [name, *(other for other in names[1:] if other != name)]
    slots = [int(rng.integers(frames)) for _ in names]
    boxes = [_box(rng) for _ in names]
    frames_said = "".join(
        f"<{time:g} seconds>"
        + ", ".join(
            f"{name} {box}"
            for name, box, slot in zip(names, boxes, slots, strict=True)
            if slot == frame
        )
        for frame, time in enumerate(times)
    )
    reads = bool(rng.random() < 0.5)
    ask = f"What does the {name} say?" if reads else f"When is the {name} in view?"
    medium = f"e0 medium: video, 320x240 px, {duration:.3f} s, {round(10 * duration)} frames"
    time, box = times[slots[0]], boxes[0]
    say = _ZOOM[rng.integers(len(_ZOOM))].format(name=name, time=f"{time:g}")
    corners = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    zoom = Zoom(time=time, box=corners)
    view = f"e1 view: {box[2] - box[0]}x{box[3] - box[1]} px at {box} of e0, {time:.3f} s"
    if reads:
        text = _text(rng)
        step: Action = ReadText(source="e1")
        said, result = f"The crop shows the {name}; read it.", f'e2 text_lines: "{text}" (1.00)'
        last = f"The {name} says {text}. <answer>{text}</answer>"
    else:
        start, end = sorted(round(float(t), 1) for t in rng.uniform(0, duration, 2))
        step, said = Localize(target="e1"), f"Find when the {name} is in view."
        result = f"e2 intervals: {start:.3f}-{end:.3f} s"
        shown = f"In view {start:.3f}-{end:.3f} s; round to tenths."
        last = f"{shown} <answer>{start:.1f}-{end:.1f}</answer>"
    turns: list[Turn] = [
        UserTurn(text=f"These are frames of a video.\n{ask}\n{medium}{frames_said}", images=[]),
        _turn(say, zoom),
        ToolTurn(text=view, images=[]),
        _turn(said, step),
        ToolTurn(text=result, images=[]),
        AssistantTurn(text=last, op="answer"),
    ]
    return Record(id=f"film-{number}", index=number, level=1, task_type="film", turns=turns)


def drift(number: int, seed: int) -> Record:
    """An episode that measures how something moved, and says in which direction.

    Args:
        number: Of the episode.
        seed: Of the corpus.
    """
    rng = np.random.default_rng([seed, number, 2])
    name, options = str(rng.choice(CLASSES)), [str(way) for way in rng.permutation(DIRECTIONS)]
    listed = "\n".join(f"{'ABCD'[k]}. {option}" for k, option in enumerate(options))
    ask = f"As seen from the camera, in which direction does the {name} move?"
    start, angle = round(float(rng.uniform(0, 9)), 1), float(rng.uniform(0, 2 * np.pi))
    # Half pixels, as those of boxes are; from hardly to a quarter of the frame.
    across, down = (
        round(2 * part) / 2
        for part in np.exp(rng.uniform(1, 4.4)) * np.array([np.cos(angle), np.sin(angle)])
    )
    growth = float(np.exp(0.01 * down + rng.normal(0, 0.08)))
    length = float(np.hypot(across, down))
    path = length * float(rng.uniform(1, 1.1))
    values: dict[str, float | tuple[float, ...]] = {
        "n_frames": 11,
        "visible_share": 1,
        "start_s": start,
        "end_s": start + 1,
        "duration_s": 1,
        "displacement_px": (across, down),
        "distance_px": length,
        "path_px": path,
        "speed_px_s": path,
        "growth": growth,
        "direction_deg": float(np.degrees(np.arctan2(-down, across)) % 360),
    }
    measured = ", ".join(f"{key} {reading(value)}" for key, value in values.items())
    thought, letter = direction_of((across, down), growth, options, rng)
    target = int(rng.integers(1, 5))
    turns: list[Turn] = [
        UserTurn(text=f"These are frames of a video.\n{ask}\nOptions:\n{listed}", images=[]),
        _turn(f"Measure the path of the {name}.", Properties(targets=(f"e{target}",))),
        ToolTurn(text=f"e{target + 1} measurement: {measured}", images=[]),
        AssistantTurn(text=f"{thought} <answer>{letter}</answer>", op="answer"),
    ]
    return Record(id=f"drift-{number}", index=number, level=1, task_type="drift", turns=turns)


def _box(rng: Generator) -> list[int]:
    """A box on the grid, thousandths."""
    x, y = (sorted(rng.choice(1000 // GRID + 1, 2, replace=False).tolist()) for _ in range(2))
    return [GRID * x[0], GRID * y[0], GRID * x[1], GRID * y[1]]


def _text(rng: Generator) -> str:
    """What may stand on a sign or a tag: a number, or one or two words of random letters."""
    if rng.random() < 0.4:
        return str(rng.integers(100, 1000))
    words = ["".join(rng.choice(list(_LETTERS), int(rng.integers(2, 8)))) for _ in range(2)]
    text = " ".join(words[: int(rng.integers(1, 3))])
    return text if rng.random() < 0.5 else text.title()


def _turn(say: str, action: Action) -> AssistantTurn:
    call = call_text(**ToolCallCodec().encode(action))
    return AssistantTurn(text=f"{say} {call}", op=action.op)


KINDS = {"echo": echo, "film": film, "drift": drift}


def write_corpus(out: Path, kind: str, episodes: int, seed: int = 0) -> None:
    """Writes the corpus; whole shards are kept."""
    for first in range(0, episodes, SHARD):
        final = out / f"shard-{first:06d}.jsonl"
        if final.exists():
            continue
        numbers = range(first, min(first + SHARD, episodes))
        replace_file(final, b"".join(record_line(KINDS[kind](k, seed)) for k in numbers))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m pixelis_agent.tiny.words", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--episodes", type=int, default=20000)
    parser.add_argument("--out", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    write_corpus(given.out, given.kind, given.episodes, given.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
