"""Several servers of one model as one policy."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Any

from pixelis_agent.policies.base import Episode, Turn
from pixelis_agent.policies.server import ServerError, ServerPolicy, Usage


class ServersPolicy:
    """Plays with a model that several servers hold.

    An episode goes to the server that has the fewest and stays there, where what it has read is
    cached. When a server cannot be played with any more it is left, with a warning, and its
    episodes go on with the others: the dialogue is kept here, not there.

    Args:
        servers: At least one, all of the same model.

    Raises:
        ValueError: None, or different models.
    """

    needs_oracle = False

    def __init__(self, servers: Sequence[ServerPolicy]) -> None:
        names = sorted({server.name for server in servers})
        if len(names) != 1:
            raise ValueError(f"servers must hold the same model, not {', '.join(names) or 'none'}")
        self.name = names[0]
        self._servers = tuple(servers)
        self._left = list(servers)
        self._homes: dict[int, ServerPolicy] = {}
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._servers,)

    @property
    def usage(self) -> Usage:
        """What was asked of all servers so far."""
        return sum((server.usage for server in self._servers), Usage())

    def count(self, used: Usage) -> None:
        """Adds what a copy has used."""
        self._servers[0].count(used)

    def settings(self) -> dict[str, Any]:
        """As of the first server."""
        return self._servers[0].settings()

    def submit(self, episode: Episode) -> Future[Turn]:
        """Begins to write the next turn of an episode."""
        turn: Future[Turn] = Future()
        with self._lock:
            home = self._homes.get(id(episode)) or self._settle(episode)
        self._ask(home, episode, turn)
        return turn

    def act(self, episodes: Sequence[Episode]) -> list[Turn]:
        """The next turn of each episode, all asked for at once.

        Raises:
            ServerError: No server is left.
        """
        return [future.result() for future in [self.submit(episode) for episode in episodes]]

    def finish(self, episode: Episode) -> None:
        """Drops the dialogue."""
        self._homes.pop(id(episode), self._servers[0]).finish(episode)

    def close(self) -> None:
        """Closes the connections; requests under way fail."""
        for server in self._servers:
            server.close()

    def _settle(self, episode: Episode) -> ServerPolicy:
        """The server that has the fewest episodes, which gets this one too."""
        held = Counter(map(id, self._homes.values()))
        home = min(self._left, key=lambda server: held[id(server)])
        self._homes[id(episode)] = home
        return home

    def _ask(self, home: ServerPolicy, episode: Episode, turn: Future[Turn]) -> None:
        home.submit(episode).add_done_callback(
            lambda written: self._hear(home, episode, turn, written)
        )

    def _hear(
        self, home: ServerPolicy, episode: Episode, turn: Future[Turn], written: Future[Turn]
    ) -> None:
        """Hands on what a server wrote, or asks another; called in the server's thread."""
        if written.cancelled():
            turn.cancel()
            return
        error = written.exception()
        if error is None:
            turn.set_result(written.result())
            return
        other = None
        with self._lock:
            if isinstance(error, ServerError) and len(self._left) > (home in self._left):
                if home in self._left:
                    self._left.remove(home)
                    warnings.warn(f"{len(self._left)} servers left: {error}", stacklevel=2)
                other = self._settle(episode)
        if other is None:
            turn.set_exception(error)
        else:
            self._ask(other, episode, turn)
