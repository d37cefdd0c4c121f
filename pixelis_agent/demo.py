"""`pixelis demo`: the shipped agent at work, and agents while they learn."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelis_agent.models.load import EARLY, TINY
from pixelis_agent.splits import VALIDATION

LIVE_TYPES = ("text_read", "search_number")
LIVE_EPISODES = 96
LIVE_EPOCHS = 5
LIVE_TASKS = 32
"""Held-out tasks by which the live training is judged, before and after."""
LIVE_STEPS, LIVE_TOKENS = 6, 96
"""Steps of such a task and tokens of a turn: twice what a trained agent needs. What has not learned
to end would go on to the limit."""

REFINED_TYPE = "time_first"
REFINED_ITERATIONS = 3
REFINED_TASKS = 3
REFINED_GROUP = 6

ADAPTED_TYPE, ADAPTED_SHIFT = "text_read", "fonts"
ADAPTED_UPDATES = 3
ADAPTED_QUERIES = 2
ADAPTED_GROUP = 6


@dataclass(frozen=True)
class DemoConfig:
    """Settings of the demo.

    Attributes:
        out: Folder of traces, pictures, the live run and `demo.json`.
        types: Question types that are played; default: those the shipped agent is trained for.
        episodes: Unseen tasks each policy plays.
        seed: Of the tasks; different seeds share none.
        pictures: Episodes of the agent that are drawn.
        live: Train as well: the early checkpoint on demonstrations, the shipped agent on what its
            own operations return, and in a new place without labels.
    """

    out: Path = Path("runs/agent-demo")
    types: tuple[str, ...] = ()
    episodes: int = 40
    seed: int = 1
    pictures: int = 8
    live: bool = True


def run(config: DemoConfig) -> dict[str, Any]:
    """Plays, draws, trains; prints what came of it and returns the figures.

    Raises:
        ValueError: A number out of range, or an unknown type.
    """
    from rich.console import Console

    console = Console()
    console.rule("unseen rooms: the shipped agent between chance and the oracle")
    types = config.types or trained_types()
    figures: dict[str, Any] = {"types": list(types), "policies": _play(config, types)}
    drawn = draw(config.out / TINY / "traces", config.out / "pictures", config.pictures)
    console.print(f"{drawn} episodes played again step for step and drawn: {config.out}/pictures")
    if config.live:
        console.rule("learning, live: from an early checkpoint")
        figures["live"] = learn(config.out, console)
        console.rule("refining, live: from what the agent's own operations return (CC-RFT)")
        figures["refined"] = refine(config.out)
        console.rule("adapting, live: to other lettering, without labels (TTRL)")
        figures["adapted"] = adapt(config.out)
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "demo.json").write_text(json.dumps(figures, indent=1) + "\n")
    console.print(f"traces, pictures, the live run: {config.out}")
    return figures


def trained_types() -> tuple[str, ...]:
    """The question types that `pixelis-tiny` is trained for."""
    from pixelis_agent.models.load import resolve

    card = json.loads((Path(resolve(TINY)) / "card.json").read_text())
    return tuple(card["types"])


def _play(config: DemoConfig, types: Sequence[str]) -> dict[str, Any]:
    """Three policies on the same tasks, a table."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from pixelis_agent.config import EvalConfig
    from pixelis_agent.evaluate import evaluate
    from pixelis_agent.figures import show
    from pixelis_agent.policies.make import make_policy
    from pixelis_agent.tally import COLUMNS, as_cells

    table, figures = Table(box=SIMPLE_HEAD, pad_edge=False), {}
    for number, column in enumerate(("policy", *COLUMNS[1:])):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for name in ("random", TINY, "oracle"):
        report = evaluate(
            make_policy(EvalConfig(name)),
            env_kwargs={"types": list(types)},
            episodes=config.episodes,
            seed=config.seed,
            out=config.out / name,
        )
        figures[name] = report.to_dict()
        table.add_row(*as_cells(name, report.summary))
    show(table)
    return figures


def draw(traces: Path, out: Path, most: int) -> int:
    """Plays traces again, checks that each step comes out the same, and draws the episodes.

    Returns:
        How many.

    Raises:
        ValueError: An episode did not come out the same.
    """
    from pixelis_env.demo import save_episode
    from pixelis_env.env import PixelisEnv
    from pixelis_env.replay import replay
    from pixelis_env.trace import Trace

    out.mkdir(parents=True, exist_ok=True)
    files = sorted(traces.glob("*.json"))[:most]
    for file in files:
        trace = Trace.load(file)
        env = PixelisEnv(**trace.header.kwargs)
        report = replay(trace, env=env)
        if not report.ok:
            raise ValueError(f"{file}: {report}")
        save_episode(env, out / file.stem)
        env.close()
    return len(files)


def learn(out: Path, console: Any) -> dict[str, Any]:
    """Writes demonstrations, trains on them for two minutes, and plays before and after."""
    from pixelis_agent.config import EvalConfig, SFTConfig
    from pixelis_agent.cota.generate import CotaConfig
    from pixelis_agent.cota.generate import run as write
    from pixelis_agent.evaluate import evaluate
    from pixelis_agent.policies.make import make_policy
    from pixelis_agent.sft import train

    data, result = out / "demonstrations", out / "live"
    shutil.rmtree(result, ignore_errors=True)  # a finished run would not be trained again
    write(CotaConfig(data, types=LIVE_TYPES, episodes=LIVE_EPISODES, workers=2, shard=48))

    def score(policy: str) -> float:
        report = evaluate(
            make_policy(EvalConfig(policy, max_tokens=LIVE_TOKENS)),
            env_kwargs={"types": list(LIVE_TYPES), "max_steps": LIVE_STEPS},
            indices=VALIDATION[:LIVE_TASKS],
        )
        return report.summary.score or 0.0

    before = score(EARLY)
    started = time.perf_counter()
    train(
        SFTConfig(
            (data,), result, EARLY, epochs=LIVE_EPOCHS, batch=8, micro_batch=8, optimizer="muon"
        )
    )
    seconds = time.perf_counter() - started
    after = score(str(result))
    console.print(
        f"{LIVE_EPISODES} demonstrations, {LIVE_EPOCHS} times, {seconds:.0f} s: "
        f"score on {LIVE_TASKS} unseen tasks {before:.2f} -> {after:.2f}"
    )
    return {"before": before, "after": after, "seconds": seconds, "tasks": LIVE_TASKS}


def refine(out: Path) -> list[dict[str, Any]]:
    """A few iterations of CC-RFT from the shipped agent; prints a line for each.

    They show what is paid and how far the policy moves; it takes far more to be measurably better.
    """
    from pixelis_agent.ccrft import train
    from pixelis_agent.config import CCRFTConfig, CuriosityConfig

    result = out / "refined"
    shutil.rmtree(result, ignore_errors=True)
    train(
        CCRFTConfig(
            model=TINY,
            out=result,
            types=(REFINED_TYPE,),
            tools="oracle",
            iterations=REFINED_ITERATIONS,
            tasks=REFINED_TASKS,
            group=REFINED_GROUP,
            redraws=0,
            curiosity=CuriosityConfig(warm_up=1),
        )
    )
    shown = {
        "step": "iteration",
        "score": "score",
        "reward_curiosity": "surprise",
        "reward_coherence": "coherence",
        "reward_efficiency": "cost",
        "kl": "KL",
        "beta": "beta",
        "seconds": "seconds",
    }
    return _shown(result, shown)


def adapt(out: Path) -> list[dict[str, Any]]:
    """A few updates of TTRL in rooms with other lettering; prints a line for each.

    The scores are of the stream, before each update: what the votes would have answered.
    """
    from pixelis_agent.config import TTRLConfig
    from pixelis_agent.ttrl.train import train

    result = out / "adapted"
    shutil.rmtree(result, ignore_errors=True)
    train(
        TTRLConfig(
            model=TINY,
            out=result,
            types=(ADAPTED_TYPE,),
            shift=ADAPTED_SHIFT,
            tools="oracle",
            updates=ADAPTED_UPDATES,
            queries=ADAPTED_QUERIES,
            group=ADAPTED_GROUP,
            learning_rate=3e-4,
        )
    )
    shown = {
        "step": "update",
        "score": "rollouts",
        "vote_score": "votes",
        "confidence": "confidence",
        "abstained": "abstained",
        "kl": "KL",
        "remembered": "remembered",
        "seconds": "seconds",
    }
    return _shown(result, shown)


def _shown(run: Path, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """A run's metrics, a line a step on the screen."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from pixelis_agent.figures import show
    from pixelis_agent.log import read_metrics

    rows = read_metrics(run / "metrics.jsonl")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in columns.values():
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(*(f"{row.get(key, 0):.3g}" for key in columns))
    show(table)
    return rows
