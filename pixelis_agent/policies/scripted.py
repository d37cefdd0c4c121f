"""Policies without a model: the oracle, random calls, and turns written beforehand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from pixelis_agent.policies.base import Episode, Turn

_OPTION = re.compile(r"^([A-Z])\. ", re.MULTILINE)

STOP = 0.25
"""How often a random turn is the answer."""


def call_text(name: str, arguments: dict[str, Any]) -> str:
    """A tool call as a turn says it."""
    call = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>{call}</tool_call>"


class ScriptedPolicy:
    """Writes what it was told to.

    Args:
        script: The turns of every episode in order, or a function that writes the next turn of an
            episode.
        name: What tables call it.
    """

    needs_oracle = False

    def __init__(
        self, script: Sequence[str] | Callable[[Episode], str], name: str = "scripted"
    ) -> None:
        self._script = script
        self.name = name

    def act(self, episodes: Sequence[Episode]) -> list[Turn]:
        """The next turn of each episode.

        Raises:
            ValueError: The script is over and the episode is not.
        """
        return [Turn(self._write(episode)) for episode in episodes]

    def finish(self, episode: Episode) -> None:
        """Keeps nothing."""

    def _write(self, episode: Episode) -> str:
        if callable(self._script):
            return self._script(episode)
        number = len(episode.turns)
        if number >= len(self._script):
            raise ValueError(
                f"the script has {number} turns and task {episode.index} goes on: "
                "end the script with an answer"
            )
        return self._script[number]


class OraclePolicy(ScriptedPolicy):
    """Plays the calls that solve a procedural task."""

    needs_oracle = True

    def __init__(self) -> None:
        super().__init__(_oracle_turn, "oracle")


class RandomPolicy(ScriptedPolicy):
    """Calls operations at random, on evidence that there is, and answers at random.

    What it draws is a function of the episode's seed. Coordinates are in thousandths, as an
    environment with `frame="rel1000"` reads them.
    """

    def __init__(self) -> None:
        super().__init__(_random_turn, "random")


def _oracle_turn(episode: Episode) -> str:
    if episode.oracle is None:
        raise ValueError(f"task {episode.index} came without the oracle's calls")
    call = episode.oracle[len(episode.turns)]
    if call["name"] == "answer":
        return f"<answer>{call['arguments']['text']}</answer>"
    return call_text(call["name"], call["arguments"])


def _random_turn(episode: Episode) -> str:
    rng = np.random.default_rng([episode.seed, len(episode.turns)])
    if rng.random() < STOP:
        return f"<answer>{_random_answer(episode, rng)}</answer>"
    end = max(episode.observations[0]["times"])
    seen = [f"e{k}" for k, said in enumerate(episode.observations) if k and said["images"]]
    on_seen = ["track", "localize", "properties"] if seen else []
    op = str(rng.choice(["zoom", "segment", "read_text", *on_seen]))
    if op == "properties":
        count = int(rng.integers(1, min(len(seen), 8) + 1))
        return call_text(op, {"targets": [str(t) for t in rng.choice(seen, count, replace=False)]})
    if op in ("track", "localize"):
        arguments: dict[str, Any] = {"target": str(rng.choice(seen))}
        if rng.random() < 0.5:
            arguments["span"] = _times(rng, end)
        return call_text(op, arguments)
    arguments = {"source": str(rng.choice(["e0", *seen]))}
    if rng.random() < 0.5:
        arguments["time"] = _times(rng, end)[0]
    if op == "segment" and rng.random() < 0.5:
        arguments["point"] = [int(v) for v in rng.integers(1001, size=2)]
    else:
        (x0, x1), (y0, y1) = _sides(rng), _sides(rng)
        arguments["box"] = [x0, y0, x1, y1]
    return call_text(op, arguments)


def _random_answer(episode: Episode, rng: Generator) -> str:
    """A letter of the options, a span of time, or a small number."""
    prompt = episode.observations[0]["text"]
    letters = _OPTION.findall(prompt)
    if letters:
        return str(rng.choice(letters))
    if "start-end" in prompt:
        start, stop = _times(rng, max(episode.observations[0]["times"]))
        return f"{start:g}-{stop:g}"
    return str(rng.integers(1, 10))


def _times(rng: Generator, end: float) -> list[float]:
    """Two times in order, s, to the millisecond."""
    return sorted(float(t) for t in np.round(rng.uniform(0, end, 2), 3))


def _sides(rng: Generator) -> tuple[int, int]:
    """Two different thousandths in order."""
    low, high = sorted(int(v) for v in rng.choice(1001, 2, replace=False))
    return low, high
