"""Policies on the same held-out rooms, each of which is made once for all of them.

Making a room takes as long as playing it: an ablation that plays a hundred policies on the same
rooms makes them here once, not a hundred times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pixelis_agent.collect import Collector
from pixelis_agent.config import EvalConfig
from pixelis_agent.policies.make import make_policy
from pixelis_agent.splits import evaluation_indices
from pixelis_agent.tally import Tally
from pixelis_env.tasks.pool import Recent
from pixelis_env.tasks.rooms import RoomsSource

CHUNK = 48
"""Rooms in memory at a time; one takes about 50 MB once it was played."""
BATCH = 64
"""Episodes that a policy is asked about at once."""


@dataclass(frozen=True)
class Place:
    """Rooms that are played.

    Attributes:
        types: Question types.
        tasks: How many.
        level: Their difficulty.
        shift: Change of their looks.
        tools: As of `pixelis eval`.
        seed: As of `pixelis eval`.
    """

    types: tuple[str, ...]
    tasks: int
    level: int = 1
    shift: str = "none"
    tools: str | None = "oracle"
    seed: int = 3


@dataclass(frozen=True)
class Play:
    """How rooms are played: each `samples` times, at a temperature."""

    place: Place
    temperature: float = 0.0
    samples: int = 1


def play_all(asked: Mapping[Any, tuple[str, Play]]) -> dict[Any, dict[str, Any]]:
    """Plays the rooms of one place.

    Args:
        asked: Policies as of `pixelis eval`, and how each plays; any names.

    Returns:
        By those names `tally.Summary` as data, and the same `per_type`.

    Raises:
        ValueError: The places differ.
    """
    places = {play.place for _, play in asked.values()}
    if len(places) != 1:
        raise ValueError(f"play one place at a time, not {len(places)}")
    (place,) = places
    source = RoomsSource("all", place.level, place.shift, place.types)
    kwargs: dict[str, Any] = {"source": Recent(source, CHUNK)}
    if place.tools is not None:
        kwargs["tools"] = place.tools
    policies = {
        name: make_policy(EvalConfig(policy=policy, temperature=play.temperature))
        for name, (policy, play) in asked.items()
    }
    tallies: dict[Any, dict[str | None, Tally]] = {name: {None: Tally()} for name in asked}
    indices = evaluation_indices(place.seed, place.tasks)
    with Collector("Pixelis-v0", kwargs, workers=0, envs_per_worker=BATCH) as collector:
        for first in range(0, place.tasks, CHUNK):
            chunk = indices[first : first + CHUNK]
            for name, (_, play) in asked.items():
                tasks = [index for index in chunk for _ in range(play.samples)]
                rounds = collector.run(
                    policies[name], tasks, batch=BATCH, seed=place.seed, lockstep=True
                )
                for finished in rounds:
                    position = first * play.samples + finished.position
                    placed = replace(finished, position=position)
                    for kind in (None, finished.task_type):
                        tallies[name].setdefault(kind, Tally()).add(placed)
    return {
        name: {
            **asdict(own[None].summary()),
            "per_type": {kind: asdict(own[kind].summary()) for kind in own if kind is not None},
        }
        for name, own in tallies.items()
    }
