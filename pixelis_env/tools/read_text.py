"""ReadText: the lines of text in a view, in reading order."""

from __future__ import annotations

from collections.abc import Sequence

from pixelis_env.actions import ReadText
from pixelis_env.coordinates import Box, Region, box_to_source, snap
from pixelis_env.evidence import TextLine, TextLines
from pixelis_env.media.base import Media
from pixelis_env.tools.backend import Reader
from pixelis_env.tools.spans import frame_time
from pixelis_env.workspace import Workspace


def reading_region(action: ReadText, workspace: Workspace) -> tuple[int, Region]:
    """The frame and the region to read.

    Raises:
        InvalidCall: The box leaves the view, or the source has no place.
    """
    look = workspace.look(action.source, action.time)
    if action.box is None:
        return look.frame_index, look.region
    box = box_to_source(action.box, action.frame, look.region)
    return look.frame_index, snap(box, look.region)


def read_text(backend: Reader, media: Media, index: int, region: Region) -> TextLines:
    """TextLines evidence: quads clipped to the region, rows from the top, each from the left."""
    lines = [_clipped(line, region) for line in backend.read(media, index, region)]
    return TextLines(
        region=region,
        frame_index=index,
        time=frame_time(media, index),
        lines=tuple(in_reading_order([line for line in lines if line.text])),
    )


def _clipped(line: TextLine, region: Region) -> TextLine:
    (x0, y0), (x1, y1) = (region.x0, region.y0), (region.x1, region.y1)
    quad = tuple((float(min(max(x, x0), x1)), float(min(max(y, y0), y1))) for x, y in line.quad)
    return line.model_copy(update={"quad": quad})


def in_reading_order(lines: Sequence[TextLine]) -> list[TextLine]:
    """Rows from top to bottom, each from left to right, whatever order the lines came in.

    A line belongs to a row when its middle lies within the height of the row's first line.
    """
    left = sorted(lines, key=lambda line: (*_extent(line)[1::2], line.text))
    ordered: list[TextLine] = []
    while left:
        _, top, _, bottom = _extent(left[0])
        row = [line for line in left if top <= _middle(line) <= bottom]
        # Degenerate quads may have their own middle outside by rounding.
        row = row if left[0] in row else [left[0], *row]
        left = [line for line in left if line not in row]
        ordered += sorted(row, key=lambda line: (*_extent(line), line.text))
    return ordered


def _extent(line: TextLine) -> Box:
    xs, ys = [x for x, _ in line.quad], [y for _, y in line.quad]
    return min(xs), min(ys), max(xs), max(ys)


def _middle(line: TextLine) -> float:
    _, top, _, bottom = _extent(line)
    return (top + bottom) / 2
