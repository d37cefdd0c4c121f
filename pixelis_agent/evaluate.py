"""Evaluation: plays tasks that nothing was trained on and scores a policy."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sized
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelis_agent.collect import AsyncPolicy, collector_for
from pixelis_agent.config import EvalConfig
from pixelis_agent.figures import Report, show
from pixelis_agent.log import Bar
from pixelis_agent.policies.base import Episode, Policy
from pixelis_agent.policies.make import make_policy
from pixelis_agent.splits import VALIDATION, evaluation_indices
from pixelis_agent.tally import Tally, scores_of_tasks
from pixelis_agent.task_settings import env_arguments
from pixelis_env.tasks.benchmarks.source import RowSource

if TYPE_CHECKING:
    from pixelis_agent.models.processor import Processor

RESULTS, DIALOGUES = "results.json", "dialogues.jsonl"


def evaluate(
    policy: Policy | AsyncPolicy,
    env_id: str = "Pixelis-v0",
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    episodes: int | None = None,
    samples: int = 1,
    seed: int = 0,
    indices: Iterable[int] | None = None,
    out: Path | None = None,
    workers: int = 2,
    ray: int = 0,
    cluster: str | None = None,
    batch: int = 16,
    lockstep: bool = False,
    progress: bool = True,
) -> Report:
    """Plays held-out tasks and scores the policy.

    Args:
        policy: Who plays.
        env_id: A registered environment.
        env_kwargs: Its keyword arguments.
        episodes: How many tasks; of a finite source at most all it has. None: all of a finite one,
            500 of an endless one.
        samples: Times that each is played, each with another seed.
        seed: Chooses the tasks (`splits.evaluation_indices`) and seeds the policy.
        indices: These tasks instead.
        out: Folder for `results.json`, `traces/` (see `trace_file`) and `dialogues.jsonl`, which
            holds for each episode its `index` and `sample` and what was `said`, by the environment
            and the policy in turns; what is there of an earlier evaluation is replaced.
        workers: Processes that hold environments; 0 = this one.
        ray: Ray actors in place of them (`collect.RayCollector`); 0 = without Ray.
        cluster: Address of the Ray cluster.
        batch: Episodes that the policy is asked about at once.
        lockstep: See `Collector.run`; with `ray` it must be False.
        progress: Show a bar on stderr, where that is a terminal.

    Raises:
        ValueError: Settings out of range, or no task.
        RolloutError: An environment failed.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, not {samples}")
    settings = getattr(policy, "settings", None)
    played_with = settings() if callable(settings) and out is not None else {}
    kwargs = dict(env_kwargs or {})
    whole, by_type = Tally(), defaultdict[str, Tally](Tally)
    said: dict[int, dict[str, Any]] = {}
    with ExitStack() as stack:
        collector = collector_for(
            env_id, kwargs, workers=workers, batch=batch, ray=ray, cluster=cluster
        )
        stack.enter_context(collector)
        tasks = evaluation_indices(seed, episodes, collector.size) if indices is None else indices
        if collector.size is not None and isinstance(tasks, range) and tasks[-1] >= collector.size:
            raise ValueError(
                f"{env_id} has {collector.size} tasks and none of index {tasks[-1]}: where all are "
                "trained on none is held out, so evaluate on another environment"
            )
        traces = None if out is None else _clear(out / "traces")
        total = samples * len(tasks) if isinstance(tasks, Sized) else None
        bar = stack.enter_context(Bar(total)) if progress else None
        started = time.perf_counter()
        source = collector.source if isinstance(collector.source, RowSource) else None
        unreadable: dict[int, str] = {}
        for finished in collector.run(
            policy,
            (index for index in tasks for _ in range(samples)),
            batch=batch,
            seed=seed,
            traces=traces is not None,
            lockstep=lockstep,
            unreadable=unreadable if source is not None and not source.strict else None,
        ):
            sample = finished.position % samples
            whole.add(finished, sample)
            by_type[finished.task_type].add(finished, sample)
            if traces is not None and finished.trace is not None:
                finished.trace.save(traces / trace_file(finished.episode.index, sample))
                said[finished.position] = _said(finished.episode, sample)
            if bar is not None:
                bar.advance()
    if unreadable and not whole.rows:
        first = next(iter(unreadable.values()))
        raise ValueError(f"not one of {len(unreadable)} media can be read, the first: {first}")
    usage = getattr(policy, "usage", None)
    benchmark = None
    if source is not None:
        known = scores_of_tasks(whole.rows)
        of_tasks = {
            row.index: float(np.mean(known[row.index])) if row.index in known else None
            for row in whole.rows
        }
        benchmark = source.result(of_tasks, unreadable)
    report = Report(
        policy=policy.name,
        env=env_id,
        env_kwargs={key: value for key, value in kwargs.items() if _plain(value)},
        seed=seed,
        samples=samples,
        summary=whole.summary(),
        per_type={name: by_type[name].summary() for name in sorted(by_type)},
        rows=whole.rows,
        wall_seconds=time.perf_counter() - started,
        usage=None if usage is None else asdict(usage),
        played_with=played_with,
        benchmark=benchmark,
    )
    if out is not None:
        report.save(out / RESULTS)
        lines = (json.dumps(said[position]) + "\n" for position in sorted(said))
        (out / DIALOGUES).write_text("".join(lines), encoding="utf-8")
    return report


def trace_file(index: int, sample: int = 0) -> str:
    """Name of the trace of the `sample`-th episode on a task."""
    return f"{index}.json" if sample == 0 else f"{index}-{sample}.json"


def run(config: EvalConfig) -> dict[str, Any]:
    """Evaluates as `config` says, prints the table, and returns the figures.

    Raises:
        ValueError: Settings out of range.
    """
    if config.samples > 1 and config.temperature == 0 and config.policy != "random":
        raise ValueError(
            f"{config.samples} greedy episodes on a task are all the same: give a temperature too, "
            "e.g. --temperature 1"
        )
    kwargs = env_arguments(config)
    if config.ray and config.device not in (None, "cpu"):
        raise ValueError(
            "Ray actors hold copies of a policy and have no GPU: serve the model and give the "
            "server's address as policy (docs/scaling.md)"
        )
    policy = make_policy(config)
    try:
        report = evaluate(
            policy,
            config.env,
            env_kwargs=kwargs,
            episodes=config.episodes,
            samples=config.samples,
            seed=config.seed,
            out=config.out,
            workers=config.workers,
            ray=config.ray,
            cluster=config.cluster,
            batch=config.batch,
            lockstep=config.lockstep and not config.ray,
        )
    finally:
        close = getattr(policy, "close", None)
        if close is not None:
            close()
    show(report.table())
    if report.benchmark is not None:
        print(report.benchmark)
    return report.to_dict()


def validate(
    model: Any,
    processor: Processor,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    episodes: int,
    *,
    max_tokens: int = 256,
    workers: int = 1,
    batch: int = 16,
) -> Report:
    """Greedy play on tasks by which training may be steered: `splits.VALIDATION`.

    Args:
        model: What is trained, as it is now.
        processor: Its processor.
        env_id: A registered environment.
        env_kwargs: Its keyword arguments.
        episodes: How many tasks.
        max_tokens: The longest turn, tokens.
        workers: Processes that hold environments.
        batch: Episodes that the policy is asked about at once.
    """
    from pixelis_agent.policies.vlm import VLMPolicy

    return evaluate(
        VLMPolicy(model, processor, max_new_tokens=max_tokens),
        env_id,
        env_kwargs=env_kwargs,
        indices=VALIDATION[:episodes],
        workers=workers,
        batch=batch,
        lockstep=True,
        progress=False,
    )


def _said(episode: Episode, sample: int) -> dict[str, Any]:
    """What environment and policy said in an episode, in turns."""
    words = [episode.observations[0]["text"]]
    for turn, observation in zip(episode.turns, episode.observations[1:], strict=True):
        words += [turn.text, observation["text"]]
    return {"index": episode.index, "sample": sample, "said": words}


def _clear(folder: Path) -> Path:
    """An empty folder for traces: those of an earlier evaluation are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    return folder


def _plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
