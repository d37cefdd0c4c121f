"""What a policy is: something that writes the next turn of many episodes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pixelis_agent.rollout import Rollout


@dataclass
class Turn:
    """What a policy wrote in one turn.

    Attributes:
        text: The whole turn, as `pixelis_env.wrappers.ToolCall` reads it.
        n_tokens: Tokens written; 0 where the policy writes none.
    """

    text: str
    n_tokens: int = 0


@dataclass
class Episode:
    """An episode in progress, as a policy sees it.

    Attributes:
        index: Of the task in its source.
        seed: For whatever the policy draws in this episode.
        tools: The tools' schemas (`ToolCall.tools()`).
        observations: What the environment said: at the reset, then after each turn; see
            `pixelis_env.wrappers.ToolCall`.
        turns: What the policy wrote; one less than observations when a policy is asked to act.
        oracle: For a policy that asks for it, the tool calls that solve the task.
        rollout: The token record; of policies that write tokens.
        state: The policy's own, e.g. its key-value cache.
    """

    index: int
    seed: int
    tools: list[dict[str, Any]]
    observations: list[dict[str, Any]] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    oracle: list[dict[str, Any]] | None = None
    rollout: Rollout | None = None
    state: Any = None


class Policy(Protocol):
    """Writes turns.

    It goes on with an episode whose turns so far, all or the first of them, another has written:
    `Episode.turns` has them.

    One that has a method `settings`, without arguments, says by it with what it plays, as JSON can
    hold it: evaluations write it down.

    Attributes:
        name: What tables call it.
        needs_oracle: Whether episodes must bring the oracle's calls.
    """

    name: str
    needs_oracle: bool

    def act(self, episodes: Sequence[Episode]) -> list[Turn]:
        """The next turn of each episode, in order. Episodes may be at different turns."""
        ...

    def finish(self, episode: Episode) -> None:
        """Called when an episode is over: drop what was kept for it."""
        ...
