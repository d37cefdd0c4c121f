"""Pictures of an episode: evidence drawn on the pixels it came from."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pixelis_env.coordinates import Box, Letterbox, Region
from pixelis_env.describe import describe
from pixelis_env.errors import MissingExtra
from pixelis_env.evidence import Evidence, Mask, TextLines, Tracklet, View
from pixelis_env.observation import current_look, look_pixels
from pixelis_env.workspace import ViewRef, Workspace

PANEL, CAPTION = 448, 60  # px
_INK, _PAPER = (235, 235, 240), (24, 26, 32)
_VIEW, _MASK, _TRACK, _TEXT = (255, 190, 60), (60, 220, 150), (250, 100, 170), (90, 170, 255)


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


def _frame_of(evidence: Evidence) -> int | None:
    """The frame on which evidence is drawn; None where it is on many or none."""
    if isinstance(evidence, (View, Mask, TextLines)):
        return evidence.frame_index
    if isinstance(evidence, Tracklet):
        return evidence.frame_indices[-1]
    return None


def _panel(
    workspace: Workspace, look: ViewRef, drawn: Sequence[Evidence], caption: str
) -> NDArray[np.uint8]:
    fit = Letterbox.fit(Region(0, 0, look.region.width, look.region.height), PANEL)
    method = cv2.INTER_AREA if fit.scale < 1 else cv2.INTER_CUBIC
    size = (fit.width, fit.height)
    pixels = np.asarray(
        cv2.resize(look_pixels(workspace, look), size, interpolation=method), np.uint8
    )
    for evidence in drawn:
        if isinstance(evidence, Mask):
            pixels = _tint(pixels, evidence, look.region)
    canvas = Image.new("RGB", (PANEL, PANEL + CAPTION), _PAPER)
    canvas.paste(Image.fromarray(pixels), (fit.pad_x, fit.pad_y))
    draw = ImageDraw.Draw(canvas)
    for evidence in drawn:
        _outline(draw, evidence, look, fit)
    draw.rectangle((0, PANEL, PANEL, PANEL + CAPTION), fill=_PAPER)
    _write(draw, caption)
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
