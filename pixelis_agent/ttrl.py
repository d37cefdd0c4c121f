"""Phase 3: test-time reinforcement learning on pixels, without labels.

For each query of a stream: sample a group of rollouts, recall how similar queries were solved, vote
over whole trajectories, abstain where the vote is close, take a short and trustworthy winner as the
exemplar, move the policy towards agreement with the vote and behaviour like the exemplar's while it
is held near its own moving average, and remember (Pixelis, arXiv 2603.25091, phase 3). No right
answer takes part in any of this; where one is known, it is only used to log how good the votes are.
Read `train` from top to bottom.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixelis_agent.answers import meaning
from pixelis_agent.behaviour import Behaviour, fidelity, similarity
from pixelis_agent.collect import Collector, Finished, envs_for
from pixelis_agent.config import RewardConfig, TTRLConfig
from pixelis_agent.encode import ObservationEncoder
from pixelis_agent.evaluate import env_arguments
from pixelis_agent.learner import Learner
from pixelis_agent.ledger import LEDGER, Ledger
from pixelis_agent.memory import Entry, HybridEncoder, Memory, Voted, WordLlamaWords
from pixelis_agent.memory.vectors import Vector
from pixelis_agent.policies.vlm import VLMPolicy
from pixelis_agent.rewards import advantages, efficiency, normalised, pad_steps
from pixelis_agent.rollout import Rollout
from pixelis_agent.splits import TRAIN
from pixelis_agent.training import (
    Checkpoints,
    Log,
    one_thread,
    save_model,
)
from pixelis_agent.voting import (
    Ballot,
    Precedent,
    Vote,
    answer_majority,
    exemplar,
    vote,
)
from pixelis_env.metrics.process import ProcessMetrics
from pixelis_env.trace import final_answer

Tensor = torch.Tensor


@dataclass
class Progress:
    """How far a run has come; saved with every checkpoint.

    Attributes:
        step: Updates.
        query: The next one of the stream.
        remembered: The newest entry of the memory.
    """

    step: int = 0
    query: int = 0
    remembered: int = 0


@dataclass(frozen=True)
class Judged:
    """A query after its vote: its rollouts, what they voted, and which of them is the exemplar."""

    finished: list[Finished]
    ballots: list[Ballot]
    outcome: Vote
    chosen: int | None
    vector: Vector
    neighbours: list[int]

    @property
    def rollouts(self) -> list[Rollout]:
        """Their tokens."""
        return [r for one in self.finished if (r := one.episode.rollout) is not None]

    def learned_from(self, config: TTRLConfig) -> bool:
        """Whether the vote is clear enough."""
        return self.chosen is not None and self.outcome.margin >= config.least_margin


def train(config: TTRLConfig) -> dict[str, Any]:
    """Adapts; a run that was stopped continues from its last checkpoint, bit for bit.

    Writes to `config.out`: `config.json`, `metrics.jsonl`, TensorBoard events, checkpoints,
    `memory/`, `ledger.jsonl` (a line an update: queries, votes, exemplars, divergence, beta, the
    decision and the adapter's digest) and `model/`, the adapter.

    Raises:
        ValueError: A setting is out of range.
    """
    one_thread()
    _check(config)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(asdict(config), indent=2, default=str) + "\n")

    learner = Learner(config)
    checkpoints, progress = Checkpoints(out, learner.parts), Progress()
    checkpoints.load(progress)
    player = VLMPolicy(
        learner.model,
        learner.processor,
        temperature=config.temperature,
        max_new_tokens=config.max_tokens,
        look=learner.vision.inputs,
    )
    pictures = ObservationEncoder(learner.model, learner.processor, learner.vision).pictures()
    encoder = HybridEncoder(WordLlamaWords(), pictures, config.words)
    log = Log(out, config.updates, progress.step)
    ledger = Ledger(out / LEDGER, progress.step)
    env_kwargs = env_arguments(config.level, config.shift, config.types, config.tools)
    each = envs_for(config.batch, config.workers)
    with (
        Collector(
            config.env, env_kwargs, workers=config.workers, envs_per_worker=each
        ) as collector,
        Memory(out / "memory", encoder.name, encoder.size) as memory,
    ):
        memory.forget_after(progress.remembered)
        while progress.step < config.updates:
            started = time.perf_counter()
            learner.vision.clear()
            player.model.eval()

            # 1.-5. Rollouts on the next queries; recall, vote, and who is learned from.
            judged = [
                judge(finished, memory, encoder, config)
                for finished in _groups(collector, player, progress, config)
            ]
            clear = [one for one in judged if one.learned_from(config)]

            # 6. The update: towards the votes, held near the moving average, which follows.
            rollouts = [rollout for one in clear for rollout in one.rollouts]
            gains = advantage(clear, config)
            made = learner.learn(rollouts, gains, progress.step)

            # 7. What was met is remembered, and what was decided written down.
            entries = [memory.add(entry_of(one, config), one.vector) for one in judged]
            if len(memory) > config.capacity:
                memory.prune(config.capacity)
            progress.step += 1
            progress.remembered = entries[-1]
            ledger.write(
                {
                    "update": progress.step,
                    "queries": [
                        said(one, number, config)
                        for one, number in zip(judged, entries, strict=True)
                    ],
                    "gains": gains.tolist(),
                    "decision": made.decision,
                    "kl_before": made.kl_before,
                    "kl_after": made.kl_after,
                    "beta": made.beta,
                    "adapter": learner.digest,
                }
            )
            logged = made.figures | figures(judged, config)
            logged |= {"kl": made.kl_before, "kl_after": made.kl_after, "beta": made.beta}
            logged |= {"kept": float(made.decision == "keep"), "remembered": float(len(memory))}
            logged["seconds"] = time.perf_counter() - started
            log.write(progress.step, logged, ("vote_score", "confidence", "kl"))
            if progress.step == config.updates or progress.step % config.checkpoint_every == 0:
                checkpoints.save(progress)
    save_model(learner.model, learner.processor, out / "model")
    ledger.close()
    log.close()
    return {"updates": progress.step, "adapter": learner.digest}


def judge(
    finished: list[Finished], memory: Memory, encoder: HybridEncoder, config: TTRLConfig
) -> Judged:
    """A query's vote.

    Args:
        finished: Its rollouts.
        memory: What was met before.
        encoder: Of queries.
        config: How to vote.
    """
    asked, shown = finished[0].asked, finished[0].episode.observations[0]
    vector = encoder(asked.question, shown["images"])
    found = []
    if config.neighbours:
        found = memory.recall(vector, config.neighbours, least=config.least_similarity)
    done = [Behaviour.of(one.steps, asked.extent) for one in finished]
    remembered = [
        Behaviour.of(voted.trace.steps, asked.extent)
        for near in found
        if near.media_digest == asked.media_digest
        for voted in memory.get(near.id).rollouts
    ]
    ballots = [
        Ballot(
            answer=(answer := final_answer(one.steps)),
            meaning=meaning(answer, asked.metric, asked.n_options),
            behaviour=mine,
            fidelity=fidelity(mine, [*done[:k], *done[k + 1 :], *remembered]),
            tokens=one.n_tokens,
        )
        for k, (one, mine) in enumerate(zip(finished, done, strict=True))
    ]
    if config.vote == "majority":
        outcome = answer_majority(ballots)
    else:
        outcome = vote(
            ballots,
            [Precedent(near.ops, near.similarity * near.confidence) for near in found],
            by_behaviour=config.by_behaviour,
            by_fidelity=config.by_fidelity,
        )
    chosen = exemplar(ballots, outcome)
    return Judged(finished, ballots, outcome, chosen, vector, [near.id for near in found])


def advantage(judged: Sequence[Judged], config: TTRLConfig) -> Tensor:
    """The advantage of every step of every rollout, float32 (E, S).

    A rollout is paid 1 for agreeing with its vote, `config.behaviour` times its likeness to the
    exemplar where it agrees, and for a short and valid chain; each is normalised within its group,
    and the sum scaled by the vote's confidence.
    """
    if not judged:
        return torch.zeros(0, 0)
    agree, alike, costs, sure, groups, lengths = [], [], [], [], [], []
    for number, one in enumerate(judged):
        assert one.chosen is not None
        model = one.ballots[one.chosen].behaviour
        for k, (episode, ballot) in enumerate(zip(one.finished, one.ballots, strict=True)):
            agree.append(float(k in one.outcome.winners))
            alike.append(agree[-1] * similarity(ballot.behaviour, model))
            costs.append(efficiency(episode.steps, RewardConfig()))
            sure.append(one.outcome.confidence)
            groups.append(number)
            lengths.append(len(episode.steps))
    plain = config.vote == "majority"
    weights = {
        "agreement": 1.0,
        "behaviour": 0.0 if plain else config.behaviour,
        "efficiency": 0.0 if plain else config.efficiency,
    }
    paid = {
        "agreement": torch.tensor(agree),
        "behaviour": torch.tensor(alike),
        "efficiency": pad_steps(costs),
    }
    relative = {name: normalised(r, torch.tensor(groups)) for name, r in paid.items()}
    gains = advantages(relative, weights, torch.tensor(lengths))
    return gains if plain else gains * torch.tensor(sure)[:, None]


def entry_of(judged: Judged, config: TTRLConfig) -> Entry:
    """What is remembered of a query."""
    asked, outcome = judged.finished[0].asked, judged.outcome
    learned = judged.learned_from(config)
    return Entry(
        task_id=asked.task_id,
        task_type=asked.task_type,
        question=asked.question,
        media_digest=asked.media_digest,
        images=tuple(judged.finished[0].episode.observations[0]["images"]),
        rollouts=tuple(
            Voted(one.trace, ballot.fidelity, weight, one.episode.rollout if learned else None)
            for one, ballot, weight in zip(
                judged.finished, judged.ballots, outcome.weights, strict=True
            )
            if one.trace is not None
        ),
        answer=outcome.answer if learned else None,
        confidence=outcome.confidence if learned else 0.0,
        margin=outcome.margin,
        exemplar=judged.chosen if learned else None,
    )


def said(judged: Judged, entry: int, config: TTRLConfig) -> dict[str, Any]:
    """A query's part of the ledger."""
    return {
        "entry": entry,
        "task_id": judged.finished[0].task_id,
        "neighbours": judged.neighbours,
        "answers": [ballot.answer for ballot in judged.ballots],
        "fidelity": [ballot.fidelity for ballot in judged.ballots],
        "weights": list(judged.outcome.weights),
        "answer": judged.outcome.answer,
        "confidence": judged.outcome.confidence,
        "margin": judged.outcome.margin,
        "exemplar": judged.chosen,
        "learned_from": judged.learned_from(config),
    }


def figures(judged: Sequence[Judged], config: TTRLConfig) -> dict[str, float]:
    """How the votes went; with the right answers, where they are known, how good they were."""
    process = ProcessMetrics()
    for one in judged:
        for finished in one.finished:
            process.update(finished.steps)
    scores = [f.score for one in judged for f in one.finished if f.score is not None]
    votes = [s for one in judged if (s := vote_score(one)) is not None]
    learned = [one for one in judged if one.learned_from(config)]
    known = {"score": float(np.mean(scores))} if scores else {}
    if votes:
        known["vote_score"] = float(np.mean(votes))
    return {
        **known,
        "confidence": float(np.mean([one.outcome.confidence for one in judged])),
        "margin": float(np.mean([one.outcome.margin for one in judged])),
        "abstained": 1 - len(learned) / len(judged),
        **process.compute(),
    }


def vote_score(judged: Judged) -> float | None:
    """The score of the answer that won; 0 where none did, None where the right one is unknown."""
    if any(finished.score is None for finished in judged.finished):
        return None
    if judged.outcome.answer is None:
        return 0.0
    answers = [ballot.answer for ballot in judged.ballots]
    return judged.finished[answers.index(judged.outcome.answer)].score


def _groups(
    collector: Collector, player: VLMPolicy, progress: Progress, config: TTRLConfig
) -> list[list[Finished]]:
    """Rollouts on the next queries of the stream."""
    numbers = range(progress.query, progress.query + config.queries)
    progress.query += config.queries
    size = collector.size
    start = config.seed * 10**6  # streams of different seeds share no task
    indices = [TRAIN[start + n] if size is None else n % size for n in numbers]
    wanted = [index for index in indices for _ in range(config.group)]
    groups: list[list[Finished]] = [[] for _ in numbers]
    run = collector.run(
        player,
        wanted,
        batch=config.batch,
        seed=config.seed + 100_003 * numbers.start,
        traces=True,
        lockstep=True,
    )
    for finished in sorted(run, key=lambda finished: finished.position):
        groups[finished.position // config.group].append(finished)
    return groups


def _check(config: TTRLConfig) -> None:
    rules = {
        "group >= 2 (one rollout is no vote)": config.group >= 2,
        "queries >= 1": config.queries >= 1,
        "temperature > 0 (greedy rollouts on a task are all the same)": config.temperature > 0,
        "neighbours >= 0": config.neighbours >= 0,
        "0 <= least_margin <= 1": 0 <= config.least_margin <= 1,
        "0 <= decay < 1": 0 <= config.decay < 1,
        "minibatches >= 1 and micro_batch >= 1": min(config.minibatches, config.micro_batch) >= 1,
        "capacity >= 1": config.capacity >= 1,
    }
    for rule, holds in rules.items():
        if not holds:
            raise ValueError(f"test-time learning needs {rule}")
