"""Tasks: a question about a medium, and where questions come from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pixelis_env.tasks.base import Oracle, Task, TaskSource, Truth

__all__ = ["BENCHMARKS", "Oracle", "Task", "TaskSource", "Truth", "make_source"]

BENCHMARKS = ("vsi-bench", "v-star", "infovqa", "mvbench", "mmbench", "video-mmmu")
"""The public benchmarks that `source=` names."""

# What a source cannot do without, and what is said where it is not given.
_NEEDED = {
    "root": "source={!r} needs root=, the folder that holds its files: see docs/sources.md",
    "question": "a media file needs a question: source={!r}, question='...'",
}


def make_source(
    source: str | Path | TaskSource, *, family: str = "all", **options: Any
) -> TaskSource:
    """The task source that `source=` of an environment names.

    Args:
        source: `"rooms"`; a name in `BENCHMARKS` (then `root` is needed); the path of a manifest
            (`.jsonl`) or of an image or video (then `question` is needed); or a `TaskSource`.
        family: Rooms: the family of question types. Other sources have none.
        options: The source's own arguments: those of `rooms.RoomsSource`,
            `benchmarks.BenchmarkSource`, `manifest.ManifestSource` or `single.SingleSource`.

    Raises:
        ValueError: No such source, or arguments that do not belong to it.
    """
    if not isinstance(source, (str, Path)):
        if not isinstance(source, TaskSource):
            raise ValueError(
                f"source must be 'rooms', a benchmark, a file's path, or an object with `name`, "
                f"`size` and `task(index)`, not {type(source).__name__}"
            )
        if options:
            raise ValueError(f"{', '.join(options)}: not for a source that is an object already")
        return source
    make = _maker(source, family)
    parameters = inspect.signature(make).parameters
    wrong = [name for name in options if name not in parameters]
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)}: not for source={str(source)!r}, which takes "
            f"{', '.join(parameters)}; question, options and answer go with a media file"
        )
    for name, message in _NEEDED.items():
        if name in parameters and name not in options:
            raise ValueError(message.format(str(source)))
    made: TaskSource = make(**options)
    return made


def _maker(source: str | Path, family: str) -> Callable[..., Any]:
    """What makes this source out of its own arguments. Sources are imported when they are named."""
    if source == "rooms":
        from pixelis_env.tasks.rooms import RoomsSource

        return partial(RoomsSource, family)
    if source in BENCHMARKS:
        from pixelis_env.tasks.benchmarks.layouts import LAYOUTS
        from pixelis_env.tasks.benchmarks.source import BenchmarkSource

        return partial(BenchmarkSource, LAYOUTS[str(source)])
    if not Path(source).exists():
        raise ValueError(
            f"no source {str(source)!r}: give 'rooms', one of {', '.join(BENCHMARKS)}, or the path "
            "of a manifest (.jsonl) or a media file"
        )
    if Path(source).suffix == ".jsonl":
        from pixelis_env.tasks.manifest import ManifestSource

        return partial(ManifestSource, source)
    from pixelis_env.tasks.single import SingleSource

    return partial(SingleSource, source)
