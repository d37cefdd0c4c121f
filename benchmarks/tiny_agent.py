"""The shipped agents on unseen tasks, between chance, one without tools, and the oracle.

``python benchmarks/tiny_agent.py`` plays the same 500 and 200 tasks of two levels, of the types
that the agents are trained for (at level 1), with every policy (chance and the oracle the first 100
of them), with the environment's default tools. Then it asks by a causal audit whether the agents'
answers rest on what their operations returned. `--silent` names the run of
`pixelis_agent.tiny.train` that answers without tools (its folder ``direct``); it is not shipped, so
without it that row is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import Table, save
from playing import Place, Play
from study import KEPT, Run, Study, made_at

from pixelis_agent.demo import trained_types
from pixelis_agent.interventions import CHANGES, CONTROL
from pixelis_agent.models.load import CCRFT, TINY
from pixelis_agent.tally import as_text
from pixelis_agent.tiny.train import JUDGED

ENOUGH = 100  # tasks for chance and the oracle: nobody doubts what they score
COLUMNS = {
    "score": "score",
    "solved": "solved",
    "op_accuracy": "op accuracy",
    "argument_iou": "argument IoU",
    "invalid_rate": "invalid calls",
    "rapr": "RaPR",
    "racpr": "RaCPR",
    "chain_length": "operations",
}


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", nargs="+", default=[TINY, CCRFT])
    parser.add_argument("--silent", help="the run that answers without tools")
    parser.add_argument("--types", nargs="+", help="question types; default: the shipped card's")
    parser.add_argument("--levels", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--episodes", nargs="+", type=int, default=[500, 200], help="a level")
    parser.add_argument("--audited", type=int, default=40, help="tasks of level 1 an agent")
    parser.add_argument("--seed", type=int, default=JUDGED, help="of the tasks")
    parser.add_argument("--runs", type=Path, default=Path("runs/tiny_agent"))
    parser.add_argument("--kept", type=Path, default=KEPT / "tiny_agent", help="what is known")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    given = parser.parse_args()
    types = tuple(given.types or trained_types())
    players = {"random": "random", "without tools": given.silent}
    players |= {agent: agent for agent in given.agents} | {"oracle": "oracle"}
    words = ("--types", *types, "--episodes", str(given.audited), "--seed", str(given.seed))
    found: dict[str, dict[str, Any]] = {}
    for name, policy in players.items():
        if policy is None:
            continue
        plays = {}
        for level, episodes in zip(given.levels, given.episodes, strict=True):
            count = min(episodes, ENOUGH) if policy in ("random", "oracle") else episodes
            plays[f"level {level}"] = Play(Place(types, count, level, tools=None, seed=given.seed))
        audits = {"causal": words} if policy in given.agents else {}
        run = Run(name.replace(" ", "-"), None, plays, audits)
        study = Study(given.runs, given.kept, policy, lambda folder: {}, given.jobs)
        found[name] = study.records([run])[run.name]
    tables = [figures(level, found) for level in given.levels]
    tables.append(by_type(given.levels, {name: found[name] for name in given.agents}))
    tables.append(causes({name: found[name]["audits"]["causal"] for name in given.agents}))
    save("tiny_agent", [given.seed], tables, {}, **made_at(found.values()))
    return 0


def figures(level: int, found: Mapping[str, Mapping[str, Any]]) -> Table:
    """All policies at a level."""
    table = Table(f"Unseen tasks of level {level}", ["policy", "n", *COLUMNS.values()])
    for name, record in found.items():
        row = record["plays"][f"level {level}"]
        cells = (as_text(row[key], row.get(f"{key}_ci95")) for key in COLUMNS)
        table.rows.append([name, str(row["n"]), *cells])
    return table


def by_type(levels: list[int], found: Mapping[str, Mapping[str, Any]]) -> Table:
    """The agents' scores by question type."""
    heads = [f"{name}, level {level}" for name in found for level in levels]
    table = Table("Score by question type", ["type", *heads])
    scores = [record["plays"][f"level {level}"] for record in found.values() for level in levels]
    for kind in scores[0]["per_type"]:
        table.rows.append([kind, *(as_text(row["per_type"][kind]["score"]) for row in scores)])
    return table


def causes(audits: Mapping[str, Mapping[str, Any]]) -> Table:
    """What audits say, a row an agent and operation."""
    title = "Causal RaPR: answers that come out different where a result is"
    table = Table(title, ["agent", "operation", "n", *CHANGES, f"all but {CONTROL}"])
    for agent, shares in audits.items():
        for op, parts in shares.items():
            cells = [
                as_text(one["causal_rapr"], (one["low"], one["high"]), digits=2)
                for one in parts.values()
            ]
            table.rows.append([agent, op, str(parts["all"]["n"]), *cells])
    return table


if __name__ == "__main__":
    sys.exit(main())
