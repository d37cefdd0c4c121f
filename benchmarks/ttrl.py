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
from study import KEPT, Rows, Run, Study, by_play, cell_name, made_at, table

from pixelis_agent.demo import trained_types
from pixelis_agent.log import METRICS, read_metrics
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
    parser.add_argument("--kept", type=Path, default=KEPT / "ttrl", help="what is known of them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=12)
    parser.add_argument("--queries", type=int, default=8, help="an update")
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--episodes", type=int, default=160, help="held-out tasks a run and play")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    args = parser.parse_args()
    if args.sequence:
        sequence(args, "ttrl_sequence")
    elif args.poison:
        bad = {f"30 % {kind}": ("--poison", kind) for kind in args.poison}
        shifts(args, "ttrl_poisoned", {"frozen": None, **bad})
    else:
        shifts(args, "ttrl", {name: ARMS[name] for name in args.arms})
    return 0


def training(args: argparse.Namespace, *words: str) -> tuple[str, ...]:
    """The command of a run."""
    common = ("ttrl", "--updates", str(args.updates), "--queries", str(args.queries))
    common += ("--learning-rate", str(args.learning_rate), "--tools", "oracle", "--workers", "1")
    common += ("--max-steps", "8", "--batch", "64", "--micro-batch", "8", "--minibatches", "1")
    return (*common, "--types", *args.types, *words)


def plays(args: argparse.Namespace, shift: str, seed: int) -> dict[str, Play]:
    """Held-out rooms of a shift for the runs with a seed, greedily and sampled."""
    looks = "none" if shift == GUARD else shift
    place = Place(tuple(args.types), args.episodes, shift=looks, seed=SEEDS + seed)
    return {shift: Play(place), f"{shift}, sampled": Play(place, 1.0)}


def shifts(args: argparse.Namespace, name: str, arms: Mapping[str, Sequence[str] | None]) -> None:
    """Each arm adapted to each shift."""
    runs: dict[tuple[str, str, int], Run] = {}
    for seed in range(args.seeds):
        everywhere = [plays(args, place, seed) for place in (*args.shifts, GUARD)]
        # What adapts to nothing is the same for all shifts.
        start = Run(
            cell_name("frozen", seed), None, {k: v for own in everywhere for k, v in own.items()}
        )
        for shift in args.shifts:
            both = plays(args, shift, seed) | plays(args, GUARD, seed)
            for arm, words in arms.items():
                if words is None:
                    runs[shift, arm, seed] = start
                    continue
                words = training(args, "--shift", shift, "--seed", str(seed), *words)
                runs[shift, arm, seed] = Run(f"{shift}/{cell_name(arm, seed)}", words, both)
    study = Study(args.runs, args.kept, args.model, noted, args.jobs)
    found: dict[str, dict[str, Any]] = {}
    for seed in range(args.seeds):
        found |= study.records([run for (_, _, own), run in runs.items() if own == seed])
    results = {
        shift: by_play(
            {
                (arm, s): found[run.name]["plays"]
                for (of, arm, s), run in runs.items()
                if of == shift
            }
        )
        for shift in args.shifts
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
    for shift in args.shifts:
        for play in (shift, f"{shift}, sampled"):
            title = f"Adapted to {shift}: held-out rooms with it"
            rows = results[shift][play]
            tables.append(table(title + play.removeprefix(shift), rows, MEASURES))
        notes = {
            arm: [found[runs[shift, arm, s].name]["note"] for s in range(args.seeds)]
            for arm, words in arms.items()
            if words is not None and "--updates" not in words
        }
        tables.append(stream_table(f"The stream of {shift}", notes))
        streams = {arm: [note["stream"] for note in own] for arm, own in notes.items()}
        raw[shift] = {"streams": streams}
    save(name, range(args.seeds), tables, raw, **made_at(found.values()))


def sequence(args: argparse.Namespace, name: str) -> None:
    """One agent adapted to shift after shift: what it gains, and what it keeps."""
    places = [*dict.fromkeys(args.sequence), GUARD]
    lives: list[list[Run]] = []
    for seed in range(args.seeds):
        everywhere = {k: v for place in places for k, v in plays(args, place, seed).items()}
        lived = [Run(f"sequence/{cell_name('start', seed)}", None, everywhere)]
        for number, shift in enumerate(args.sequence):
            # A stream of its own for each stage: no query comes again.
            stream = str(seed * len(args.sequence) + number)
            words = training(args, "--seed", stream, "--shift", shift)
            stage = f"sequence/{number}-{cell_name(shift, seed)}"
            lived.append(Run(stage, words, everywhere, start=lived[-1] if number else None))
        lives.append(lived)
    study = Study(args.runs, args.kept, args.model, noted, args.jobs)
    found: dict[str, dict[str, Any]] = {}
    for stage in zip(*lives, strict=True):  # each starts from the one before
        found |= study.records(stage)
    stages = ["start", *(f"{k + 1}. {shift}" for k, shift in enumerate(args.sequence))]
    made = []
    for kind in ("", ", sampled"):
        heads = [place + kind for place in places]
        own = Table(f"Adapted to one after another{kind}: score", ["after", *heads])
        for k, stage in enumerate(stages):
            rows = [found[lived[k].name]["plays"] for lived in lives]
            scores = [[row[head]["score"] for row in rows] for head in heads]
            own.rows.append([stage, *map(over_seeds, scores)])
        made.append(own)
    save(name, range(args.seeds), made, {}, **made_at(found.values()))


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


def noted(run: Path) -> dict[str, Any]:
    """What is kept of a run.

    Returns:
        `stream`: scores and abstentions of each update's queries; `median`: the divergence before
        its updates; `held`: the share of them inside the corridor or skipped. Of updates that were
        made of something: where all queries were abstained from nothing was held.
    """
    keys = ("score", "vote_score", "abstained")
    stream = [{key: row[key] for key in keys} for row in read_metrics(run / METRICS)]
    rows = [r for r in read_ledger(run) if r["decision"] not in (ABSTAIN, STOP)]
    held = [r["decision"] != "keep" or 0.1 <= r["kl_before"] <= 0.2 for r in rows]
    return {
        "stream": stream,
        "median": float(np.median([r["kl_before"] for r in rows])) if rows else 0.0,
        "held": float(np.mean(held)) if rows else 0.0,
    }


def stream_table(title: str, notes: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """How the votes on the stream went: prequential scores, divergence, abstentions.

    Args:
        title: Of the table.
        notes: Of each arm what `noted` says of its runs.
    """
    made = Table(
        title, ["arm", "rollouts", "votes", "abstained", "median KL", "KL 0.1-0.2 or skipped"]
    )
    for arm, runs in notes.items():
        scores = [
            over_seeds([float(np.mean([row[key] for row in run["stream"]])) for run in runs])
            for key in ("score", "vote_score", "abstained")
        ]
        divergence = [over_seeds([run[key] for run in runs]) for key in ("median", "held")]
        made.rows.append([arm, *scores, *divergence])
    return made


if __name__ == "__main__":
    sys.exit(main())
