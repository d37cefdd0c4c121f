"""Evaluation: plays tasks that nothing was trained on and scores a policy."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Sized
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pixelis_agent.collect import AsyncPolicy, Collector, envs_for
from pixelis_agent.policies.base import Episode, Policy
from pixelis_agent.splits import evaluation_indices
from pixelis_agent.tally import COLUMNS, Row, Summary, Tally, as_cells
from pixelis_env.trace import versions

if TYPE_CHECKING:
    from rich.table import Table

API_KEY = "PIXELIS_API_KEY"
"""The environment variable that holds the key of a server that asks for one."""

RESULTS, DIALOGUES = "results.json", "dialogues.jsonl"


@dataclass(frozen=True)
class EvalConfig:
    """Settings of an evaluation.

    Attributes:
        policy: "random", "oracle", "pixelis-tiny", a run's or model's folder, a hub id such as
            "Qwen/Qwen3-VL-8B-Instruct", or the address of an OpenAI-compatible server,
            "http://host:8000/v1" (its key, if any, in the variable PIXELIS_API_KEY).
        env: A registered environment.
        level: Difficulty of rooms, 1..3.
        shift: Change of the rooms' looks: none, lighting, texture, camera, clutter, blur, fonts.
        types: Question types; default: all of the environment's.
        tools: One backend name for every operation that has it, e.g. "oracle"; default: the
            environment's own.
        episodes: Tasks that are played, 1..1,000,000.
        seed: Evaluations of different seeds share no task.
        out: Folder for results.json, the traces and what was said; default: none are written.
        workers: Processes that hold environments; 0 = in this one.
        batch: Episodes that the policy is asked about at once; for a server: requests at a time.
        lockstep: Ask about the same episodes together in every run, so that a local model's
            results are the same to the last bit. False is quicker where environments are slow.
        model: Of a server: the model's name; default: the only one that it lists.
        native_tools: Of a server: hand it the tools in the request, not in the prompt.
        temperature: Of sampling; 0 takes the likeliest token.
        max_tokens: The longest turn, tokens.
        grammar: Of a local model: let only turns be written that parse.
        device: Of a local model, as transformers' device_map, e.g. "auto"; default: the CPU.
        dtype: Of a local model's weights.
    """

    policy: str
    env: str = "Pixelis-v0"
    level: int = 1
    shift: str = "none"
    types: tuple[str, ...] = ()
    tools: str | None = None
    episodes: int = 500
    seed: int = 0
    out: Path | None = None
    workers: int = 2
    batch: int = 16
    lockstep: bool = True
    model: str | None = None
    native_tools: bool = False
    temperature: float = 0.0
    max_tokens: int = 256
    grammar: bool = False
    device: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


@dataclass(frozen=True)
class Report:
    """What came of an evaluation.

    Attributes:
        policy: Who played.
        env: The environment.
        env_kwargs: Its arguments, those that JSON can hold.
        seed: Of the evaluation.
        summary: All episodes.
        per_type: Those of each question type.
        rows: Each episode, in order.
        wall_seconds: From the first to the last.
        usage: What a server counted; None without one.
    """

    policy: str
    env: str
    env_kwargs: dict[str, Any]
    seed: int
    summary: Summary
    per_type: dict[str, Summary]
    rows: list[Row]
    wall_seconds: float
    usage: dict[str, int] | None

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON can hold them: those of `Summary`, and the same per type."""
        return {
            "policy": self.policy,
            "env": self.env,
            "env_kwargs": self.env_kwargs,
            "seed": self.seed,
            **asdict(self.summary),
            "per_type": {name: asdict(summary) for name, summary in self.per_type.items()},
            "wall_seconds": self.wall_seconds,
            **({} if self.usage is None else {"usage": self.usage}),
        }

    def table(self) -> Table:
        """The figures, a row each type."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(title=f"{self.policy} on {self.env}", box=SIMPLE_HEAD, pad_edge=False)
        for number, column in enumerate(COLUMNS):
            table.add_column(column, justify="right" if number else "left", no_wrap=True)
        for name, summary in sorted(self.per_type.items()):
            table.add_row(*as_cells(name, summary))
        table.add_section()
        table.add_row(*as_cells("all", self.summary))
        return table

    def save(self, path: Path) -> None:
        """Writes the figures, each episode's, and the versions of what they depend on."""
        whole = {**self.to_dict(), "versions": versions()}
        whole["episodes"] = [asdict(row) for row in self.rows]
        path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def evaluate(
    policy: Policy | AsyncPolicy,
    env_id: str = "Pixelis-v0",
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    episodes: int = 500,
    seed: int = 0,
    indices: Iterable[int] | None = None,
    out: Path | None = None,
    workers: int = 2,
    batch: int = 16,
    lockstep: bool = False,
    progress: bool = True,
) -> Report:
    """Plays held-out tasks and scores the policy.

    Args:
        policy: Who plays.
        env_id: A registered environment.
        env_kwargs: Its keyword arguments.
        episodes: How many; of a finite source at most all its tasks.
        seed: Chooses the tasks (`splits.evaluation_indices`) and seeds the policy.
        indices: These tasks instead.
        out: Folder for `results.json`, `traces/<index>.json` and `dialogues.jsonl`, which holds for
            each episode its `index` and what was `said`, by the environment and the policy in
            turns; what is there of an earlier evaluation is replaced.
        workers: Processes that hold environments; 0 = this one.
        batch: Episodes that the policy is asked about at once.
        lockstep: See `Collector.run`.
        progress: Show a bar on stderr, where that is a terminal.

    Raises:
        ValueError: Settings out of range, or no task.
        RolloutError: An environment failed.
    """
    kwargs = dict(env_kwargs or {})
    whole, by_type = Tally(), defaultdict[str, Tally](Tally)
    said: dict[int, dict[str, Any]] = {}
    traces = None if out is None else _clear(out / "traces")
    each = envs_for(batch, workers)
    with ExitStack() as stack:
        collector = stack.enter_context(
            Collector(env_id, kwargs, workers=workers, envs_per_worker=each)
        )
        tasks = evaluation_indices(seed, episodes, collector.size) if indices is None else indices
        total = len(tasks) if isinstance(tasks, Sized) else None
        bar = stack.enter_context(Bar(total)) if progress else None
        started = time.perf_counter()
        for finished in collector.run(
            policy, tasks, batch=batch, seed=seed, traces=traces is not None, lockstep=lockstep
        ):
            whole.add(finished)
            by_type[finished.task_type].add(finished)
            if traces is not None and finished.trace is not None:
                finished.trace.save(traces / f"{finished.episode.index}.json")
                said[finished.position] = _said(finished.episode)
            if bar is not None:
                bar.advance()
    usage = getattr(policy, "usage", None)
    report = Report(
        policy=policy.name,
        env=env_id,
        env_kwargs={key: value for key, value in kwargs.items() if _plain(value)},
        seed=seed,
        summary=whole.summary(),
        per_type={name: by_type[name].summary() for name in sorted(by_type)},
        rows=whole.rows,
        wall_seconds=time.perf_counter() - started,
        usage=None if usage is None else asdict(usage),
    )
    if out is not None:
        report.save(out / RESULTS)
        lines = (json.dumps(said[position]) + "\n" for position in sorted(said))
        (out / DIALOGUES).write_text("".join(lines), encoding="utf-8")
    return report


def run(config: EvalConfig) -> dict[str, Any]:
    """Evaluates as `config` says, prints the table, and returns the figures."""
    kwargs = env_arguments(config.level, config.shift, config.types, config.tools)
    policy = make_policy(config)
    try:
        report = evaluate(
            policy,
            config.env,
            env_kwargs=kwargs,
            episodes=config.episodes,
            seed=config.seed,
            out=config.out,
            workers=config.workers,
            batch=config.batch,
            lockstep=config.lockstep,
        )
    finally:
        close = getattr(policy, "close", None)
        if close is not None:
            close()
    show(report.table())
    return report.to_dict()


def show(table: Table) -> None:
    """Prints a table at its full width."""
    from rich.console import Console
    from rich.measure import Measurement

    wide = Console(width=1000)
    # A narrow terminal wraps the lines; narrower cells would lose their figures.
    needed = Measurement.get(wide, wide.options, table).maximum
    Console(width=max(Console().width, needed)).print(table)


def env_arguments(
    level: int, shift: str, types: Sequence[str], tools: str | None
) -> dict[str, Any]:
    """The environment's keyword arguments that differ from what it takes by itself."""
    given = {"level": (level, 1), "shift": (shift, "none")}
    kwargs: dict[str, Any] = {k: value for k, (value, usual) in given.items() if value != usual}
    if types:
        kwargs["types"] = list(types)
    if tools is not None:
        kwargs["tools"] = tools
    return kwargs


def make_policy(config: EvalConfig) -> Policy | AsyncPolicy:
    """The policy that `config.policy` names.

    Raises:
        ValueError: It names none.
        OSError: No model is found under that name, or no server answers there.
    """
    name = config.policy
    if name in ("random", "oracle"):
        from pixelis_agent.policies.scripted import OraclePolicy, RandomPolicy

        return RandomPolicy() if name == "random" else OraclePolicy()
    if name.startswith(("http://", "https://")):
        from pixelis_agent.policies.server import ServerPolicy

        return ServerPolicy(
            name,
            config.model,
            api_key=os.environ.get(API_KEY),
            tools="native" if config.native_tools else "text",
            concurrency=config.batch,
            temperature=config.temperature,
            max_tokens=config.max_tokens,
        )
    from pixelis_agent.models.load import EARLY, TINY, load_model

    if name not in (TINY, EARLY) and "/" not in name and not Path(name).exists():
        raise ValueError(
            f"there is no policy {name!r}: give random, oracle, {TINY}, a model's folder, a hub id "
            "with a slash, or the http address of a server"
        )
    from pixelis_agent.policies.vlm import VLMPolicy
    from pixelis_agent.training import one_thread

    if config.device in (None, "cpu"):
        one_thread()
    loaded = load_model(name, dtype=config.dtype, device_map=config.device)
    return VLMPolicy(
        loaded.model,
        loaded.processor,
        temperature=config.temperature,
        max_new_tokens=config.max_tokens,
        grammar=config.grammar,
        name=name,
    )


class Bar:
    """A progress bar on stderr, for use as a context.

    Args:
        total: Episodes; None where that is unknown.
    """

    def __init__(self, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import (
            MofNCompleteColumn,
            Progress,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            *Progress.get_default_columns()[:2],
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("episodes", total=total)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self) -> None:
        """One episode more."""
        self._progress.advance(self._task)


def _said(episode: Episode) -> dict[str, Any]:
    """What environment and policy said in an episode, in turns."""
    words = [episode.observations[0]["text"]]
    for turn, observation in zip(episode.turns, episode.observations[1:], strict=True):
        words += [turn.text, observation["text"]]
    return {"index": episode.index, "said": words}


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
