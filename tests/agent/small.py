"""Tasks that cost nothing: one bright square in a tiny clip, left or right of the middle."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import numpy as np

from pixelis_env.actions import Answer, Zoom
from pixelis_env.media import ArrayMedia
from pixelis_env.tasks.base import Task


@dataclass(frozen=True)
class _Truth:
    box_there: tuple[float, float, float, float]
    names = ("square",)

    def box(self, k, index):
        return self.box_there


class Blank:
    """Reads nothing: loading a real reader would take longer than all the tasks."""

    name, version = "blank", "1"

    def read(self, media, index, region):
        return []


@dataclass(frozen=True)
class SmallSource:
    """Row i has the square at a place that i says; `fail_at` raises, `die_at` ends the process."""

    fail_at: int = -1
    die_at: int = -1
    name = "small"
    size = 60

    def task(self, index: int) -> Task:
        if index == self.fail_at:
            raise RuntimeError("the square is missing")
        if index == self.die_at:
            os._exit(3)
        x = 4 * (index % 16)
        frames = np.zeros((4, 48, 64, 3), np.uint8)
        frames[:, 20:24, x : x + 4] = 250
        chain = [
            Zoom(box=(x / 0.064, 20 / 0.048, (x + 4) / 0.064, 24 / 0.048)),
            Answer(text="A" if x < 32 else "B", evidence=("e1",)),
        ]
        return Task(
            id=f"small-{index}-{'torch' if 'torch' in sys.modules else 'light'}",
            type="even" if index % 2 == 0 else "odd",
            media=ArrayMedia(frames, fps=2.0),
            question="Where is the square?",
            options=("left", "right"),
            answer="A" if x < 32 else "B",
            metric="letter",
            oracle=lambda rng=None, frames=None: chain,
            truth=_Truth((float(x), 20.0, float(x + 4), 24.0)),
        )


def small_kwargs(**faults: int) -> dict[str, object]:
    """Arguments of `Pixelis-v0` for these tasks."""
    return {"source": SmallSource(**faults), "tools": {"read_text": Blank()}}
