"""Arms by seeds: each is trained, then all play; what is finished is only read again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from common import Table, over_seeds
from playing import Place, Play, play_all

from pixelis_agent.tally import as_text

Name = TypeVar("Name")
Rows = dict[str, dict[int, dict[str, Any]]]
"""The result of every arm and seed."""


@dataclass(frozen=True)
class Study:
    """What the arms have in common.

    Attributes:
        runs: Folder of the runs; a benchmark that was stopped goes on where it was.
        model: What they start from.
        train: Words after `pixelis`, for all arms.
        seeds: How many.
        jobs: Processes at once.
    """

    runs: Path
    model: str
    train: Sequence[str]
    seeds: int
    jobs: int

    def on(self, runs: Path, train: Sequence[str]) -> Study:
        """The same with another folder, and more words for training."""
        return replace(self, runs=runs, train=[*self.train, *train])

    def results(
        self, arms: Mapping[str, Sequence[str] | None], plays: Mapping[str, Play]
    ) -> dict[str, Rows]:
        """Trains and plays.

        Args:
            arms: Words that each adds to the training command; None: it is not trained.
            plays: Ways to play the result, by name.

        Returns:
            What each of `plays` gave, by its name.
        """
        return self.played(self.trained(arms), plays)

    def trained(
        self, arms: Mapping[str, Sequence[str] | None]
    ) -> dict[tuple[str, int], tuple[Path, str]]:
        """Trains.

        Returns:
            By arm and seed where the result lies, or would lie, and the policy.
        """
        cells = self.cells(arms)
        found = self.at_once(lambda cell: self.train_cell(*cell, arms[cell[0]]), cells)
        return dict(zip(cells, found, strict=True))

    def cells(self, arms: Mapping[str, Sequence[str] | None]) -> list[tuple[str, int]]:
        """Every arm with every seed; what is not trained is the same for all."""
        return [(a, s) for s in range(self.seeds) for a in arms if arms[a] is not None or s == 0]

    def train_cell(self, arm: str, seed: int, words: Sequence[str] | None) -> tuple[Path, str]:
        """Trains an arm with a seed; see `trained`."""
        out = self.folder(arm, seed)
        if words is None:
            return out, self.model
        return out, self.train_one(out, self.model, ["--seed", str(seed), *words])

    def train_one(self, out: Path, model: str, words: Sequence[str]) -> str:
        """A run from a model into a folder; its name as a policy."""
        self.pixelis([*self.train, "--model", model, *words, "--out", str(out)], out)
        return str(out)

    def played(
        self, trained: Mapping[tuple[str, int], tuple[Path, str]], plays: Mapping[str, Play]
    ) -> dict[str, Rows]:
        """Plays what was trained; see `results`."""
        players = {cell: Player(*found, plays) for cell, found in trained.items()}
        return by_play(play_once(players, self.jobs))

    def folder(self, arm: str, seed: int) -> Path:
        """Where an arm is trained with a seed."""
        return self.runs / f"{arm.replace(' ', '-')}-{seed}"

    def at_once(self, work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Does the same with each item, as many at once as there are jobs."""
        with ThreadPoolExecutor(self.jobs) as pool:
            return list(pool.map(work, items))

    def pixelis(self, words: Sequence[str], out: Path) -> bytes:
        """Runs a subcommand, with a log beside `out`; returns the last line that it printed."""
        command = [sys.executable, "-m", "pixelis_agent.cli", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.with_name(f"{out.name}.log").open("a") as log:
            done = subprocess.run(
                command, check=True, env=environment, stderr=log, stdout=subprocess.PIPE
            )
        return done.stdout.rstrip().rsplit(b"\n", 1)[-1] + b"\n"


@dataclass(frozen=True)
class Player:
    """A policy that plays: where its results are kept, what it is called, and its plays by name."""

    out: Path
    policy: str
    plays: Mapping[str, Play]

    def result(self, play: str) -> Path:
        """Where what one of its plays gave is kept."""
        return self.out.with_name(f"{self.out.name}-{play.replace(' ', '-')}.json")


def play_once(players: Mapping[Name, Player], jobs: int) -> dict[Name, dict[str, dict[str, Any]]]:
    """What players come to in each of their plays; a process for each place that is played.

    Args:
        players: Who plays, by any names.
        jobs: Processes at once.
    """
    missing: dict[Place, dict[Path, tuple[str, Play]]] = {}
    for player in players.values():
        for name, play in player.plays.items():
            if not player.result(name).exists():
                missing.setdefault(play.place, {})[player.result(name)] = player.policy, play
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for found in pool.map(play_all, missing.values()):
            for file, row in found.items():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(row))
    return {
        who: {name: json.loads(player.result(name).read_text()) for name in player.plays}
        for who, player in players.items()
    }


def by_play(found: Mapping[tuple[str, int], Mapping[str, dict[str, Any]]]) -> dict[str, Rows]:
    """What arms and seeds came to in each play, by its name."""
    rows: dict[str, Rows] = {}
    for (arm, seed), plays in found.items():
        for name, row in plays.items():
            rows.setdefault(name, {}).setdefault(arm, {})[seed] = row
    return rows


def cell(rows: Mapping[int, Mapping[str, Any]], key: str) -> str:
    """Mean and interval over the seeds; of a single one its own interval."""
    values = [row[key] for row in rows.values()]
    if len(values) == 1:
        (row,) = rows.values()
        return as_text(row[key], row.get(f"{key}_ci95"))
    return over_seeds(values)


def table(title: str, rows: Rows, measures: Mapping[str, str]) -> Table:
    """A table, a line an arm.

    Args:
        title: Of the table.
        rows: One play's results.
        measures: Column heads by the results' names.
    """
    made = Table(title, ["arm", *measures.values()])
    made.rows = [[arm, *(cell(rows[arm], key) for key in measures)] for arm in rows]
    return made
