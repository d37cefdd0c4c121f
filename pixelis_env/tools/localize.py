"""Localize: when something is visible, or the scenes between cuts."""

from __future__ import annotations

from itertools import groupby

from pixelis_env.actions import Localize
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import Intervals, TextLines, Tracklet
from pixelis_env.media.base import Media
from pixelis_env.tools.backend import Localizer, Query, Reader, Scenes, Sight, Wording
from pixelis_env.tools.spans import frame_end, frame_time, frames_until, target_of
from pixelis_env.workspace import Workspace


def search_span(action: Localize, workspace: Workspace) -> tuple[int, int]:
    """The first and last frame to search; the default is the whole medium.

    Raises:
        InvalidCall: A time lies outside the medium, or the span is turned round.
    """
    if action.span is None:
        return 0, workspace.media.n_frames - 1
    return frames_until(workspace, *action.span)


def query_of(action: Localize, workspace: Workspace, reader: Reader) -> Query:
    """What to look for: a text, what evidence shows, or with neither the scenes between cuts.

    Raises:
        InvalidCall: The target shows nothing that could be looked for.
    """
    if action.text is not None:
        return _wording(action.text, reader)
    if action.target is None:
        return Scenes()
    evidence = workspace.get(action.target)
    if isinstance(evidence, TextLines) and evidence.lines:
        return _wording(evidence.text, reader)
    return Sight(*target_of(workspace, action.target))


def _wording(text: str, reader: Reader) -> Wording:
    if not any(character.isalnum() for character in text):
        raise InvalidCall(f"text {text!r} has no letter or digit to look for")
    return Wording(text, reader)


def localize(backend: Localizer, media: Media, query: Query, first: int, last: int) -> Intervals:
    """Interval evidence; an interval ends when its last frame does."""
    found = backend.localize(media, query, first, last)
    return Intervals(
        spans=tuple((frame_time(media, a), frame_end(media, b)) for a, b, _ in found),
        scores=tuple(float(score) for _, _, score in found),
    )


def localize_track(track: Tracklet, media: Media, first: int, last: int) -> Intervals:
    """The intervals in which a track that is known already shows its object."""
    seen = sorted(
        (index, score)
        for index, visible, score in zip(
            track.frame_indices, track.visible, track.scores, strict=True
        )
        if visible and first <= index <= last
    )
    runs = [
        [pair for _, pair in run]
        for _, run in groupby(enumerate(seen), key=lambda item: item[1][0] - item[0])
    ]
    return Intervals(
        spans=tuple((frame_time(media, run[0][0]), frame_end(media, run[-1][0])) for run in runs),
        scores=tuple(sum(score for _, score in run) / len(run) for run in runs),
    )
