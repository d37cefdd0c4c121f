"""The causal audit: did the answer rest on what the operations returned?

Episodes are played as they are, or taken from an evaluation that was written down, and played again
once for each of their operations with its result changed before the policy sees it: up to there the
turns are those of the first time, from there the policy goes on by itself.

- *blank*: every image grey, the text cut to what came back (`e2 text_lines`);
- *shuffled*: something else that the same operation returned in another episode;
- *removed*: no image and no text;
- *unchanged*: the control: played again as it was.

**Causal RaPR** is the share of answers that come out different by the first three. A policy that
takes the likeliest token differs by nothing but the change; how often it differs without one, as
where the arithmetic depends on which episodes are computed together, is what the control says.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pixelis_agent.collect import AnyCollector, AsyncPolicy, Finished, collector_for
from pixelis_agent.collect.flight import tickets
from pixelis_agent.config import AuditConfig, EvalConfig
from pixelis_agent.evaluate import trace_file
from pixelis_agent.evaluated import Evaluation, RunError, read_evaluation
from pixelis_agent.figures import show
from pixelis_agent.images import picture_key
from pixelis_agent.interventions import CHANGES, CONTROL, Change, Key, Observation, intervened
from pixelis_agent.policies.base import Episode, Policy
from pixelis_agent.policies.make import make_policy
from pixelis_agent.policies.scripted import ScriptedPolicy
from pixelis_agent.splits import evaluation_indices
from pixelis_agent.tally import as_text
from pixelis_agent.task_settings import env_arguments
from pixelis_env.describe import OWN_ID
from pixelis_env.metrics.interval import ratio_interval
from pixelis_env.trace import Step, Trace, TraceError, final_answer


@dataclass(frozen=True)
class Effect:
    """What a change did: whether the answer, or its score, came out different."""

    index: int
    step: int
    op: str
    how: str
    answer: str | None
    changed: str | None
    score: float | None
    changed_score: float | None

    @property
    def differs(self) -> bool:
        """Whether the answers differ, as numbers or in their words, whatever their case."""
        return _meaning(self.answer) != _meaning(self.changed)


def audit(
    policy: Policy | AsyncPolicy,
    env_id: str,
    *,
    env_kwargs: dict[str, Any] | None = None,
    episodes: int = 50,
    indices: Iterable[int] | None = None,
    workers: int = 2,
    batch: int = 16,
    seed: int = 0,
) -> list[Effect]:
    """Plays tasks, and again with each operation's result changed.

    Args:
        policy: Who plays; best without chance, e.g. a `VLMPolicy` of temperature 0.
        env_id: A registered environment.
        env_kwargs: The environment's keyword arguments.
        episodes: How many tasks; of a finite source at most all its tasks.
        indices: These tasks instead.
        workers: Processes that hold environments; 0 = this one.
        batch: Episodes that the policy is asked about at once.
        seed: Chooses the tasks, as of `pixelis eval`, and seeds the episodes.

    Returns:
        One effect for each answered episode, each of its valid operations and each change.

    Raises:
        ValueError: An operation returned something else when it was called again.
    """
    with collector_for(env_id, env_kwargs, workers=workers, batch=batch) as collector:
        if indices is None:
            indices = evaluation_indices(seed, episodes, collector.size)
        played = list(collector.run(policy, indices, batch=batch, seed=seed, lockstep=True))
        return _change(policy, collector, played, batch, seed)


def audit_evaluation(
    policy: Policy | AsyncPolicy,
    kept: Evaluation,
    *,
    root: Path | None = None,
    episodes: int = 50,
    workers: int = 2,
    batch: int = 16,
    seed: int = 0,
) -> list[Effect]:
    """Plays the episodes of an evaluation again with each operation's result changed.

    Args:
        policy: Who goes on after a change; as a rule the one that was evaluated.
        kept: What `evaluated.read_evaluation` read.
        root: Of a benchmark: the folder that holds its files, where it is another by now.
        episodes: How many, the first ones.
        workers: Processes that hold environments; 0 = this one.
        batch: Episodes that the policy is asked about at once.
        seed: Of the episodes that go on.

    Returns:
        As of `audit`.

    Raises:
        RunError: An episode has no trace or dialogue, or does not come out as it is there.
        ValueError: As of `audit`.
    """
    rows = [(int(row["index"]), int(row["sample"])) for row in kept.episodes[:episodes]]
    traces = [_trace(kept, *row) for row in rows]
    indices = [index for index, _ in rows]
    script: dict[Key, list[str]] = {}
    for row, ticket in zip(rows, tickets(indices, seed), strict=True):
        if row not in kept.dialogues:
            raise RunError(f"{kept.traces.parent} lacks the dialogue of task {row[0]}")
        script[ticket.index, ticket.seed] = kept.dialogues[row][1::2]

    def said(episode: Episode) -> str:
        turns, number = script[episode.index, episode.seed], len(episode.turns)
        # Where it goes on for longer than it did, the comparison below says so.
        return turns[number] if number < len(turns) else ""

    kwargs = kept.env_kwargs | ({} if root is None else {"root": str(root)})
    with collector_for(kept.env, kwargs, workers=workers, batch=batch) as collector:
        again = collector.run(ScriptedPolicy(said), indices, batch=batch, seed=seed, lockstep=True)
        played = sorted(again, key=lambda finished: finished.position)
        for finished, trace, row in zip(played, traces, rows, strict=True):
            _same(finished.steps, trace, kept.traces / trace_file(*row))
        return _change(policy, collector, played, batch, seed)


def _trace(kept: Evaluation, index: int, sample: int) -> Trace:
    try:
        return Trace.load(kept.traces / trace_file(index, sample))
    except TraceError as error:
        raise RunError(str(error)) from None


def _same(steps: Sequence[Step], trace: Trace, path: Path) -> None:
    """Raises RunError where an episode did not come out as its trace has it."""
    if tuple(steps) == trace.steps:
        return
    pairs = zip(steps, trace.steps, strict=False)
    equal = (now.action == then.action and now.evidence == then.evidence for now, then in pairs)
    number = next((k for k, same in enumerate(equal, 1) if not same), len(trace.steps))
    raise RunError(
        f"{path}: step {number} comes out otherwise than it did, so its causes cannot be told: the "
        "environment, its tools or their versions are others (pixelis replay says more)"
    )


def _change(
    policy: Policy | AsyncPolicy,
    collector: AnyCollector,
    played: Sequence[Finished],
    batch: int,
    seed: int,
) -> list[Effect]:
    """Plays episodes again, once for each operation and change."""
    wanted = _plan(played)
    indices = [finished.episode.index for finished, _ in wanted]
    begun = {
        (ticket.index, ticket.seed): (finished.episode.turns, change)
        for ticket, (finished, change) in zip(tickets(indices, seed), wanted, strict=True)
    }
    goes_on = intervened(policy, begun)
    again = collector.run(goes_on, indices, batch=batch, seed=seed, lockstep=True)
    by_position = sorted(again, key=lambda finished: finished.position)
    return [
        _effect(before, after, change)
        for (before, change), after in zip(wanted, by_position, strict=True)
    ]


def _plan(played: Sequence[Finished]) -> list[tuple[Finished, Change]]:
    """The episodes that were answered, each with each of its changes."""
    by_task = sorted(played, key=lambda finished: (finished.episode.index, finished.position))
    shown: dict[str, list[tuple[int, Observation]]] = defaultdict(list)
    for finished in by_task:
        for number, step in enumerate(finished.steps, start=1):
            if step.valid:
                seen = finished.episode.index, finished.episode.observations[number]
                shown[step.action.op].append(seen)
    plan: list[tuple[Finished, Change]] = []
    for finished in by_task:
        index = finished.episode.index
        if final_answer(finished.steps) is None:
            continue
        for number, step in enumerate(finished.steps, start=1):
            if not step.valid:
                continue
            for how in CHANGES:
                change = Change(number, step.action.op, how)
                if how == "shuffled":
                    mine = finished.episode.observations[number]
                    others = [
                        seen
                        for own, seen in shown[step.action.op]
                        if own != index and not _alike(seen, mine)
                    ]
                    if not others:
                        continue
                    change = replace(change, other=others[index % len(others)])
                plan.append((finished, change))
    return plan


def _effect(before: Finished, after: Finished, change: Change) -> Effect:
    if after.steps[: change.step] != before.steps[: change.step]:
        raise ValueError(
            f"task {before.episode.index}: operation {change.step} ({change.op}) or one before it "
            "returned something else when it was called again: an audit needs tools without chance"
        )
    return Effect(
        index=before.episode.index,
        step=change.step,
        op=change.op,
        how=change.how,
        answer=final_answer(before.steps),
        changed=final_answer(after.steps),
        score=before.score,
        changed_score=after.score,
    )


def _alike(one: Observation, other: Observation) -> bool:
    """Whether two results say and show the same, whatever their ids."""
    texts = [OWN_ID.sub("", seen["text"]) for seen in (one, other)]
    shown = [[picture_key(image) for image in seen["images"]] for seen in (one, other)]
    return texts[0] == texts[1] and shown[0] == shown[1]


def _meaning(answer: str | None) -> str | float | None:
    if answer is None:
        return None
    try:
        return float(answer)
    except ValueError:
        return " ".join(answer.casefold().split())


def causal_rapr(effects: Sequence[Effect]) -> dict[str, Any]:
    """The share of answers that differ, with its 95 % interval over episodes.

    Args:
        effects: Of one change or several; which ones decides what the share is of.

    Returns:
        `n` (interventions), `causal_rapr`, `low`, `high`; None without interventions.
    """
    sums: dict[int, list[bool]] = defaultdict(list)
    for effect in effects:
        sums[effect.index].append(effect.differs)
    if not effects:
        return {"n": 0, "causal_rapr": None, "low": None, "high": None}
    mean, low, high = ratio_interval(
        [sum(v) for v in sums.values()], [len(v) for v in sums.values()]
    )
    return {"n": len(effects), "causal_rapr": mean, "low": low, "high": high}


def by_operation(effects: Sequence[Effect]) -> dict[str, dict[str, dict[str, Any]]]:
    """The shares of answers that differ, as of `causal_rapr`.

    Returns:
        By operation, and of "all", by what was changed, and by "all" but the control.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for op in (*sorted({effect.op for effect in effects}), "all"):
        own = [effect for effect in effects if op in (effect.op, "all")]
        found[op] = {how: causal_rapr([e for e in own if e.how == how]) for how in CHANGES}
        found[op]["all"] = causal_rapr([e for e in own if e.how != CONTROL])
    return found


def run(config: AuditConfig) -> dict[str, Any]:
    """Audits as `config` says, prints the table, and returns the figures."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if config.ledger:
        from pixelis_agent.ttrl.ledger import config_of
        from pixelis_agent.ttrl.replay import replay_ledger

        made = replay_ledger(config_of(config.policy))
        print(f"{made['updates']} updates came out the same; adapter {made['adapter']}")
        return made
    kept = None if config.played is None else read_evaluation(config.played)
    policy = make_policy(
        EvalConfig(
            config.policy, model=config.model, max_tokens=config.max_tokens, batch=config.batch
        )
    )
    how: dict[str, Any] = {
        "episodes": config.episodes,
        "workers": config.workers,
        "batch": config.batch,
        "seed": config.seed,
    }
    try:
        if kept is not None:
            effects = audit_evaluation(policy, kept, root=config.root, **how)
        else:
            effects = audit(policy, config.env, env_kwargs=env_arguments(config), **how)
    finally:
        close = getattr(policy, "close", None)
        if close is not None:
            close()
    figures = by_operation(effects)
    table = Table(title=f"causal RaPR of {config.policy}", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("operation", *CHANGES, "all"):
        table.add_column(column, justify="left" if column == "operation" else "right")
    for op, parts in figures.items():
        table.add_row(
            op,
            *(as_text(p["causal_rapr"], (p["low"], p["high"]), digits=2) for p in parts.values()),
        )
    show(table)
    if config.out is not None:
        config.out.mkdir(parents=True, exist_ok=True)
        whole = {"figures": figures, "effects": [asdict(effect) for effect in effects]}
        (Path(config.out) / "audit.json").write_text(json.dumps(whole, indent=1) + "\n")
    return figures
