"""What the agent sees: fixed-shape arrays, so that environments vectorise."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image

from pixelis_env.coordinates import Box, Letterbox, Region
from pixelis_env.describe import describe
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import Evidence, Mask, TextLines, Tracklet, View
from pixelis_env.media.base import Media, MediaError
from pixelis_env.tasks.base import Task
from pixelis_env.workspace import ViewRef, Workspace

VIEW_SIZE = 224
OVERVIEW_FRAMES, OVERVIEW_SIZE = 8, 112
TEXT_BYTES, RESULT_BYTES = 1024, 320

KINDS = (
    "medium",
    "view",
    "mask",
    "tracklet",
    "text_lines",
    "intervals",
    "measurement",
    "tool_error",
)
STATE: tuple[str, ...] = (
    "steps taken / max_steps",
    "is a video",
    "number of options / 26",
    *(f"view {edge}, unit of the medium" for edge in ("x0", "y0", "x1", "y1")),
    "view time / duration",
    *(f"last evidence is a {kind}" for kind in KINDS),
    *(f"last evidence {edge}, unit of the medium" for edge in ("x0", "y0", "x1", "y1")),
    "last evidence score",
)
"""What each entry of `state` holds; all lie in 0..1."""


def observation_space() -> spaces.Dict:
    """The space of `Observer.observe`."""
    overview = (OVERVIEW_FRAMES, OVERVIEW_SIZE, OVERVIEW_SIZE, 3)
    return spaces.Dict(
        {
            "view": spaces.Box(0, 255, (VIEW_SIZE, VIEW_SIZE, 3), np.uint8),
            "overview": spaces.Box(0, 255, overview, np.uint8),
            "overview_mask": spaces.MultiBinary(OVERVIEW_FRAMES),
            "text": spaces.Box(0, 255, (TEXT_BYTES,), np.uint8),
            "state": spaces.Box(0.0, 1.0, (len(STATE),), np.float32),
        }
    )


def overview_indices(media: Media) -> list[int]:
    """The frames of the overview: spread over the medium, first and last included, in order."""
    count = min(OVERVIEW_FRAMES, media.n_frames)
    return [int(i) for i in np.linspace(0, media.n_frames - 1, count).round()]


def make_overview(media: Media) -> NDArray[np.uint8]:
    """uint8 (8, 112, 112, 3): letterboxed frames of `overview_indices`, zeros after the last."""
    overview = np.zeros((OVERVIEW_FRAMES, OVERVIEW_SIZE, OVERVIEW_SIZE, 3), np.uint8)
    for slot, index in enumerate(overview_indices(media)):
        frame = media.thumbnail(index, OVERVIEW_SIZE)
        top, left = ((OVERVIEW_SIZE - side) // 2 for side in frame.shape[:2])
        overview[slot, top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    return overview


class Observer:
    """Builds the observations of one episode.

    Args:
        task: The episode's task.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._overview = make_overview(task.media)
        self._mask = np.zeros(OVERVIEW_FRAMES, np.int8)
        self._mask[: len(overview_indices(task.media))] = 1
        self._prompt = _clip(task.prompt, TEXT_BYTES - RESULT_BYTES - 1)
        self._shown: tuple[ViewRef, NDArray[np.uint8], Image.Image] | None = None

    def show(self, workspace: Workspace) -> Image.Image:
        """The current view at its native resolution; one object for as long as the view stays."""
        return self._show(workspace)[2]

    def _show(self, workspace: Workspace) -> tuple[ViewRef, NDArray[np.uint8], Image.Image]:
        look = current_look(workspace)
        if self._shown is None or self._shown[0] != look:
            pixels = look_pixels(workspace, look)
            self._shown = (look, letterbox(pixels, VIEW_SIZE), Image.fromarray(pixels))
        return self._shown

    def observe(self, workspace: Workspace, progress: float) -> dict[str, NDArray[Any]]:
        """The observation after the workspace's last evidence; fresh arrays each time."""
        look, view, _ = self._show(workspace)
        return {
            "view": view.copy(),
            "overview": self._overview.copy(),
            "overview_mask": self._mask.copy(),
            "text": self._text(workspace),
            "state": self._state(workspace, look, progress),
        }

    def _text(self, workspace: Workspace) -> NDArray[np.uint8]:
        result = _clip(describe(workspace, f"e{len(workspace) - 1}"), RESULT_BYTES)
        text = np.zeros(TEXT_BYTES, np.uint8)
        raw = self._prompt + b"\n" + result
        text[: len(raw)] = np.frombuffer(raw, np.uint8)
        return text

    def _state(self, workspace: Workspace, look: ViewRef, progress: float) -> NDArray[np.float32]:
        media, last = workspace.media, workspace.last
        share = media.times[look.frame_index] / media.duration if media.duration else 0.0
        kinds = [float(last.kind == kind) for kind in KINDS]
        box, score = _place(last)
        values = [progress, float(media.is_video), len(self._task.options or ()) / 26]
        values += [*_unit(look.region.box, workspace.bounds), share, *kinds]
        values += [*_unit(box, workspace.bounds), score]
        return np.minimum(np.maximum(np.array(values, np.float32), 0), 1)


def current_look(workspace: Workspace) -> ViewRef:
    """What the newest evidence that has a place in the medium shows."""
    for number in range(len(workspace) - 1, 0, -1):
        try:
            return workspace.look(f"e{number}")
        except InvalidCall:
            continue
    return workspace.look("e0")


def look_pixels(workspace: Workspace, look: ViewRef) -> NDArray[np.uint8]:
    """The native pixels of a look; black where the medium cannot be read any more.

    A video may vanish or break in the middle of an episode; the call that hit it got a
    `ToolError`, and showing the view must not raise after that.
    """
    try:
        return workspace.pixels(look)
    except MediaError:
        return np.zeros((look.region.height, look.region.width, 3), np.uint8)


def letterbox(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Fits an image into a square of `size` px, aspect kept, black around it."""
    height, width = pixels.shape[:2]
    fit = Letterbox.fit(Region(0, 0, width, height), size)
    canvas = np.zeros((size, size, 3), np.uint8)
    # Averaging areas costs eight times as much and differs only where much is thrown away.
    method = cv2.INTER_AREA if fit.scale < 0.5 else cv2.INTER_LINEAR
    scaled = cv2.resize(pixels, (fit.width, fit.height), interpolation=method)
    canvas[fit.pad_y : fit.pad_y + fit.height, fit.pad_x : fit.pad_x + fit.width] = scaled
    return canvas


def _place(evidence: Evidence) -> tuple[Box, float]:
    """The box and score of evidence, zeros where it has none."""
    if isinstance(evidence, (View, TextLines)):
        return evidence.region.box, 0.0
    if isinstance(evidence, Mask):
        return evidence.box, evidence.score
    if isinstance(evidence, Tracklet):
        return evidence.boxes[-1], evidence.scores[-1]
    return (0.0, 0.0, 0.0, 0.0), 0.0


def _unit(box: Box, bounds: Region) -> Box:
    width, height = bounds.width, bounds.height
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def _clip(text: str, limit: int) -> bytes:
    """UTF-8 of at most `limit` bytes, cut between characters."""
    return text.encode("utf-8")[:limit].decode("utf-8", "ignore").encode("utf-8")
