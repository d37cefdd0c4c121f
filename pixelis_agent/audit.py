"""The causal audit: did the answer rest on what the operations returned?

Episodes are played as they are, and again once for each of their operations with its result changed
before the policy sees it; the policy goes on by itself from there.

- *blank*: every image grey, the text cut to what came back (`e2 text_lines`);
- *shuffled*: something else that the same operation returned in another episode;
- *removed*: no image and no text;
- *unchanged*: the control: played again as it was.

**Causal RaPR** is the share of answers that come out different by the first three. The policy takes
the likeliest token, so that nothing but the change makes a difference; up to it the episodes are
the same, which is checked. Where a model's arithmetic depends on which episodes are computed
together, the control shows how often that alone changes an answer.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from pixelis_agent.collect import AsyncPolicy, Finished, collector_for
from pixelis_agent.collect.flight import episode_seed
from pixelis_agent.config import AuditConfig, EvalConfig
from pixelis_agent.figures import show
from pixelis_agent.images import picture_key
from pixelis_agent.policies.base import Episode, Policy, Turn
from pixelis_agent.policies.make import make_policy
from pixelis_agent.splits import evaluation_indices
from pixelis_agent.tally import as_text
from pixelis_agent.task_settings import env_arguments
from pixelis_env.describe import OWN_ID
from pixelis_env.metrics.interval import ratio_interval
from pixelis_env.trace import final_answer

CONTROL = "unchanged"
CHANGES = ("blank", "shuffled", "removed", CONTROL)
GREY = 128

Observation = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """Something that is done to the result of one operation.

    Attributes:
        step: The operation's number in its episode, from 1.
        op: Which it is.
        how: One of `CHANGES`.
        other: What is shown instead, for "shuffled".
    """

    step: int
    op: str
    how: str
    other: Observation | None = None

    def apply(self, observation: Observation) -> Observation:
        """The observation that the policy is shown; the one given is left as it is."""
        if self.how == CONTROL:
            return observation
        if self.other is not None:
            # Under its own id: a name of evidence that does not exist would be another change.
            own = OWN_ID.match(observation["text"])
            text = OWN_ID.sub(own[0], self.other["text"]) if own else self.other["text"]
            return {**self.other, "text": text}
        if self.how == "removed":
            return {**observation, "text": "", "images": [], "times": [], "regions": []}
        grey = [Image.new("RGB", image.size, (GREY,) * 3) for image in observation["images"]]
        return {**observation, "text": observation["text"].split(":")[0], "images": grey}


class Intervened:
    """A policy that is shown changed results.

    Args:
        policy: Who plays; without chance.
        changes: By the task's index and the episode's seed.
    """

    needs_oracle = False

    def __init__(self, policy: Policy, changes: dict[tuple[int, int], Change]) -> None:
        self.name = f"{policy.name}, intervened"
        self._policy, self._changes = policy, changes

    def act(self, episodes: Sequence[Episode]) -> list[Turn]:
        """The next turn of each; where its change is due, after that was made."""
        for episode in episodes:
            change = self._changes[episode.index, episode.seed]
            if len(episode.turns) == change.step:
                episode.observations[-1] = change.apply(episode.observations[-1])
        return self._policy.act(episodes)

    def finish(self, episode: Episode) -> None:
        """As of `Policy`."""
        self._policy.finish(episode)


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
    policy: Policy,
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
        policy: Who plays; without chance, e.g. a `VLMPolicy` of temperature 0.
        env_id: A registered environment.
        env_kwargs: The environment's keyword arguments.
        episodes: How many tasks; of a finite source at most all its tasks.
        indices: These tasks instead, each once.
        workers: Processes that hold environments; 0 = this one.
        batch: Episodes that the policy is asked about at once.
        seed: Chooses the tasks, as of `pixelis eval`, and seeds the episodes.

    Returns:
        One effect for each answered episode, each of its valid operations and each change.

    Raises:
        ValueError: An episode went another way before its change: the policy plays by chance.
    """
    with collector_for(env_id, env_kwargs, workers=workers, batch=batch) as collector:
        if indices is None:
            indices = evaluation_indices(seed, episodes, collector.size)
        options: dict[str, Any] = {"batch": batch, "seed": seed, "lockstep": True}
        played = {f.episode.index: f for f in collector.run(policy, indices, **options)}
        plan = _plan(played)
        changes: dict[tuple[int, int], Change] = {}
        wanted: list[tuple[int, Change]] = []
        for index, own in plan.items():
            for repeat, change in enumerate(own):
                changes[index, episode_seed(seed, index, repeat)] = change
                wanted.append((index, change))
        again = collector.run(
            Intervened(policy, changes), [index for index, _ in wanted], **options
        )
        return [
            _effect(played[wanted[f.position][0]], f, wanted[f.position][1])
            for f in sorted(again, key=lambda f: f.position)
        ]


def _plan(played: dict[int, Finished]) -> dict[int, list[Change]]:
    """The changes of each episode that was answered."""
    shown: dict[str, list[tuple[int, Observation]]] = defaultdict(list)
    for index, finished in sorted(played.items()):
        for number, step in enumerate(finished.steps, start=1):
            if step.valid:
                shown[step.action.op].append((index, finished.episode.observations[number]))
    plan: dict[int, list[Change]] = {}
    for index, finished in sorted(played.items()):
        if final_answer(finished.steps) is None:
            continue
        plan[index] = []
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
                plan[index].append(change)
    return plan


def _effect(before: Finished, after: Finished, change: Change) -> Effect:
    same = [step.action for step in before.steps[: change.step]]
    if [step.action for step in after.steps[: change.step]] != same:
        raise ValueError(
            f"task {before.episode.index} was played otherwise before its result {change.step} was "
            "changed: an audit needs a policy without chance (temperature 0)"
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
    policy = make_policy(EvalConfig(config.policy, max_tokens=config.max_tokens))
    if isinstance(policy, AsyncPolicy):
        raise ValueError(f"{config.policy} answers elsewhere: an audit needs a local policy")
    effects = audit(
        policy,
        config.env,
        env_kwargs=env_arguments(config),
        episodes=config.episodes,
        workers=config.workers,
        batch=config.batch,
        seed=config.seed,
    )
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
