"""What benchmarks play together is what each would play alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_agent import tally
from pixelis_agent.config import EvalConfig
from pixelis_agent.evaluate import run

SHOWN = ("n", "score", "score_ci95", "chain_length", "invalid_rate", "rapr", "op_accuracy")
TASKS = 3


pytestmark = pytest.mark.usefixtures("benchmarks")


def play(policies: tuple[str, ...], **how: Any) -> dict[str, dict[str, Any]]:
    from playing import Place, Play, play_all

    plays = Play(Place(("text_read",), TASKS), **how)
    return play_all({name: (name, plays) for name in policies})


def test_rooms_are_shared_and_results_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks of two rooms, with an oracle and a random agent side by side."""
    import playing

    monkeypatch.setattr(playing, "CHUNK", 2)
    for name, row in play(("oracle", "random")).items():
        asked = {"types": ("text_read",), "tools": "oracle", "episodes": TASKS, "seed": 3}
        alone = run(EvalConfig(policy=name, workers=0, **asked))
        assert {key: row[key] for key in SHOWN} == {key: alone[key] for key in SHOWN}
        assert row["per_type"]["text_read"]["score"] == alone["score"]
    assert play(("oracle",), samples=2)["oracle"]["n"] == 2 * TASKS


def test_places_are_played_one_at_a_time() -> None:
    from playing import Place, Play, play_all

    plays = {level: ("oracle", Play(Place(("text_read",), TASKS, level))) for level in (1, 2)}
    with pytest.raises(ValueError, match="one place at a time"):
        play_all(plays)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.integers(2, 4))
def test_samples_of_a_task_say_no_more_than_one(scores: list[float], samples: int) -> None:
    """Equal ones leave the interval as it was, however many there are."""

    def interval(times: int) -> Any:
        rows: Any = [
            SimpleNamespace(index=index, score=score)
            for index, score in enumerate(scores)
            for _ in range(times)
        ]
        return tally._with_interval(rows, lambda row: [row.score])

    (mean, ends), (again, others) = interval(1), interval(samples)
    assert again == pytest.approx(mean)
    assert others == pytest.approx(ends)
