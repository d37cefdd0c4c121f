"""Every backend of every operation at work on a drawn clip, whose truth is known."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pixelis_env.actions import Action, Localize, Properties, ReadText, Segment, Track, Zoom
from pixelis_env.coordinates import Box
from pixelis_env.doctor.outcome import Outcome
from pixelis_env.errors import BackendError, InvalidCall
from pixelis_env.evidence import (
    Evidence,
    Intervals,
    Mask,
    Measurement,
    TextLines,
    Tracklet,
    View,
    pixel_digest,
)
from pixelis_env.media.base import ArrayMedia, Media
from pixelis_env.metrics.overlap import box_iou, mask_iou
from pixelis_env.tools import Toolbox
from pixelis_env.workspace import Workspace

WIDTH, HEIGHT, FRAMES, FPS = 192, 144, 12, 10.0
SHOWN = (3, 9)
"""First and last frame that show the thing which `localize` looks for."""
WORD = "EXIT 42"


class Wrong(Exception):
    """A backend answered, and not what is there to be seen."""


class Drawn(NamedTuple):
    """A clip and what it shows.

    Attributes:
        media: The clip.
        masks: bool (n_frames, height, width): the ball.
        boxes: The ball's place in each frame, xyxy pixels, whether it is there or not.
    """

    media: ArrayMedia
    masks: NDArray[np.bool_]
    boxes: list[Box]


@cache
def drawn_clip(always: bool = True) -> Drawn:
    """A red ball that rolls over a grey ground; with `always` False only within `SHOWN`."""
    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(90, 150, (HEIGHT // 4, WIDTH // 4, 1)), np.ones((4, 4, 3)))
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    frames, masks, boxes = [], [], []
    for index in range(FRAMES):
        x, y = 60 + 4 * index, 70
        ball = (xs + 0.5 - x) ** 2 + (ys + 0.5 - y) ** 2 <= 24**2
        ball &= always or SHOWN[0] <= index <= SHOWN[1]
        frame = ground.astype(np.uint8)
        frame[ball] = (200, 30, 40)
        frames.append(frame)
        masks.append(ball)
        boxes.append((x - 24.0, y - 24.0, x + 24.0, y + 24.0))
    return Drawn(ArrayMedia(np.stack(frames), FPS, name="drawn clip"), np.stack(masks), boxes)


def exact() -> Outcome:
    """Zoom and properties, which have no backend: their pixels and areas are exact."""
    clip = drawn_clip()
    calls: list[Action] = [Zoom(box=(0, 0, 1000, 1000)), Properties(targets=("e1",))]
    view, measured = _run(None, clip.media, calls)
    assert isinstance(view, View)
    assert isinstance(measured, Measurement)
    if view.pixels != pixel_digest(clip.media.frame(0)):
        raise Wrong(f"a zoom to the whole frame shows {view.region}, or other pixels")
    return Outcome("ok", f"whole frame {WIDTH}x{HEIGHT}, {len(measured.values)} measurements")


def segment(name: str, weights: str = "own") -> Outcome:
    """The ball, outlined by its box."""
    clip = drawn_clip()
    box = clip.boxes[0]

    def look(spec: Any) -> str:
        (mask,) = _run({"segment": spec}, clip.media, [Segment(box=box, frame="px")])
        assert isinstance(mask, Mask)
        overlap = mask_iou(mask.rle.decode(), clip.masks[0])
        return _judged("mask IoU", overlap, 0.8, weights)

    return _with_weights(name, weights, look)


def track(name: str, weights: str = "own") -> Outcome:
    """The ball, followed to the last frame."""
    clip = drawn_clip()

    def look(spec: Any) -> str:
        calls: list[Action] = [Zoom(box=clip.boxes[0], frame="px"), Track(target="e1")]
        _, path = _run({"track": spec}, clip.media, calls)
        assert isinstance(path, Tracklet)
        overlap = box_iou(path.boxes[-1], clip.boxes[-1])
        return _judged("box IoU at the end", overlap, 0.5, weights)

    return _with_weights(name, weights, look)


def read_text(name: str) -> Outcome:
    """A word on a sign."""
    page = Image.new("RGB", (240, 80), (245, 245, 240))
    font = ImageFont.load_default(36)
    ImageDraw.Draw(page).text((40, 18), WORD, fill=(20, 20, 20), font=font)
    medium = ArrayMedia(np.asarray(page), name="drawn sign")
    started = time.perf_counter()
    try:
        (found,) = _run({"read_text": name}, medium, [ReadText()])
    except BackendError as error:  # a program that the package only calls
        detail, _, mend = str(error).partition(": ")
        return Outcome("missing", detail, mend)
    assert isinstance(found, TextLines)
    text = " ".join(line.text for line in found.lines)
    if text.upper().replace(" ", "") != WORD.replace(" ", ""):
        raise Wrong(f"{WORD!r} is read as {text!r}")
    return Outcome("ok", f"{text!r}, {_ms(started)}")


def localize(name: str) -> Outcome:
    """When the ball is there."""
    clip = drawn_clip(always=False)
    start, end = SHOWN[0] / FPS, (SHOWN[1] + 1) / FPS
    calls: list[Action] = [
        Zoom(box=clip.boxes[SHOWN[0] + 2], frame="px", time=start + 0.2),
        Localize(target="e1"),
    ]
    started = time.perf_counter()
    _, found = _run({"localize": name}, clip.media, calls)
    assert isinstance(found, Intervals)
    spans = [tuple(round(t, 3) for t in span) for span in found.spans]
    if len(spans) != 1 or max(abs(spans[0][0] - start), abs(spans[0][1] - end)) > 1.01 / FPS:
        raise Wrong(f"what is there from {start:g} to {end:g} s is found at {spans}")
    return Outcome("ok", f"{spans[0][0]:g} to {spans[0][1]:g} s, {_ms(started)}")


def oracle() -> Outcome:
    """An episode in a room by the oracle's backends and moves, played twice."""
    from pixelis_env.env import PixelisEnv

    started, digests = time.perf_counter(), []
    for _ in range(2):
        env = PixelisEnv(family="search", tools="oracle")
        env.reset(seed=0)
        info: dict[str, Any] = {}
        for action in env.oracle():
            info = env.step(action)[4]
        if info["score"] != 1.0:
            raise Wrong(f"the oracle scores {info['score']}")
        digests.append(env.trace().chain[-1])
        env.close()
    if digests[0] != digests[1]:
        raise Wrong("the same episode played twice has two digests")
    return Outcome("ok", f"score 1, the same digest twice, {_ms(started)}")


def mmocr() -> Outcome:
    """MMOCR's own environment: whether it is there, and MMOCR can be imported in it.

    Nothing is read: its weights are fetched by their names or given by whoever uses it.
    """
    from pixelis_env.tools.backends import _mmocr_serve as serve
    from pixelis_env.tools.backends.mmocr import ENVIRONMENT

    if not Path(ENVIRONMENT).is_file():
        return Outcome("missing", f"there is no {ENVIRONMENT} here", "make env-mmocr")
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1])['_without_compiled_operators'](); "
        "import mmocr; from mmocr.apis import MMOCRInferencer; print(mmocr.__version__)"
    )
    done = subprocess.run(
        [ENVIRONMENT, "-I", "-c", code, serve.__file__], capture_output=True, text=True
    )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        return Outcome("failed", last, "rm -r .venv-mmocr && make env-mmocr")
    return Outcome("ok", f"mmocr {done.stdout.strip()} can be imported; not run: no weights here")


def _run(tools: Mapping[str, Any] | None, media: Media, calls: list[Action]) -> list[Evidence]:
    """What operations return, one after the other on a medium."""
    toolbox, workspace, found = Toolbox(tools), Workspace(media), []
    for call in calls:
        evidence = toolbox.run(call, workspace)
        workspace.add(evidence)
        found.append(evidence)
    return found


def _with_weights(name: str, weights: str, look: Callable[[Any], str]) -> Outcome:
    """Looks with a backend; one that has no weights of its own gets small drawn ones."""
    started = time.perf_counter()
    if weights == "own":
        seen = look(name)
        return Outcome("ok", f"{seen}, {_ms(started)}")
    from pixelis_env.doctor.drawn import spec_of

    # Drawn weights see nothing: that they may outline nothing is no fault of the backend.
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(InvalidCall):
        look(spec_of(name, Path(folder)))
    return Outcome("ok", f"runs with small drawn weights, {_ms(started)}; yours: checkpoint=")


def _judged(what: str, value: float, least: float, weights: str) -> str:
    if weights == "own" and value < least:
        raise Wrong(f"{what} {value:.2f} of a drawn ball; it should be above {least}")
    return f"{what} {value:.2f}"


def _ms(started: float) -> str:
    return f"{1e3 * (time.perf_counter() - started):.0f} ms"
