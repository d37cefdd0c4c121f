"""Checks a corpus: its records, its images, and that every episode plays out again as recorded.

`python -m pixelis_agent.cota.validate FOLDER` exits with 0 when all is well, 1 when a record
fails, 2 when there is no corpus.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from PIL import Image

import pixelis_env  # noqa: F401 - registers the ids
from pixelis_agent.cota.media import image_digest
from pixelis_agent.cota.record import (
    AssistantTurn,
    Corpus,
    CorpusError,
    ImageRef,
    Record,
    parse_record,
)
from pixelis_agent.images import read_picture
from pixelis_env.env import PixelisEnv
from pixelis_env.making import make_env
from pixelis_env.replay import replay
from pixelis_env.tools.cache import RESULTS
from pixelis_env.trace import Trace, TraceError
from pixelis_env.wrappers import ToolCall


@dataclass
class ValidateConfig:
    """What to check.

    Attributes:
        folder: The corpus.
        every: Play every this many-th task again, 1 = all; everything else is always checked.
        workers: Processes.
    """

    folder: Path
    every: int = 1
    workers: int = 1


@dataclass
class Verdict:
    """What came of it.

    Attributes:
        records: How many were checked.
        played: How many of them were played again.
        failed: Id (or shard and line) and what is wrong.
    """

    records: int = 0
    played: int = 0
    failed: dict[str, str] = field(default_factory=dict)


class _Wrong(Exception):
    """What is wrong with a record."""


def run(config: ValidateConfig) -> dict[str, Any]:
    """Checks a corpus and prints a table to stderr.

    Returns:
        `records`, `played`, and `failed`: what is wrong by record.

    Raises:
        CorpusError: There is none.
    """
    from rich.console import Console
    from rich.table import Table

    verdict = validate(config.folder, every=config.every, workers=config.workers)
    console = Console(stderr=True)
    rows = Table("records", "played again", "failed")
    rows.add_row(str(verdict.records), str(verdict.played), str(len(verdict.failed)))
    console.print(rows)
    for name, wrong in verdict.failed.items():
        console.print(f"{name}: {wrong}", markup=False, highlight=False)
    return {"records": verdict.records, "played": verdict.played, "failed": verdict.failed}


def validate(folder: Path, *, every: int = 1, workers: int = 1) -> Verdict:
    """Checks a corpus; see `ValidateConfig`.

    Raises:
        CorpusError: The folder holds no shards.
    """
    shards = Corpus(folder).shards
    check = partial(_check_shard, Path(folder), every)
    if workers == 1:
        parts = list(map(check, shards))
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            parts = list(pool.map(check, shards))
    total, ids = Verdict(), Counter[str]()
    for part, found in parts:
        total.records += part.records
        total.played += part.played
        total.failed.update(part.failed)
        ids.update(found)
    total.failed.update({name: "two records have this id" for name, n in ids.items() if n > 1})
    return total


def _check_shard(folder: Path, every: int, shard: Path) -> tuple[Verdict, list[str]]:
    verdict, ids = Verdict(), list[str]()
    good: list[Record] = []
    digests: dict[str, tuple[str, tuple[int, int]]] = {}
    for number, line in enumerate(shard.read_bytes().splitlines(), start=1):
        verdict.records += 1
        where = f"{shard.name} line {number}"
        try:
            record = parse_record(line, where, folder)
            ids.append(record.id)
            where = record.id
            _check_record(record, folder, digests)
            good.append(record)
        except (CorpusError, _Wrong) as wrong:
            verdict.failed[where] = str(wrong)
    played = [record for record in good if record.trace is not None]
    # Episodes on one task stand together: its room is made once.
    tasks = groupby(played, key=_task)
    for number, (_, records) in enumerate(tasks):
        if number % every:
            continue
        for record, problem in _play(list(records), folder):
            verdict.played += 1
            if problem is not None:
                verdict.failed[record.id] = problem
    return verdict, ids


def _task(record: Record) -> tuple[object, ...]:
    """What an episode was played on."""
    kwargs = json.dumps(record.env_kwargs, sort_keys=True)
    return record.env_id, kwargs, record.medium, record.task_type, record.index


def _check_record(
    record: Record, folder: Path, digests: dict[str, tuple[str, tuple[int, int]]]
) -> None:
    """The order of turns, every image, and the targets."""
    roles = [turn.role for turn in record.turns]
    between = ["assistant", "tool"] * ((len(roles) - 2) // 2)
    if roles != ["user", *between, "assistant"]:
        raise _Wrong(f"its turns are {', '.join(roles)}: not a question, calls and an answer")
    if record.turns[-1].role == "assistant" and record.turns[-1].op != "answer":
        raise _Wrong("it does not end with an answer")
    shown = 0
    for turn in record.turns:
        if not isinstance(turn, AssistantTurn):
            shown += len(turn.images)
            for ref in turn.images:
                _check_image(ref, folder, digests)
        elif turn.pointing is not None and len(turn.pointing) != shown:
            raise _Wrong(f"{len(turn.pointing)} boxes point into {shown} images")


def _check_image(
    ref: ImageRef, folder: Path, digests: dict[str, tuple[str, tuple[int, int]]]
) -> None:
    if ref.file not in digests:
        try:
            with Image.open(folder / ref.file) as image:
                digests[ref.file] = image_digest(image), image.size
        except OSError as error:
            raise _Wrong(f"{ref.file} cannot be read: {error}") from None
    digest, size = digests[ref.file]
    if digest != Path(ref.file).stem:
        raise _Wrong(f"{ref.file} holds other pixels than its name says")
    x0, y0, x1, y1 = ref.region
    if size != (x1 - x0, y1 - y0):
        raise _Wrong(f"{ref.file} has {size} pixels, its region {ref.region}")


def _play(records: list[Record], folder: Path) -> Iterator[tuple[Record, str | None]]:
    """Plays one task's records again; each with what is wrong, or None."""
    first = records[0]
    kwargs = dict(first.env_kwargs)
    if first.medium is not None:
        kwargs["source"] = str(folder / first.medium)
    try:
        env = make_env(first.env_id, kwargs)
    except ValueError as error:
        yield from ((record, f"its environment cannot be made: {error}") for record in records)
        return
    for record in records:
        assert record.trace is not None
        try:
            _speak(record, Trace.load(folder / record.trace), env)
        except (TraceError, CorpusError, _Wrong) as wrong:
            yield record, str(wrong)
            continue
        yield record, None
    env.close()


def _speak(record: Record, trace: Trace, env: ToolCall) -> None:
    """Says what the record says; what comes back must be what it and its trace hold."""
    base = env.unwrapped
    assert isinstance(base, PixelisEnv)
    header = trace.header
    task = header.env_id, header.kwargs, header.index
    if task != (record.env_id, record.env_kwargs, record.index):
        raise _Wrong("its trace is of another environment or task")
    RESULTS.clear()  # what was computed once must not be compared with itself
    observation, _ = env.reset(options={"index": record.index})
    if base.trace().header.media_digest != header.media_digest:
        raise _Wrong(str(replay(trace, env=env)))
    for number, turn in enumerate(record.turns):
        if isinstance(turn, AssistantTurn):
            observation, _, _, _, _ = env.step(turn.text)
            continue
        stored = record.observation(number)
        for key in ("text", "times", "regions"):
            was, now = stored[key], observation[key]
            same = was == now if key != "times" else _near(was, now)
            if not same:
                raise _Wrong(f"the {key} of turn {number} was {was!r}, is {now!r}")
        pixels = [read_picture(image).tobytes() for image in stored["images"]]
        if pixels != [image.tobytes() for image in observation["images"]]:
            raise _Wrong(f"the images of turn {number} are others")
    steps, score = base.steps, base.trace().score
    if steps != trace.steps:
        # Either the trace does not play out the same, or it is not of these words.
        report = replay(trace, env=env)
        raise _Wrong("its words are other actions than its trace's" if report.ok else str(report))
    if score != record.score:
        raise _Wrong(f"its score is {score}, not {record.score}")


def _near(was: list[float], now: list[float]) -> bool:
    """Times are stored to the microsecond."""
    pairs = zip(was, now, strict=False)
    return len(was) == len(now) and all(abs(a - b) < 1e-6 for a, b in pairs)


def main(argv: list[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m pixelis_agent.cota.validate", description=__doc__
    )
    parser.add_argument("folder", type=Path, help="the corpus")
    parser.add_argument("--every", type=int, default=1, help="play every this many-th task again")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    try:
        result = run(ValidateConfig(**vars(parser.parse_args(argv))))
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
