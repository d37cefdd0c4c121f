"""A label for a task that has none: rollouts vote, as whole trajectories.

    W_c = sqrt( sum_ij g_i g_j s_ij ),   g = f p e^{3 l},   i, j in cluster c
    confidence = answered / all * W_1 / sum_c W_c

Answers that say the same form a cluster. A rollout counts by the fidelity f of its pixels, by
precedent p: how alike similar questions were solved before, and by how sure the policy was of what
it wrote, the mean log-probability l of its tokens (as in self-consistency, arXiv 2203.11171; cubed,
since l differs little between rollouts). Rollouts of a cluster that behaved
alike (s = 1) add up, those that came to the same answer in unlike ways (s = 0) add up like the
sides of a right angle (Pixelis, arXiv 2603.25091, phase 3, weighs by behaviour and fidelity too; a
sum of mean similarities, as there, can fall when another rollout gives the same answer, or when one
becomes more trustworthy: this cannot). k copies of a rollout weigh k times as much as one.

Beside it, for comparison: votes on the answers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelis_agent.answers import Meaning, clusters
from pixelis_agent.behaviour import Behaviour, op_similarity, similarity

SHARPNESS = 3.0
"""Power of the mean probability that a rollout's tokens had. Chosen from 0.5 to 12 by 180 queries
that no benchmark has; 2 to 5 were alike."""


@dataclass(frozen=True)
class Ballot:
    """One rollout's vote.

    Attributes:
        answer: As it was written.
        meaning: What it says; None where it could not be read: it cannot win.
        behaviour: What was done to reach it.
        fidelity: Of its pixels, 0..1.
        tokens: That the policy wrote.
        log_prob: Mean log-probability of these tokens, <= 0.
    """

    answer: str | None
    meaning: Meaning | None
    behaviour: Behaviour
    fidelity: float
    tokens: int = 0
    log_prob: float = 0.0


@dataclass(frozen=True)
class Precedent:
    """How a similar question was solved before.

    Attributes:
        ops: The operations of its exemplar.
        weight: How much it counts, >= 0, e.g. its similarity times its vote's confidence.
    """

    ops: tuple[str, ...]
    weight: float


@dataclass(frozen=True)
class Vote:
    """The outcome.

    Attributes:
        answer: That of the winning cluster's weightiest member; None where nobody's could be read,
            or nobody's counts.
        winners: The ballots of that cluster, in order.
        confidence: The cluster's share of all weight, times the share of ballots that could be
            read, 0..1.
        margin: How far it is ahead of the next cluster, in the same unit, 0..1.
        weights: What each ballot adds to its cluster; 0 for one that could not be read.
    """

    answer: str | None
    winners: tuple[int, ...]
    confidence: float
    margin: float
    weights: tuple[float, ...]


def vote(
    ballots: Sequence[Ballot],
    precedents: Sequence[Precedent] = (),
    *,
    by_behaviour: bool = True,
    by_fidelity: bool = True,
    by_certainty: bool = True,
) -> Vote:
    """The vote over whole trajectories.

    Args:
        ballots: Of rollouts on one task.
        precedents: From similar tasks.
        by_behaviour: Let behaviour count; without it every s and p is 1.
        by_fidelity: Let the pixels' fidelity count; without it every f is 1.
        by_certainty: Let the policy's certainty count; without it every l is 0.
    """
    weights = np.zeros(len(ballots))
    for cluster in clusters([ballot.meaning for ballot in ballots]):
        own = [ballots[k] for k in cluster]
        counts = np.array([ballot.fidelity if by_fidelity else 1.0 for ballot in own])
        alike = np.ones((len(own), len(own)))
        if by_certainty:
            counts = counts * np.exp([SHARPNESS * ballot.log_prob for ballot in own])
        if by_behaviour:
            done = [ballot.behaviour for ballot in own]
            counts = counts * [_precedent(one, precedents) for one in done]
            alike = np.array([[similarity(one, other) for other in done] for one in done])
        together = np.sqrt(counts @ alike @ counts)
        if together > 0:
            weights[cluster] = counts * (alike @ counts) / together
    return _outcome(ballots, weights)


def answer_majority(ballots: Sequence[Ballot]) -> Vote:
    """Each answer that could be read counts once (test-time RL, arXiv 2504.16084)."""
    return _outcome(ballots, np.array([ballot.meaning is not None for ballot in ballots], float))


def self_consistency(ballots: Sequence[Ballot]) -> Vote:
    """Answers count by their length-normalised probability (arXiv 2203.11171, weighted sum)."""
    weights = [
        0.0 if ballot.meaning is None else float(np.exp(ballot.log_prob)) for ballot in ballots
    ]
    return _outcome(ballots, np.array(weights))


def hard_majority(ballots: Sequence[Ballot]) -> Vote:
    """As `answer_majority`, but only more than half of all ballots win."""
    found = answer_majority(ballots)
    if 2 * len(found.winners) > len(ballots):
        return found
    return Vote(None, (), 0.0, 0.0, found.weights)


def exemplar(ballots: Sequence[Ballot], outcome: Vote) -> int | None:
    """The winner to learn from: the shortest of those whose pixels are at least half as good.

    Args:
        ballots: As they were given to the vote.
        outcome: What it said.

    Returns:
        The ballot with the fewest operations, then tokens, among the winners whose fidelity is at
        least the winners' median; None without winners.
    """
    if not outcome.winners:
        return None
    least = float(np.median([ballots[k].fidelity for k in outcome.winners]))
    good = [k for k in outcome.winners if ballots[k].fidelity >= least]
    return min(
        good,
        key=lambda k: (
            len(ballots[k].behaviour.ops),
            ballots[k].tokens,
            -ballots[k].fidelity,
            ballots[k].behaviour.ops,
            ballots[k].answer or "",
        ),
    )


def _precedent(mine: Behaviour, precedents: Sequence[Precedent]) -> float:
    """How alike similar questions were solved, 0..1; 1 where there are none, and towards it."""
    alike = sum(p.weight * op_similarity(mine.ops, p.ops) for p in precedents)
    return (1 + alike) / (1 + sum(p.weight for p in precedents))


def _outcome(ballots: Sequence[Ballot], weights: np.ndarray) -> Vote:
    found = clusters([ballot.meaning for ballot in ballots])
    total = float(weights.sum())
    own = tuple(float(w) for w in weights)
    if not total > 0:
        return Vote(None, (), 0.0, 0.0, own)
    answered = sum(map(len, found)) / len(ballots)

    def rank(cluster: list[int]) -> tuple[float, list[str]]:
        # Sums in one order, and ties by what the answers are: the order of ballots says nothing.
        weight = float(np.sort(weights[cluster]).sum())
        return -weight, sorted(str(ballots[k].meaning) for k in cluster)

    found.sort(key=rank)
    shares = [-rank(cluster)[0] / total * answered for cluster in found]
    winners = found[0]
    best = min(winners, key=lambda k: (-own[k], ballots[k].answer or ""))
    return Vote(
        answer=ballots[best].answer,
        winners=tuple(winners),
        confidence=min(shares[0], 1.0),
        margin=shares[0] - (shares[1] if len(shares) > 1 else 0.0),
        weights=own,
    )
