"""Every backend of an operation keeps its contract: the laws that need no skill, and its own.

The models are small and their weights drawn, so nothing here says how good a backend is.
"""

from __future__ import annotations

import importlib.util
import pickle
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pixelis_env.actions import Action, ReadText, Segment, Track, Zoom
from pixelis_env.errors import InvalidCall, MissingExtra
from pixelis_env.evidence import pixel_digest
from pixelis_env.tools import Toolbox
from pixelis_env.tools.backends import weights
from pixelis_env.tools.cache import RESULTS
from pixelis_env.tools.registry import BACKENDS, DEFAULTS
from pixelis_env.workspace import Workspace
from tests.env import tiny_models
from tests.laws import laws_read_text, laws_segment, laws_track  # noqa: F401  (enters them in LAWS)
from tests.laws.law import LAWS
from tests.laws.scenes import clip

needs_tesseract = pytest.mark.skipif(
    shutil.which("tesseract") is None or importlib.util.find_spec("pytesseract") is None,
    reason="tesseract is not installed",
)
CASES = [
    pytest.param(("segment", "sam"), id="segment-sam"),
    pytest.param(("segment", "sam2"), id="segment-sam2"),
    pytest.param(("track", "sam2"), id="track-sam2"),
    pytest.param(("track", "opencv"), id="track-opencv"),
    pytest.param(("read_text", "tesseract"), id="read_text-tesseract", marks=needs_tesseract),
]
CONTRACT = {
    "segment": ("segment_gives_a_mask_of_the_frame", "segment_contains_its_point"),
    "track": (
        "track_starts_with_its_prompt",
        "track_keeps_the_order_of_its_span",
        "track_of_a_part_is_part_of_the_track",
    ),
    "read_text": ("read_text_stays_in_its_region", "read_text_finds_nothing_on_a_blank_image"),
}
"""The laws that a model which has learned nothing keeps."""


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[tuple[str, Toolbox]]:
    """An operation and a toolbox whose backend for it is the one on trial."""
    torch.set_num_threads(1)
    op, name = request.param
    folder: Path = tmp_path_factory.mktemp(name)
    if name == "sam":
        with tiny_models.segment_anything():
            file = tiny_models.write_sam(folder / "weights.pth")
            options = {"name": name, "checkpoint": file, "model_type": "tiny"}
            yield op, Toolbox({op: options})
    elif name == "sam2":
        yield op, Toolbox({op: {"name": name, "checkpoint": tiny_models.write_sam2(folder)}})
    else:
        yield op, Toolbox({op: name})


def test_no_backend_is_forgotten() -> None:
    """The defaults and the oracle have their own tests, MMOCR's need its environment."""
    tried = {param.values[0] for param in CASES} | {("read_text", "mmocr")}
    named = {(op, name) for op, known in BACKENDS.items() for name in known}
    assert {(op, name) for op, name in named if name not in (DEFAULTS[op], "oracle")} == tried


def test_it_keeps_the_laws(case: tuple[str, Toolbox]) -> None:
    op, toolbox = case
    for name in CONTRACT[op]:
        LAWS[name].put_to(toolbox, examples=1 if op == "track" else 4)


def _actions(op: str, seed: int) -> list[Action]:
    box = clip(seed, n_frames=4).boxes[0]
    assert box is not None
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    actions: dict[str, list[Action]] = {
        "segment": [Segment(box=box, frame="px"), Segment(point=centre, frame="px", time=0.2)],
        "track": [Track(target="e1")],
        "read_text": [ReadText()],
    }
    return [Zoom(box=box, frame="px"), *actions[op]]


def _outcomes(toolbox: Toolbox, op: str, seed: int) -> list[str]:
    """What each action gives, with nothing cached and every global generator elsewhere."""
    RESULTS.clear()
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    scene = clip(1, n_frames=4)
    frames = [pixel_digest(scene.media.frame(i)) for i in range(4)]
    workspace, outcomes = Workspace(scene.media), []
    for action in _actions(op, 1):
        try:
            evidence = toolbox.run(action, workspace)
            workspace.add(evidence)
            outcomes.append(evidence.digest)
        except InvalidCall as refusal:
            outcomes.append(str(refusal))
    assert [pixel_digest(scene.media.frame(i)) for i in range(4)] == frames
    return outcomes


def test_it_repeats_itself(case: tuple[str, Toolbox]) -> None:
    """Pickled, loaded anew, in another thread, and whatever the global random state."""
    op, toolbox = case
    first = _outcomes(toolbox, op, 0)
    weights._MADE.clear()
    carried = pickle.loads(pickle.dumps(toolbox))
    again: list[list[str]] = []
    thread = threading.Thread(target=lambda: again.append(_outcomes(carried, op, 1)))
    thread.start()
    thread.join()
    assert again == [first]


def test_it_leaves_the_global_random_state_alone(case: tuple[str, Toolbox]) -> None:
    op, toolbox = case
    weights._MADE.clear()
    _outcomes(toolbox, op, 5)
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state[1], np.random.get_state()[1])  # noqa: NPY002


BAD = [
    ({"name": "sam"}, "must be a file of weights; they are at https://"),
    ({"name": "sam", "checkpoint": "/nowhere/sam_vit_b.pth"}, "nowhere.*file of weights"),
    ({"name": "sam2"}, "hub id such as 'facebook/sam2.1-hiera-small'"),
    ({"name": "sam2", "checkpoint": "/nowhere/sam2"}, "folder written by save_pretrained"),
    ({"name": "sam2", "checkpoint": "a/b", "dtype": "int8"}, "one of float32, bfloat16"),
]


def test_bad_options_are_named() -> None:
    with tiny_models.segment_anything():
        for spec, says in BAD:
            with pytest.raises(ValueError, match=says):
                Toolbox({"segment": spec})


def test_missing_packages_are_named_with_their_extra() -> None:
    if importlib.util.find_spec("torchvision") is not None:
        pytest.skip("torchvision is installed")
    with pytest.raises(MissingExtra, match=r"pip install 'pixelis\[sam\]'"):
        Toolbox({"segment": {"name": "sam", "checkpoint": "sam_vit_b.pth"}})
