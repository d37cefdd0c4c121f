"""What test-time learning gains in a new place, and what each part of it is worth.

``python benchmarks/ttrl.py`` adapts an agent to each shift of the rooms, with the whole method,
with each of its parts left out, and with two methods of others, several seeds each, a seed with a
stream and held-out rooms of its own; it plays those under the shift (did it help?) and unshifted
ones (did it harm?) with every result and with the agent as it was, greedily and sampled as in
adapting. With ``--poison KIND ...`` the whole method meets streams of which 30 % are bad instead, a
kind an arm; with ``--sequence A B A`` it adapts to one shift after another, and plays all of them
after each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import Table, over_seeds, save
from playing import Place, Play
from study import Player, Rows, Study, by_play, play_once, table

from pixelis_agent.demo import trained_types
from pixelis_agent.log import read_metrics
from pixelis_agent.models.load import TINY
from pixelis_agent.splits import STREAMED, evaluation_indices, training_index
from pixelis_agent.ttrl.learner import ABSTAIN
from pixelis_agent.ttrl.ledger import STOP, read_ledger
from pixelis_agent.ttrl.poison import KINDS
from pixelis_env.leakage import Fingerprint, leaks
from pixelis_env.tasks.rooms import RoomsSource

PLAIN = ("--learn", "gradient", "--align", "0")
ARMS = {
    "frozen": None,
    "entropy (as TENT)": (*PLAIN, "--vote", "entropy"),
    "majority of answers (TTRL)": (*PLAIN, "--vote", "majority", "--least-margin", "0"),
    "alignment alone": ("--updates", "0"),
    "whole": (),
    "without alignment": ("--align", "0"),
    "by gradient": ("--learn", "gradient"),
    "without votes": ("--vote", "entropy"),
    "without retrieval": ("--neighbours", "0"),
    "without behaviour": ("--no-by-behaviour", "--behaviour", "0"),
    "without fidelity": ("--no-by-fidelity",),
    "without certainty": ("--no-by-certainty",),
    "without abstention": ("--least-margin", "0"),
    "without the anchor": ("--no-anchor",),
}
MEASURES = {
    "score": "score",
    "solved": "solved",
    "chain_length": "operations",
    "invalid_rate": "invalid calls",
}
GUARD = "unshifted"
SEEDS = 3  # of what is held out for the first run: each has rooms of its own


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=TINY, help="what adapts")
    parser.add_argument("--types", nargs="+", default=trained_types())
    parser.add_argument("--shifts", nargs="+", default=["texture", "lighting", "clutter"])
    parser.add_argument("--sequence", nargs="+", help="shifts to adapt to one after another")
    parser.add_argument("--poison", nargs="+", choices=KINDS, help="kinds of bad streams")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--runs", type=Path, default=Path("runs/ttrl"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=12)
    parser.add_argument("--queries", type=int, default=8, help="an update")
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--episodes", type=int, default=160, help="held-out tasks a run and play")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    args = parser.parse_args()
    train = ["ttrl", "--updates", str(args.updates), "--queries", str(args.queries)]
    train += ["--learning-rate", str(args.learning_rate), "--tools", "oracle", "--workers", "1"]
    train += ["--max-steps", "8", "--batch", "64", "--micro-batch", "8", "--minibatches", "1"]
    train += ["--types", *args.types]
    study = Study(args.runs, args.model, train, args.seeds, args.jobs)
    if args.sequence:
        name, (tables, raw) = "ttrl_sequence", sequence(study, args)
    elif args.poison:
        bad = {f"30 % {kind}": ("--poison", kind) for kind in args.poison}
        name, (tables, raw) = "ttrl_poisoned", shifts(study, args, {"frozen": None, **bad})
    else:
        arms = {name: ARMS[name] for name in args.arms}
        name, (tables, raw) = "ttrl", shifts(study, args, arms)
    save(name, list(range(args.seeds)), tables, raw)
    return 0


def plays(args: argparse.Namespace, shift: str, seed: int) -> dict[str, Play]:
    """Held-out rooms of a shift for the runs with a seed, greedily and sampled."""
    looks = "none" if shift == GUARD else shift
    place = Place(tuple(args.types), args.episodes, shift=looks, seed=SEEDS + seed)
    return {shift: Play(place), f"{shift}, sampled": Play(place, 1.0)}


def shifts(
    common: Study, args: argparse.Namespace, arms: Mapping[str, Sequence[str] | None]
) -> tuple[list[Table], dict[str, Any]]:
    """Each arm adapted to each shift."""
    studies = {shift: common.on(args.runs / shift, ["--shift", shift]) for shift in args.shifts}
    cells = [(shift, a, s) for s in range(args.seeds) for a in arms for shift in studies]

    def player(shift: str, arm: str, seed: int) -> Player:
        # What adapts to nothing is the same for all shifts.
        study = common if arms[arm] is None else studies[shift]
        found = study.train_cell(arm, seed, arms[arm])
        return Player(*found, plays(args, shift, seed) | plays(args, GUARD, seed))

    players = dict(zip(cells, common.at_once(lambda cell: player(*cell), cells), strict=True))
    played = play_once(players, args.jobs)
    results = {
        of: by_play({(arm, s): row for (shift, arm, s), row in played.items() if shift == of})
        for of in studies
    }
    tables, raw = [overlap(args)], {}
    if "frozen" in arms:
        for shift, own in results.items():
            tables.append(change(f"Change by adapting to {shift}", {shift: own}))
        if len(results) > 1:
            title = f"Change by adapting, mean of {len(results)} shifts"
            tables.append(change(title, results))
    if "whole" in arms:
        tables.append(ahead(results))
    for shift, study in studies.items():
        for play in (shift, f"{shift}, sampled"):
            title = f"Adapted to {shift}: held-out rooms with it"
            rows = results[shift][play]
            tables.append(table(title + play.removeprefix(shift), rows, MEASURES))
        streams = {
            arm: [read_metrics(study.folder(arm, s) / "metrics.jsonl") for s in range(args.seeds)]
            for arm, words in arms.items()
            if words is not None and "--updates" not in words
        }
        held = {
            arm: [updates_held(study.folder(arm, s)) for s in range(args.seeds)] for arm in streams
        }
        tables.append(stream_table(f"The stream of {shift}", streams, held))
        raw[shift] = {"plays": results[shift], "streams": streams, "held": held}
    return tables, raw


def sequence(common: Study, args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """One agent adapted to shift after shift: what it gains, and what it keeps."""
    places = [*dict.fromkeys(args.sequence), GUARD]
    study = common.on(args.runs / "sequence", [])

    def everywhere(seed: int) -> dict[str, Play]:
        return {name: play for place in places for name, play in plays(args, place, seed).items()}

    stages = ["start", *(f"{k + 1}. {shift}" for k, shift in enumerate(args.sequence))]

    def life(seed: int) -> list[Player]:
        lived = [Player(study.runs / f"start-{seed}", args.model, everywhere(seed))]
        for number, shift in enumerate(args.sequence):
            out = study.runs / f"{number}-{shift}-{seed}"
            # A stream of its own for each stage: no query comes again.
            stream = str(seed * len(args.sequence) + number)
            words = ["--seed", stream, "--shift", shift]
            policy = study.train_one(out, lived[-1].policy, words)
            lived.append(Player(out, policy, everywhere(seed)))
        return lived

    lives = study.at_once(life, range(args.seeds))
    named = {(seed, k): one for seed, lived in enumerate(lives) for k, one in enumerate(lived)}
    played = play_once(named, study.jobs)
    made = []
    for kind in ("", ", sampled"):
        heads = [place + kind for place in places]
        own = Table(f"Adapted to one after another{kind}: score", ["after", *heads])
        for k, stage in enumerate(stages):
            rows = [played[seed, k] for seed in range(args.seeds)]
            scores = [[row[head]["score"] for row in rows] for head in heads]
            own.rows.append([stage, *map(over_seeds, scores)])
        made.append(own)
    kept = [[played[seed, k] for k in range(len(stages))] for seed in range(args.seeds)]
    return made, {"stages": stages, "lives": kept}


def overlap(args: argparse.Namespace) -> Table:
    """Whether a room of the first run's streams is one of its held-out ones, or looks like it."""
    made = Table("Rooms of the first stream that are held out too", ["shift", "compared", "found"])
    for shift in args.shifts:
        source = RoomsSource("all", 1, shift, args.types)

        def known(indices: Sequence[int], source: RoomsSource = source) -> list[Fingerprint]:
            tasks = (source.task(index) for index in indices)
            return [Fingerprint.of_medium(task.id, task.media) for task in tasks]

        met = range(args.updates * args.queries)
        stream = known([training_index(STREAMED, 0, number) for number in met])
        held_out = known(evaluation_indices(SEEDS, args.episodes))
        pairs = f"{len(stream)} x {len(held_out)}"
        made.rows.append([shift, pairs, str(len(leaks(stream, held_out)))])
    return made


def changes(arm: str, seed: int, shifted: Rows, unshifted: Rows) -> dict[str, float]:
    """What a run changed against the frozen agent."""
    start, end = (shifted[who][seed] for who in ("frozen", arm))
    gain = end["score"] - start["score"]
    return {
        "gain with the shift": gain,
        "relative": gain / start["score"],
        "change without the shift": unshifted[arm][seed]["score"]
        - unshifted["frozen"][seed]["score"],
        "operations": end["chain_length"] - start["chain_length"],
        "invalid calls": end["invalid_rate"] - start["invalid_rate"],
    }


def change(title: str, results: Mapping[str, Mapping[str, Rows]]) -> Table:
    """What each arm gained under shifts and lost without, against the frozen agent.

    Args:
        title: Of the table.
        results: Of each shift what its plays gave. Runs on several shifts with one seed are
            averaged first.
    """
    made = Table(title, ["arm", "play"])
    for play, kind in (("sampled", ", sampled"), ("greedy", "")):
        pairs = [(own[shift + kind], own[GUARD + kind]) for shift, own in results.items()]
        shifted, _ = pairs[0]
        for arm in shifted:
            if arm == "frozen":
                continue
            runs = [[changes(arm, seed, *pair) for pair in pairs] for seed in shifted[arm]]
            names = list(runs[0][0])
            made.columns = ["arm", "play", *names]
            means = [[float(np.mean([one[name] for one in run])) for run in runs] for name in names]
            made.rows.append([arm, play, *map(over_seeds, means)])
    return made


def ahead(results: Mapping[str, Mapping[str, Rows]]) -> Table:
    """How much more the whole method scores than each other arm, on the same rooms.

    Args:
        results: As of `change`.
    """
    made = Table(
        f"Score of the whole method less that of others, same rooms, mean of {len(results)} shifts",
        ["less", "sampled", "greedy"],
    )
    arms = [arm for arm in next(iter(results.values()))[GUARD] if arm != "whole"]

    def less(arm: str, kind: str) -> str:
        pairs = [
            (own[shift + kind]["whole"], own[shift + kind][arm]) for shift, own in results.items()
        ]
        seeds = pairs[0][0]
        means = [np.mean([a[seed]["score"] - b[seed]["score"] for a, b in pairs]) for seed in seeds]
        return over_seeds([float(mean) for mean in means])

    made.rows = [[arm, less(arm, ", sampled"), less(arm, "")] for arm in arms]
    return made


def updates_held(run: Path) -> dict[str, float]:
    """The median divergence before a run's updates, and the share inside the corridor or skipped.

    Of those that were made of something: where all queries were abstained from nothing was held.
    """
    rows = [r for r in read_ledger(run) if r["decision"] not in (ABSTAIN, STOP)]
    if not rows:
        return {"median": 0.0, "held": 0.0}
    held = [r["decision"] != "keep" or 0.1 <= r["kl_before"] <= 0.2 for r in rows]
    median = float(np.median([r["kl_before"] for r in rows]))
    return {"median": median, "held": float(np.mean(held))}


def stream_table(
    title: str, streams: dict[str, list[list[dict]]], held: dict[str, list[dict[str, float]]]
) -> Table:
    """How the votes on the stream went: prequential scores, divergence, abstentions."""
    made = Table(
        title, ["arm", "rollouts", "votes", "abstained", "median KL", "KL 0.1-0.2 or skipped"]
    )
    for arm, runs in streams.items():

        def mean(key: str, runs: list[list[dict]] = runs) -> str:
            return over_seeds([float(np.mean([row[key] for row in run])) for run in runs])

        divergence = [over_seeds([one[key] for one in held[arm]]) for key in ("median", "held")]
        scores = [mean(key) for key in ("score", "vote_score", "abstained")]
        made.rows.append([arm, *scores, *divergence])
    return made


if __name__ == "__main__":
    sys.exit(main())
