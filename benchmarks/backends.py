"""What each backend costs here, and how good it is on rooms.

`python benchmarks/backends.py [--quick] [--tasks 10] [--sam FILE] [--sam2 FOLDER]`

Every backend is measured in a process of its own, with one thread: what its first call takes
(imports, weights and the call), the median of later calls on fresh frames, and by how much the
process and its workers have grown. Times are of the processor, its workers' included, which a busy
machine does not distort. The latency of a tracker is for a frame. A second prompt on a frame, or
track through the same frames, has a column of its own where embeddings are kept, with the ratio of
the two. Quality is that of `benchmarks/tool_quality.py`: mask IoU by tight boxes, HOTA of tracks
from masks, CER of signs.

`sam` (ViT-B, 1024 px) and `sam2` (Hiera-T, 1024 px) run with drawn weights of the published
architectures unless given some, and so does `mmocr` (DBNet-r18, CRNN): what they cost is what real
weights cost, and their quality is left out. What cannot run here has a row with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Table, save
from quality_rooms import Scores, read_cases, segment_cases, track_cases

from pixelis_env.actions import ReadText, Segment, Track, Zoom
from pixelis_env.media import open_media
from pixelis_env.rooms.__main__ import main as write_room
from pixelis_env.tasks.rooms import RoomsSource
from pixelis_env.tools import Toolbox
from pixelis_env.tools.backends import weights
from pixelis_env.tools.cache import RESULTS
from pixelis_env.workspace import Workspace

BACKENDS = (
    ("segment", "grabcut"),
    ("segment", "sam"),
    ("segment", "sam2"),
    ("track", "flow"),
    ("track", "opencv"),
    ("track", "sam2"),
    ("read_text", "rapidocr"),
    ("read_text", "tesseract"),
    ("read_text", "mmocr"),
    ("decode", "pyav"),
    ("decode", "decord"),
    ("decode", "torchcodec"),
)
DRAWN = ("sam", "sam2", "mmocr")
"""What runs with drawn weights unless it is given some."""
FAMILIES = {"segment": "search", "track": "motion", "read_text": "text"}
HEADLINE = {"segment": ("tight box", "mask IoU"), "track": ("", "HOTA"), "read_text": ("", "CER")}
TRACKED = 3
"""Frames of a timed track; SAM 2 takes seconds for one on a CPU."""
MMOCR = ROOT / ".venv-mmocr" / "bin" / "python"


def spec_of(name: str, folder: Path, given: str | None) -> dict[str, Any]:
    """A backend's options; writes drawn weights where it needs weights and is given none."""
    spec: dict[str, Any] = {"name": name}
    if given is not None:
        return {**spec, "checkpoint": given}
    if name == "sam":
        import torch
        from segment_anything import sam_model_registry

        torch.manual_seed(0)
        spec["checkpoint"] = str(folder / "sam_vit_b.pth")
        torch.save(sam_model_registry["vit_b"]().state_dict(), spec["checkpoint"])
    if name == "sam2":
        import torch
        from transformers import Sam2VideoConfig, Sam2VideoModel

        torch.manual_seed(0)
        Sam2VideoModel(Sam2VideoConfig()).save_pretrained(folder)
        spec["checkpoint"] = str(folder)
    if name == "mmocr":
        spec |= mmocr_models(folder)
    return spec


def mmocr_models(folder: Path) -> dict[str, Any]:
    """Config files and drawn weights of a detector and a recogniser of MMOCR's environment."""
    if not MMOCR.is_file():
        raise RuntimeError("make env-mmocr was not run")
    from pixelis_env.tools.backends import _mmocr_serve

    configs = next(MMOCR.parents[1].glob("lib/*/site-packages/mmocr/.mim/configs"))
    det = configs / "textdet/dbnet/dbnet_resnet18_fpnc_1200e_icdar2015.py"
    rec = configs / "textrecog/crnn/crnn_mini-vgg_5e_mj.py"
    out = {"det": folder / "det.pth", "rec": folder / "rec.pth"}
    writer = ROOT / "tests" / "env" / "write_mmocr_weights.py"
    command = [MMOCR, writer, _mmocr_serve.__file__, det, out["det"], rec, out["rec"]]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return {
        "python": str(MMOCR),
        "det": str(det),
        "rec": str(rec),
        "det_weights": str(out["det"]),
        "rec_weights": str(out["rec"]),
        "timeout_s": 600.0,
    }


def measured(op: str, name: str, tasks: int, given: str | None) -> dict[str, Any]:
    """The figures of one backend, in this process; `given` are weights."""
    drawn = name in DRAWN and given is None
    with tempfile.TemporaryDirectory() as folder:
        if op == "decode":
            return decoding(name, Path(folder))
        if name == "sam":
            # Where torchvision cannot be imported, its Python part is enough.
            from tests.env import tiny_models

            with tiny_models.segment_anything():
                return calling(op, spec_of(name, Path(folder), given), 0 if drawn else tasks)
        return calling(op, spec_of(name, Path(folder), given), 0 if drawn else tasks)


def calling(op: str, spec: dict[str, Any], tasks: int) -> dict[str, Any]:
    """Load, latency, second prompt and memory of an operation's backend, and its quality."""
    media = RoomsSource(FAMILIES[op], 1).task(0).media
    workspace, toolbox = Workspace(media), Toolbox({op: spec})
    workspace.add(Toolbox().run(Zoom(box=(300, 300, 700, 700)), workspace))
    for index in range(4 * TRACKED):
        media.frame(index)  # drawing rooms is not what is timed
    before, start = memory(), cpu_seconds()
    run(toolbox, workspace, op, 0, 0)
    load = cpu_seconds() - start
    first, second = [], []
    frames = TRACKED if op == "track" else 1
    for frame in range(1, 2 if spec["name"] in DRAWN else 4):
        for prompt, figures in enumerate((first, second)):
            start = cpu_seconds()
            # A track of frames that none before it went through.
            run(toolbox, workspace, op, frame * frames, prompt)
            figures.append((cpu_seconds() - start) / frames)
    good = quality(op, toolbox, tasks)
    # Ends workers, whose memory is known only then.
    weights._MADE.clear()
    return {
        "first_s": load,
        "latency_s": float(np.median(first)),
        "second_s": float(np.median(second)),
        "memory_mb": memory() - before,
        "quality": good,
    }


def run(toolbox: Toolbox, workspace: Workspace, op: str, frame: int, prompt: int) -> None:
    """One call; other prompts on a frame are other arguments, so nothing comes from a cache."""
    RESULTS.clear()
    time_s = float(workspace.media.times[frame])
    box = (200 + 10 * prompt, 250, 700, 720 + 10 * prompt)
    if op == "segment":
        toolbox.run(Segment(box=box, time=time_s), workspace)
    elif op == "read_text":
        toolbox.run(ReadText(box=box, time=time_s), workspace)
    else:
        target = workspace.add(toolbox.run(Zoom(box=box, time=time_s), workspace))
        last = float(workspace.media.times[frame + TRACKED - 1])
        toolbox.run(Track(target=target, span=(time_s, last)), workspace)


def quality(op: str, toolbox: Toolbox, tasks: int) -> float | None:
    """The mean of the operation's headline metric on rooms, None where it was not asked for."""
    scores, tools = Scores(), {"it": toolbox}
    for number in range(tasks):
        scores.task, rng = number, np.random.default_rng([number, 0])
        media: Any = RoomsSource(FAMILIES[op], 1 + number % 3).task(number).media
        if op == "segment":
            segment_cases(scores, media, tools, rng)
        elif op == "track":
            track_cases(scores, media, tools, rng)
        else:
            read_cases(scores, media, tools)
        media.close()
        RESULTS.clear()
    case, metric = HEADLINE[op]
    kept = (pairs for key, pairs in scores.values.items() if key[2:] in ((case, metric),))
    if not case:
        kept = (
            pairs
            for key, pairs in scores.values.items()
            if key[3] == metric and "whole at" not in key[2]
        )
    values = [value for pairs in kept for _, value in pairs]
    return float(np.mean(values)) if values else None


def decoding(name: str, folder: Path) -> dict[str, Any]:
    """A decoder on the walk-through of a room: opening, random access, agreement with PyAV."""
    write_room(["--seed", "0", "--out", str(folder / "room.mp4")])
    before, start = memory(), cpu_seconds()
    media = open_media(folder / "room.mp4", decoder=name, cache_bytes=0)  # type: ignore[arg-type]
    media.frame(0)
    load, own = cpu_seconds() - start, open_media(folder / "room.mp4")
    times, same = [], []
    for index in np.random.default_rng(0).permutation(media.n_frames)[:30].tolist():
        start = cpu_seconds()
        frame = media.frame(index)
        times.append(cpu_seconds() - start)
        same.append(np.array_equal(frame, own.frame(index)))
    media.close()
    return {
        "first_s": load,
        "latency_s": float(np.mean(times)),  # the clock of a worker ticks in hundredths
        "second_s": None,
        "memory_mb": memory() - before,
        "quality": float(np.mean(same)),
    }


def cpu_seconds() -> float:
    """Processor time of this process, of those it has ended, and of its living workers."""
    ended = os.times()
    total = time.process_time() + ended.children_user + ended.children_system
    for child in Path("/proc/self/task").glob("*/children"):
        for pid in child.read_text().split():
            # The fields after the name, which may hold spaces: user and system time, in ticks.
            fields = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def memory() -> float:
    """The most memory that this process and those it has ended took so far, MB."""
    peaks = (resource.getrusage(who).ru_maxrss for who in (0, resource.RUSAGE_CHILDREN))
    return sum(peaks) / 1024


def row_of(op: str, name: str, figures: dict[str, Any], given: str | None) -> list[str]:
    """A row of the table."""
    if "error" in figures:
        return [op, name, f"no: {figures['error']}", "", "", "", "", ""]
    first, second = figures["latency_s"], figures["second_s"]
    told = {"segment": "mask IoU", "track": "HOTA", "read_text": "CER"}.get(op, "same as PyAV")
    good = figures["quality"]
    again = ""
    if name in ("sam", "sam2"):
        again = f"{seconds(second)} (1/{first / second:.0f})"
    return [
        op,
        name,
        "yes, drawn weights" if name in DRAWN and given is None else "yes",
        seconds(figures["first_s"]),
        seconds(first),
        again,
        f"{figures['memory_mb']:,.0f}",
        "–" if good is None else f"{told} {good:.3f}",
    ]


def seconds(value: float) -> str:
    """A time in the unit that suits it."""
    return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def in_own_process(op: str, name: str, tasks: int, given: str | None) -> dict[str, Any]:
    """`measured`, or why it does not run here."""
    command = [sys.executable, __file__, "--one", op, name, "--tasks", str(tasks)]
    command += [] if given is None else [f"--{name}", given]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OMP_THREAD_LIMIT"), "1")
    environment = {**os.environ, **threads, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    last: Iterable[str] = reversed(done.stdout.splitlines())
    found = next((line for line in last if line.startswith("{")), None)
    if found is None:
        return {"error": done.stderr.strip().splitlines()[-1][:300]}
    figures: dict[str, Any] = json.loads(found)
    return figures


def one(op: str, name: str, tasks: int, given: str | None) -> None:
    """Prints one backend's figures as JSON, or the error that says why there are none."""
    import cv2

    cv2.setNumThreads(1)
    try:
        figures = measured(op, name, tasks, given)
    except Exception as error:  # whatever keeps it from running is what the table says
        # A decoder's error begins with the file, which is no news.
        figures = {"error": str(error).rpartition(".mp4: ")[2][:300]}
    print(json.dumps(figures), flush=True)


def main() -> None:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 tasks, to try it")
    parser.add_argument("--tasks", type=int, default=10, help="rooms for the quality")
    parser.add_argument("--sam", help="weights of SAM, such as sam_vit_b_01ec64.pth")
    parser.add_argument("--sam2", help="a folder or hub id of SAM 2")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    tasks = 2 if options.quick else options.tasks
    if options.one:
        one(*options.one, tasks, vars(options).get(options.one[1]))
        return
    columns = ["operation", "backend", "runs here", "first call", "later calls"]
    columns += ["second prompt or track there", "memory, MB", "quality on rooms"]
    table, raw = Table("Backends", columns), {}
    for op, name in BACKENDS:
        given = vars(options).get(name)
        figures = raw[f"{op} {name}"] = in_own_process(op, name, tasks, given)
        table.rows.append(row_of(op, name, figures, given))
        print(" | ".join(table.rows[-1]), flush=True)
    save("backends", range(tasks), [table], {"protocol": __doc__, "figures": raw})


if __name__ == "__main__":
    main()
