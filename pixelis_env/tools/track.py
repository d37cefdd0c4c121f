"""Track: one object through a span of the video."""

from __future__ import annotations

from collections.abc import Sequence

from pixelis_env.actions import Track
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import Tracklet
from pixelis_env.media.base import Media
from pixelis_env.tools.backend import Tracker, TrackPoint
from pixelis_env.tools.spans import Target, frame_time, target_of
from pixelis_env.workspace import Workspace

MAX_FRAMES = 1000
"""Frames that one call may look at, between the target's frame and the far end of the span."""


def track_plan(action: Track, workspace: Workspace) -> tuple[Target, tuple[int, ...]]:
    """The object to follow and the frames to report, in the order of the span.

    The span runs from the frame on show at its start to the one on show at its end, both
    included; end < start goes backwards. The default is the target's own frame to the last.

    Raises:
        InvalidCall: The medium is an image, the target shows no object, a time lies outside the
            medium, or the frames to look at are too many.
    """
    media = workspace.media
    if media.n_frames == 1:
        raise InvalidCall(
            "there is one frame only, so nothing can be tracked: segment, zoom or measure instead"
        )
    target = target_of(workspace, action.target)
    if action.span is None:
        first, last = target.frame_index, media.n_frames - 1
    else:
        first, last = (workspace.frame_at(time) for time in action.span)
    # The way from the target's frame to a span that does not contain it is looked at as well.
    looked_at = max(first, last, target.frame_index) - min(first, last, target.frame_index) + 1
    if looked_at > MAX_FRAMES:
        raise InvalidCall(
            f"tracking would look at {looked_at} frames, at most {MAX_FRAMES} are allowed in a "
            "call: give a span whose ends are nearer to the target's time, "
            f"{frame_time(media, target.frame_index):g} s"
        )
    step = 1 if last >= first else -1
    return target, tuple(range(first, last + step, step))


def track(tracker: Tracker, media: Media, target: Target, frames: Sequence[int]) -> Tracklet:
    """Tracklet evidence for `frames`.

    The tracker always sets out from the target's own frame, forwards, backwards or both, and runs
    through any gap between that frame and the span; only the span is reported.
    """
    mask = None if target.rle is None else target.rle.decode()
    start, low, high = target.frame_index, min(frames), max(frames)
    ways = [range(start, high + 1)] if high > start else []
    ways += [range(start, low - 1, -1)] if low < start else []
    points: dict[int, TrackPoint] = {}
    for way in ways or [range(start, start + 1)]:
        points.update(zip(way, tracker.track(media, way, target.box, mask), strict=True))
    found = [points[index] for index in frames]
    return Tracklet(
        frame_indices=tuple(frames),
        times=tuple(frame_time(media, index) for index in frames),
        boxes=tuple(point.box for point in found),
        visible=tuple(point.visible for point in found),
        scores=tuple(float(point.score) for point in found),
    )
