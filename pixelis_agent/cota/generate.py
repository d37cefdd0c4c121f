"""Writes a corpus of CoTA episodes from the oracle's chains, played with the real tools."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import Generator

import pixelis_env  # noqa: F401 - registers the ids
from pixelis_agent.cota.record import VERSION, Record, record_line
from pixelis_agent.cota.story import Story
from pixelis_agent.cota.write import NOT_SHOWN, SLIPPED, write_episode
from pixelis_agent.files import replace_file
from pixelis_agent.splits import DEMONSTRATED
from pixelis_env.env import PixelisEnv
from pixelis_env.making import make_env
from pixelis_env.observation import overview_indices
from pixelis_env.tasks import Task, TaskSource
from pixelis_env.wrappers import ToolCall

if TYPE_CHECKING:
    from rich.table import Table

SLOT_INDICES = 64
"""Indices that one slot of a corpus may try until a task gives its episodes."""

MAX_SEEDS = 40
SEED_INDICES = len(DEMONSTRATED) // MAX_SEEDS
MAX_SLOTS = SEED_INDICES // SLOT_INDICES

LEAST_SCORE = {"letter": 0.9, "anls": 0.9, "open": 0.9, "mra": 0.75, "tiou": 0.75}
"""What the environment must give an episode's answer, by metric."""

SEARCHED = ("time_first", "time_interval")
"""Question types for which an episode searches the whole video."""


@dataclass
class CotaConfig:
    """What corpus to write.

    Attributes:
        out: The folder; whole shards that are there already are kept.
        env: Registered id of the environment.
        types: Question types, in equal shares; empty = all of the environment's.
        levels: Difficulties 1..3, in equal shares.
        episodes: How many records.
        variants: Episodes on one task: the same room, other chains and words.
        seed: 0..39; other seeds have other tasks.
        workers: Processes.
        shard: Records in a file.
        tools: Name of a backend for every operation that has it, e.g. "oracle"; empty = the
            environment's default ones.
        grid: Boxes are rounded to multiples of this, 1..50 thousandths of the view: a small model
            learns fewer numbers sooner.
    """

    out: Path
    env: str = "Pixelis-v0"
    types: tuple[str, ...] = ()
    levels: tuple[int, ...] = (1,)
    episodes: int = 2000
    variants: int = 2
    seed: int = 0
    workers: int = 1
    shard: int = 200
    tools: str = ""
    grid: int = 1


@dataclass
class Tally:
    """What came of the attempts on one question type.

    Attributes:
        kept: Episodes written.
        repaired: Of them, those that have a step not to be imitated.
        dropped: Attempts that gave no episode, by reason.
        seconds: Time of the process in all, s.
    """

    kept: int = 0
    repaired: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def run(config: CotaConfig) -> dict[str, Any]:
    """Writes the corpus, with a progress bar and the yields on stderr.

    Returns:
        `out`, `records`, and for each type and level `kept`, `with_repairs` (episodes that have
        a step not to be imitated), `dropped` (attempts, by reason) and `seconds_an_episode` of one
        processor.

    Raises:
        ValueError: The configuration is out of range, or the folder holds another corpus.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    shards = track(
        generate(config), "shards", total=-(-config.episodes // config.shard), console=console
    )
    result = summary(list(shards), config)
    console.print(table(result))
    return result


def generate(config: CotaConfig) -> Iterator[dict[str, Any]]:
    """Writes the corpus shard by shard; yields each shard's statistics as it is there.

    Raises:
        ValueError: The configuration is out of range, or the folder holds another corpus.
    """
    config = _checked(config)
    config.out.mkdir(parents=True, exist_ok=True)
    _claim(config)
    count = -(-config.episodes // config.shard)
    write = partial(write_shard, config)
    if config.workers == 1:
        yield from map(write, range(count))
        return
    # Spawned: a fork would copy the threads of whatever the caller has loaded.
    with ProcessPoolExecutor(config.workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(write, range(count))


def write_shard(config: CotaConfig, number: int) -> dict[str, Any]:
    """Writes one shard, unless it is there; returns its statistics.

    It depends on the configuration and its number alone, so any process may write it. Its
    statistics hold the time that it took; nothing else does.
    """
    path = config.out / f"shard-{number:05d}.jsonl"
    stats = config.out / "stats" / f"shard-{number:05d}.json"
    wanted = min(config.shard, config.episodes - number * config.shard)
    if path.exists() and stats.exists():
        kept: dict[str, Any] = json.loads(stats.read_text())
        if kept["records"] == wanted:
            return kept
    tallies: dict[str, Tally] = {}
    records: list[Record] = []
    slots = _slots(config)
    with _Worlds(config) as worlds:
        for slot in range(number * slots, (number + 1) * slots):
            if len(records) == wanted:
                break
            most = min(config.variants, wanted - len(records))
            records += _slot(config, worlds, slot, most, tallies)
    if len(records) < wanted:
        raise RuntimeError(f"{slots} tasks gave {len(records)} episodes, not {wanted}")
    data = b"".join(record_line(record) for record in records)
    result = {"shard": number, "records": len(records), "types": _plain(tallies)}
    replace_file(stats, json.dumps(result, indent=1).encode())
    replace_file(path, data)
    return result


def _slots(config: CotaConfig) -> int:
    """Slots that a shard may use: twice as many as it takes when every one is filled."""
    return 2 * -(-config.shard // config.variants)


def _slot(
    config: CotaConfig, worlds: _Worlds, slot: int, wanted: int, tallies: dict[str, Tally]
) -> list[Record]:
    """The episodes on the first task of the slot that gives any."""
    pairs = [(level, name) for level in config.levels for name in config.types]
    level, name = pairs[slot % len(pairs)]
    tally = tallies.setdefault(f"{name} {level}", Tally())
    env = worlds.env(name, level)
    first = config.seed * SEED_INDICES + slot * SLOT_INDICES
    records: list[Record] = []
    for index in range(first, first + SLOT_INDICES):
        started = time.process_time()
        boxes: dict[Any, Any] = {}
        if not worlds.worthwhile(env, index):
            tally.dropped[NOT_SHOWN] += 1
            tally.seconds += time.process_time() - started
            continue
        for variant in range(2 * wanted):
            if len(records) == wanted:
                break
            observation, _ = env.reset(options={"index": index})
            story = Story(env, observation, config.out, boxes)
            words = _generator("words", config.seed, index, variant)
            # Searching the whole video is by far the dearest call: its mask should be the same in
            # all variants, so that its result is known.
            shared = story.task.type in SEARCHED
            looks = _generator("looks", config.seed, index, 0 if shared else variant)
            reason = write_episode(story, looks, words, config.grid)
            if reason is None and (story.score or 0.0) < LEAST_SCORE[story.task.metric]:
                reason = "a wrong answer"
            if reason is not None:
                tally.dropped[reason] += 1
                if records or reason == SLIPPED:
                    continue
                # The same pixels would most likely mislead the next chain too.
                break
            record_id = f"{name}-{level}-{index}-{variant}"
            trace = story.base.trace().save(config.out / "traces" / f"{record_id}.json")
            records.append(
                story.record(record_id, variant, level, trace.relative_to(config.out).as_posix())
            )
            tally.kept += 1
            tally.repaired += any(not getattr(turn, "learn", True) for turn in story.turns)
        tally.seconds += time.process_time() - started
        if records:
            return records
    raise RuntimeError(f"no {name} episode at level {level} among {SLOT_INDICES} tasks")


class _Worlds:
    """An environment for each question type and level, made when it is asked for."""

    def __init__(self, config: CotaConfig) -> None:
        self._config = config
        self._envs: dict[tuple[str, int], ToolCall] = {}

    def __enter__(self) -> _Worlds:
        return self

    def __exit__(self, *_: object) -> None:
        for env in self._envs.values():
            env.close()

    def env(self, name: str, level: int) -> ToolCall:
        """The environment whose tasks are all of this type and level."""
        if (name, level) not in self._envs:
            kwargs: dict[str, Any] = {"types": [name], "level": level}
            if self._config.tools:
                kwargs["tools"] = self._config.tools
            env = make_env(self._config.env, kwargs)
            base = env.unwrapped
            assert isinstance(base, PixelisEnv)
            base.source = _Last(base.source)
            self._envs[name, level] = env
        return self._envs[name, level]

    def worthwhile(self, env: ToolCall, index: int) -> bool:
        """Whether the overview of a task shows what its question needs; nothing is rendered."""
        base = env.unwrapped
        assert isinstance(base, PixelisEnv)
        task = base.source.task(index)
        if task.oracle is None:
            raise ValueError(
                f"{base.source.name} has tasks without an oracle: none can be imitated"
            )
        try:
            task.oracle(_generator("look", index), overview_indices(task.media))
        except LookupError:
            return False
        return True


class _Last:
    """A source that remembers its last task, so that looking at it first costs nothing."""

    def __init__(self, source: TaskSource) -> None:
        self._source = source
        self._task: tuple[int, Task] | None = None

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def size(self) -> int | None:
        return self._source.size

    def task(self, index: int) -> Task:
        if self._task is None or self._task[0] != index:
            self._task = index, self._source.task(index)
        return self._task[1]


def summary(shards: Sequence[dict[str, Any]], config: CotaConfig) -> dict[str, Any]:
    """The statistics of all shards together; see `run`."""
    total: dict[str, dict[str, Any]] = {}
    for shard in shards:
        for name, part in shard["types"].items():
            row = total.setdefault(
                name, {"kept": 0, "with_repairs": 0, "dropped": Counter(), "seconds": 0.0}
            )
            for key in ("kept", "with_repairs", "seconds"):
                row[key] += part[key]
            row["dropped"].update(part["dropped"])
    for row in total.values():
        row["seconds_an_episode"] = round(row.pop("seconds") / max(row["kept"], 1), 2)
        row["dropped"] = dict(row["dropped"])
    return {
        "out": str(config.out),
        "records": sum(shard["records"] for shard in shards),
        "types": total,
    }


def table(result: dict[str, Any]) -> Table:
    """The yields of a corpus (what `run` returns), to be printed."""
    from rich.table import Table

    rows = Table("type, level", "kept", "with repairs", "s an episode", "dropped")
    for name, row in result["types"].items():
        dropped = ", ".join(f"{count} {reason}" for reason, count in row["dropped"].items())
        numbers = (row["kept"], row["with_repairs"], row["seconds_an_episode"])
        rows.add_row(name, *map(str, numbers), dropped)
    return rows


def _plain(tallies: dict[str, Tally]) -> dict[str, Any]:
    return {
        name: {
            "kept": tally.kept,
            "with_repairs": tally.repaired,
            "dropped": dict(sorted(tally.dropped.items())),
            "seconds": round(tally.seconds, 1),
        }
        for name, tally in sorted(tallies.items())
    }


def _checked(config: CotaConfig) -> CotaConfig:
    """The configuration with its types spelled out.

    Raises:
        ValueError: Something is out of range.
    """
    for name, least in (("episodes", 1), ("variants", 1), ("workers", 1), ("shard", 1)):
        if getattr(config, name) < least:
            raise ValueError(f"{name} must be at least {least}, not {getattr(config, name)}")
    if not 1 <= config.grid <= 50:
        raise ValueError(f"grid must be in 1..50 thousandths, not {config.grid}")
    if not 0 <= config.seed < MAX_SEEDS:
        raise ValueError(f"seed must be in 0..{MAX_SEEDS - 1}, not {config.seed}")
    if -(-config.episodes // config.shard) * _slots(config) > MAX_SLOTS:
        raise ValueError(f"one seed has {MAX_SLOTS} tasks: lower episodes or raise variants")
    env = make_env(config.env, {"types": list(config.types) or None}).unwrapped
    assert isinstance(env, PixelisEnv)
    types = tuple(getattr(env.source, "types", ()))
    env.close()
    if not types:
        raise ValueError(f"{config.env} has no procedural tasks to write episodes on")
    out = Path(config.out)
    values = {**config.__dict__, "types": types, "levels": tuple(config.levels), "out": out}
    return CotaConfig(**values)


def _claim(config: CotaConfig) -> None:
    """Notes what corpus the folder holds, or checks that it is the same.

    Raises:
        ValueError: It is another, or larger than what is wanted.
    """
    path = config.out / "corpus.json"
    plain = {k: v for k, v in config.__dict__.items() if k not in ("out", "workers", "episodes")}
    text = json.dumps({"format": VERSION, **plain}, indent=1)
    if path.exists() and path.read_text() != text:
        raise ValueError(f"{config.out} holds a corpus of other settings (see {path.name})")
    shards = (config.out / "stats").glob("shard-*.json")
    held = sum(json.loads(shard.read_text())["records"] for shard in shards)
    if held > config.episodes:
        raise ValueError(
            f"{config.out} holds {held} episodes, more than {config.episodes}: ask for at least as "
            "many, or write into another folder"
        )
    replace_file(path, text.encode())


def _generator(*key: object) -> Generator:
    digest = hashlib.sha256(" ".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
