"""SAM and SAM 2: what they give is what the reference gives, and a frame is encoded once."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pixelis_env.actions import Segment, Track, Zoom
from pixelis_env.errors import BackendError, InvalidCall
from pixelis_env.media.base import ArrayMedia
from pixelis_env.tools import Toolbox
from pixelis_env.tools.backends.outline import tight_box
from pixelis_env.tools.backends.weights import best_mask
from pixelis_env.tools.cache import RESULTS
from pixelis_env.workspace import Workspace
from tests.env import tiny_models
from tests.laws import laws_segment, laws_track  # noqa: F401  (enters them in LAWS)
from tests.laws.law import LAWS
from tests.laws.scenes import clip, still


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with tiny_models.segment_anything():
        file = tiny_models.write_sam(tmp_path_factory.mktemp("sam") / "weights.pth")
        yield {"name": "sam", "checkpoint": str(file), "model_type": "tiny"}


@pytest.fixture(scope="module")
def sam2(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tiny_models.write_sam2(tmp_path_factory.mktemp("sam2"))
    return {"name": "sam2", "checkpoint": str(folder)}


@pytest.fixture(params=["sam", "sam2"])
def spec(request: pytest.FixtureRequest) -> dict[str, Any]:
    options: dict[str, Any] = request.getfixturevalue(request.param)
    return options


def _encoder(toolbox: Toolbox, op: str = "segment") -> torch.nn.Module:
    """The part that looks at a frame."""
    model = toolbox._backends[op]._loaded().model
    for name in ("model", "video"):
        model = getattr(model, name, model)
    encoder: torch.nn.Module = getattr(model, "image_encoder", None) or model.vision_encoder
    return encoder


class Count:
    """Counts the calls of a module while it lasts."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.calls = 0
        self._hook = module.register_forward_hook(self._called)

    def _called(self, *_: object) -> None:
        self.calls += 1

    def __enter__(self) -> Count:
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def _prompts(media: ArrayMedia, toolbox: Toolbox, time: float = 0.0) -> None:
    """Three different prompts on a frame."""
    RESULTS.clear()
    workspace = Workspace(media)
    for box in ((20, 20, 60, 60), (10, 30, 50, 80)):
        toolbox.run(Segment(box=box, time=time, frame="px"), workspace)
    try:
        toolbox.run(Segment(point=(40, 40), time=time, frame="px"), workspace)
    except InvalidCall as refusal:
        assert "contains the point" in str(refusal)  # noqa: PT017  (a refusal is not demanded)


def test_a_frame_is_encoded_once(spec: dict[str, Any]) -> None:
    """Whatever the prompts, the toolbox, and the object that holds the same medium."""
    frames = np.array([clip(3).media.frame(0), clip(4).media.frame(0)])
    toolbox, other = Toolbox({"segment": spec}), Toolbox({"segment": dict(spec)})
    with Count(_encoder(toolbox)) as count:
        _prompts(ArrayMedia(frames), toolbox)
        assert count.calls == 1
        _prompts(ArrayMedia(frames), toolbox, time=0.1)
        assert count.calls == 2
        _prompts(ArrayMedia(frames.copy()), other)
        _prompts(ArrayMedia(frames), pickle.loads(pickle.dumps(toolbox)), time=0.1)
        assert count.calls == 2
        _prompts(ArrayMedia(frames[:1]), toolbox)
        assert count.calls == 3


def test_tracks_share_their_frames_encodings(sam2: dict[str, Any]) -> None:
    scene = clip(5, n_frames=6)
    toolbox, workspace = Toolbox({"track": sam2}), Workspace(scene.media)
    with Count(_encoder(toolbox, "track")) as count:
        for box in ((10, 10, 60, 60), (30, 20, 90, 70)):
            target = workspace.add(toolbox.run(Zoom(box=box, frame="px"), workspace))
            toolbox.run(Track(target=target), workspace)
            assert count.calls == 6


def test_frames_are_encoded_together(sam2: dict[str, Any]) -> None:
    """Seven frames by fours: two calls; the track is that of single frames, to rounding."""
    scene = clip(5, n_frames=7)
    tracks = []
    for batch, calls in ((1, 7), (4, 2)):
        toolbox, workspace = Toolbox({"track": {**sam2, "batch": batch}}), Workspace(scene.media)
        target = workspace.add(toolbox.run(Zoom(box=(10, 10, 60, 60), frame="px"), workspace))
        with Count(_encoder(toolbox, "track")) as count:
            tracks.append(toolbox.run(Track(target=target), workspace))
        assert count.calls == calls
    single, together = tracks
    assert np.allclose(single.boxes, together.boxes, atol=1)
    assert together.scores == pytest.approx(single.scores, abs=1e-4)
    with pytest.raises(ValueError, match="batch 0 of sam2: must be at least 1"):
        Toolbox({"track": {**sam2, "batch": 0}})


def test_sam_gives_what_its_predictor_gives(sam: dict[str, Any]) -> None:
    import segment_anything

    model = tiny_models.tiny_sam()
    model.load_state_dict(torch.load(sam["checkpoint"], weights_only=True))
    predictor, toolbox = segment_anything.SamPredictor(model), Toolbox({"segment": sam})
    for seed in range(4):
        scene = still(seed)
        workspace = Workspace(scene.media)
        predictor.set_image(scene.media.frame(0))
        masks, scores, _ = predictor.predict(box=np.array(scene.box), multimask_output=False)
        found = toolbox.run(Segment(box=scene.box, frame="px"), workspace)
        assert np.array_equal(found.rle.decode(), masks[0])
        assert found.score == pytest.approx(min(1, max(0, scores[0])))
        points = {"point_coords": np.array([scene.point]), "point_labels": np.array([1])}
        masks, scores, _ = predictor.predict(**points)
        wanted, _ = best_mask(masks, scores, scene.point)
        found = toolbox.run(Segment(point=scene.point, frame="px"), workspace)
        assert np.array_equal(found.rle.decode(), wanted)


def test_sam2_tracks_as_the_whole_video_at_once(sam2: dict[str, Any]) -> None:
    """Frame by frame with embeddings of our own, and old memory dropped, nothing changes."""
    from transformers import Sam2VideoInferenceSession, Sam2VideoModel

    from pixelis_env.tools.backends import sam2 as backend

    scene = clip(7, n_frames=22, speed=(1.5, 0.5))
    toolbox, workspace = Toolbox({"track": sam2}), Workspace(scene.media)
    box = scene.boxes[0]
    assert box is not None
    target = workspace.add(toolbox.run(Zoom(box=box, frame="px"), workspace))
    track = toolbox.run(Track(target=target), workspace)

    model = Sam2VideoModel.from_pretrained(sam2["checkpoint"]).eval()
    size = {"video_height": scene.media.height, "video_width": scene.media.width}
    frames = torch.cat([backend._pixels(scene.media.frame(i), model) for i in range(22)])
    session = Sam2VideoInferenceSession(video=frames, dtype=torch.float32, **size)
    backend._prompt(session, scene.media, model, box, None)
    boxes, scores = [box], [1.0]
    for output in model.propagate_in_video_iterator(session, start_frame_idx=0):
        mask = backend._full_size(output.pred_masks, scene.media)[0]
        if output.frame_idx > 0:
            boxes.append(tight_box(mask) if mask.any() else boxes[-1])
            scores.append(float(output.object_score_logits.sigmoid()))
    assert len(set(scores)) > 10
    assert list(track.boxes) == boxes
    assert list(track.scores) == pytest.approx(scores, abs=1e-6)


def test_the_best_mask_is_the_best_that_holds_the_point() -> None:
    masks = np.zeros((3, 4, 5), bool)
    masks[0, 1, 2] = masks[1, 3, 4] = masks[2, 1, 2] = True
    scores = np.array([0.3, 0.9, 1.4], np.float32)
    assert best_mask(masks, scores, None)[1] == 1.0
    assert best_mask(masks, scores, (2.9, 1.2))[0] is not masks[1]
    assert best_mask(masks[:2], scores[:2], (2.9, 1.2))[1] == pytest.approx(0.3)
    with pytest.raises(InvalidCall, match="contains the point"):
        best_mask(masks, scores, (0.0, 0.0))


def test_half_precision_keeps_the_contract(spec: dict[str, Any]) -> None:
    toolbox = Toolbox({"segment": {**spec, "dtype": "bfloat16"}})
    for name in ("segment_gives_a_mask_of_the_frame", "segment_contains_its_point"):
        LAWS[name].put_to(toolbox, examples=2)


def test_tracking_in_half_precision(sam2: dict[str, Any]) -> None:
    toolbox = Toolbox({"track": {**sam2, "dtype": "bfloat16"}})
    LAWS["track_keeps_the_order_of_its_span"].put_to(toolbox, examples=1)


def test_a_small_object_s_mask_does_not_vanish(sam2: dict[str, Any]) -> None:
    """Reduced to what the model sees, a mask of one pixel would be empty."""
    media = ArrayMedia(np.random.default_rng(0).integers(0, 256, (2, 700, 700, 3)).astype(np.uint8))
    mask = np.zeros((700, 700), bool)
    mask[300, 300] = True
    tracker = Toolbox({"track": sam2})._backends["track"]
    points = tracker.track(media, [0, 1], (300.0, 300.0, 301.0, 301.0), mask)
    assert points[0].box == (300.0, 300.0, 301.0, 301.0)
    assert len(points) == 2


def test_a_device_that_is_not_there_is_named(spec: dict[str, Any]) -> None:
    toolbox = Toolbox({"segment": {**spec, "device": "cuda:99"}})
    with pytest.raises(BackendError, match=r"device 'cuda:99' .*found here are cpu"):
        toolbox.run(Segment(point=(4, 4), frame="px"), Workspace(still(0).media))


def test_weights_that_do_not_fit_are_named(
    sam: dict[str, Any], sam2: dict[str, Any], tmp_path: Path
) -> None:
    from transformers import Sam2Model

    workspace = Workspace(clip(0).media)
    for content in (b"no weights", b""):
        (tmp_path / "damaged.pth").write_bytes(content)
        damaged = Toolbox({"segment": {**sam, "checkpoint": tmp_path / "damaged.pth"}})
        with pytest.raises(BackendError, match=r"cannot load the weights '.*damaged\.pth'"):
            damaged.run(Segment(point=(4, 4), frame="px"), workspace)
    unknown = Toolbox({"segment": {**sam, "model_type": "vit_x"}})
    with pytest.raises(BackendError, match="must be one of default, vit_h"):
        unknown.run(Segment(point=(4, 4), frame="px"), workspace)
    with pytest.raises(ValueError, match="does not say which architecture"):
        Toolbox({"segment": {"name": "sam", "checkpoint": sam["checkpoint"]}})
    # Without its memory it can segment, but not track: transformers would fill it with noise.
    Sam2Model.from_pretrained(sam2["checkpoint"]).save_pretrained(tmp_path / "image")
    image = {"name": "sam2", "checkpoint": str(tmp_path / "image")}
    target = workspace.add(
        Toolbox({"segment": image}).run(Segment(box=(5, 5, 60, 60), frame="px"), workspace)
    )
    with pytest.raises(BackendError, match=r"weights are missing, such as"):
        Toolbox({"track": image}).run(Track(target=target), workspace)


@pytest.mark.slow
def test_sam2_gives_what_its_processor_gives(sam2: dict[str, Any]) -> None:
    """Through transformers' own processor, which needs torchvision, in a process of its own."""
    script = Path(__file__).with_name("sam2_by_processor.py")
    command = [sys.executable, str(script), sam2["checkpoint"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["all", "agree"]


def test_an_episode_is_played_and_replayed_with_it(sam2: dict[str, Any]) -> None:
    """By `gym.make`; a trace names no path, so it is replayed on the environment itself."""
    import gymnasium as gym

    import pixelis_env  # noqa: F401  (registers the environments)
    from pixelis_env.replay import replay

    tools = {"segment": {**sam2, "checkpoint": Path(sam2["checkpoint"])}, "track": sam2}
    env = gym.make("Pixelis-Motion-v0", tools=tools)
    env.reset(seed=0)
    env.step(Segment(box=(200, 200, 700, 800), time=1.0))
    env.step(Track(target="e1", span=(1.0, 1.3)))
    trace = env.unwrapped.trace()
    assert [step.evidence.kind for step in trace.steps] == ["mask", "tracklet"]
    assert trace.header.tools["segment"] == trace.header.tools["track"] == "sam2@1"
    assert not trace.header.portable
    assert sam2["checkpoint"] not in trace.model_dump_json()
    RESULTS.clear()
    assert replay(trace, env=env).ok
    env.close()
