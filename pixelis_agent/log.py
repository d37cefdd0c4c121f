"""What a run writes while it goes: its settings and its metrics. Read without torch."""

from __future__ import annotations

import atexit
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pixelis_agent.files import replace_file

METRICS = "metrics.jsonl"
SETTINGS = "config.json"


FREE = frozenset({"out", "checkpoint_every", "workers"})
"""Settings with which any run may go on that was begun with others."""


def write_settings(
    config: Any, out: Path, free: Collection[str] = (), *, begun_by: str = "checkpoint-*"
) -> None:
    """Begins a run's folder with `config.json`, the fields of a dataclass, or goes on with it.

    Args:
        config: The settings.
        out: The folder.
        free: Settings that may have changed, beside those of `FREE`.
        begun_by: A pattern of files by which one sees that something was made with the settings.

    Raises:
        ValueError: Something was made there with other settings, or by a version that did not have
            all of them.
    """
    path = out / SETTINGS
    if path.is_file() and any(out.glob(begun_by)):
        now = _flat(json.loads(json.dumps(asdict(config), default=str)))
        begun = _flat(json.loads(path.read_text()))
        bound = now.keys() - FREE - set(free)
        if new := sorted(bound - begun.keys()):
            raise ValueError(
                f"the run in {out} was begun by another version, which had no {', '.join(new)}: "
                "begin another run in another folder"
            )
        for name in sorted(bound):
            if begun[name] != now[name]:
                raise ValueError(
                    f"the run in {out} was begun with {name} {begun[name]}, not {now[name]}: go on "
                    "with the same settings, or begin another run in another folder"
                )
    said = json.dumps(asdict(config), indent=2, default=str) + "\n"
    replace_file(path, said.encode())


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings within settings by names with dots."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        inner = isinstance(value, dict)
        found |= _flat(value, f"{before}{name}.") if inner else {before + name: value}
    return found


class Rows:
    """A file of JSON lines that a run goes on with.

    Args:
        path: The file.
        kept: Of what an earlier try wrote; the rest is dropped.
    """

    def __init__(self, path: Path, kept: Iterable[Mapping[str, Any]]) -> None:
        replace_file(path, "".join(json.dumps(row) + "\n" for row in kept).encode())
        self._file = path.open("a", buffering=1)

    def write(self, row: Mapping[str, Any]) -> None:
        """Adds a line."""
        self._file.write(json.dumps(row) + "\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Log:
    """A run's metrics: `metrics.jsonl` and TensorBoard events; a progress bar on the terminal.

    Args:
        folder: Of the run.
        steps: Of the whole run.
        step: Where it starts; what an earlier try logged after that is dropped.
        on: False for all but one of parallel processes: nothing is written.
    """

    def __init__(self, folder: Path, steps: int, step: int = 0, *, on: bool = True) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
        from torch.utils.tensorboard import SummaryWriter

        self._on = on
        if not on:
            return
        path = folder / METRICS
        # Who begins anew writes what comes before the first step anew, too.
        kept = [row for row in read_metrics(path) if row["step"] <= step] if step else []
        self._rows = Rows(path, kept)
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(folder.name, total=steps, completed=step, said="")
        self._bar.start()
        # A run that fails must give the terminal its cursor back.
        atexit.register(self._bar.stop)

    def write(self, step: int, values: Mapping[str, float], show: Iterable[str] = ()) -> None:
        """Logs values of a step.

        Args:
            step: From 1.
            values: By name.
            show: Names to put beside the progress bar.
        """
        if not self._on:
            return
        row = {"step": step} | {name: round(float(v), 6) for name, v in values.items()}
        self._rows.write(row)
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
        said = "  ".join(f"{name} {values[name]:.3f}" for name in show if name in values)
        self._bar.update(self._task, completed=step)
        if said:
            self._bar.update(self._task, said=said)

    def close(self) -> None:
        """Ends files and bar."""
        if not self._on:
            return
        self._rows.close()
        self._events.close()
        self._bar.stop()
        atexit.unregister(self._bar.stop)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`; none where there is no file. A line cut short is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


class Bar:
    """A progress bar on stderr, for use as a context.

    Args:
        total: Episodes; None where that is unknown.
    """

    def __init__(self, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import (
            MofNCompleteColumn,
            Progress,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            *Progress.get_default_columns()[:2],
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("episodes", total=total)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self) -> None:
        """One episode more."""
        self._progress.advance(self._task)
