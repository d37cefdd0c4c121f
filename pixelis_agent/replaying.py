"""`pixelis replay`: play a trace again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from pixelis_env.replay import replay_file


@dataclass(frozen=True)
class ReplayConfig:
    """Settings of the command.

    Attributes:
        trace: A trace's JSON file.
        media: The image, video or manifest, for a trace of one; default: the file of that name
            beside the trace.
        root: The folder that holds the files, for a trace of a benchmark.
    """

    trace: Positional[Path]
    media: Path | None = None
    root: Path | None = None


def run(config: ReplayConfig) -> dict[str, Any]:
    """Replays, prints what came of it, and returns it; `ok` is False where a step diverged.

    Raises:
        TraceError: The trace cannot be read or played.
    """
    report, _ = replay_file(config.trace, config.media, config.root)
    print(report)
    return asdict(report)
