"""Zoom: the native pixels of a box."""

from __future__ import annotations

from pixelis_env.actions import Zoom
from pixelis_env.coordinates import box_to_source, snap
from pixelis_env.evidence import View, pixel_digest
from pixelis_env.tools.spans import frame_time
from pixelis_env.workspace import ViewRef, Workspace


def zoom(action: Zoom, workspace: Workspace) -> View:
    """The smallest whole-pixel region of the looked-at view that covers the box.

    Nothing is resampled, so a crop of a crop is the crop of the composed box, pixel for pixel.

    Raises:
        InvalidCall: The box leaves the view, or the source has no place.
    """
    look = workspace.look(action.source, action.time)
    region = snap(box_to_source(action.box, action.frame, look.region), look.region)
    pixels = workspace.pixels(ViewRef(look.frame_index, region))
    return View(
        region=region,
        frame_index=look.frame_index,
        time=frame_time(workspace.media, look.frame_index),
        pixels=pixel_digest(pixels),
    )
