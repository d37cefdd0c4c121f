from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import av
import gymnasium as gym
import numpy as np
import pytest
from pycocotools import mask as coco

from pixelis_env.actions import Answer, Localize, Properties, Segment, Zoom
from pixelis_env.env import PixelisEnv
from pixelis_env.evidence import RLE, Mask, Measurement, canonical_json
from pixelis_env.media import ArrayMedia
from pixelis_env.replay import main, replay
from pixelis_env.tasks.single import SingleSource
from pixelis_env.trace import MAX_BYTES, Trace, TraceError


@pytest.fixture
def played() -> Trace:
    env = PixelisEnv(family="search", tools="oracle")
    env.reset(seed=1)
    env.step("not an action")
    for action in env.oracle():
        env.step(action.model_copy(update={"source": "e0"}) if action.op == "zoom" else action)
    return env.trace()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        scene = rng.integers(0, 255, (64, 96, 3), np.uint8)
        for shift in range(12):
            frame = av.VideoFrame.from_ndarray(np.roll(scene, shift, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_trace_round_trips_and_replays(tmp_path: Path, played: Trace) -> None:
    path = played.save(tmp_path / "deep" / "trace.json")
    again = Trace.load(path)
    assert again == played
    assert again.to_json() + b"\n" == path.read_bytes()
    assert replay(again).ok
    assert played.score == 1.0
    assert played.steps[0].action.op == "malformed"


def test_the_command_replays_and_tells_by_its_status(tmp_path: Path, played: Trace) -> None:
    path = played.save(tmp_path / "trace.json")
    done = subprocess.run(
        [sys.executable, "-m", "pixelis_env.replay", str(path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "score 1.0" in done.stdout
    path.write_bytes(path.read_bytes()[:-20])
    assert main([str(path)]) == 2
    assert main([str(tmp_path / "none.json")]) == 2


@pytest.mark.parametrize("step", [1, 2])
def test_an_edited_step_breaks_the_chain_by_name(played: Trace, step: int) -> None:
    data = json.loads(played.to_json())
    data["steps"][step - 1]["reward_terms"]["step"] = 7.0
    with pytest.raises(TraceError, match=f"step {step} breaks the chain"):
        Trace.parse(canonical_json(data))


def test_a_dropped_or_moved_step_breaks_the_chain(played: Trace) -> None:
    data = json.loads(played.to_json())
    data["steps"] = data["steps"][:-1]
    with pytest.raises(TraceError, match="links"):
        Trace.parse(canonical_json(data))
    data = json.loads(played.to_json())
    data["steps"][0], data["steps"][1] = data["steps"][1], data["steps"][0]
    with pytest.raises(TraceError, match="step 1"):
        Trace.parse(canonical_json(data))


def test_replay_names_the_first_step_that_diverged(played: Trace) -> None:
    """A rebuilt chain hides an edit from the reader; playing it again does not."""
    steps = list(played.steps)
    number = next(i for i, s in enumerate(steps) if s.evidence and s.evidence.kind == "view")
    changed = steps[number].evidence.model_copy(update={"pixels": "0" * 32})
    steps[number] = steps[number].model_copy(update={"evidence": changed})
    report = replay(Trace.build(played.header, steps, played.score))
    assert (report.ok, report.diverged_at) == (False, number + 1)
    assert "evidence.pixels" in report.detail


class Moody:
    """A backend that says something else every time."""

    name, version = "moody", "1"

    def __init__(self) -> None:
        self.calls = 0

    def segment(self, media, index, *, box=None, point=None):
        self.calls += 1
        mask = np.zeros((media.height, media.width), bool)
        mask[: self.calls, :4] = True
        return mask, 1.0


def test_replay_computes_anew_and_does_not_compare_a_result_with_itself() -> None:
    source = SingleSource(ArrayMedia(np.full((64, 64, 3), 9, np.uint8)), "?", answer="x")
    env = PixelisEnv(source, tools={"segment": Moody()})
    env.reset()
    env.step(Segment(box=(0, 0, 500, 500)))
    report = replay(env.trace(), env=env)
    assert (report.ok, report.diverged_at) == (False, 1)
    assert "evidence.area was 4, is 8" in report.detail


def test_replay_says_when_the_episode_was_over_before(played: Trace) -> None:
    longer = Trace.build(played.header, [*played.steps, played.steps[0]], played.score)
    report = replay(longer)
    assert (report.ok, report.diverged_at) == (False, len(played.steps) + 1)
    assert "over" in report.detail


@pytest.mark.parametrize(("field", "value"), [("answer", "Z"), ("score", 0.5)])
def test_an_edited_end_is_noticed(played: Trace, field: str, value: object) -> None:
    data = json.loads(played.to_json())
    data[field] = value
    with pytest.raises(TraceError, match="answer"):
        Trace.parse(canonical_json(data))
    # Without its last step and link a trace is no shorter trace.
    data = json.loads(played.to_json())
    data["steps"], data["chain"] = data["steps"][:-1], data["chain"][:-1]
    with pytest.raises(TraceError, match="breaks the chain"):
        Trace.parse(canonical_json(data))


@pytest.mark.parametrize(
    "kwargs",
    [
        {"render_mode": "human"},
        {"tools": {"segment": {"name": "sam", "checkpoint": "/tmp/evil.pt"}}},
        {"tools": "../x"},
        {"prefetch": True},
        {"max_steps": 10**9},
        {"question": ["?"]},
    ],
)
def test_a_strangers_trace_sets_no_other_arguments(played: Trace, kwargs: dict) -> None:
    data = json.loads(played.to_json())
    data["header"]["kwargs"] = kwargs
    with pytest.raises(TraceError, match="header"):
        Trace.parse(canonical_json(data))


def test_nan_in_evidence_is_refused(played: Trace) -> None:
    text = played.to_json().replace(b'"time":', b'"time":NaN,"was":', 1)
    with pytest.raises(TraceError):
        Trace.parse(text)


def test_replay_takes_the_wrapped_environment(played: Trace) -> None:
    env = gym.make("Pixelis-Search-v0", tools="oracle")
    assert replay(played, env=env).ok
    with pytest.raises(TypeError, match="Pixelis"):
        replay(played, env=gym.make("CartPole-v1"))


def test_readings_cannot_be_changed() -> None:
    readings = Measurement(targets=("e1",), values={"area_px": 3.0})
    with pytest.raises(TypeError, match="immutable"):
        readings.values["area_px"] = 4.0
    assert pickle.loads(pickle.dumps(readings)) == copy.deepcopy(readings) == readings
    assert hash(readings) == hash(copy.deepcopy(readings))


def test_replay_notices_another_task(played: Trace) -> None:
    header = played.header.model_copy(update={"media_digest": "0" * 64})
    report = replay(Trace.build(header, played.steps, played.score))
    assert (report.ok, report.diverged_at) == (False, 0)
    assert "media_digest" in str(report)


@pytest.mark.parametrize("name", ["/etc/passwd", "../clip.mp4", "a/b.mp4", "a\\b.mp4", "..", ""])
def test_a_trace_names_no_path(played: Trace, name: str) -> None:
    data = json.loads(played.to_json())
    data["header"]["media_file"] = name
    with pytest.raises(TraceError, match="bare name"):
        Trace.parse(canonical_json(data))


def test_bounds_on_what_is_read(tmp_path: Path, played: Trace) -> None:
    big = tmp_path / "big.json"
    with big.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(TraceError, match="largest"):
        Trace.load(big)
    for garbage in (b"", b"\x80\x04K\x01.", b"[" * 100_000, b'{"header": 1}', b"NaN", b"\xff"):
        with pytest.raises(TraceError):
            Trace.parse(garbage)
    data = json.loads(played.to_json())
    data["extra"] = 1
    with pytest.raises(TraceError, match="extra"):
        Trace.parse(canonical_json(data))


def test_a_mask_that_would_overrun_the_decoder_is_refused() -> None:
    good = RLE.encode(np.eye(9, dtype=bool))
    assert RLE.model_validate(good.model_dump()).decode().sum() == 9
    for counts in (good.counts + "0", good.counts[:-1], "~~~", "", "PPPPPPPPPPPPPPPP"):
        with pytest.raises(ValueError, match=r"run|mask"):
            RLE(size=(9, 9), counts=counts)
    with pytest.raises(ValueError, match="fill"):
        RLE(size=(10, 9), counts=good.counts)


def test_run_lengths_match_the_reference_on_random_masks() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = rng.integers(1, 90, 2)
        mask = rng.random(shape) < rng.random()
        if mask.any():
            evidence = Mask.of(mask, frame_index=0, time=0.0, score=1.0)
            again = Mask.model_validate_json(evidence.model_dump_json())
            assert np.array_equal(again.rle.decode(), mask)
            code = {"size": list(again.rle.size), "counts": again.rle.counts.encode()}
            assert coco.area(code) == again.area
            assert np.allclose(coco.toBbox(code)[:2], again.box[:2])
            assert again.area == mask.sum()


def test_a_file_stands_by_name_and_replays_beside_the_trace(video: Path, tmp_path: Path) -> None:
    env = PixelisEnv(video, question="What moves?", options=["all", "none"], answer="A")
    env.reset(seed=0)
    env.step(Localize())
    env.step(Zoom(box=(100, 100, 900, 900), time=0.5))
    env.step(Segment(source="e2", box=(100, 100, 900, 900)))
    env.step(Properties(targets=("e3",)))
    env.step(Answer(text="A", evidence=("e3", "e4")))
    trace = env.trace()
    assert trace.header.media_file == "clip.mp4"
    assert str(tmp_path) not in trace.to_json().decode()
    path = trace.save(video.parent / "trace.json")
    assert main([str(path)]) == 0
    with pytest.raises(TraceError, match="media="):
        replay(trace)
    elsewhere = trace.save(tmp_path / "other" / "trace.json")
    assert main([str(elsewhere)]) == 2
    assert main([str(elsewhere), "--media", str(video)]) == 0


def test_another_file_of_that_name_is_noticed(video: Path, tmp_path: Path) -> None:
    env = PixelisEnv(video, question="?")
    env.reset()
    env.step(Zoom(box=(0, 0, 500, 500)))
    trace = env.trace()
    assert trace.score is None
    other = tmp_path / "picture.png"
    from PIL import Image

    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(other)
    report = replay(trace, media=other)
    assert (report.ok, report.diverged_at) == (False, 0)


def test_objects_need_their_environment_back() -> None:
    source = SingleSource(ArrayMedia(np.full((8, 8, 3), 9, np.uint8)), "?", answer="x")
    env = PixelisEnv(source)
    env.reset()
    env.step(Zoom(box=(0, 0, 500, 500)))
    trace = env.trace()
    assert not trace.header.portable
    with pytest.raises(TraceError, match="env="):
        replay(trace)
    assert replay(trace, env=PixelisEnv(source)).ok
