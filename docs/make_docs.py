"""Writes the generated pages and pictures: `python docs/make_docs.py`.

`docs/environments/` and `docs/operations.md` come from the docstrings and from the code's own
tables; `docs/images/` from seeds. Nothing in them is written by hand.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import cv2
import gymnasium as gym
import numpy as np
from PIL import Image

import pixelis_env
from pixelis_env.actions import ACTION_TYPES, ToolCallCodec
from pixelis_env.draw import draw_strip
from pixelis_env.env import PixelisEnv
from pixelis_env.rooms import RoomVideo, make_scene
from pixelis_env.rooms.questions import TYPES
from pixelis_env.tasks.rooms import RoomsSource
from pixelis_env.tools.registry import BACKENDS, DEFAULTS

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"
GENERATED = "<!-- written by docs/make_docs.py -->\n\n"


def environment(env_id: str) -> str:
    """The page of one registered id: what it asks, and what every id shares."""
    family = gym.spec(env_id).kwargs["family"]
    lines = [GENERATED + f"# {env_id}\n", f'```python\nenv = gym.make("{env_id}")\n```\n']
    lines.append("## Question types\n\n| type | metric | for example |\n|---|---|---|")
    for kind in (k for k in TYPES.values() if family in (k.family, "all")):
        task = RoomsSource(kind.family, types=[kind.name]).task(0)
        options = "" if task.options is None else f" ({' / '.join(task.options)})"
        question = task.question.replace("\n", " ")
        lines.append(f"| `{kind.name}` | {kind.metric} | {question}{options} |")
    if family == "all":
        lines.append("\nEach type is asked equally often.")
    return "\n".join([*lines, "", inspect.getdoc(PixelisEnv) or "", ""])


def operations() -> str:
    """The page of the operations: what each takes, its schema and its backends."""
    lines = [GENERATED + "# Operations\n"]
    schemas = {t["name"]: t["input_schema"] for t in ToolCallCodec().schemas("anthropic")}
    for name, model in ACTION_TYPES.items():
        lines.append(f"## {name}\n\n{inspect.getdoc(model)}\n")
        lines.append("| argument | required | meaning |\n|---|---|---|")
        schema = schemas[name]
        for argument, field in schema["properties"].items():
            required = "yes" if argument in schema.get("required", ()) else ""
            lines.append(f"| `{argument}` | {required} | {field.get('description', '')} |")
        if name in BACKENDS:
            named = ", ".join(f"`{b}`" for b in BACKENDS[name])
            lines.append(f"\nBackends: {named}; default `{DEFAULTS[name]}`.")
        lines.append(f"\n```json\n{json.dumps(schema)}\n```\n")
    return "\n".join(lines)


def rooms_picture() -> Image.Image:
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


def episode_picture() -> Image.Image:
    """An oracle's episode with the default backends: e0 and its evidence."""
    env = PixelisEnv(family="search")
    env.reset(options={"index": 5})
    for action in env.oracle():
        env.step(action)
    calls = [env.task.question, *(step.action.op for step in env.steps[:-1])]
    strip = Image.fromarray(draw_strip(env.workspace, calls))
    return strip.resize((strip.width * 2 // 3, strip.height * 2 // 3), Image.Resampling.LANCZOS)


def main() -> None:
    """Writes everything."""
    IMAGES.mkdir(exist_ok=True)
    (DOCS / "environments").mkdir(exist_ok=True)
    for env_id in pixelis_env.ENV_IDS:
        (DOCS / "environments" / f"{env_id}.md").write_text(environment(env_id))
    (DOCS / "operations.md").write_text(operations())
    rooms_picture().save(IMAGES / "rooms.png", optimize=True)
    episode_picture().save(IMAGES / "episode.png", optimize=True)


if __name__ == "__main__":
    main()
