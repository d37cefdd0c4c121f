"""The laws of a vote over whole trajectories, and of what it is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_agent import voting
from pixelis_agent.behaviour import Behaviour, op_similarity, overlap, similarity
from pixelis_agent.voting import Ballot, Precedent, exemplar, vote

OPS = st.lists(st.sampled_from(["zoom", "segment", "track", "read_text"]), max_size=4).map(tuple)
CELLS = st.frozensets(st.integers(0, 20), max_size=8)
BEHAVIOURS = st.builds(Behaviour, OPS, CELLS, st.just(()), st.just(()))


@st.composite
def ballots(draw: st.DrawFn, least: int = 1, meant: object = None) -> list[Ballot]:
    """Ballots on a question with three options; some could not be read."""
    found = []
    for _ in range(draw(st.integers(least, 7))):
        meaning = meant or draw(st.sampled_from([None, "a", "b", "c"]))
        found.append(
            Ballot(
                answer=None if meaning is None else str(meaning).upper(),
                meaning=meaning,  # type: ignore[arg-type]
                behaviour=draw(BEHAVIOURS),
                fidelity=draw(st.floats(0.01, 1)),
                tokens=draw(st.integers(1, 99)),
                log_prob=-draw(st.floats(0, 5)),
            )
        )
    return found


PRECEDENTS = st.lists(st.builds(Precedent, OPS, st.floats(0, 1)), max_size=3)
VOTES = {
    "whole": vote,
    "majority": voting.answer_majority,
    "consistency": voting.self_consistency,
    "hard": voting.hard_majority,
}
every_vote = pytest.mark.parametrize("count", VOTES.values(), ids=VOTES)


@given(BEHAVIOURS, BEHAVIOURS)
def test_similarity_is_mutual_in_range_and_one_to_itself(one: Behaviour, other: Behaviour) -> None:
    for alike in (similarity(one, other), overlap(one.cells, other.cells)):
        assert 0 <= alike <= 1
    assert similarity(one, other) == similarity(other, one)
    assert op_similarity(one.ops, other.ops) == op_similarity(other.ops, one.ops)
    assert similarity(one, one) == 1


@every_vote
@given(cast=ballots(), random=st.randoms())
def test_the_order_of_ballots_says_nothing(
    count: object, cast: list[Ballot], random: object
) -> None:
    order = list(range(len(cast)))
    random.shuffle(order)  # type: ignore[attr-defined]
    found, again = count(cast), count([cast[k] for k in order])  # type: ignore[operator]
    assert again.answer == found.answer
    assert again.confidence == pytest.approx(found.confidence)
    assert sorted(order[k] for k in again.winners) == list(found.winners)
    assert again.weights == pytest.approx([found.weights[k] for k in order])


@every_vote
@given(cast=ballots())
def test_shares_are_shares_and_who_could_not_be_read_never_wins(
    count: object, cast: list[Ballot]
) -> None:
    found = count(cast)  # type: ignore[operator]
    assert 0 <= found.margin <= found.confidence <= 1 + 1e-12
    assert all((w > 0) == (b.meaning is not None) for w, b in zip(found.weights, cast, strict=True))
    if found.answer is None:
        assert found.winners == ()
        assert found.confidence == 0
    assert all(cast[k].meaning is not None for k in found.winners)
    assert len({cast[k].meaning for k in found.winners}) <= 1
    assert bool(found.winners) == (found.answer is not None)


@every_vote
@given(cast=ballots(meant="b"))
def test_who_agree_are_sure(count: object, cast: list[Ballot]) -> None:
    found = count(cast)  # type: ignore[operator]
    assert found.answer == "B"
    assert found.confidence == pytest.approx(1)
    assert found.margin == pytest.approx(1)


@given(ballots(), PRECEDENTS, st.integers(0, 6), st.integers(1, 5))
def test_copies_count_at_most_as_often_as_they_are_there(
    cast: list[Ballot], before: list[Precedent], which: int, copies: int
) -> None:
    one = cast[which % len(cast)]
    found, again = vote(cast, before), vote([*cast, *[one] * copies], before)
    for k, ballot in enumerate(cast):  # no other answer's weight is touched
        if ballot.meaning != one.meaning:
            assert again.weights[k] == pytest.approx(found.weights[k])
    if one.meaning is None:
        assert again.answer == found.answer
        return
    mine = [w for w, b in zip(again.weights, [*cast, *[one] * copies], strict=True)
            if b.meaning == one.meaning]  # fmt: skip
    assert sum(mine) <= len(mine) + 1e-9
    alone, many = vote([one], before), vote([one] * copies, before)
    assert sum(many.weights) == pytest.approx(copies * alone.weights[0])
    twice = vote([*cast, *cast], before)  # everything twice changes nothing
    assert twice.answer == found.answer
    assert twice.confidence == pytest.approx(found.confidence)


def weight_of(outcome: voting.Vote, cast: list[Ballot], meaning: object) -> float:
    return sum(w for w, b in zip(outcome.weights, cast, strict=True) if b.meaning == meaning)


@given(ballots(), PRECEDENTS, st.integers(0, 6), st.floats(0, 1), st.floats(0, 1))
def test_more_fidelity_or_certainty_is_never_worse_for_the_answer(
    cast: list[Ballot], before: list[Precedent], which: int, more: float, surer: float
) -> None:
    which %= len(cast)
    mine = cast[which]
    better = replace(
        mine,
        fidelity=mine.fidelity + more * (1 - mine.fidelity),
        log_prob=mine.log_prob * (1 - surer),
    )
    changed = [*cast[:which], better, *cast[which + 1 :]]
    found, again = vote(cast, before), vote(changed, before)
    assert weight_of(again, changed, mine.meaning) >= weight_of(found, cast, mine.meaning) - 1e-9
    if found.winners and mine.meaning == cast[found.winners[0]].meaning:
        assert again.winners == found.winners


@given(ballots(), PRECEDENTS, ballots())
def test_another_vote_for_an_answer_never_hurts_it(
    cast: list[Ballot], before: list[Precedent], more: list[Ballot]
) -> None:
    found, again = vote(cast, before), vote([*cast, more[0]], before)
    mine = more[0].meaning
    if mine is not None:
        old, new = weight_of(found, cast, mine), weight_of(again, [*cast, more[0]], mine)
        assert new >= old - 1e-9


def test_behaviour_fidelity_certainty_and_precedents_decide_where_numbers_do_not() -> None:
    look = Behaviour(("zoom", "read_text"), frozenset(range(4)), (), ())
    stray = [Behaviour(("zoom",), frozenset({20 + k}), (), ()) for k in range(2)]
    cast = [Ballot("A", "a", look, 0.8), Ballot("A", "a", look, 0.8)]
    cast += [Ballot("B", "b", one, 0.8) for one in stray]
    assert vote(cast).answer == "A"
    assert vote(cast).confidence == pytest.approx(2 / (2 + 2**0.5))
    assert vote(cast, by_behaviour=False).margin == 0
    sure = [replace(b, fidelity=1.0) if b.meaning == "b" else b for b in cast]
    assert vote(sure, by_behaviour=False).answer == "B"
    assert vote(sure, by_behaviour=False, by_fidelity=False).margin == 0
    doubted = [replace(b, log_prob=-0.1) if b.meaning == "a" else b for b in cast]
    assert vote(doubted, by_behaviour=False).answer == "B"
    assert vote(doubted, by_behaviour=False, by_certainty=False).margin == 0
    pair = [cast[0], cast[2]]
    assert vote(pair).margin == 0
    assert vote(pair, [Precedent(("zoom", "read_text"), 1.0)]).answer == "A"
    assert vote(pair, [Precedent(("zoom",), 1.0)]).answer == "B"
    assert voting.hard_majority(cast).answer is None


@given(ballots())
def test_the_exemplar_is_a_short_winner_that_can_be_trusted(cast: list[Ballot]) -> None:
    found = vote(cast)
    chosen = exemplar(cast, found)
    if not found.winners:
        assert chosen is None
        return
    assert chosen in found.winners
    mine = cast[chosen]
    worse = [cast[k] for k in found.winners if cast[k].fidelity <= mine.fidelity]
    assert 2 * len(worse) >= len(found.winners)  # no less than the median
    for k in found.winners:
        if len(cast[k].behaviour.ops) < len(mine.behaviour.ops):
            assert cast[k].fidelity < mine.fidelity
