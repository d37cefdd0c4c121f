"""How good the operations' backends are, on rooms (exact truth) and on real media.

`python benchmarks/tool_quality.py [--quick] [--tasks 200]`
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import cv2
import numpy as np
from common import Table, save, with_interval
from quality_real import real_scores
from quality_rooms import (
    Scores,
    cut_cases,
    localize_cases,
    localize_text_cases,
    read_cases,
    segment_cases,
    track_cases,
)

from pixelis_env.rooms import RoomVideo
from pixelis_env.rooms.questions import FAMILIES
from pixelis_env.tasks.rooms import RoomsSource
from pixelis_env.tools import Toolbox
from pixelis_env.tools.cache import RESULTS

cv2.setNumThreads(1)

NOISE = 0.3
TEXT_EVERY = 3
"""One of so many text tasks is searched for its sign: reading every sampled frame is slow."""
WALKS = 3
"""Walk-throughs that are joined into a clip with cuts."""


def room_scores(first: int, count: int, ops: frozenset[str]) -> Scores:
    """Every operation on the tasks `first` .. `first + count - 1`."""
    names = ("segment", "track", "read_text", "localize")
    default = Toolbox()
    noisy = Toolbox({op: {"name": "oracle", "noise": NOISE} for op in names})
    tools = {name.split("@")[0]: default for name in default.names.values()}
    tools |= {"oracle": Toolbox("oracle"), f"oracle, noise {NOISE}": noisy}
    scores, walks, start = Scores(), list[RoomVideo](), time.perf_counter()
    for number in range(first, first + count):
        family, level = task_kind(number)
        media = RoomsSource(family, level).task(number).media
        assert isinstance(media, RoomVideo)
        rng = np.random.default_rng([number, 2])
        if "track" in ops:
            track_cases(scores, media, tools, rng)
        if "segment" in ops:
            segment_cases(scores, media, tools, rng)
        if "read_text" in ops and family == "text":
            read_cases(scores, media, tools)
        if "localize" in ops and family in ("vsi", "search", "time"):
            localize_cases(scores, media, tools, rng)
        if "localize" in ops and family == "text" and number // len(FAMILIES) % TEXT_EVERY == 0:
            localize_text_cases(scores, media, tools, rng)
        if "localize" in ops and family == "vsi" and number % 2 == 0:
            walks.append(RoomVideo(media.scene))
        if len(walks) == WALKS:
            cut_cases(scores, walks, tools)
            walks.clear()
        media.close()
        RESULTS.clear()
        if (number - first) % 10 == 9:
            print(f"{number - first + 1} tasks, {time.perf_counter() - start:.0f} s", flush=True)
    return scores


def task_kind(number: int) -> tuple[str, int]:
    """Family and level of a task: families take turns, and levels within each family."""
    return FAMILIES[number % len(FAMILIES)], 1 + number // len(FAMILIES) % 3


NOTES = """TBD"""
TARGETS = {
    ("segment", "grabcut", "tight box", "mask IoU"): "≥ 0.80",
    ("segment", "grabcut", "box jittered ±5 %", "mask IoU"): "≥ 0.80",
    ("read_text", "rapidocr", "letters ≥ 16 px", "CER"): "≤ 0.05",
    ("localize", "scan", "object by a view of it", "temporal IoU"): "≥ 0.85",
    ("localize", "scan", "sign by its text", "temporal IoU"): "≥ 0.85",
}


def target(key: tuple[str, str, str, str]) -> str:
    """What is aimed at, as a cell."""
    if key[:2] == ("track", "ncc") and key[3] == "HOTA":
        return "≥ 0.70"
    return TARGETS.get(key, "")


def table_of(title: str, scores: Scores) -> Table:
    """Operation, backend, case and metric with n, mean and interval."""
    table = Table(title, ["operation", "backend", "case", "metric", "n", "mean [95 %]", "target"])
    order = ("segment", "read_text", "track", "localize")
    keys = sorted(scores.values, key=lambda key: order.index(key[0]))
    for key in keys:
        values = scores.values[key]
        table.rows.append([*key, str(len(values)), with_interval(values), target(key)])
    return table


def listed(scores: Scores) -> list[list[Any]]:
    """Every figure by its key, as JSON."""
    return [[*key, [round(v, 4) for v in values]] for key, values in scores.values.items()]


def main() -> None:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="15 tasks, to try it")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="index of the first task")
    parser.add_argument("--ops", nargs="*", default=["segment", "read_text", "track", "localize"])
    options = parser.parse_args()
    count = 15 if options.quick else options.tasks
    rooms = room_scores(options.first, count, frozenset(options.ops))
    missing: list[str] = []
    real = real_scores(missing)
    tables = [table_of("Tools on rooms", rooms), table_of("Tools on real media", real)]
    tables[1].rows += [[*case.split(": ", 1), "not installed", "", "", "", ""] for case in missing]
    raw = {"rooms": listed(rooms), "real": listed(real), "notes": NOTES}
    save("tool_quality", range(options.first, options.first + count), tables, raw)


if __name__ == "__main__":
    main()
