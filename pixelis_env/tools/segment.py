"""Segment: the outline of the object that a box encloses or a point touches."""

from __future__ import annotations

from pixelis_env.actions import Segment
from pixelis_env.coordinates import Box, Point, box_to_source, point_to_source
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import Mask
from pixelis_env.media.base import Media
from pixelis_env.tools.backend import Segmenter
from pixelis_env.tools.spans import frame_time
from pixelis_env.workspace import Workspace


def segment_prompt(action: Segment, workspace: Workspace) -> tuple[int, Box | None, Point | None]:
    """The frame and the prompt in source pixels.

    The view only lends its coordinates: an object that reaches out of a crop is outlined whole.

    Raises:
        InvalidCall: The prompt leaves the view, or the source has no place.
    """
    look = workspace.look(action.source, action.time)
    box = None if action.box is None else box_to_source(action.box, action.frame, look.region)
    if action.point is None:
        return look.frame_index, box, None
    x, y = point_to_source(action.point, action.frame, look.region)
    # The far edge of the frame belongs to its last pixel.
    limit = 1e-3
    point = (min(x, look.region.x1 - limit), min(y, look.region.y1 - limit))
    return look.frame_index, box, point


def segment(
    backend: Segmenter, media: Media, index: int, box: Box | None, point: Point | None
) -> Mask:
    """Mask evidence for a prompt in source pixels.

    Raises:
        InvalidCall: The backend finds no object there.
    """
    mask, score = backend.segment(media, index, box=box, point=point)
    if mask.shape != (media.height, media.width) or not 0 <= score <= 1:
        raise ValueError(
            f"backend {backend.name} broke its protocol: a mask has the frame's shape "
            f"{(media.height, media.width)} and a score in 0..1, not {mask.shape} and {score}"
        )
    if not mask.any():
        raise InvalidCall("no object stands out there: draw a box closely around it")
    return Mask.of(mask, frame_index=index, time=frame_time(media, index), score=float(score))
