"""Writes a room as files: the walk-through, its instance masks, and questions with answers.

``python -m pixelis_env.rooms --seed 7 --out room.mp4`` writes

- ``room.mp4``: the walk-through, H.264;
- ``room.masks.npz``: array ``ids``, (frames, height, width), uint8 (uint16 in a room of more than
  255 objects): the id of the object at each pixel, 0 = walls, floor and ceiling. Lossless;
- ``room.json``: the objects (what ``ids`` mean), the camera's path, what moves, and questions.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pixelis_env.rooms import SHIFTS, RoomVideo, Scene, make_scene
from pixelis_env.rooms.questions import TYPES, Survey, questions_about

QUALITY = "18"
"""x264's constant rate factor: visually lossless."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (0 done, 2 bad usage)."""
    options = _parser().parse_args(arguments)
    out: Path = options.out
    if out.suffix != ".mp4":
        return _refuse(f"--out {out}: the walk-through is an .mp4 file; name it so")
    if not out.parent.is_dir():
        return _refuse(f"--out {out}: there is no folder {out.parent}")
    if options.per_type < 0:
        return _refuse(f"--per-type {options.per_type}: give 0 or more")
    try:
        scene = make_scene(
            options.seed,
            level=options.level,
            shift=options.shift,
            signs=options.signs,
            details=options.details,
            movers=options.movers,
            tags=options.tags,
            n_frames=options.n_frames,
        )
    except ValueError as error:
        return _refuse(str(error))
    video = RoomVideo(scene)
    questions = list(_questions(Survey(video, stride=1), options.per_type))
    masks, record = out.with_suffix(".masks.npz"), out.with_suffix(".json")
    _write_video(video, out)
    _write_masks(video, masks)
    record.write_text(json.dumps({**_describe(scene), "questions": questions}, indent=1) + "\n")
    asked = {question["type"] for question in questions}
    print(f"{out}: {video.n_frames} frames, {video.width}x{video.height}, {video.duration:g} s")
    print(f"{masks}: instance ids of {len(scene.room.objects)} objects")
    print(f"{record}: {len(questions)} questions of {len(asked)} types")
    lacking = [name for name in TYPES if name not in asked]
    if lacking:
        print(f"this room gives no {', '.join(lacking)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pixelis_env.rooms",
        description="Write a procedural room: walk-through, instance masks and questions.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seed", type=int, required=True, help="which room, 0 or more")
    parser.add_argument("--out", type=Path, required=True, help="the .mp4 file to write")
    parser.add_argument("--level", type=int, default=1, choices=(1, 2, 3), help="difficulty")
    parser.add_argument("--shift", default="none", choices=SHIFTS, help="change of looks")
    parser.add_argument("--n-frames", type=int, help="at 10 frames a second; default: by level")
    parser.add_argument("--signs", type=int, default=2, help="signs with text on the walls")
    parser.add_argument("--tags", type=int, default=2, help="small tags with a number on the walls")
    parser.add_argument("--details", type=int, default=3, help="small things to search for")
    parser.add_argument(
        "--movers", type=int, default=0, help="moving objects; with any, the camera stands still"
    )
    parser.add_argument(
        "--per-type", type=int, default=3, help="questions of each type, at the most"
    )
    return parser


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _questions(survey: Survey, per_type: int) -> Iterator[dict[str, Any]]:
    """Questions of every type that the room allows, as JSON values."""
    for number, kind in enumerate(TYPES.values()):
        rng = np.random.default_rng([survey.scene.seed, number])
        for question in islice(questions_about(survey, kind, rng), per_type):
            yield {
                "type": kind.name,
                "question": question.text,
                "options": question.options,
                "answer": question.answer,
                "metric": kind.metric,
                "objects": question.targets,
            }


def _write_video(video: RoomVideo, path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        rate = Fraction(video.scene.camera.fps).limit_denominator(1000)
        stream = container.add_stream("libx264", rate=rate, options={"crf": QUALITY})
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        for index in range(video.n_frames):
            frame = av.VideoFrame.from_ndarray(video.frame(index), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _write_masks(video: RoomVideo, path: Path) -> None:
    small = len(video.scene.room.objects) < 256
    ids = np.empty((video.n_frames, video.height, video.width), np.uint8 if small else np.uint16)
    for index in range(video.n_frames):
        ids[index] = video.ids(index)
    np.savez_compressed(path, ids=ids)


def _describe(scene: Scene) -> dict[str, Any]:
    """The room, its objects, camera and motions as JSON values: metres, radians, seconds."""
    room, camera = scene.room, scene.camera
    return {
        "seed": scene.seed,
        "level": scene.level,
        "shift": scene.shift,
        "digest": scene.digest,
        "room": {"width": room.width, "depth": room.depth, "height": room.height},
        "objects": [
            {
                "id": placed.id,
                "category": placed.category,
                "color": placed.color,
                "text": placed.text,
                "center": placed.center,
                "size": placed.size,
                "yaw": placed.yaw,
                "support": placed.support,
            }
            for placed in room.objects
        ],
        "camera": {
            "fov_deg": camera.fov_deg,
            "fps": camera.fps,
            "position": camera.position.tolist(),
            "yaw": camera.yaw.tolist(),
            "pitch": camera.pitch.tolist(),
        },
        "motions": [
            {
                "object": motion.object_id,
                "start": motion.start / camera.fps,
                "end": motion.end / camera.fps,
                "from": motion.centers[0].tolist(),
                "to": motion.centers[-1].tolist(),
            }
            for motion in scene.motions
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
