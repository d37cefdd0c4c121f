"""`pixelis doctor`: what works here, the agent included."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pixelis_env.doctor.__main__ import main as examine
from pixelis_env.doctor.check import Check
from pixelis_env.doctor.outcome import Outcome
from pixelis_env.errors import require

AGENT = (
    Check(
        "agent",
        "pixelis-tiny",
        "pixelis_agent.doctor:play",
        extra="agent",
        packages=("transformers",),
        timeout_s=300,
    ),
)


def main(argv: Sequence[str]) -> int:
    """The command; see `pixelis_env.doctor.__main__`."""
    return examine(argv, AGENT)


def play() -> Outcome:
    """The shipped weights are loaded and play one episode."""
    require("the agent", "agent", "torch", "transformers", "peft")
    from pixelis_agent.config import EvalConfig
    from pixelis_agent.demo import trained_types
    from pixelis_agent.evaluate import evaluate
    from pixelis_agent.policies.make import make_policy

    started = time.perf_counter()
    policy = make_policy(EvalConfig("pixelis-tiny"))
    loaded = time.perf_counter()
    report = evaluate(
        policy,
        env_kwargs={"types": list(trained_types())},
        episodes=1,
        workers=0,
        progress=False,
    )
    took = time.perf_counter() - loaded
    (row,) = report.rows
    return Outcome(
        "ok",
        f"loaded in {loaded - started:.1f} s; one episode of {row.steps} steps in {took:.1f} s, "
        f"score {row.score:g}",
    )
