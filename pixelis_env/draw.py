"""Pictures of an episode: evidence drawn on the pixels it came from."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pixelis_env.coordinates import Box, Letterbox, Region
from pixelis_env.describe import describe
from pixelis_env.errors import MissingExtra
from pixelis_env.evidence import (
    Evidence,
    Intervals,
    Mask,
    Measurement,
    Medium,
    TextLines,
    Tracklet,
    View,
)
from pixelis_env.observation import current_look, look_pixels, overview_indices
from pixelis_env.workspace import ViewRef, Workspace

PANEL, CAPTION = 448, 60  # px
BAR = 26  # px, of the timeline below a video's picture
_COLUMNS = 4  # of the overview
_INK, _PAPER = (235, 235, 240), (24, 26, 32)
_VIEW, _MASK, _TRACK, _TEXT = (255, 190, 60), (60, 220, 150), (250, 100, 170), (90, 170, 255)
_SPAN = (180, 140, 255)


class Picture(NamedTuple):
    """What a picture shows, in words, and its pixels: uint8 (H, W, 3), W at most 448."""

    shows: str
    pixels: NDArray[np.uint8]


def draw_workspace(workspace: Workspace, caption: str) -> NDArray[np.uint8]:
    """The current view with the evidence that lies in it, and a caption: uint8 (508, 448, 3)."""
    look = current_look(workspace)
    drawn = [e for e in workspace.evidence if _frame_of(e) in (None, look.frame_index)]
    words = describe(workspace, f"e{len(workspace) - 1}")
    return _panel(workspace, look, drawn, f"{caption}\n{words}")


def draw_strip(workspace: Workspace, captions: Sequence[str]) -> NDArray[np.uint8]:
    """An episode as a row of panels, one a piece of evidence, e0 first.

    Args:
        workspace: The episode's workspace.
        captions: A line for each piece of evidence, e.g. the call that made it.

    Returns:
        uint8 (508, 448 n, 3).
    """
    panels, look = [], workspace.look("e0")
    for number, (evidence, caption) in enumerate(zip(workspace.evidence, captions)):  # noqa: B905
        if isinstance(evidence, View):
            look = workspace.look(f"e{number}")
        elif (frame_index := _frame_of(evidence)) is not None:
            look = ViewRef(frame_index, workspace.bounds)
        words = describe(workspace, f"e{number}")
        panels.append(_panel(workspace, look, [evidence], f"{caption}\n{words}"))
    return np.concatenate(panels, axis=1)


def draw_evidence(workspace: Workspace, number: int) -> list[Picture]:
    """Evidence drawn on the medium, without words; of a video with a timeline below.

    - the medium: its overview frames;
    - a view: the frame with the view's box, and the view's own pixels;
    - a mask, text or a tracklet (its path, first and last box): on its (last) frame;
    - intervals: the spans on the timeline, under the frame where the first one begins;
    - a measurement: what was measured;
    - an error: nothing.

    Args:
        workspace: Of the episode.
        number: Of the evidence, 0 = e0.
    """
    evidence = workspace.evidence[number]
    if isinstance(evidence, Medium):
        return [Picture("overview", _overview(workspace))]
    drawn: list[Evidence] = [evidence]
    if isinstance(evidence, Measurement):
        drawn = [workspace.get(target) for target in evidence.targets]
    if isinstance(evidence, Intervals):
        first = evidence.spans[0][0] if evidence.spans else 0.0
        index = workspace.media.index_at(first)
    else:
        frames = [k for one in drawn if (k := _frame_of(one)) is not None]
        if not frames:
            return []
        index = frames[-1]
        drawn = [one for one in drawn if isinstance(one, Tracklet) or _frame_of(one) == index]
    seconds = f"{workspace.media.times[index]:.2f} s"
    shown = f"frame at {seconds}" if workspace.media.is_video else "image"
    whole = _cut(workspace, ViewRef(index, workspace.bounds), drawn)
    bar = _timeline(workspace, index, drawn)
    pictures = [Picture(shown, np.concatenate([whole, bar]))]
    if isinstance(evidence, View) and evidence.region != workspace.bounds:
        own = ViewRef(index, evidence.region)
        pictures.append(Picture(f"view e{number}", _cut(workspace, own, [])))
    return pictures


def _cut(workspace: Workspace, look: ViewRef, drawn: Sequence[Evidence]) -> NDArray[np.uint8]:
    """A look with evidence on it, without the margins of a panel."""
    canvas, fit = _canvas(workspace, look, drawn)
    right, bottom = fit.pad_x + fit.width, fit.pad_y + fit.height
    return np.asarray(canvas)[fit.pad_y : bottom, fit.pad_x : right]


def _overview(workspace: Workspace) -> NDArray[np.uint8]:
    """The overview frames, four a row, each with its time: uint8 (H, 448, 3)."""
    media = workspace.media
    if media.n_frames == 1:
        return _cut(workspace, ViewRef(0, workspace.bounds), [])
    side = PANEL // _COLUMNS
    fit = Letterbox.fit(workspace.bounds, side)
    indices = overview_indices(media)
    rows = -(-len(indices) // _COLUMNS)
    canvas = Image.new("RGB", (PANEL, rows * fit.height), _PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
    for place, index in enumerate(indices):
        frame = look_pixels(workspace, ViewRef(index, workspace.bounds))
        size = (fit.width, fit.height)
        tile = Image.fromarray(np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA)))
        x, y = place % _COLUMNS * side + fit.pad_x, place // _COLUMNS * fit.height
        canvas.paste(tile, (x, y))
        words = f"{media.times[index]:.2f} s"
        place_of = (x + 4, y + fit.height - 16)
        draw.rectangle(draw.textbbox(place_of, words, font=font), fill=_PAPER)
        draw.text(place_of, words, font=font, fill=_INK)
    return np.asarray(canvas)


def _timeline(workspace: Workspace, index: int, drawn: Sequence[Evidence]) -> NDArray[np.uint8]:
    """The video from start to end: spans of evidence, and a mark at the frame that is shown.

    Returns:
        uint8 (26, W, 3) with the width of the whole frame's picture; (0, W, 3) of an image.
    """
    width = Letterbox.fit(workspace.bounds, PANEL).width
    duration = workspace.media.duration
    if not workspace.media.is_video:
        return np.zeros((0, width, 3), np.uint8)
    canvas = Image.new("RGB", (width, BAR), _PAPER)
    draw = ImageDraw.Draw(canvas)
    left, right, top, bottom = 8, width - 9, 9, BAR - 10

    def place(seconds: float) -> float:
        return left + (right - left) * min(max(seconds / duration, 0.0), 1.0)

    draw.rectangle((left, top, right, bottom), fill=(70, 74, 84))
    for evidence in drawn:
        spans: Sequence[tuple[float, float]] = ()
        colour = _SPAN
        if isinstance(evidence, Intervals):
            spans = evidence.spans
        elif isinstance(evidence, Tracklet):
            spans, colour = [(min(evidence.times), max(evidence.times))], _TRACK
        for start, end in spans:
            draw.rectangle((place(start), top - 3, place(end), bottom + 3), fill=colour)
    mark = place(float(workspace.media.times[index]))
    draw.line((mark, 2, mark, BAR - 3), fill=_INK, width=2)
    return np.asarray(canvas)


def _frame_of(evidence: Evidence) -> int | None:
    """The frame on which evidence is drawn; None where it is on many or none."""
    if isinstance(evidence, (View, Mask, TextLines)):
        return evidence.frame_index
    if isinstance(evidence, Tracklet):
        return evidence.frame_indices[-1]
    return None


def _canvas(
    workspace: Workspace, look: ViewRef, drawn: Sequence[Evidence]
) -> tuple[Image.Image, Letterbox]:
    """A look with evidence on it, letterboxed into 448x448 px, and how it was fitted."""
    fit = Letterbox.fit(Region(0, 0, look.region.width, look.region.height), PANEL)
    method = cv2.INTER_AREA if fit.scale < 1 else cv2.INTER_CUBIC
    size = (fit.width, fit.height)
    pixels = np.asarray(
        cv2.resize(look_pixels(workspace, look), size, interpolation=method), np.uint8
    )
    for evidence in drawn:
        if isinstance(evidence, Mask):
            pixels = _tint(pixels, evidence, look.region)
    canvas = Image.new("RGB", (PANEL, PANEL), _PAPER)
    canvas.paste(Image.fromarray(pixels), (fit.pad_x, fit.pad_y))
    draw = ImageDraw.Draw(canvas)
    for evidence in drawn:
        _outline(draw, evidence, look, fit)
    return canvas, fit


def _panel(
    workspace: Workspace, look: ViewRef, drawn: Sequence[Evidence], caption: str
) -> NDArray[np.uint8]:
    canvas = Image.new("RGB", (PANEL, PANEL + CAPTION), _PAPER)
    canvas.paste(_canvas(workspace, look, drawn)[0], (0, 0))
    _write(ImageDraw.Draw(canvas), caption)
    return np.asarray(canvas)


def _tint(pixels: NDArray[np.uint8], mask: Mask, region: Region) -> NDArray[np.uint8]:
    x0, y0, x1, y1 = region
    cut = mask.rle.decode()[y0:y1, x0:x1].astype(np.uint8)
    size = (pixels.shape[1], pixels.shape[0])
    inside = np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    mixed = pixels * 0.6 + np.array(_MASK) * 0.4
    tinted = np.where(inside[..., None], mixed, pixels).astype(np.uint8)
    edges, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(tinted, edges, -1, _MASK, 1), np.uint8)


def _outline(draw: ImageDraw.ImageDraw, evidence: Evidence, look: ViewRef, fit: Letterbox) -> None:
    def place(x: float, y: float) -> tuple[float, float]:
        region = look.region
        return (x - region.x0) * fit.scale + fit.pad_x, (y - region.y0) * fit.scale + fit.pad_y

    def rectangle(box: Box, colour: tuple[int, int, int], width: int = 2) -> None:
        draw.rectangle((place(*box[:2]), place(*box[2:])), outline=colour, width=width)

    if isinstance(evidence, View) and evidence.region != look.region:
        rectangle(evidence.region.box, _VIEW)
    elif isinstance(evidence, Mask):
        rectangle(evidence.box, _MASK, 1)
    elif isinstance(evidence, TextLines):
        if evidence.region != look.region:
            rectangle(evidence.region.box, _TEXT, 1)
        for line in evidence.lines:
            draw.polygon([place(*corner) for corner in line.quad], outline=_TEXT, width=2)
    elif isinstance(evidence, Tracklet):
        centres = [place((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in evidence.boxes]
        if len(centres) > 1:
            draw.line(centres, fill=_TRACK, width=2)
        rectangle(evidence.boxes[0], _TRACK, 1)
        rectangle(evidence.boxes[-1], _TRACK)


def _write(draw: ImageDraw.ImageDraw, caption: str) -> None:
    font = ImageFont.load_default(13)
    lines = [line for part in caption.split("\n") for line in textwrap.wrap(part, 66)]
    for row, line in enumerate(lines[: CAPTION // 18]):
        draw.text((8, PANEL + 4 + row * 18), line, font=font, fill=_INK)


class Window:
    """A window that shows frames, for `render_mode="human"`.

    Args:
        fps: Frames a second at the most.

    Raises:
        MissingExtra: pygame is not installed.
    """

    def __init__(self, fps: int) -> None:
        try:
            import pygame
        except ImportError:
            raise MissingExtra("the window of render_mode='human'", "human") from None
        self._pygame: Any = pygame
        pygame.init()
        self._screen = pygame.display.set_mode((PANEL, PANEL + CAPTION))
        pygame.display.set_caption("Pixelis")
        self._clock, self._fps = pygame.time.Clock(), fps

    def show(self, frame: NDArray[np.uint8]) -> None:
        """Shows a frame of `draw_workspace` and waits as the frame rate asks."""
        surface = self._pygame.surfarray.make_surface(frame.swapaxes(0, 1))
        self._screen.blit(surface, (0, 0))
        self._pygame.event.pump()
        self._pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Closes the window."""
        self._pygame.quit()
