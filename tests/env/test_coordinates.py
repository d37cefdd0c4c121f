from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_env.coordinates import (
    Frame,
    Letterbox,
    Region,
    box_from_source,
    box_to_source,
    limits,
    point_to_source,
    snap,
)
from pixelis_env.errors import InvalidCall

FRAMES: tuple[Frame, ...] = ("rel1000", "unit", "px")


@st.composite
def regions(draw: st.DrawFn) -> Region:
    x0, y0 = draw(st.integers(0, 500)), draw(st.integers(0, 500))
    return Region(x0, y0, x0 + draw(st.integers(1, 4000)), y0 + draw(st.integers(1, 4000)))


@st.composite
def boxes_in(draw: st.DrawFn, region: Region) -> tuple[float, float, float, float]:
    x = sorted(draw(st.tuples(*[st.floats(0, 1)] * 2)))
    y = sorted(draw(st.tuples(*[st.floats(0, 1)] * 2)))
    return (
        region.x0 + x[0] * region.width,
        region.y0 + y[0] * region.height,
        region.x0 + x[1] * region.width,
        region.y0 + y[1] * region.height,
    )


@given(st.data(), regions(), st.sampled_from(FRAMES))
def test_a_box_survives_the_way_there_and_back(
    data: st.DataObject, region: Region, frame: Frame
) -> None:
    box = data.draw(boxes_in(region))
    written = box_from_source(box, frame, region)
    tolerance = 1e-6 if frame != "rel1000" else max(region.width, region.height) / 2000 + 1e-6
    if written[0] < written[2] and written[1] < written[3]:
        again = box_to_source(written, frame, region)
        assert all(abs(a - b) <= tolerance for a, b in zip(box, again, strict=True))


@given(regions(), st.sampled_from(FRAMES))
def test_the_whole_view_is_the_region(region: Region, frame: Frame) -> None:
    x, y = limits(frame, region)
    assert box_to_source((0, 0, x, y), frame, region) == region.box
    assert snap(region.box, region) == region


@given(st.data(), regions())
def test_snap_covers_the_box_and_stays_inside(data: st.DataObject, region: Region) -> None:
    box = data.draw(boxes_in(region))
    snapped = snap(box, region)
    assert region.contains(snapped)
    assert snapped.width >= 1
    assert snapped.height >= 1
    assert snapped.x0 <= box[0] + 1e-5
    assert snapped.x1 >= box[2] - 1e-5
    assert snapped.width <= box[2] - box[0] + 2


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(
    "box", [(0.2, 0.2, 0.2, 0.5), (0.5, 0.2, 0.1, 0.5), (-0.1, 0, 0.5, 0.5), (0, 0, 1.01, 1)]
)
def test_a_bad_box_names_the_range_and_the_size(
    frame: Frame, box: tuple[float, float, float, float]
) -> None:
    region = Region(10, 20, 110, 70)
    x, y = limits(frame, region)
    with pytest.raises(InvalidCall, match=r"100x50 pixels"):
        box_to_source((box[0] * x, box[1] * y, box[2] * x, box[3] * y), frame, region)


def test_no_frame_is_guessed_from_magnitudes() -> None:
    region = Region(0, 0, 100, 100)
    # 1.0 is a pixel, a thousandth or the whole side: the frame alone decides.
    assert point_to_source((1.0, 1.0), "px", region) == (1.0, 1.0)
    assert point_to_source((1.0, 1.0), "rel1000", region) == (0.1, 0.1)
    assert point_to_source((1.0, 1.0), "unit", region) == (100.0, 100.0)


@given(regions(), st.integers(1, 512))
def test_a_letterbox_fits_and_is_centred(region: Region, size: int) -> None:
    fit = Letterbox.fit(region, size)
    assert max(fit.width, fit.height) == size
    assert 0 <= fit.pad_x <= size - fit.width
    assert 0 <= fit.pad_y <= size - fit.height
