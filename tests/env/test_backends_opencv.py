"""OpenCV's trackers: what they cannot do is said, and what hangs them never reaches them."""

from __future__ import annotations

import cv2
import pytest

from pixelis_env.actions import Track, Zoom
from pixelis_env.errors import InvalidCall
from pixelis_env.metrics.overlap import box_iou
from pixelis_env.tools import Toolbox
from pixelis_env.workspace import Workspace
from tests.laws.scenes import clip

needs_contrib = pytest.mark.skipif(
    not hasattr(cv2, "TrackerCSRT"), reason="opencv-contrib is not installed"
)


def test_an_algorithm_of_another_build_is_named_with_the_mend() -> None:
    if hasattr(cv2, "TrackerCSRT"):
        pytest.skip("opencv-contrib is installed")
    with pytest.raises(ValueError, match=r"csrt.*pip install opencv-contrib-python-headless"):
        Toolbox({"track": {"name": "opencv", "algorithm": "csrt"}})


def test_an_unknown_algorithm_is_named() -> None:
    with pytest.raises(ValueError, match="one of mil, csrt, kcf"):
        Toolbox({"track": {"name": "opencv", "algorithm": "tld"}})


def test_a_box_that_it_would_hang_on_is_refused() -> None:
    toolbox, workspace = Toolbox({"track": "opencv"}), Workspace(clip(0, n_frames=3).media)
    target = workspace.add(toolbox.run(Zoom(box=(5, 5, 6, 6), frame="px"), workspace))
    with pytest.raises(InvalidCall, match="1x1 pixels: tracking needs at least 4x4"):
        toolbox.run(Track(target=target), workspace)


@pytest.mark.parametrize(
    "algorithm",
    ["mil", pytest.param("csrt", marks=needs_contrib), pytest.param("kcf", marks=needs_contrib)],
)
def test_an_object_at_rest_is_kept(algorithm: str) -> None:
    scene = clip(2, n_frames=5, speed=(0, 0))
    toolbox = Toolbox({"track": {"name": "opencv", "algorithm": algorithm}})
    workspace = Workspace(scene.media)
    box = scene.boxes[0]
    assert box is not None
    target = workspace.add(toolbox.run(Zoom(box=box, frame="px"), workspace))
    track = toolbox.run(Track(target=target), workspace)
    assert all(track.visible)
    assert min(box_iou(found, box) for found in track.boxes) > 0.3
