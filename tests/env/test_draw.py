"""Evidence drawn: what is found is where it was found, and when."""

from __future__ import annotations

import numpy as np
import pytest

from pixelis_env.actions import Localize, Properties, Segment, Track, Zoom
from pixelis_env.coordinates import Region
from pixelis_env.draw import _MASK, _SPAN, _TEXT, _TRACK, _VIEW, BAR, draw_evidence
from pixelis_env.evidence import Intervals, TextLine, TextLines, ToolError
from pixelis_env.media import ArrayMedia
from pixelis_env.tools import Toolbox
from pixelis_env.workspace import Workspace


def square_clip(n_frames: int = 8) -> ArrayMedia:
    """A bright square that stands still on a dark ground, 64x48 px, 2 frames a second."""
    frames = np.full((n_frames, 48, 64, 3), 30, np.uint8)
    frames[:, 16:32, 24:40] = (250, 240, 90)
    return ArrayMedia(frames, fps=2.0)


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    workspace, toolbox = Workspace(square_clip()), Toolbox()
    box = (24 / 0.064, 16 / 0.048, 40 / 0.064, 32 / 0.048)
    for action in (
        Zoom(box=(250, 200, 750, 800), time=1.0),
        Segment(box=box, time=1.0),
        Track(target="e2", span=(1.0, 3.0)),
        Localize(target="e2", span=(0.0, 2.0)),
        Properties(targets=("e2",)),
    ):
        workspace.add(toolbox.run(action, workspace))
    # Not by a reader, which takes seconds to load.
    line = TextLine(text="a", quad=((2, 2), (9, 2), (9, 6), (2, 6)), confidence=1.0)
    region = Region(0, 0, 32, 24)
    workspace.add(TextLines(region=region, frame_index=0, time=0.0, lines=(line,)))
    return workspace


def has(pixels: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((pixels == np.array(colour, np.uint8)).all(-1).any())


def test_the_medium_is_its_overview(workspace) -> None:
    (picture,) = draw_evidence(workspace, 0)
    assert picture.shows == "overview"
    assert picture.pixels.shape == (2 * 84, 448, 3)


def test_a_view_is_its_box_in_the_frame_and_its_pixels(workspace) -> None:
    whole, own = draw_evidence(workspace, 1)
    assert (whole.shows, own.shows) == ("frame at 1.00 s", "view e1")
    assert whole.pixels.shape == (336 + BAR, 448, 3)
    assert has(whole.pixels, _VIEW)
    assert not has(own.pixels, _VIEW)
    height, width = own.pixels.shape[:2]
    region = workspace.evidence[1].region
    assert width / height == pytest.approx(region.width / region.height, abs=0.02)


@pytest.mark.parametrize(("number", "colour"), [(2, _MASK), (3, _TRACK), (5, _MASK), (6, _TEXT)])
def test_what_was_found_is_drawn_in_its_colour(workspace, number, colour) -> None:
    (picture,) = draw_evidence(workspace, number)
    assert has(picture.pixels[:-BAR], colour)


def test_spans_lie_on_the_timeline_where_they_are_in_time(workspace) -> None:
    found = workspace.evidence[4]
    assert isinstance(found, Intervals)
    (start, end) = found.spans[0]
    (picture,) = draw_evidence(workspace, 4)
    columns = np.flatnonzero((picture.pixels[-BAR // 2] == np.array(_SPAN)).all(-1))
    left, right = 8, 448 - 9
    seconds = (columns - left) / (right - left) * workspace.media.duration
    assert seconds.max() == pytest.approx(end, abs=0.05)
    assert seconds.min() == pytest.approx(start, abs=0.1)  # the mark may cover its first pixels


def test_an_image_has_no_timeline_and_an_error_no_picture() -> None:
    still = Workspace(ArrayMedia(np.full((40, 60, 3), 90, np.uint8)))
    toolbox = Toolbox()
    still.add(toolbox.run(Zoom(box=(0, 0, 1000, 1000)), still))
    (picture,) = draw_evidence(still, 1)
    assert picture.shows == "image"
    assert picture.pixels.shape == (299, 448, 3)
    still.add(ToolError(message="no"))
    assert draw_evidence(still, 2) == []
