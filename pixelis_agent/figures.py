"""What an evaluation came to: as a table, as JSON, as a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelis_agent.tally import COLUMNS, Row, Summary, as_cells, as_text
from pixelis_env.protocols import Result
from pixelis_env.trace import versions

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Report:
    """What came of an evaluation.

    Attributes:
        policy: Who played.
        env: The environment.
        env_kwargs: Its arguments, those that JSON can hold.
        seed: Of the evaluation.
        samples: Episodes on each task.
        summary: All episodes.
        per_type: Those of each question type.
        rows: Each episode, in order.
        wall_seconds: From the first to the last.
        usage: What a server counted; None without one.
        played_with: What the policy says that it plays with, such as a digest of its weights; only
            asked where the evaluation is written down.
        benchmark: What the rows of a benchmark or manifest come to by its protocol, those that
            could not be asked among them; None of other sources.
    """

    policy: str
    env: str
    env_kwargs: dict[str, Any]
    seed: int
    samples: int
    summary: Summary
    per_type: dict[str, Summary]
    rows: list[Row]
    wall_seconds: float
    usage: dict[str, int] | None
    played_with: dict[str, Any]
    benchmark: Result | None = None

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON can hold them: those of `Summary`, and the same per type."""
        return {
            "policy": self.policy,
            "env": self.env,
            "env_kwargs": self.env_kwargs,
            "seed": self.seed,
            "samples": self.samples,
            **asdict(self.summary),
            "per_type": {name: asdict(summary) for name, summary in self.per_type.items()},
            "wall_seconds": self.wall_seconds,
            **({} if self.usage is None else {"usage": self.usage}),
            **({} if self.benchmark is None else {"benchmark": self.benchmark.to_dict()}),
        }

    def table(self) -> Table:
        """The figures, a row each type."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        where = self.env if self.benchmark is None else self.benchmark.source
        title = f"{self.policy} on {where}"
        if self.samples > 1:
            best = as_text(self.summary.best)
            title += f", {self.samples} episodes a task (best of them: {best})"
        table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
        for number, column in enumerate(COLUMNS):
            table.add_column(column, justify="right" if number else "left", no_wrap=True)
        for name, summary in sorted(self.per_type.items()):
            table.add_row(*as_cells(name, summary))
        table.add_section()
        table.add_row(*as_cells("all", self.summary))
        return table

    def save(self, path: Path) -> None:
        """Writes the figures, each episode's, and what they depend on."""
        whole = {**self.to_dict(), "played_with": self.played_with, "versions": versions()}
        whole["episodes"] = [asdict(row) for row in self.rows]
        path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def show(table: Table) -> None:
    """Prints a table at its full width."""
    from rich.console import Console
    from rich.measure import Measurement

    wide = Console(width=1000)
    # A narrow terminal wraps the lines; narrower cells would lose their figures.
    needed = Measurement.get(wide, wide.options, table).maximum
    Console(width=max(Console().width, needed)).print(table)
