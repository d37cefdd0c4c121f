"""What a law is, and how one is put to a toolbox.

A law is a function `law_x(toolbox, seed)` that draws a case from the seed, runs operations and
asserts. Laws take the toolbox, so that the same law judges any backend, and so that broken ones
can be planted to show that the law notices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pixelis_env.evidence import Evidence
from pixelis_env.media.base import Media
from pixelis_env.tools import Toolbox
from pixelis_env.workspace import Workspace

Check = Callable[[Toolbox, int], None]
SEEDS = st.integers(0, 2**31 - 1)


@dataclass(frozen=True)
class Law:
    """A law and how many cases it is tried on; the costlier, the fewer."""

    check: Check
    examples: int

    @property
    def name(self) -> str:
        return self.check.__name__.removeprefix("law_")

    def put_to(self, toolbox: Toolbox, *, examples: int | None = None) -> None:
        """Tries the law; raises AssertionError with the failing seed.

        A fixed number of cases, the same in every run, and no shrinking: a smaller seed is no
        simpler case.
        """

        @settings(
            max_examples=examples or self.examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(seed=SEEDS)
        def run(seed: int) -> None:
            self.check(toolbox, seed)

        run()


LAWS: dict[str, Law] = {}


def law(
    examples: int,
) -> Callable[[Callable[[Toolbox, int], None]], Callable[[Toolbox, int], None]]:
    """Enters a function in `LAWS`."""

    def enter(check: Callable[[Toolbox, int], None]) -> Callable[[Toolbox, int], None]:
        entry = Law(check, examples)
        assert entry.name not in LAWS
        LAWS[entry.name] = entry
        return check

    return enter


class Bench:
    """A workspace and the toolbox that works on it."""

    def __init__(self, toolbox: Toolbox, media: Media) -> None:
        self.toolbox = toolbox
        self.media = media
        self.workspace = Workspace(media)

    def run(self, action: object) -> tuple[str, Evidence]:
        """Runs an action and files its evidence; returns id and evidence."""
        evidence = self.toolbox.run(action, self.workspace)  # type: ignore[arg-type]
        return self.workspace.add(evidence), evidence
