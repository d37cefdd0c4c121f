"""Queries after their votes: who won, what each rollout is paid, and what is remembered of it."""

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
from pixelis_agent.rewards import advantages, efficiency, normalised, pad_steps
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
        )
    chosen = exemplar(ballots, outcome)
    known = memory.times_learned(asked.question, asked.media_digest)
    near = [one.id for one in found]
    return Judged(finished, ballots, outcome, chosen, vector, near, known)


def advantage(judged: Judged, config: TTRLConfig) -> Tensor:
    """The advantage of every step of every rollout on a query, float32 (E, S).

    See `gains_of`. By "majority" a rollout is paid for agreement alone, by "entropy" for its own
    mean log-probability, both normalised in their group.
    """
    ballots, chosen = judged.ballots, judged.chosen
    group = torch.zeros(len(ballots), dtype=torch.long)
    lengths = torch.tensor([len(episode.steps) for episode in judged.finished])
    if config.vote == "entropy":
        certain = torch.tensor([ballot.log_prob for ballot in ballots])
        return advantages({"certain": normalised(certain, group)}, {"certain": 1.0}, lengths)
    agree = torch.tensor([float(k in judged.outcome.winners) for k in range(len(ballots))])
    if config.vote == "majority":
        return advantages({"agree": normalised(agree, group)}, {"agree": 1.0}, lengths)
    assert chosen is not None
    model = ballots[chosen].behaviour
    alike = torch.tensor([similarity(ballot.behaviour, model) for ballot in ballots])
    costs = pad_steps([efficiency(one.steps, RewardConfig()) for one in judged.finished])
    return gains_of(agree, alike, costs, judged.outcome.confidence, config)


def gains_of(
    agree: Tensor, alike: Tensor, costs: Tensor, confidence: float, config: TTRLConfig
) -> Tensor:
    """What the steps of rollouts on one query gain by its vote, float32 (E, S).

    A rollout is paid 1 for agreeing with the vote and `config.behaviour` times its likeness to the
    exemplar where it agrees, a step pays its own cost, times `config.efficiency`; each less what
    the group has on average. All counts as much as the vote is sure.

    Not divided by the group's deviation, as GRPO does it: where nearly all agree, it would blow up
    small differences in behaviour to as much as right and wrong, and most by the surest votes.

    Args:
        agree: float32 (E,), 1 for those who agree, else 0.
        alike: float32 (E,), likeness to the exemplar, 0..1.
        costs: float32 (E, S), <= 0, of `rewards.efficiency`; NaN where there was no step.
        confidence: Of the vote, 0..1.
        config: Of the run.
    """
    paid = agree * (1 + config.behaviour * alike)
    # Costs without their mean would only ever push away, and nothing says where to.
    saved = costs - costs.nanmean()
    steps = (paid - paid.mean())[:, None] + config.efficiency * saved
    return confidence * steps.nan_to_num(0.0)


def entry_of(judged: Judged, place: int, config: TTRLConfig) -> Entry:
    """What is remembered of the query at a place of the stream."""
    asked, outcome = judged.finished[0].asked, judged.outcome
    learned = judged.learned_from(config)
    gains = advantage(judged, config).tolist() if learned else [()] * len(judged.finished)
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
                tuple(gain[: len(one.steps)]) if learned else (),
            )
            for one, ballot, weight, gain in zip(
                judged.finished, judged.ballots, outcome.weights, gains, strict=True
            )
            if one.trace is not None
        ),
        answer=outcome.answer if learned else None,
        confidence=outcome.confidence if learned else 0.0,
        margin=outcome.margin,
        exemplar=judged.chosen if learned else None,
        place=place,
        neighbours=tuple(judged.neighbours),
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
