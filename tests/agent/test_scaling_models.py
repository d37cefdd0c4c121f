"""The cost model and the simulation: laws, and cases whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("simpy", reason="needs the extra `dev` or `bench`")


pytestmark = pytest.mark.usefixtures("benchmarks")


def constant(length: float, iterations: int = 6, **setup: Any) -> Any:
    from balance import Balance, Simulation

    balance = Balance(**setup)
    return Simulation(balance, iterations, lambda k: length, np.random.default_rng(0)).run()


sizes = st.integers(1, 12)
seconds = st.floats(0.1, 50)


@given(workers=sizes, episodes=st.integers(1, 40), length=seconds, update=seconds)
def test_in_turn_an_iteration_is_its_rounds_and_the_update(
    workers: int, episodes: int, length: float, update: float
) -> None:
    course = constant(length, workers=workers, episodes=episodes, update=update)
    rounds = math.ceil(episodes / workers)
    assert course.period == pytest.approx(rounds * length + update)
    assert course.stalest == 0


@given(workers=sizes, rounds=st.integers(1, 6), length=seconds, update=seconds)
def test_one_behind_the_slower_of_the_two_sets_the_pace(
    workers: int, rounds: int, length: float, update: float
) -> None:
    course = constant(
        length, workers=workers, episodes=rounds * workers, update=update, lag=1, iterations=9
    )
    pace = max(rounds * length, update)
    assert course.ends[-1] - course.ends[-2] == pytest.approx(pace)
    assert course.stalest == 1


@given(
    workers=sizes,
    episodes=st.integers(1, 24),
    update=st.floats(0, 20),
    lag=st.integers(0, 3),
    spread=st.floats(0, 1.5),
    failures=st.floats(0, 0.3),
    seed=st.integers(0, 99),
)
def test_nothing_is_lost_or_learned_twice(
    workers: int,
    episodes: int,
    update: float,
    lag: int,
    spread: float,
    failures: float,
    seed: int,
) -> None:
    from balance import Balance, simulate

    balance = Balance(workers, episodes, update, lag, failures, restart=2.0)
    course = simulate(balance, 4, 3.0, spread, seed)
    assert all(times <= 1 for times in course.finished)
    assert sum(course.finished) >= 4 * episodes
    assert all(times == 1 for times in course.finished[: 4 * episodes])
    # What waits, and how old it is, has a bound.
    assert course.most_waiting <= (lag + 1) * episodes
    assert course.stalest <= lag
    assert course.played <= workers * course.ends[-1] + 1e-6
    assert (course.broken > 0) <= (failures > 0)
    assert course.ends == simulate(balance, 4, 3.0, spread, seed).ends


@given(seed=st.integers(0, 99), workers=sizes, episodes=st.integers(1, 24))
def test_more_lag_is_never_slower(seed: int, workers: int, episodes: int) -> None:
    from balance import Balance, simulate

    ends = [
        simulate(Balance(workers, episodes, 5.0, lag), 5, 3.0, 1.0, seed).ends[-1]
        for lag in (0, 1, 2)
    ]
    assert ends[0] >= ends[1] - 1e-9
    assert ends[1] >= ends[2] - 1e-9


def test_the_last_of_many_is_waited_for_as_long_as_theory_says() -> None:
    """The longest of n exponential lengths is on average the mean times 1 + 1/2 + ... + 1/n."""
    from balance import Balance, Simulation

    n, iterations = 16, 1500
    drawn = np.random.default_rng(1).exponential(2.0, n * iterations)
    course = Simulation(
        Balance(n, n, 0.0), iterations, lambda k: float(drawn[k]), np.random.default_rng(0)
    ).run()
    expected = 2.0 * sum(1 / k for k in range(1, n + 1))
    assert course.period == pytest.approx(expected, rel=0.03)


def test_failures_cost_what_theory_says() -> None:
    """An episode of length m under failures at rate f, each followed by r away, takes on average
    (e^(f m) - 1) (1 / f + r)."""
    mean, failures, restart = 3.0, 0.2, 1.5
    course = constant(
        mean,
        iterations=4000,
        workers=1,
        episodes=1,
        update=0.0,
        failures=failures,
        restart=restart,
    )
    expected = math.expm1(failures * mean) * (1 / failures + restart)
    assert course.period == pytest.approx(expected, rel=0.04)
    assert course.broken / 4000 == pytest.approx(math.expm1(failures * mean), rel=0.06)


def test_numbers_out_of_range_are_named() -> None:
    from balance import Balance

    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        Balance(0, 1, 1.0)
    with pytest.raises(ValueError, match="lag must be at least 0"):
        Balance(1, 1, 1.0, lag=-1)


def test_the_models_size_is_its_names() -> None:
    from cost_model import Model

    model = Model()
    weights = model.block_weights + 2 * model.head_weights
    assert weights == pytest.approx(8.19e9, rel=2e-3)  # Qwen3-8B's own count
    assert model.bytes / 2 == pytest.approx(8.6e9, rel=2e-2)
    assert model.cache_bytes == 147_456
    assert model.image_tokens(320, 240) == 80
    assert model.image_tokens(10, 10) == 64


episodes = st.builds(
    lambda turns, env, written: {"turns": turns, "env_seconds": env, "written": written},
    st.floats(1, 16),
    st.floats(0, 30),
    st.floats(1, 500),
)


@settings(max_examples=25)
@given(fields=episodes, gpus=st.integers(2, 64), count=st.integers(64, 4096))
def test_laws_of_the_cost_model(fields: dict[str, float], gpus: int, count: int) -> None:
    from cost_model import (
        Episode,
        Setup,
        beside,
        best_split,
        decode_seconds,
        in_turn,
        rollout_seconds,
        update_seconds,
    )

    episode, setup = Episode(**fields), Setup(gpus, count)
    best = best_split(setup, episode)
    assert best.rollout_gpus + best.learner_gpus == gpus
    assert all(best.seconds <= beside(setup, episode, k).seconds for k in (1, gpus // 2, gpus - 1))
    # Twice the GPUs halve an update, and no more than halve the sampling.
    assert update_seconds(setup, episode, 2) == pytest.approx(update_seconds(setup, episode, 1) / 2)
    one, two = (rollout_seconds(setup, episode, k)[0] for k in (1, 2))
    assert one / 2 - 1e-9 <= two <= one + 1e-9
    more = replace(setup, gpus=2 * gpus)
    assert best_split(more, episode).seconds <= best.seconds + 1e-9
    assert in_turn(more, episode).seconds <= in_turn(setup, episode).seconds + 1e-9
    # A step of a larger batch takes longer, and less an episode.
    small, large = (decode_seconds(setup.gpu, setup.model, b, 2000.0) for b in (4, 64))
    assert small < large < 16 * small


def test_decoding_alone_is_as_fast_as_the_weights_are_read() -> None:
    from cost_model import Gpu, Model, decode_seconds

    gpu, model = Gpu(decode_share=1.0), Model()
    assert decode_seconds(gpu, model, 1, 0) == pytest.approx(model.bytes / gpu.bandwidth)
    # A batch so large that arithmetic binds.
    flops = 2 * (model.block_weights + model.head_weights)
    assert decode_seconds(gpu, model, 4000, 0) == pytest.approx(4000 * flops / gpu.flops)


@given(st.integers(1, 40), st.integers(1, 5), seconds, st.floats(0, 60))
def test_the_simulation_and_the_formula_agree_where_all_episodes_are_alike(
    workers: int, rounds: int, length: float, update: float
) -> None:
    """The period of `cost_model.beside` is max(sampling, update); in turn it is their sum."""
    for lag, expected in ((0, rounds * length + update), (1, max(rounds * length, update))):
        course = constant(
            length, workers=workers, episodes=rounds * workers, update=update, lag=lag, iterations=8
        )
        assert course.ends[-1] - course.ends[-2] == pytest.approx(expected)
