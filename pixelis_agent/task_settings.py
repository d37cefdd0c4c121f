"""Where tasks come from: settings that evaluation and the phases of reinforcement share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """Where tasks come from.

    Attributes:
        env: A registered environment.
        source: Where tasks come from: "rooms"; a public benchmark ("vsi-bench", "v-star",
            "infovqa", "mvbench", "mmbench", "video-mmmu"); or the path of a manifest (.jsonl).
        root: Of a benchmark: the folder that holds its files.
        split: Of a benchmark: which part of it; default: the usual one.
        scorer: Of a benchmark or manifest: by which protocol answers are read and scored.
        where: Of a benchmark or manifest: only rows with these values, each as column=value.
        shuffle: Of a benchmark or manifest: the seed of a random order of rows.
        shuffle_options: Of a benchmark or manifest: the seed of a random order of options.
        strict: Of a benchmark or manifest: stop where rows cannot be asked; else an evaluation
            names them and counts 0, and training leaves them out.
        level: Difficulty of rooms, 1..3.
        shift: Change of the rooms' looks: none, lighting, texture, camera, clutter, blur, fonts.
        types: Question types; default: all of the source's.
        tools: One backend name for every operation that has it, e.g. "oracle"; default: the
            environment's own.
    """

    env: str = "Pixelis-v0"
    source: str = "rooms"
    root: Path | None = None
    split: str | None = None
    scorer: str | None = None
    where: tuple[str, ...] = ()
    shuffle: int | None = None
    shuffle_options: int | None = None
    strict: bool = True
    level: int = 1
    shift: str = "none"
    types: tuple[str, ...] = ()
    tools: str | None = None


def env_arguments(settings: TaskSettings, max_steps: int | None = None) -> dict[str, Any]:
    """The environment's keyword arguments that differ from what it takes by itself.

    Args:
        settings: Where tasks come from.
        max_steps: The longest episode; None: as the environment has it.

    Raises:
        ValueError: A condition in `where` is not column=value.
    """
    where: dict[str, list[str]] = {}
    for condition in settings.where:
        column, sign, value = condition.partition("=")
        if not sign:
            raise ValueError(f"where must be column=value, e.g. dataset=scannet; not {condition!r}")
        where.setdefault(column, []).append(value)
    given: dict[str, tuple[Any, Any]] = {
        "source": (settings.source, "rooms"),
        "root": (None if settings.root is None else str(settings.root), None),
        "split": (settings.split, None),
        "scorer": (settings.scorer, None),
        "where": (where or None, None),
        "shuffle": (settings.shuffle, None),
        "shuffle_options": (settings.shuffle_options, None),
        "strict": (settings.strict, True),
        "level": (settings.level, 1),
        "shift": (settings.shift, "none"),
        "types": (list(settings.types), []),
        "tools": (settings.tools, None),
        "max_steps": (max_steps, None),
    }
    return {name: value for name, (value, usual) in given.items() if value != usual}
