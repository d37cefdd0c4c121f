"""`pixelis report`: runs as one HTML file."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional


@dataclass(frozen=True)
class ReportConfig:
    """Settings of the command.

    Attributes:
        runs: Folders that eval, sft, ccrft, ttrl or audit wrote with --out; a folder of such
            folders, as `pixelis demo` writes, stands for them all.
        out: The file to write.
        pictures: Episodes of each evaluation that are played again, checked step by step, and
            drawn: the first ones of each question type. The others are listed and can be stepped
            through, without pictures and unchecked. In rooms, each takes about 0.6 s of one core
            and 40 kB.
        open: Show it in the browser.
    """

    runs: Positional[tuple[Path, ...]]
    out: Path = Path("report.html")
    pictures: int = 40
    open: bool = False


def run(config: ReportConfig) -> dict[str, Any]:
    """Writes the report as `config` says and returns what is in it.

    Raises:
        RunError: A folder is no run, or a run cannot be read.
        MissingExtra: The packages of the extra `report` are not installed.
        ValueError: A number out of range.
        OSError: The file cannot be written.
    """
    from pixelis_agent.log import Bar
    from pixelis_agent.report.episodes import Album, show_episodes
    from pixelis_agent.report.page import render, templates
    from pixelis_agent.report.runs import read_runs

    if config.pictures < 0:
        raise ValueError(f"pictures must be 0 or more, not {config.pictures}")
    templates()  # without it the rest would be for nothing
    runs, album = read_runs(config.runs), Album()
    evaluations = {k: one.evaluation for k, one in enumerate(runs) if one.evaluation is not None}
    episodes: dict[int, list[Any]] = {place: [] for place in evaluations}
    with Bar(sum(len(played.episodes) for played in evaluations.values())) as bar:
        for place, played in evaluations.items():
            for shown in show_episodes(played, config.pictures, album):
                episodes[place].append(shown)
                bar.advance()
    data = render(runs, episodes, album).encode("utf-8", "replace")
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_bytes(data)
    verdicts = _count(episodes)
    said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    print(f"{config.out}: {len(data) / 1e6:.1f} MB, {len(runs)} runs; episodes: {said or 'none'}")
    if config.open:
        webbrowser.open(config.out.resolve().as_uri())
    return {
        "file": str(config.out),
        "bytes": len(data),
        "runs": [one.name for one in runs],
        "episodes": sum(map(len, episodes.values())),
        "verdicts": verdicts,
    }


def _count(episodes: Mapping[int, list[Any]]) -> dict[str, int]:
    """How many episodes have each verdict."""
    counts: dict[str, int] = {}
    for shown in (one for own in episodes.values() for one in own):
        counts[shown.verdict] = counts.get(shown.verdict, 0) + 1
    return dict(sorted(counts.items()))
