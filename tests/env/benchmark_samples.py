"""Miniature copies of the public benchmarks, made of rooms: real files in the real layouts.

Each writer returns what its rows are, so that a loader is compared with what was written and not
with itself.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import av
import numpy as np
from PIL import Image

from pixelis_env.rooms import RoomVideo, make_scene
from pixelis_env.rooms.questions import TYPES, Question, Survey, questions_about

SEEDS = (3, 7)  # rooms that have a question of every type
FPS = 4
N_FRAMES = 12  # 3 s


@dataclass(frozen=True)
class Written:
    """A row that was written. `digest`: sha256 of the medium's own bytes; None of a part."""

    id: str
    type: str
    question: str
    options: tuple[str, ...] | None
    answer: str | None
    digest: str | None = None


@cache
def room(seed: int) -> tuple[np.ndarray, tuple[tuple[str, Question], ...]]:
    """A few frames of a room, uint8 (N_FRAMES, 240, 320, 3), and a question of every type."""
    video = RoomVideo(make_scene(seed, level=2))
    survey = Survey(video, 2)
    picked = np.linspace(0, video.n_frames - 1, N_FRAMES).astype(int)
    questions = []
    for name, kind in TYPES.items():
        if kind.family == "vsi":
            rng = np.random.default_rng(seed)
            questions += [(name, q) for q in islice(questions_about(survey, kind, rng), 1)]
    return np.stack([video.frame(int(i)) for i in picked]), tuple(questions)


def write_mp4(path: Path, frames: Sequence[np.ndarray]) -> str:
    """An H.264 file of the frames; its digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.thread_count = 1
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def jpeg(frame: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(frame).save(out, "JPEG", quality=90)
    return out.getvalue()


def write_jpeg(path: Path, frame: np.ndarray) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(frame))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_jsonl(path: Path, rows: Sequence[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_parquet(path: Path, rows: Sequence[dict]) -> None:
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    # Several row groups, as large files have: images are read group by group.
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path, row_group_size=2)


def lettered(options: Sequence[str]) -> list[str]:
    return [f"{chr(65 + k)}. {option}" for k, option in enumerate(options)]


def vsi_bench(root: Path, table: str = "jsonl") -> list[Written]:
    """`test.jsonl` with `pruned`, or parquet without it and `pruned_ids.txt`."""
    rows, written = [], []
    for number, (seed, dataset) in enumerate(zip(SEEDS, ("scannet", "arkitscenes"), strict=True)):
        frames, questions = room(seed)
        scene = f"scene{seed:04d}_00"
        digest = write_mp4(root / dataset / f"{scene}.mp4", frames)
        for k, (name, q) in enumerate(questions):
            ident = 100 * number + k
            rows.append(
                {
                    "id": ident,
                    "dataset": dataset,
                    "scene_name": scene,
                    "question_type": name,
                    "question": q.text,
                    "ground_truth": q.answer,
                    "options": None if q.options is None else lettered(q.options),
                    "pruned": k % 2 == 1,
                }
            )
            written.append(Written(str(ident), name, q.text, q.options, q.answer, digest))
    if table == "jsonl":
        write_jsonl(root / "test.jsonl", rows)
        return written
    kept = [{key: value for key, value in row.items() if key != "pruned"} for row in rows]
    write_parquet(root / "test-00000-of-00001.parquet", kept)
    pruned = "".join(f"{row['id']}\n" for row in rows if row["pruned"])
    (root / "pruned_ids.txt").write_text(pruned)
    return written


def v_star(root: Path, listed: bool = False) -> list[Written]:
    """Images with JSON files of their names; or the list with letters."""
    written, lines = [], []
    for kind in ("direct_attributes", "relative_position"):
        for k, seed in enumerate(SEEDS):
            frames, _ = room(seed)
            stem = f"{kind}/sa_{seed}"
            digest = write_jpeg(root / f"{stem}.jpg", frames[k])
            options = [f"{colour} {k}" for colour in ("red", "green", "blue", "grey")]
            question = f"What is the colour of the {kind.split('_')[1]}?"
            stated = {
                "target_object": ["chair"],
                "bbox": [[10, 20, 30, 40]],
                "question": question,
                "options": options,
            }
            (root / f"{stem}.json").write_text(json.dumps(stated))
            if listed:
                turned = options[k + 1 :] + options[: k + 1]
                answer = chr(65 + turned.index(options[0]))
                body = "\n".join(f"({chr(65 + i)}) {option}" for i, option in enumerate(turned))
                lines.append(
                    {
                        "image": f"{stem}.jpg",
                        "text": f"{question}\n{body}\nAnswer with the option's letter from the "
                        "given choices directly.",
                        "category": kind,
                        "label": answer,
                        "question_id": str(len(lines)),
                    }
                )
                ident = lines[-1]["question_id"]
                written.append(Written(ident, kind, question, tuple(turned), answer, digest))
            else:
                written.append(Written(stem, kind, question, tuple(options), None, digest))
    if listed:
        write_jsonl(root / "test_questions.jsonl", lines)
    return written


def infovqa(root: Path, table: str = "json") -> list[Written]:
    """One JSON object with the rows under `data`, or parquet with the images inside."""
    rows, written = [], []
    for k, seed in enumerate(SEEDS):
        image = jpeg(room(seed)[0][0])
        name = f"{seed}.jpeg"
        answers = ["exit 24", f"room {k}"]
        row = {
            "questionId": 9000 + k,
            "question": f"What does sign {k} say?",
            "answers": answers,
            "answer_type": ["single span"] if k == 0 else ["non-extractive"],
        }
        if table == "json":
            (root / "infographicsvqa_images").mkdir(parents=True, exist_ok=True)
            (root / "infographicsvqa_images" / name).write_bytes(image)
            rows.append({**row, "image_local_name": name})
        else:
            row["questionId"] = str(row["questionId"])
            rows.append({**row, "image": {"bytes": image, "path": name}, "ocr": "x" * 10})
        written.append(
            Written(
                str(9000 + k),
                row["answer_type"][0],
                row["question"],
                None,
                "\n".join(answers),
                hashlib.sha256(image).hexdigest(),
            )
        )
    if table == "json":
        file = root / "infographicsVQA_val_v1.0_withQT.json"
        file.write_text(json.dumps({"dataset_name": "infographicVQA", "data": rows}))
    else:
        write_parquet(root / "InfographicVQA" / "validation-00000-of-00001.parquet", rows)
    return written


def mvbench(root: Path) -> list[Written]:
    """Three tasks: whole videos, a part of a video, and a part of a folder of frames."""
    frames, _ = room(SEEDS[0])
    options = ("left", "right", "up")
    digest = write_mp4(root / "video/clevrer/video_validation/video_1.mp4", frames)
    write_mp4(root / "video/star/Charades_v1_480/ABC.mp4", frames)
    for number, frame in enumerate(frames, start=1):
        write_jpeg(root / f"video/tvqa/frames_fps3_hq/show_clip_00/{number:05d}.jpg", frame)
    tasks = {
        "action_sequence": {"video": "ABC.mp4", "start": 1.0, "end": 2.0},
        "moving_direction": {"video": "video_1.mp4"},
        "episodic_reasoning": {"video": "show_clip_00", "start": 1.0, "end": 3.0, "fps": 3},
    }
    written = []
    for task, row in tasks.items():
        question = f"What happens in {task}?"
        rows = [
            {**row, "question": question, "candidates": list(options), "answer": answer}
            for answer in options[:2]
        ]
        (root / "json").mkdir(parents=True, exist_ok=True)
        (root / "json" / f"{task}.json").write_text(json.dumps(rows))
        for k in range(2):
            whole = digest if "start" not in row else None
            written.append(Written(f"{task}[{k}]", task, question, options, "AB"[k], whole))
    return written


def mmbench(root: Path, table: str = "tsv") -> list[Written]:
    """Two questions, one in both rotations of its options; texts with tabs' neighbours: quotes."""
    images = [jpeg(room(seed)[0][0]) for seed in SEEDS]
    base = [
        (1, "Which is it?", 'A "quoted" hint\nin two lines', ("chair", "table"), 0, images[0]),
        (2, "How many?", "", ("one", "two"), 1, images[1]),
    ]
    rows, written = [], []
    for index, question, hint, options, right, image in base:
        for turn in range(2 if index == 1 else 1):
            turned = options[turn:] + options[:turn]
            answer = "AB"[turned.index(options[right])]
            ident = index + turn * 1_000_000
            category = "object_localization" if index == 1 else "ocr"
            encoded = base64.b64encode(image).decode() if turn == 0 else str(index)
            rows.append(
                {
                    "index": ident,
                    "question": question,
                    "hint": hint,
                    "A": turned[0],
                    "B": turned[1],
                    "C": "",
                    "D": "",
                    "answer": answer,
                    "category": category,
                    "l2-category": "perception",
                    "image": encoded,
                }
            )
            asked = f"{hint}\n{question}" if hint else question
            digest = hashlib.sha256(image).hexdigest()
            written.append(Written(str(ident), category, asked, turned, answer, digest))
    if table == "tsv":
        import csv

        root.mkdir(parents=True, exist_ok=True)
        with (root / "MMBench_DEV_EN.tsv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    else:
        stored = [
            {**row, "image": {"bytes": images[k // 2], "path": None}} for k, row in enumerate(rows)
        ]
        write_parquet(root / "en" / "dev-00000-of-00001.parquet", stored)
    return written


def video_mmmu(root: Path, table: str = "parquet") -> list[Written]:
    """A row a track, the last an open question with two right answers."""
    rows: dict[str, dict] = {}
    written = []
    for k, (track, ident) in enumerate(
        [
            ("Perception", "dev_Art_1"),
            ("Comprehension", "new_Art_2"),
            ("Adaptation", "validation_Math_3"),
        ]
    ):
        digest = write_mp4(root / "Art" / f"{ident}.mp4", room(SEEDS[k % 2])[0][: 6 + k])
        options = [] if track == "Adaptation" else [f"case {i}" for i in range(10)]
        answer = "['24/7', '3.429']" if track == "Adaptation" else "J"
        rows[track] = {
            "id": ident,
            "question": f"What follows from the lecture {k}?",
            "options": lettered(options),
            "answer": answer,
            "qa_type": "ASR",
            "question_type": "open" if track == "Adaptation" else "multiple-choice",
        }
        written.append(
            Written(
                f"{track.lower()}/{ident}",
                track,
                rows[track]["question"],
                tuple(options) or None,
                "24/7\n3.429" if track == "Adaptation" else "J",
                digest,
            )
        )
    write_mp4(root / "question_only" / "validation_Math_3.mp4", room(SEEDS[0])[0][:2])
    if table == "parquet":
        for track, row in rows.items():
            write_parquet(root / track / "test-00000-of-00001.parquet", [row])
    else:
        import csv

        with (root / "VideoMMMU.tsv").open("w", newline="", encoding="utf-8") as file:
            names = ["category", *rows["Adaptation"], "video"]
            writer = csv.DictWriter(file, names, delimiter="\t", lineterminator="\n")
            writer.writeheader()
            for track, row in rows.items():
                video = f"Art/{row['id']}.mp4"
                stated = {"options": json.dumps(row["options"]), "category": track, "video": video}
                writer.writerow({**row, **stated})
    return written


WRITERS = {
    "vsi-bench": (vsi_bench, {}),
    "vsi-bench, parquet": (vsi_bench, {"table": "parquet"}),
    "v-star": (v_star, {}),
    "v-star, listed": (v_star, {"listed": True}),
    "infovqa": (infovqa, {}),
    "infovqa, parquet": (infovqa, {"table": "parquet"}),
    "mvbench": (mvbench, {}),
    "mmbench": (mmbench, {}),
    "mmbench, parquet": (mmbench, {"table": "parquet"}),
    "video-mmmu": (video_mmmu, {}),
    "video-mmmu, tsv": (video_mmmu, {"table": "tsv"}),
}
"""Every layout: the benchmark's name is what stands before the comma."""
