"""The games that are open at once, and the tasks that are dealt to them."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pixelis_agent.play.game import Game, Refused
from pixelis_agent.play.keep import shelf_name
from pixelis_agent.splits import TRAIN
from pixelis_env.media import MediaError

MOST = 8
"""Games that are open at once; one holds a room or a medium, about 50 MB."""

IDLE = 600.0
"""Seconds after which a game may be dropped, when another needs its place."""

INCOMING = "incoming-"
"""What the name of a file begins with that is still being uploaded."""

QUESTION_LIMIT = 2000
"""The longest question about an own medium, characters."""


class Table:
    """Deals games and finds them again.

    Args:
        env_id: A registered environment.
        env_kwargs: Its keyword arguments, as of `pixelis eval`; with a `source`, every game is on
            that medium.
        seed: Of the order of tasks.
        folder: For what lasts as long as the games.
    """

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any], seed: int, folder: Path) -> None:
        self._env_id, self._env_kwargs = env_id, dict(env_kwargs)
        self._seed, self._dealt = seed, 0
        self._folder = folder
        self.uploads = folder / "uploads"
        self.uploads.mkdir(parents=True, exist_ok=True)
        self._games: dict[str, Game] = {}
        self._dropped: deque[str] = deque(maxlen=1000)
        self._lock = threading.Lock()

    def deal(self, replacing: str | None = None, again: str | None = None) -> str:
        """Starts a game and returns its id, a secret.

        Tasks are of those that training may use, so none is in any evaluation.

        Args:
            replacing: A game to close.
            again: A game whose task is played once more; default: the next task.

        Raises:
            Refused: All places are taken, or `again` is no open game.
        """
        with self._lock:
            if again is not None:
                old = self._find(again)
                return self._open(old.env_id, old.env_kwargs, old.index, replacing)
            index = 0
            if "source" not in self._env_kwargs:
                rng = np.random.default_rng([self._seed, self._dealt])
                index = int(rng.integers(TRAIN.start, TRAIN.stop))
            game = self._open(self._env_id, self._env_kwargs, index, replacing)
            self._dealt += 1
            return game

    def deal_own(
        self,
        file: Path,
        name: str,
        question: str,
        options: list[str],
        answer: str | None,
        replacing: str | None = None,
    ) -> str:
        """Starts a game on an image or video of the player's; see `deal`.

        Args:
            file: The image or video; it is moved away.
            name: What its owner calls it.
            question: What is asked about it.
            options: The options' texts; none for an open question.
            answer: The right one, of options its letter; None: the game has no score.
            replacing: A game to close.

        Raises:
            Refused: It is no image or video that can be read, the question or its answer does not
                fit, or all places are taken.
        """
        if not question.strip() or len(question) > QUESTION_LIMIT:
            raise Refused(f"a question has 1..{QUESTION_LIMIT} characters, not {len(question)}")
        path = self.uploads / shelf_name(file, name)
        kwargs = own_arguments(path, question, options, answer)
        if "tools" in self._env_kwargs:
            kwargs["tools"] = self._env_kwargs["tools"]
        with self._lock:
            file.replace(path)
            try:
                return self._open("Pixelis-v0", kwargs, 0, replacing)
            except Refused:
                raise
            except (MediaError, ValueError) as error:
                raise Refused(str(error).replace(str(path), name)) from None
            finally:
                self._sweep()

    def find(self, game_id: str) -> Game:
        """An open game.

        Raises:
            Refused: It was dropped, or there never was one.
        """
        # Without the lock: a game that is being made for one player does not hold up the others.
        return self._find(game_id)

    def close(self) -> None:
        """Closes every game."""
        with self._lock:
            for game_id in list(self._games):
                self._close(game_id)

    def _find(self, game_id: str) -> Game:
        if game_id in self._dropped:
            raise Refused(
                f"this game waited for more than {IDLE / 60:g} minutes and gave its place to "
                "another one; what was not kept of it is gone. Start a new one",
                410,
            )
        game = self._games.get(game_id)
        if game is None:
            raise Refused("there is no such game: start a new one", 404)
        game.used = time.monotonic()
        return game

    def _open(
        self, env_id: str, env_kwargs: Mapping[str, Any], index: int, replacing: str | None
    ) -> str:
        if len(self._games) - (replacing in self._games) >= MOST:
            self._drop_idle()
        game_id = secrets.token_urlsafe(12)
        game = Game(env_id, env_kwargs, index, self._folder / "games" / game_id)
        if replacing in self._games:
            self._close(replacing)
        self._games[game_id] = game
        return game_id

    def _drop_idle(self) -> None:
        game_id, game = min(self._games.items(), key=lambda item: item[1].used)
        if time.monotonic() - game.used < IDLE:
            raise Refused(
                f"{MOST} games are open, the most there may be; go on with one of them, or wait "
                f"until one was left alone for {IDLE / 60:g} minutes",
                503,
            )
        self._dropped.append(game_id)
        self._close(game_id)

    def _close(self, game_id: str) -> None:
        game = self._games.pop(game_id)
        game.close()
        shutil.rmtree(game.folder, ignore_errors=True)
        self._sweep()

    def _sweep(self) -> None:
        """Removes uploads that no game is on."""
        played = {game.env_kwargs.get("source") for game in self._games.values()}
        for file in self.uploads.iterdir():
            if str(file) not in played and not file.name.startswith(INCOMING):
                file.unlink()


def own_arguments(
    file: Path, question: str, options: list[str] | tuple[str, ...], answer: str | None
) -> dict[str, Any]:
    """The environment's keyword arguments for one question about a file."""
    kwargs: dict[str, Any] = {"source": str(file), "question": question.strip()}
    if options:
        kwargs["options"] = list(options)
    if answer:
        kwargs["answer"] = answer
    return kwargs
