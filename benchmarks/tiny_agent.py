"""The shipped agents on unseen tasks, between chance, one without tools, and the oracle.

``python benchmarks/tiny_agent.py`` plays the same 500 and 200 tasks of two levels, of the types
that the agents are trained for (at level 1), with every policy (chance and the oracle the first 100
of them), and writes the traces to ``runs/tiny_agent/``. Then it asks by a causal audit whether the
agents' answers rest on what their operations returned. `--silent` names the run of
`pixelis_agent.tiny.train` that answers without tools (its folder ``direct``); it is not shipped, so
without it that row is missing.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from common import Table, save

from pixelis_agent.audit import CHANGES, CONTROL, audit, by_operation
from pixelis_agent.config import EvalConfig
from pixelis_agent.demo import trained_types
from pixelis_agent.evaluate import evaluate
from pixelis_agent.models.load import CCRFT, TINY
from pixelis_agent.policies.make import make_policy
from pixelis_agent.tally import Summary, as_text
from pixelis_agent.tiny.train import JUDGED


def figures(name: str, summary: Summary | dict[str, Any]) -> list[str]:
    """A row: the name, then one cell a column of `COLUMNS`."""
    row = summary if isinstance(summary, dict) else vars(summary)
    cells = (as_text(row[key], row.get(f"{key}_ci95")) for key in COLUMNS)
    return [name, str(row["n"]), *cells]


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
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/tiny_agent"))
    given = parser.parse_args()
    types = list(given.types or trained_types())
    players = {"random": "random", "without tools": given.silent}
    players |= {agent: agent for agent in given.agents} | {"oracle": "oracle"}
    tables: list[Table] = []
    raw: dict[str, Any] = {}
    for level, episodes in zip(given.levels, given.episodes, strict=True):
        table = Table(f"Unseen tasks of level {level}", ["policy", "n", *COLUMNS.values()])
        played = raw[f"level {level}"] = {}
        for name, policy in players.items():
            if policy is None:
                continue
            report = evaluate(
                make_policy(EvalConfig(policy)),
                env_kwargs={"types": types, "level": level},
                episodes=min(episodes, ENOUGH) if policy in ("random", "oracle") else episodes,
                seed=given.seed,
                out=given.out / f"level-{level}" / re.sub(r"\W+", "-", name),
                workers=given.workers,
                lockstep=True,
            )
            played[name] = report.to_dict() | {"played_with": report.played_with}
            table.rows.append(figures(name, report.summary))
        tables.append(table)
        for agent in given.agents:
            title = f"{agent} at level {level}, by question type"
            kinds = Table(title, ["type", "n", *COLUMNS.values()])
            for name, row in played[agent]["per_type"].items():
                kinds.rows.append(figures(name, row))
            tables.append(kinds)
    audits = {agent: audited(given, types, agent) for agent in given.agents}
    tables.append(causes(audits))
    raw["audits"] = audits
    save("tiny_agent", [given.seed], tables, raw)
    return 0


def audited(given: argparse.Namespace, types: list[str], agent: str) -> dict[str, Any]:
    """By operation and by change, the share of an agent's answers that come out different."""
    effects = audit(
        make_policy(EvalConfig(agent)),
        "Pixelis-v0",
        env_kwargs={"types": types},
        episodes=given.audited,
        seed=given.seed,
        workers=given.workers,
    )
    return by_operation(effects)


def causes(audits: dict[str, dict[str, Any]]) -> Table:
    """What audits say, a row an agent and operation."""
    title = "Causal RaPR: answers that come out different where a result is"
    table = Table(title, ["agent", "operation", "n", *CHANGES, f"all but {CONTROL}"])
    for agent, figures in audits.items():
        for op, parts in figures.items():
            cells = [
                as_text(one["causal_rapr"], (one["low"], one["high"]), digits=2)
                for one in parts.values()
            ]
            table.rows.append([agent, op, str(parts["all"]["n"]), *cells])
    return table


if __name__ == "__main__":
    sys.exit(main())
