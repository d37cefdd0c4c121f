"""From spans in seconds to frames, and from evidence to the object it shows."""

from __future__ import annotations

from typing import NamedTuple

from pixelis_env.coordinates import Box
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import RLE, Mask, TextLines, Tracklet, View
from pixelis_env.media.base import Media
from pixelis_env.workspace import Workspace


class Target(NamedTuple):
    """An object in a frame. `rle` is None where only its box is known."""

    frame_index: int
    box: Box
    rle: RLE | None


def target_of(workspace: Workspace, evidence_id: str) -> Target:
    """The object that a view, mask, tracklet (where last seen) or text shows.

    Raises:
        InvalidCall: The evidence shows no one object.
    """
    evidence = workspace.get(evidence_id)
    if isinstance(evidence, View):
        return Target(evidence.frame_index, evidence.region.box, None)
    if isinstance(evidence, Mask):
        return Target(evidence.frame_index, evidence.box, evidence.rle)
    if isinstance(evidence, Tracklet):
        seen = [i for i, visible in enumerate(evidence.visible) if visible]
        if not seen:
            raise InvalidCall(f"the object of {evidence_id} is visible in none of its frames")
        return Target(evidence.frame_indices[seen[-1]], evidence.boxes[seen[-1]], None)
    if isinstance(evidence, TextLines):
        corners = [corner for line in evidence.lines for corner in line.quad]
        if not corners:
            raise InvalidCall(f"{evidence_id} holds no text, so it shows nothing to look for")
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return Target(evidence.frame_index, (min(xs), min(ys), max(xs), max(ys)), None)
    raise InvalidCall(
        f"{evidence_id} is a {evidence.kind}, which shows no single object; "
        "name a view (zoom first), mask, tracklet or text"
    )


def frame_time(media: Media, index: int) -> float:
    """When frame `index` appears, in seconds."""
    return float(media.times[index])


def frame_end(media: Media, index: int) -> float:
    """When frame `index` disappears, in seconds: as the next one appears, or at the end."""
    return float(media.times[index + 1]) if index + 1 < media.n_frames else float(media.duration)


def frames_until(workspace: Workspace, start: float, end: float) -> tuple[int, int]:
    """First and last frame on show during `start` <= time < `end`.

    Half open, so that the end of one interval is the start of the next and an interval handed
    back as a span means the same frames. A span of no length is the frame on show then.

    Raises:
        InvalidCall: A time lies outside the medium, or the span is turned round.
    """
    if end < start:
        raise InvalidCall(
            f"span ({start:g}, {end:g}) ends before it starts: give (start, end) with "
            f"0 <= start <= end <= {workspace.media.duration:g} s"
        )
    first, last = workspace.frame_at(start), workspace.frame_at(end)
    # A time may have been written to the millisecond.
    if last > first and workspace.media.times[last] > end - 1e-3:
        last -= 1
    return first, last
