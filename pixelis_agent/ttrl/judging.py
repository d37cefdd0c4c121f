"""Queries after their votes: who won, what each step counts, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pixelis_agent.answers import meaning
from pixelis_agent.behaviour import Behaviour, fidelity, similarity
from pixelis_agent.collect import Finished
from pixelis_agent.config import RewardConfig, TTRLConfig
from pixelis_agent.memory import Entry, HybridEncoder, Memory, Voted
from pixelis_agent.memory.vectors import Vector
from pixelis_agent.rewards.credit import (
    advantages,
    efficiency,
    normalised,
    operations,
    pad_steps,
    valid_steps,
)
from pixelis_agent.rollout import Rollout
from pixelis_agent.spans import WRITTEN
from pixelis_agent.voting import Ballot, Precedent, Vote, answer_majority, exemplar, vote
from pixelis_env.metrics.process import ProcessMetrics
from pixelis_env.trace import final_answer

Tensor = torch.Tensor


@dataclass(frozen=True)
class Judged:
    """A query after its vote.

    Attributes:
        finished: Its rollouts.
        ballots: What each voted.
        outcome: The vote's.
        chosen: The exemplar among them.
        vector: What it is remembered by.
        neighbours: The entries that the vote regarded.
        known: How often the same question about the same medium was learned from.
    """

    finished: list[Finished]
    ballots: list[Ballot]
    outcome: Vote
    chosen: int | None
    vector: Vector
    neighbours: list[int]
    known: int = 0

    def learned_from(self, config: TTRLConfig) -> bool:
        """Whether it is new and its vote clear enough; by "entropy" there is no vote."""
        if self.known >= config.repeats:
            return False
        if config.vote == "entropy":
            return bool(self.finished)
        return self.chosen is not None and self.outcome.margin >= config.least_margin


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
        Behaviour.of(trace.steps, asked.extent)
        for near in found
        if near.media_digest == asked.media_digest
        for trace in memory.traces(near.id)
    ]
    ballots = [
        Ballot(
            answer=(answer := final_answer(one.steps)),
            meaning=meaning(answer, asked.metric, asked.n_options),
            behaviour=mine,
            fidelity=fidelity(mine, [*done[:k], *done[k + 1 :], *remembered]),
            tokens=one.n_tokens,
            log_prob=_log_prob(one.episode.rollout),
        )
        for k, (one, mine) in enumerate(zip(finished, done, strict=True))
    ]
    if config.vote != "trajectories":
        outcome = answer_majority(ballots)
    else:
        outcome = vote(
            ballots,
            [Precedent(near.ops, near.similarity * near.confidence) for near in found],
            by_behaviour=config.by_behaviour,
            by_fidelity=config.by_fidelity,
            by_certainty=config.by_certainty,
        )
    chosen = exemplar(ballots, outcome)
    known = memory.times_learned(asked.question, asked.media_digest)
    near = [one.id for one in found]
    return Judged(finished, ballots, outcome, chosen, vector, near, known)


def gains(judged: Judged, config: TTRLConfig) -> Tensor:
    """What every step of every rollout on a query counts for in an update, float32 (E, S).

    By "teacher" the trust in it, by "gradient" its advantage: see `trusted` and `paid`. In both a
    rollout is worth 1 and `config.behaviour` times its likeness to the exemplar where it agrees
    with the vote, 0 elsewhere. By "majority" only agreement counts; by "entropy" nobody is asked,
    and a rollout is trusted like any other, or paid its own mean log-probability.
    """
    ballots, steps = judged.ballots, [one.steps for one in judged.finished]
    agree = torch.tensor([float(k in judged.outcome.winners) for k in range(len(ballots))])
    confidence, worth = 1.0, agree
    if config.vote == "entropy":
        worth = torch.ones_like(agree)
    elif config.vote == "trajectories":
        assert judged.chosen is not None
        model, confidence = ballots[judged.chosen].behaviour, judged.outcome.confidence
        alike = torch.tensor([similarity(ballot.behaviour, model) for ballot in ballots])
        worth = agree * (1 + config.behaviour * alike)
    if config.learn == "teacher":
        failed = pad_steps([operations(one) & ~valid_steps(one) for one in steps])
        return trusted(worth, failed, confidence)
    if config.vote == "trajectories":
        costs = pad_steps([efficiency(one, RewardConfig()) for one in steps])
        return paid(worth, costs, confidence, config.efficiency)
    if config.vote == "entropy":
        worth = torch.tensor([ballot.log_prob for ballot in ballots])
    relative = normalised(worth, torch.zeros(len(worth), dtype=torch.long))
    return advantages({"worth": relative}, {"worth": 1.0}, torch.tensor(list(map(len, steps))))


def trusted(worth: Tensor, failed: Tensor, confidence: float) -> Tensor:
    """The trust in each step of rollouts on one query, float32 (E, S), >= 0.

    Args:
        worth: float32 (E,), of each rollout, >= 0.
        failed: float32 (E, S), 1 for a step that could not be carried out, which nobody should
            learn, else 0; NaN where there was no step.
        confidence: Of the vote, 0..1: all counts as much as it is sure.
    """
    return confidence * worth[:, None] * (1 - failed.nan_to_num(1.0))


def paid(worth: Tensor, costs: Tensor, confidence: float, efficiency: float) -> Tensor:
    """The advantage of each step of rollouts on one query, float32 (E, S).

    A rollout is paid what it is worth, a step its own cost, each less what the group has on
    average. All counts as much as the vote is sure.

    Not divided by the group's deviation, as GRPO does it: where nearly all agree, it would blow up
    small differences in behaviour to as much as right and wrong, and most by the surest votes.

    Args:
        worth: float32 (E,), of each rollout, >= 0.
        costs: float32 (E, S), <= 0, of `credit.efficiency`; NaN where there was no step.
        confidence: Of the vote, 0..1.
        efficiency: Weight of the costs.
    """
    # Costs without their mean would only ever push away, and nothing says where to.
    saved = costs - costs.nanmean()
    steps = (worth - worth.mean())[:, None] + efficiency * saved
    return confidence * steps.nan_to_num(0.0)


def entry_of(judged: Judged, place: int, config: TTRLConfig) -> Entry:
    """What is remembered of the query at a place of the stream."""
    asked, outcome = judged.finished[0].asked, judged.outcome
    learned = judged.learned_from(config)
    counts = gains(judged, config).tolist() if learned else [()] * len(judged.finished)
    return Entry(
        task_id=asked.task_id,
        task_type=asked.task_type,
        question=asked.question,
        media_digest=asked.media_digest,
        images=tuple(judged.finished[0].episode.observations[0]["images"]),
        rollouts=tuple(
            Voted(
                one.trace,
                ballot.fidelity,
                weight,
                one.episode.rollout if learned else None,
                tuple(count[: len(one.steps)]) if learned else (),
            )
            for one, ballot, weight, count in zip(
                judged.finished, judged.ballots, outcome.weights, counts, strict=True
            )
            if one.trace is not None
        ),
        answer=outcome.answer,
        confidence=outcome.confidence,
        margin=outcome.margin,
        exemplar=judged.chosen,
        place=place,
        neighbours=tuple(judged.neighbours),
        learned=learned,
    )


def figures(judged: Sequence[Judged], config: TTRLConfig) -> dict[str, float]:
    """How the votes went; with the right answers, where they are known, how good they were."""
    process = ProcessMetrics()
    for one in judged:
        for finished in one.finished:
            process.update(finished.steps)
    scores = [f.score for one in judged for f in one.finished if f.score is not None]
    votes = [
        s for one in judged if (s := score_of(one.finished, one.ballots, one.outcome)) is not None
    ]
    learned = [one for one in judged if one.learned_from(config)]
    known = {"score": float(np.mean(scores))} if scores else {}
    if votes:
        known["vote_score"] = float(np.mean(votes))
    if not judged:  # none of their media could be read
        return {}
    return {
        **known,
        "confidence": float(np.mean([one.outcome.confidence for one in judged])),
        "margin": float(np.mean([one.outcome.margin for one in judged])),
        "abstained": 1 - len(learned) / len(judged),
        **process.compute(),
    }


def score_of(
    finished: Sequence[Finished], ballots: Sequence[Ballot], outcome: Vote
) -> float | None:
    """The score of the answer that won; 0 where none did, None where the right one is unknown.

    Args:
        finished: The rollouts on a query.
        ballots: Theirs.
        outcome: Of a vote by them.
    """
    if any(one.score is None for one in finished):
        return None
    if outcome.answer is None:
        return 0.0
    answers = [ballot.answer for ballot in ballots]
    return finished[answers.index(outcome.answer)].score


def _log_prob(rollout: Rollout | None) -> float:
    """The mean log-probability of what was written, as it was sampled."""
    return 0.0 if rollout is None else rollout.mean_log_prob(WRITTEN) or 0.0
