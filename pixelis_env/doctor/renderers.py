"""What draws rooms: Embree, and the rasteriser that stands in for it."""

from __future__ import annotations

import importlib.util
import time

import numpy as np

from pixelis_env.doctor.operations import Wrong
from pixelis_env.doctor.outcome import Outcome
from pixelis_env.rooms import RoomVideo, make_scene

FRAME = 5


def rasteriser() -> Outcome:
    """The rasteriser in numpy draws a frame with its instance ids."""
    return _draw("numpy")[0]


def embree() -> Outcome:
    """Embree draws the frame, and sees the objects where the rasteriser sees them."""
    if importlib.util.find_spec("embreex") is None:
        return Outcome(
            "missing",
            "embreex is not installed: rooms are drawn by numpy, slower and without cast shadows",
            "pip install embreex (it has wheels for x86-64 and Apple silicon, for no other)",
        )
    outcome, ids = _draw("embree")
    differing = int(np.count_nonzero(ids != _draw("numpy")[1]))
    if differing:
        raise Wrong(f"{differing} of {ids.size} pixels show another object than numpy draws there")
    return Outcome("ok", f"{outcome.detail}, ids equal numpy's")


def _draw(renderer: str) -> tuple[Outcome, np.ndarray]:
    """What was drawn, and instance ids int32 (H, W)."""
    video = RoomVideo(make_scene(0), renderer)
    video.ids(0)  # geometry is built
    started = time.perf_counter()
    frame, ids = video.frame(FRAME), video.ids(FRAME)
    took = 1e3 * (time.perf_counter() - started)
    shown = len(np.unique(ids))
    if shown < 2 or float(frame.std()) < 1:
        raise Wrong(f"frame {FRAME} of room 0 shows {shown} things: it is empty")
    seen = f"{frame.shape[1]}x{frame.shape[0]} with {shown} objects in {took:.0f} ms"
    return Outcome("ok", seen), ids
