"""Results that are changed before a policy sees them, and the policy that goes on from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from PIL import Image

from pixelis_agent.collect import AsyncPolicy
from pixelis_agent.policies.base import Episode, Policy, Turn
from pixelis_env.describe import OWN_ID

CONTROL = "unchanged"
CHANGES = ("blank", "shuffled", "removed", CONTROL)
GREY = 128

Observation = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """Something that is done to the result of one operation.

    Attributes:
        step: The operation's number in its episode, from 1.
        op: Which it is.
        how: One of `CHANGES`.
        other: What is shown instead, for "shuffled".
    """

    step: int
    op: str
    how: str
    other: Observation | None = None

    def apply(self, observation: Observation) -> Observation:
        """The observation that the policy is shown; the one given is left as it is."""
        if self.how == CONTROL:
            return observation
        if self.other is not None:
            # Under its own id: a name of evidence that does not exist would be another change.
            own = OWN_ID.match(observation["text"])
            text = OWN_ID.sub(own[0], self.other["text"]) if own else self.other["text"]
            return {**self.other, "text": text}
        if self.how == "removed":
            return {**observation, "text": "", "images": [], "times": [], "regions": []}
        grey = [Image.new("RGB", image.size, (GREY,) * 3) for image in observation["images"]]
        return {**observation, "text": observation["text"].split(":")[0], "images": grey}


Key = tuple[int, int]
"""An episode of a round: its task's index and its seed."""


class _Intervened:
    """What `intervened` makes, but for how turns are asked for."""

    def __init__(self, policy: Any, begun: Mapping[Key, tuple[Sequence[Turn], Change]]) -> None:
        self.name, self.needs_oracle = f"{policy.name}, intervened", policy.needs_oracle
        self._policy, self._begun = policy, begun

    def finish(self, episode: Episode) -> None:
        """As of `Policy`."""
        self._policy.finish(episode)

    def _said(self, episode: Episode) -> Turn | None:
        """What was said the first time; None, with the change made, where the policy goes on."""
        turns, change = self._begun[episode.index, episode.seed]
        number = len(episode.turns)
        if number < change.step:
            return turns[number]
        if number == change.step:
            episode.observations[-1] = change.apply(episode.observations[-1])
        return None


class _Local(_Intervened):
    def act(self, episodes: Sequence[Episode]) -> list[Turn]:
        """The next turn of each."""
        said = [self._said(episode) for episode in episodes]
        ours = [e for e, turn in zip(episodes, said, strict=True) if turn is None]
        written = iter(self._policy.act(ours) if ours else [])
        return [next(written) if turn is None else turn for turn in said]


class _Elsewhere(_Intervened):
    def submit(self, episode: Episode) -> Future[Turn]:
        """As of `AsyncPolicy`."""
        turn = self._said(episode)
        if turn is None:
            future: Future[Turn] = self._policy.submit(episode)
            return future
        done: Future[Turn] = Future()
        done.set_result(turn)
        return done


def intervened(
    policy: Policy | AsyncPolicy, begun: Mapping[Key, tuple[Sequence[Turn], Change]]
) -> Policy | AsyncPolicy:
    """A policy that takes up episodes after a result that was changed.

    Args:
        policy: Who goes on.
        begun: Of each episode the turns of the first time, and the change.
    """
    return (_Elsewhere if isinstance(policy, AsyncPolicy) else _Local)(policy, begun)
