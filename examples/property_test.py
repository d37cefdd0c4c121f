"""A property-based test of a tool: run it with pytest, or as a script."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelis_env.actions import Zoom
from pixelis_env.env import PixelisEnv
from pixelis_env.media import ArrayMedia
from pixelis_env.tasks.single import SingleSource

PICTURE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
SIDES = st.tuples(st.integers(0, 159), st.integers(0, 159)).filter(lambda s: s[0] < s[1])


@given(x=SIDES, y=SIDES.filter(lambda s: s[1] <= 120))
@settings(deadline=None)
def test_a_zoom_shows_exactly_the_pixels_of_its_box(x, y):
    """Whatever the box, the view holds the picture's own pixels."""
    env = PixelisEnv(SingleSource(ArrayMedia(PICTURE), "?"))
    env.reset()
    info = env.step(Zoom(box=(x[0], y[0], x[1], y[1]), frame="px"))[4]
    assert np.array_equal(np.asarray(info["view"]), PICTURE[y[0] : y[1], x[0] : x[1]])


if __name__ == "__main__":
    test_a_zoom_shows_exactly_the_pixels_of_its_box()
    print("the law held")
