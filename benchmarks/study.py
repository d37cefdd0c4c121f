"""The runs of a study: each is trained, then played; what came of it is kept in the repository.

A table of many runs takes longer than a machine may be at hand. So what is known of a run is
written to a file of its own under `benchmarks/results/studies/` as soon as it is known, with its
settings, a digest of its weights, the commit and the machine; a study that is begun again, here or
elsewhere, makes what is missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from threading import Lock
from typing import Any

from common import RESULTS, Table, commit, machine, over_seeds
from filelock import FileLock
from playing import Place, Play, play_all

from pixelis_agent.cli import parse
from pixelis_agent.files import replace_file
from pixelis_agent.models.digest import weights_digest
from pixelis_agent.models.load import load_model
from pixelis_agent.tally import as_text

Rows = dict[str, dict[int, dict[str, Any]]]
"""The result of every arm and seed."""

KEPT = RESULTS / "studies"
_ANYWHERE = ("out", "workers", "data")  # paths, and settings by which nothing comes out otherwise


@dataclass(frozen=True)
class Run:
    """A run, and what is asked of its result.

    Attributes:
        name: Of its folder and file, with slashes.
        words: Of the command that trains it, after `pixelis`; None: nothing is trained, the start
            itself is asked.
        plays: Ways to play the result, by name.
        audits: Words of `pixelis audit`, by name.
        start: The run whose result it starts from; None: the study's model.
        made_of: What else its result depends on, as JSON can hold it.
    """

    name: str
    words: tuple[str, ...] | None
    plays: Mapping[str, Play]
    audits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    start: Run | None = None
    made_of: Mapping[str, Any] = field(default_factory=dict)


class Study:
    """Makes runs and keeps what came of them.

    Args:
        runs: Folder of the runs themselves; one that was stopped goes on where it was.
        kept: Folder of what is known of them.
        model: What they start from.
        note: What a record is to hold of a run's folder.
        jobs: Processes at once.
        prepare: Called once before anything is trained.
    """

    def __init__(
        self,
        runs: Path,
        kept: Path,
        model: str,
        note: Callable[[Path], dict[str, Any]],
        jobs: int,
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        self._runs, self._kept, self._model = runs, kept, model
        self._note, self._jobs, self._prepare = note, jobs, prepare
        self._prepared = False
        learns = model not in ("oracle", "random")
        self._weights = weights_digest(load_model(model).model) if learns else None
        self._locks: dict[str, Lock] = {}
        self._trained: set[str] = set()

    def records(self, wanted: Sequence[Run]) -> dict[str, dict[str, Any]]:
        """What is known of runs, by name, once all is known that is asked.

        All are trained before one is played: ask for a few at a time, of a seed or a stage, so that
        little is lost where the machine is.

        Returns:
            Of each its `note`, by name the results of its `plays` and `audits`, `seconds` that it
            took (training that was stopped and went on: the last part), and the `commits` and
            `machines` that all that was made at and on.

        Raises:
            ValueError: What is kept under a name was made with other settings or other weights.
        """
        runs = {run.name: run for run in wanted}
        unfinished = [run for run in runs.values() if any(self._missing(run))]
        if unfinished:
            self._at_once(self._train, unfinished)
            self._play(unfinished)
            self._at_once(self._audit, unfinished)
        for run in runs.values():
            self._check_start(run)
        return {name: _known(self._read(run), run) for name, run in runs.items()}

    def _play(self, runs: Sequence[Run]) -> None:
        """Plays what was not played; a process for each place, whose rooms are made once."""
        by_name = {run.name: run for run in runs}
        asked: dict[Place, dict[tuple[str, str], tuple[str, Play]]] = {}
        for run in runs:
            for name in self._missing(run)[0]:
                play = run.plays[name]
                asked.setdefault(play.place, {})[run.name, name] = self._policy(run), play
        now = commit()
        with ProcessPoolExecutor(self._jobs, get_context("spawn")) as pool:
            for done in as_completed([pool.submit(_timed, own) for own in asked.values()]):
                for (owner, name), (row, seconds) in done.result().items():
                    run = by_name[owner]
                    kinds = {
                        kind: {key: own[key] for key in ("n", "score")}
                        for kind, own in row["per_type"].items()
                    }
                    how = _plain(asdict(run.plays[name]))
                    self._add(run, "plays", name, how, now, seconds, row | {"per_type": kinds})

    def _missing(self, run: Run) -> tuple[list[str], list[str]]:
        """The plays and the audits that nothing is known of."""
        record = self._read(run)
        return (
            [name for name in run.plays if name not in record["plays"]],
            [name for name in run.audits if name not in record["audits"]],
        )

    def _read(self, run: Run) -> dict[str, Any]:
        """What is kept of a run; the beginning of it where nothing is."""
        record: dict[str, Any] = {"settings": self._settings(run), "plays": {}, "audits": {}}
        file = self._file(run)
        if not file.exists():
            return record
        kept: dict[str, Any] = json.loads(file.read_text())
        asked = {"settings": record["settings"]}
        asked |= {f"play {name}": _plain(asdict(run.plays[name])) for name in run.plays}
        asked |= {f"audit {name}": list(run.audits[name]) for name in run.audits}
        made = {"settings": kept["settings"]}
        for kind in ("play", "audit"):
            made |= {f"{kind} {name}": own["how"] for name, own in kept[f"{kind}s"].items()}
        for name in asked.keys() & made.keys():
            if asked[name] != made[name]:
                what = _difference(made[name], asked[name])
                raise ValueError(
                    f"{file} was made otherwise ({what}): keep what is known of these runs "
                    "elsewhere (--kept), or, to make it anew, remove it and the run's folder"
                )
        return kept

    def _settings(self, run: Run) -> dict[str, Any]:
        """What a run's result depends on."""
        start = {"model": run.start.name} if run.start else {"weights": self._weights}
        if run.words is None:
            return {"model": self._model} | start
        model = run.start.name if run.start else self._model
        given = asdict(parse([*run.words, "--model", model, "--out", "."]))
        given = {name: value for name, value in given.items() if name not in _ANYWHERE}
        return _plain(given | start | ({"made_of": run.made_of} if run.made_of else {}))

    def _policy(self, run: Run) -> str:
        """The result of a run as a policy; it is trained where it is not here."""
        if run.words is None:
            return self._policy(run.start) if run.start else self._model
        out = self._runs / run.name
        start = self._policy(run.start) if run.start else self._model
        # Two runs may start from the same one; `setdefault` is atomic.
        with self._locks.setdefault(run.name, Lock()):
            if run.name not in self._trained:
                self._train_here(run, run.words, start, out)
                self._trained.add(run.name)
        return str(out)

    def _train_here(self, run: Run, words: Sequence[str], start: str, out: Path) -> None:
        # A run that goes on was begun at another commit than this, perhaps.
        begun = out.with_name(f"{out.name}.begun.json")
        if out.exists() and not begun.exists():
            raise ValueError(f"{out} is there, but not which commit it was begun at: remove it")
        if not begun.exists():
            begun.parent.mkdir(parents=True, exist_ok=True)
            replace_file(begun, json.dumps({"commit": commit()}).encode())
        started = time.monotonic()
        self._pixelis([*words, "--model", start, "--out", str(out)], out)
        found = {"weights": weights_digest(load_model(out).model)}
        if run.start and run.start.words is not None:
            found["start"] = weights_digest(load_model(start).model)
        with self._locked(run):
            record = self._read(run)
            if "note" in record:
                other = {name for name in found if record[name] != found[name]}
                if other:
                    raise ValueError(
                        f"{out} came out with other weights than those of which is known what they "
                        f"play like: remove {self._file(run)} to make all of it anew"
                    )
                return
            seconds = round(time.monotonic() - started)
            made = {"note": self._note(out), "machine": machine(), "seconds": seconds}
            self._write(run, record | found | made | json.loads(begun.read_text()))

    def _train(self, run: Run) -> None:
        if not self._prepared:
            self._prepare()
            self._prepared = True
        self._policy(run)

    def _check_start(self, run: Run) -> None:
        if run.start and run.start.words is not None and run.words is not None:
            started, now = self._read(run)["start"], self._read(run.start)["weights"]
            if started != now:
                raise ValueError(
                    f"{self._file(run)} started from another {run.start.name} than there is now: "
                    "remove it and the run's folder"
                )

    def _audit(self, run: Run) -> None:
        for name in self._missing(run)[1]:
            started, now = time.monotonic(), commit()
            words = ["audit", "--policy", self._policy(run), *run.audits[name], "--json"]
            said = json.loads(self._pixelis(words, self._runs / run.name))
            seconds = time.monotonic() - started
            self._add(run, "audits", name, list(run.audits[name]), now, seconds, said)

    def _add(
        self,
        run: Run,
        kind: str,
        name: str,
        how: Any,
        made_at: str,
        seconds: float,
        result: dict[str, Any],
    ) -> None:
        added = {"how": how, "commit": made_at, "machine": machine(), "seconds": round(seconds)}
        with self._locked(run):
            record = self._read(run)
            record[kind][name] = added | {"result": result}
            self._write(run, record)

    def _file(self, run: Run) -> Path:
        return self._kept / f"{run.name}.json"

    def _locked(self, run: Run) -> FileLock:
        """Other studies may share a record, such as that of what adapts to nothing."""
        file = self._runs / f"{run.name}.lock"
        file.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(file)

    def _write(self, run: Run, record: dict[str, Any]) -> None:
        self._file(run).parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._file(run), (json.dumps(record, indent=1) + "\n").encode())

    def _at_once(self, work: Callable[[Any], Any], items: Iterable[Any]) -> None:
        with ThreadPoolExecutor(self._jobs) as pool:
            list(pool.map(work, items))

    def _pixelis(self, words: Sequence[str], out: Path) -> bytes:
        """Runs a subcommand, with a log beside `out`; returns the last line that it printed."""
        command = [sys.executable, "-m", "pixelis_agent.cli", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.with_name(f"{out.name}.log").open("a") as log:
            done = subprocess.run(
                command, check=True, env=environment, stderr=log, stdout=subprocess.PIPE
            )
        return done.stdout.rstrip().rsplit(b"\n", 1)[-1] + b"\n"


def _timed(asked: Mapping[Any, tuple[str, Play]]) -> dict[Any, tuple[dict[str, Any], float]]:
    """What `play_all` finds, and each one's share of the time."""
    started = time.monotonic()
    found = play_all(asked)
    share = (time.monotonic() - started) / len(found)
    return {name: (row, share) for name, row in found.items()}


def _known(record: dict[str, Any], run: Run) -> dict[str, Any]:
    """A record as `Study.records` returns it."""
    parts = [record] if "note" in record else []
    found: dict[str, Any] = {"note": record.get("note", {})}
    for kind, asked in (("plays", run.plays), ("audits", run.audits)):
        found[kind] = {name: record[kind][name]["result"] for name in asked}
        parts += [record[kind][name] for name in asked]
    found["seconds"] = sum(part["seconds"] for part in parts)
    found["machines"] = [part["machine"] for part in parts]
    return found | {"commits": sorted({part["commit"] for part in parts})}


def _plain(data: Any) -> Any:
    """As it comes back from a file."""
    return json.loads(json.dumps(data, default=str))


def _difference(made: Any, asked: Any) -> str:
    if not isinstance(made, dict) or not isinstance(asked, dict):
        return f"{made}, not {asked}"
    names = sorted(made.keys() | asked.keys())
    pairs = {k: (made.get(k, "missing"), asked.get(k, "missing")) for k in names}
    return ", ".join(f"{k} {old}, not {new}" for k, (old, new) in pairs.items() if old != new)


def cell_name(arm: str, seed: int) -> str:
    """What the run of an arm with a seed is called."""
    return f"{arm.replace(' ', '-')}-{seed}"


def made_at(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Of what `Study.records` returned: for `save`, at which commits, on what, in which time."""
    found = list(records)
    return {
        "commits": sorted({commit for record in found for commit in record["commits"]}),
        "machines": [machine for record in found for machine in record["machines"]],
        "seconds": sum(record["seconds"] for record in found),
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
