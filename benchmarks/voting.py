"""How good votes over whole trajectories are, and how well they know it.

``python benchmarks/voting.py`` lets an agent that does not learn meet a stream of queries in each
shift of the rooms, a group of rollouts each, with a memory that grows along the stream. Every way
to vote gets the same ballots. A vote's answer is scored by the task's metric, none scores 0; votes
may be withheld by their margin.

- score: of the winning answers, all queries answered.
- error at 25, 50, 75, 100 %: among the surest of that share.
- AURC: the area under the risk-coverage curve; lower is better.
- AURC less the majority's: than that of the majority of answers, on the same queries.
- Err@Sel: the error where as many are answered as the hard majority answers, the surest first.

Intervals are the 95 % bootstrap over queries. What was played is kept in `--runs`, so that a
benchmark which was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import Table, save, with_interval

from pixelis_agent.config import TTRLConfig
from pixelis_agent.demo import trained_types
from pixelis_agent.learning.training import one_thread
from pixelis_agent.log import write_settings
from pixelis_agent.models.load import TINY, load_model
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.ttrl.actor import Actor
from pixelis_agent.ttrl.judging import Judged, score_of
from pixelis_agent.voting import (
    Ballot,
    Vote,
    answer_majority,
    hard_majority,
    self_consistency,
    vote,
)
from pixelis_env.metrics.interval import RESAMPLES
from pixelis_env.metrics.selective import risk_coverage

HARD = "hard majority"
MAJORITY = "majority of answers"
WHOLE = "trajectories, with neighbours"
METHODS: dict[str, Callable[[Sequence[Ballot]], Vote]] = {
    HARD: hard_majority,
    MAJORITY: answer_majority,
    "self-consistency": self_consistency,
    "trajectories without behaviour": lambda ballots: vote(ballots, by_behaviour=False),
    "trajectories without fidelity": lambda ballots: vote(ballots, by_fidelity=False),
    "trajectories without certainty": lambda ballots: vote(ballots, by_certainty=False),
    "trajectories": vote,
}
SHARES = (0.25, 0.5, 0.75, 1.0)


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=TINY)
    parser.add_argument("--types", nargs="+", default=trained_types())
    parser.add_argument("--shifts", nargs="+", default=["texture", "clutter", "blur"])
    parser.add_argument("--tools", help="one backend name for all operations")
    parser.add_argument("--queries", type=int, default=100, help="of each shift")
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/voting"))
    args = parser.parse_args()
    one_thread()
    raw = {shift: played(shift, args) for shift in args.shifts}
    every = [row for rows in raw.values() for row in rows]
    tables = [table(f"Votes, {shift}", rows) for shift, rows in raw.items()]
    tables.append(table("Votes, all", every))
    save("voting", [args.seed], tables, {shift: figures(rows) for shift, rows in raw.items()})
    return 0


def played(shift: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """For each query the score and the margin of every vote, and the mean score of a rollout."""
    config = TTRLConfig(
        model=args.model,
        out=args.runs / shift,
        shift=shift,
        types=tuple(args.types),
        tools=args.tools,
        group=args.group,
        workers=1,
        batch=4 * args.group,
        seed=args.seed,
    )
    path = config.out / "votes.jsonl"
    write_settings(config, config.out, begun_by=path.name)
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    loaded = load_model(config.model)
    vision = VisionCache(loaded.model, loaded.processor)
    with Actor(loaded.model, loaded.processor, vision, config) as actor, path.open("a") as file:
        actor.memory.forget_after(rows[-1]["entry"] if rows else 0)
        while len(rows) < args.queries:
            for one, entry in zip(*actor.meet(len(rows)), strict=True):
                rows.append(row_of(one) | {"entry": entry})
                file.write(json.dumps(rows[-1]) + "\n")
            file.flush()
            print(f"{shift}: {len(rows)} of {args.queries}", file=sys.stderr)
    return rows[: args.queries]


def row_of(one: Judged) -> dict[str, Any]:
    """What a query came to."""
    votes = {name: method(one.ballots) for name, method in METHODS.items()}
    votes[WHOLE] = one.outcome
    return {
        "task": one.finished[0].task_id,
        "rollouts": float(np.mean([f.score for f in one.finished])),
        "votes": {
            name: [score_of(one.finished, one.ballots, found), found.margin, found.answer is None]
            for name, found in votes.items()
        },
    }


def table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    """A line each way to vote."""
    columns = ["vote", "score", *(f"error at {share:.0%}" for share in SHARES), "AURC"]
    columns += ["AURC less the majority's", "Err@Sel", "Err@Sel less the hard majority's"]
    made = Table(f"{title} ({len(rows)} queries)", columns)
    made.rows.append(["one rollout", with_interval([row["rollouts"] for row in rows])])
    made.rows[0] += ["–"] * (len(made.columns) - 2)
    table_of = {name: np.array([row["votes"][name] for row in rows], float) for name in votes(rows)}
    hard, plain = table_of[HARD], table_of[MAJORITY]
    draws = np.random.default_rng(0).integers(len(rows), size=(RESAMPLES, len(rows)))
    for name, own in table_of.items():
        curve = risk_coverage(own[:, 1], own[:, 0])
        errors = [f"{curve.at(share):.3f}" for share in SHARES]
        areas = [area(own[draw]) - area(plain[draw]) for draw in draws]
        more = [
            selected(own[draw], hard[draw]) - selected(hard[draw], hard[draw]) for draw in draws
        ]
        here = selected(own, hard)
        made.rows.append(
            [
                name,
                with_interval(own[:, 0].tolist()),
                *errors,
                f"{curve.area:.3f}",
                signed(curve.area - area(plain), areas),
                f"{here:.3f}",
                signed(here - selected(hard, hard), more),
            ]
        )
    return made


def votes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The ways to vote, in order."""
    return list(rows[0]["votes"])


def area(own: np.ndarray) -> float:
    """The area under the risk-coverage curve of a vote, (queries, 3) as of `selected`."""
    return risk_coverage(own[:, 1], own[:, 0]).area


def signed(found: float, drawn: Sequence[float]) -> str:
    """A difference with its interval, by what it was in other draws of the queries."""
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{found:+.3f} [{low:+.3f}, {high:+.3f}]"


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was played, in columns: a number a query."""
    columns = ("score", "margin")
    return {"one rollout": [round(row["rollouts"], 4) for row in rows]} | {
        name: {
            column: [round(row["votes"][name][k], 4) for row in rows]
            for k, column in enumerate(columns)
        }
        for name in votes(rows)
    }


def selected(own: np.ndarray, hard: np.ndarray) -> float:
    """The error where as many are answered as the hard majority answers.

    Args:
        own: (queries, 3), score, margin and whether there is no answer, of a vote.
        hard: The same of the hard majority.
    """
    answered = hard[:, 2] == 0
    if own is hard:
        return float(1 - hard[answered, 0].mean()) if answered.any() else 0.0
    return risk_coverage(own[:, 1], own[:, 0]).at(float(answered.mean()))


if __name__ == "__main__":
    sys.exit(main())
