from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_env.actions import Answer, ReadText, Segment, Zoom
from pixelis_env.env import PixelisEnv
from pixelis_env.media import ArrayMedia
from pixelis_env.metrics.interval import mean_interval, ratio_interval
from pixelis_env.metrics.pointing import Aim, aims
from pixelis_env.metrics.process import chain_match
from pixelis_env.tasks.single import SingleSource

CLIP = ArrayMedia(np.random.default_rng(0).integers(0, 256, (4, 100, 100, 3), np.uint8), fps=1.0)


class Squares:
    """Target 0 shows in frames 0 and 1, target 1 in frame 1 only."""

    names = ("cup", "lamp")

    def box(self, k, index):
        if k == 0 and index <= 1:
            return (10.0, 10.0, 30.0, 30.0)
        if k == 1 and index == 1:
            return (50.0, 50.0, 90.0, 90.0)
        return None


def played(*actions):
    env = PixelisEnv(SingleSource(CLIP, "Which?", options=["this", "that"], answer="B"))
    env.reset(seed=0)
    for action in actions:
        env.step(action)
    return env.steps, env.workspace


def test_each_pointing_call_is_judged_in_source_pixels_of_its_frame() -> None:
    steps, workspace = played(
        Zoom(box=(0, 0, 500, 500)),  # 50 px: IoU 400/2500 with target 0
        Zoom(box=(200, 200, 600, 600), source="e1"),  # 10..30 px of the crop: exactly target 0
        Segment(box=(500, 500, 900, 900), time=1.0),  # exactly target 1
        Segment(box=(500, 500, 900, 900), time=0.0),  # target 0 shows, missed
        Segment(box=(100, 100, 300, 300), time=3.0),  # nothing is in view
        Segment(point=(200, 200)),
        Segment(point=(950, 50)),
        ReadText(),  # the whole view: no aim
        Zoom(box=(0, 0, 2000, 500)),  # invalid
        Answer(text="B"),
    )
    assert aims(steps, workspace, Squares()) == (
        Aim(1, "zoom", "box", 0, pytest.approx(0.16)),
        Aim(2, "zoom", "box", 0, pytest.approx(1.0)),
        Aim(3, "segment", "box", 1, pytest.approx(1.0)),
        Aim(4, "segment", "box", 0, 0.0),
        Aim(5, "segment", "box", None, 0.0),
        Aim(6, "segment", "point", 0, 1.0),
        Aim(7, "segment", "point", 0, 0.0),
    )


def test_chain_match_counts_the_common_subsequence_of_valid_operations() -> None:
    steps, _ = played(
        Zoom(box=(0, 0, 2000, 500)),  # invalid: not counted
        ReadText(),
        Zoom(box=(0, 0, 500, 500)),
        Segment(box=(0, 0, 500, 500)),
        Answer(text="B"),
    )
    assert chain_match(steps, ["zoom", "segment"]) == 1
    assert chain_match(steps, ["segment", "zoom"]) == 0.5
    assert chain_match(steps, ["zoom", "zoom", "segment", "properties"]) == 0.5
    assert chain_match(steps[:1], ["zoom"]) == 0
    with pytest.raises(ValueError, match="no operation"):
        chain_match(steps, [])


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.integers(0, 99))
def test_an_interval_holds_its_mean_and_stays_within_the_values(values, seed) -> None:
    mean, low, high = mean_interval(values, seed)
    assert mean == pytest.approx(np.mean(values))
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert mean_interval(values, seed) == (mean, low, high)


def test_an_interval_of_known_width() -> None:
    mean, low, high = mean_interval([0.0, 1.0] * 200)
    assert mean == 0.5
    assert (high - low) / 2 == pytest.approx(1.96 * 0.5 / 20, rel=0.1)


def test_groups_are_resampled_whole() -> None:
    # Ten episodes of ten equal calls know as little as ten calls.
    rng = np.random.default_rng(0)
    values = rng.random(10)
    grouped = ratio_interval(values * 10, np.full(10, 10.0))
    assert grouped == pytest.approx(mean_interval(values))
    assert ratio_interval([1.0, 0.0, 0.0], [2.0, 0.0, 2.0])[0] == 0.25
    with pytest.raises(ValueError, match="no values"):
        ratio_interval([0.0], [0.0])
    with pytest.raises(ValueError, match="2 sums but 1 counts"):
        ratio_interval([0.0, 1.0], [1.0])
