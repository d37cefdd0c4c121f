"""`make demo`: the environment at work, in numbers and pictures.

Without arguments an oracle and a random agent play every type of task on rooms, with the default
backends. With `--video` every operation runs on the user's own file. Tables go to the terminal;
traces and picture strips to `runs/demo/`.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelis_env.actions import Action, Localize, Properties, ReadText, Segment, Track, Zoom
from pixelis_env.describe import describe, describe_call
from pixelis_env.draw import draw_strip
from pixelis_env.env import PixelisEnv
from pixelis_env.evidence import ToolError
from pixelis_env.media.base import MediaError
from pixelis_env.rooms.questions import TYPES
from pixelis_env.wrappers import FlatAction


@dataclass
class _Tally:
    """One row of the table."""

    scores: list[float] = field(default_factory=list)
    steps: int = 0
    invalid: int = 0
    seconds: float = 0.0

    def add(self, other: _Tally) -> None:
        self.scores += other.scores
        self.steps += other.steps
        self.invalid += other.invalid
        self.seconds += other.seconds

    def row(self) -> tuple[str, ...]:
        episodes = len(self.scores)
        return (
            f"{episodes}",
            f"{np.mean(self.scores):.2f}",
            f"{self.steps / episodes:.1f}",
            f"{100 * self.invalid / self.steps:.0f} %",
            f"{self.steps / self.seconds:.1f}",
        )


def play_rooms(out: Path, episodes: int, seed: int) -> None:
    """Oracle and random agent on every task type; prints the table."""
    rows = []
    for name in ("oracle", "random"):
        total = _Tally()
        for number, kind in enumerate(TYPES.values()):
            env = FlatAction(PixelisEnv(family=kind.family, types=[kind.name]))
            env.action_space.seed(seed + number)
            tally = _Tally()
            for episode in range(episodes):
                picture = out / name / kind.name if episode == 0 else None
                _play(env, name, seed + episode, tally, picture)
            rows.append((name, kind.family, kind.name, *tally.row()))
            total.add(tally)
            print(f"\r{name}: {kind.name:<32}", end="", file=sys.stderr, flush=True)
        rows.append((name, "all", "", *total.row()))
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    head = ("agent", "family", "type", "episodes", "score", "steps", "invalid", "steps/s")
    print_table(head, rows)


def _play(env: FlatAction, agent: str, seed: int, tally: _Tally, out: Path | None) -> None:
    start = time.perf_counter()
    env.reset(seed=seed)
    base = env.unwrapped
    assert isinstance(base, PixelisEnv)
    chain = iter(base.oracle()) if agent == "oracle" else None
    done = False
    info: dict[str, Any] = {}
    while not done:
        if chain is None:
            _, _, terminated, truncated, info = env.step(env.action_space.sample())
        else:
            _, _, terminated, truncated, info = base.step(next(chain))
        tally.steps += 1
        tally.invalid += info["invalid"]
        done = terminated or truncated
    tally.scores.append(info["score"])
    tally.seconds += time.perf_counter() - start
    if out is not None:
        save_episode(base, out)


def save_episode(env: PixelisEnv, out: Path) -> None:
    """Writes an episode's trace and picture strip as `out`.json and `out`.png."""
    env.trace().save(out.with_suffix(".json"))
    calls = [f"{env.task.question}"]
    calls += [describe_call(step.action) for step in env.steps if step.evidence is not None]
    Image.fromarray(draw_strip(env.workspace, calls)).save(out.with_suffix(".png"))


def play_file(video: Path, question: str, out: Path) -> None:
    """Every operation once on the user's own file; prints what each returned."""
    env = PixelisEnv(video, question=question)
    env.reset(seed=0)
    media = env.task.media
    middle = float(media.times[media.n_frames // 2])
    target = (350.0, 350.0, 650.0, 650.0)
    calls: list[Action] = [
        Zoom(box=target, time=middle if media.is_video else None),
        Segment(source="e1", box=(100, 100, 900, 900)),
        Properties(targets=("e2",)),
        ReadText(time=middle if media.is_video else None),
    ]
    if media.is_video:
        end = min(media.duration, middle + 1.0)
        calls += [
            Track(target="e1", span=(middle, end)),
            Localize(target="e1", span=(max(0.0, middle - 1.0), end)),
            Localize(),
        ]
    rows = []
    for call in calls:
        start = time.perf_counter()
        info = env.step(call)[4]
        seconds = time.perf_counter() - start
        rows.append((describe_call(call), info["evidence_id"], f"{1e3 * seconds:.0f} ms"))
    print(f"{video.name}: {question}")
    for words, evidence_id, took in rows:
        print(f"  {words}  [{took}]\n    {describe(env.workspace, evidence_id)}")
    save_episode(env, out / video.stem)
    failed = [e for e in env.workspace.evidence if isinstance(e, ToolError)]
    print(f"{len(rows) - len(failed)} of {len(rows)} calls returned evidence")


def print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Prints rows under a head, in columns as wide as they need."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, tuple("-" * w for w in widths), *rows]:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def main(argv: list[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(prog="python -m pixelis_env.demo", description=__doc__)
    parser.add_argument("--video", type=Path, help="an image or video to run every operation on")
    parser.add_argument("--question", default="What is shown?", help="the question about it")
    parser.add_argument("--episodes", type=int, default=2, help="episodes a type and agent")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="for the results")
    args = parser.parse_args(argv)
    if args.episodes < 1:
        parser.error(f"--episodes must be at least 1, not {args.episodes}")
    try:
        if args.video is None:
            play_rooms(args.out, args.episodes, args.seed)
        else:
            play_file(args.video, args.question, args.out)
    except (MediaError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"traces and pictures: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
