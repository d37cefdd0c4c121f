"""The pictures of README and docs, from seeds: made by `docs/make_docs.py`."""

from __future__ import annotations

from pathlib import Path

import cv2
import gymnasium as gym
import numpy as np
from PIL import Image

import pixelis_env
from pixelis_env.draw import draw_strip
from pixelis_env.env import PixelisEnv
from pixelis_env.rooms import RoomVideo, make_scene

EPISODE_WIDTH = 1200
# The task that the page of an id shows: chosen by eye, so that what is asked about can be seen.
SHOWN = {
    "Pixelis-VSI-v0": 3,
    "Pixelis-Search-v0": 5,
    "Pixelis-Text-v0": 1,
    "Pixelis-Motion-v0": 0,
    "Pixelis-Time-v0": 0,
    "Pixelis-v0": 2,
}


def draw(out: Path) -> None:
    """Writes every picture into the folder `out`."""
    out.mkdir(exist_ok=True)
    rooms().save(out / "rooms.png", optimize=True)
    strip = episode(PixelisEnv(family="search"), 5)
    strip.resize((strip.width * 2 // 3, strip.height * 2 // 3), Image.Resampling.LANCZOS).save(
        out / "episode.png", optimize=True
    )
    for env_id in pixelis_env.ENV_IDS:
        made = gym.make(env_id).unwrapped
        assert isinstance(made, PixelisEnv)
        strip = episode(made, SHOWN[env_id])
        strip.thumbnail((EPISODE_WIDTH, EPISODE_WIDTH), Image.Resampling.LANCZOS)
        strip.save(out / f"{env_id}.jpg", quality=85, optimize=True)


def rooms() -> Image.Image:
    """A sheet of rooms: three levels, then shifts of one room."""
    tiles = [(seed, level, "none") for level in (1, 2, 3) for seed in (2, 5)]
    tiles += [(5, 2, shift) for shift in ("lighting", "texture", "clutter")]
    frames = []
    for seed, level, shift in tiles:
        video = RoomVideo(make_scene(seed, level=level, shift=shift))
        frame = cv2.resize(video.frame(video.n_frames // 3), (320, 240), None, 0, 0, cv2.INTER_AREA)
        frames.append(frame)
    rows = [np.concatenate(frames[i : i + 3], axis=1) for i in range(0, len(frames), 3)]
    return Image.fromarray(np.concatenate(rows))


def episode(env: PixelisEnv, index: int) -> Image.Image:
    """An oracle's episode with the default backends: e0 and its evidence."""
    env.reset(options={"index": index})
    for action in env.oracle():
        env.step(action)
    calls = [env.task.question, *(step.action.op for step in env.steps[:-1])]
    return Image.fromarray(draw_strip(env.workspace, calls))
