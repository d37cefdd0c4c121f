from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest

from pixelis_env.actions import Properties, Segment, Track, Zoom
from pixelis_env.draw import draw_strip, draw_workspace
from pixelis_env.env import PixelisEnv
from pixelis_env.evidence import ToolError, View
from pixelis_env.media import ArrayMedia
from pixelis_env.observation import STATE, current_look, letterbox, overview_indices
from pixelis_env.tasks.single import SingleSource
from pixelis_env.wrappers import FlatAction, ToolCall

RNG = np.random.default_rng(0)
CLIP = ArrayMedia(RNG.integers(0, 256, (20, 48, 64, 3), np.uint8), fps=10.0)


def clip_env(**kwargs) -> PixelisEnv:
    source = SingleSource(CLIP, "Which?", options=["this", "that"], answer="B")
    return PixelisEnv(source, **kwargs)


def turn(name: str, **arguments) -> str:
    call = json.dumps({"name": name, "arguments": arguments})
    return f"I think.\n<tool_call>\n{call}\n</tool_call>"


def test_a_dialogue_from_prompt_to_answer() -> None:
    env = ToolCall(clip_env())
    observation, _ = env.reset(seed=0)
    assert observation["text"].startswith("These are frames of a video.\nWhich?\nOptions:\nA. this")
    assert len(observation["images"]) == 8
    assert observation["images"][0].size == (64, 48)
    observation, _, terminated, _, info = env.step(turn("zoom", box=[0, 0, 500, 500], time=1.0))
    assert "e1 view: 32x24 px at [0, 0, 500, 500] of e0, 1.000 s" in observation["text"]
    assert not terminated
    (image,) = observation["images"]
    assert max(image.size) >= 224
    assert np.array_equal(np.asarray(info["view"]), CLIP.frame(10)[:24, :32])
    observation, *_ = env.step(turn("properties", targets=["e1"]))
    assert observation["images"] == []
    observation, reward, terminated, _, info = env.step("So: <answer> B </answer>")
    assert (terminated, info["score"]) == (True, 1.0)
    assert reward == pytest.approx(0.99)


def test_every_image_comes_with_its_time_and_footprint() -> None:
    env = ToolCall(clip_env())
    first, _ = env.reset(seed=0)
    times = [CLIP.times[i] for i in overview_indices(CLIP)]
    assert first["times"] == times
    assert first["regions"] == [(0, 0, 64, 48)] * 8
    for image, time, (x0, y0, x1, y1) in zip(
        first["images"], first["times"], first["regions"], strict=True
    ):
        assert np.array_equal(np.asarray(image), CLIP.frame(CLIP.index_at(time))[y0:y1, x0:x1])
    calls = [
        turn("zoom", box=[0, 0, 500, 500], time=1.04),
        turn("segment", source="e1", box=[100, 100, 900, 900]),
        turn("track", target="e1", span=[1, 1.5]),
        turn("read_text", box=[0, 500, 1000, 1000], time=0.3),
    ]
    for call, time in zip(calls, (1.0, 1.0, 1.5, 0.3), strict=True):
        shown, *_, info = env.step(call)
        assert not info["invalid"]
        assert shown["times"] == [pytest.approx(time)]
        assert isinstance(shown["times"][0], float)
        ((x0, y0, x1, y1),) = shown["regions"]
        pixels = CLIP.frame(CLIP.index_at(shown["times"][0]))[y0:y1, x0:x1]
        assert np.array_equal(np.asarray(info["view"]), pixels)
        (image,) = shown["images"]
        assert image.width * (y1 - y0) == image.height * (x1 - x0)
    for call in (turn("properties", targets=["e1"]), "garbage", "<answer>B</answer>"):
        shown = env.step(call)[0]
        assert shown["images"] == shown["times"] == shown["regions"] == []


@pytest.mark.parametrize(
    "bad",
    [
        "no call at all",
        turn("zoom", box=[0, 0, 9, 9]) + turn("zoom", box=[0, 0, 9, 9]),
        turn("zoom", box=[0, 0, 9, 9]) + "<answer>B</answer>",
        "<tool_call>{not json}</tool_call>",
        "<tool_call>zoom [0, 0, 1, 1]</tool_call><answer>B</answer>",
        turn("zoom", box=[0, 0, 9, 9]) + '<tool_call>{"name": "zo',
        "<answer>B",
        turn("fly"),
        42,
    ],
)
def test_a_malformed_turn_is_a_tool_error_and_never_an_answer(bad) -> None:
    env = ToolCall(clip_env())
    env.reset(seed=0)
    observation, reward, terminated, _, info = env.step(bad)
    assert not terminated
    assert info["invalid"]
    assert isinstance(info["evidence"], ToolError)
    assert "tool_error" in observation["text"]
    assert reward < -0.05


def test_what_is_only_thought_is_not_said() -> None:
    env = ToolCall(clip_env())
    env.reset(seed=0)
    said = "<think>if I say <answer>A</answer> ...</think>" + turn("zoom", box=[0, 0, 9, 9])
    assert not env.step(said)[4]["invalid"]


def test_a_track_is_drawn_where_it_ends() -> None:
    env = clip_env(render_mode="rgb_array")
    env.reset(seed=0)
    env.step(Zoom(box=(250, 250, 750, 750)))
    env.step(Track(target="e1", span=(0.0, 0.5)))
    assert current_look(env.workspace).frame_index == 5
    pink = (env.render() == (250, 100, 170)).all(-1)
    assert pink.sum() > 50


def test_the_declared_frame_is_the_frame_in_both_directions() -> None:
    env = ToolCall(clip_env(frame="px"))
    env.reset(seed=0)
    observation, *_, info = env.step(turn("zoom", box=[8, 4, 40, 28]))
    assert info["evidence"].region == (8, 4, 40, 28)
    assert "at [8, 4, 40, 28] of e0" in observation["text"]
    plain = env.env.step({"op": "zoom", "box": [8, 4, 40, 28]})[4]
    assert plain["evidence"].region == (8, 4, 40, 28)


def test_wrappers_refuse_other_environments_by_name() -> None:
    for wrapper in (FlatAction, ToolCall):
        with pytest.raises(TypeError, match="CartPole"):
            wrapper(gym.make("CartPole-v1"))


def test_a_flat_action_outside_its_space_is_an_invalid_call() -> None:
    env = FlatAction(clip_env())
    env.reset(seed=0)
    for bad in (np.full(13, 99), np.zeros(3, np.int64), np.zeros(13), None):
        assert env.step(bad)[4]["invalid"]


def test_the_contact_sheet_holds_the_overview_frames_in_reading_order() -> None:
    base = clip_env()
    frames = base.reset(seed=0)[0]["overview"]
    sheet = FlatAction(base).reset(seed=0)[0]["overview"]
    for number in range(8):
        row, column = divmod(number, 4)
        tile = sheet[row * 112 : (row + 1) * 112, column * 112 : (column + 1) * 112]
        assert np.array_equal(tile, frames[number])


def test_the_observation_says_what_happened() -> None:
    env = clip_env(max_steps=10)
    first, _ = env.reset(seed=0)
    assert (
        bytes(first["text"])
        .rstrip(b"\0")
        .endswith(b"e0 medium: video, 64x48 px, 2.000 s, 20 frames")
    )
    second = env.step(Zoom(box=(250, 500, 750, 1000), time=1.5))[0]
    state = dict(zip(STATE, second["state"], strict=True))
    assert state["steps taken / max_steps"] == pytest.approx(0.1)
    assert state["view x0, unit of the medium"] == 0.25
    assert state["view y1, unit of the medium"] == 1.0
    assert state["view time / duration"] == 0.75
    assert state["last evidence is a view"] == 1.0
    assert np.array_equal(second["view"], letterbox(CLIP.frame(15)[24:48, 16:48], 224))
    assert not np.array_equal(first["view"], second["view"])


def test_the_view_stays_where_evidence_has_no_place() -> None:
    env = clip_env()
    env.reset(seed=0)
    env.step(Zoom(box=(250, 500, 750, 1000), time=1.5))
    look = current_look(env.workspace)
    for action in (Properties(targets=("e1",)), "garbage"):
        env.step(action)
        assert current_look(env.workspace) == look


def test_an_observation_is_the_callers_own() -> None:
    env = clip_env()
    for value in env.reset(seed=0)[0].values():
        value[...] = 0
    assert env.reset(seed=0)[0]["overview"].any()
    assert env.step(Properties(targets=("e0",)))[0]["view"].any()


def test_overview_frames_are_in_order_and_hold_the_ends() -> None:
    assert overview_indices(CLIP)[0] == 0
    assert overview_indices(CLIP)[-1] == 19
    assert overview_indices(ArrayMedia(CLIP.frame(0))) == [0]
    observation, _ = PixelisEnv(SingleSource(ArrayMedia(CLIP.frame(0)), "?")).reset()
    assert observation["overview_mask"].tolist() == [1] + [0] * 7


def test_render_draws_the_evidence_on_the_view() -> None:
    env = clip_env(render_mode="rgb_array")
    env.reset(seed=0)
    env.step(Zoom(box=(0, 0, 1000, 1000)))
    plain = env.render()
    env.step(Segment(source="e1", box=(200, 200, 800, 800)))
    drawn = env.render()
    assert plain.shape == drawn.shape == (508, 448, 3)
    assert plain.dtype == np.uint8
    assert (plain != drawn).any()
    strip = draw_strip(env.workspace, ["", "zoom", "segment"])
    assert strip.shape == (508, 448 * 3, 3)
    assert isinstance(env.workspace.get("e1"), View)
    assert draw_workspace(env.workspace, "x" * 500).shape == plain.shape


def test_human_rendering_names_its_extra_or_opens_a_window(monkeypatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = clip_env(render_mode="human")
    try:
        import pygame  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"pixelis\[human\]"):
            env.reset(seed=0)
    else:
        env.reset(seed=0)
        env.step(Zoom(box=(0, 0, 500, 500)))
        env.close()
