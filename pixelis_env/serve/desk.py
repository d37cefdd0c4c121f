"""The episodes that a server holds for clients that name them, and what each call showed."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelis_env.errors import InvalidCall
from pixelis_env.making import make_env
from pixelis_env.serve.episode import Episode, captioned
from pixelis_env.wrappers import ToolCall

_LISTED = 20  # files named in a message


class Opened:
    """One client's episode.

    Attributes:
        name: What the client calls it.
        episode: What is played.
        lock: Held while a call is carried out.
        shown: What each call showed, texts and images in order, by the id of its evidence.
    """

    def __init__(self, name: str, episode: Episode) -> None:
        self.name = name
        self.episode = episode
        self.lock = threading.Lock()
        self.shown: dict[str, list[Any]] = {}

    def call(self, operation: str, arguments: Mapping[str, Any]) -> list[Any]:
        """Carries out one operation: texts and images in order.

        Raises:
            InvalidCall: The episode is over.
        """
        with self.lock:
            if self.episode.over:
                raise InvalidCall(f"episode {self.name} is over: call start to open another")
            parts = captioned(self.episode.call(operation, arguments))
            if "evidence_id" in self.episode.info:
                self.shown[self.episode.info["evidence_id"]] = parts
            return parts


class Desk:
    """Opens episodes, finds them by name, and closes those unused for longest.

    Args:
        env_id: A registered environment.
        env_kwargs: Its keyword arguments.
        media: An image or video to ask about, or a folder of them, instead of the environment's
            own tasks.
        question: What is asked about a medium, unless the client says.
        limit: The episodes that are kept, >= 1.

    Attributes:
        env: An environment of the kind that is played; nobody plays it.
        own_tasks: Whether the tasks are the environment's, and not about `media`.
        folder: The folder of which clients name files; None where they name none.

    Raises:
        ValueError: The environment cannot be made, there is no such medium, or `limit` is out of
            range.
    """

    def __init__(
        self,
        env_id: str = "Pixelis-v0",
        env_kwargs: Mapping[str, Any] | None = None,
        *,
        media: str | Path | None = None,
        question: str = "What is shown?",
        limit: int = 16,
    ) -> None:
        if limit < 1:
            raise ValueError(f"the number of episodes must be at least 1, not {limit}")
        self._env_id, self._kwargs, self._limit = env_id, dict(env_kwargs or {}), limit
        self._media = None if media is None else Path(media).resolve()
        self._question = question
        self._open: OrderedDict[str, Opened] = OrderedDict()
        self._lock = threading.Lock()
        if self._media is not None and not self._media.exists():
            raise ValueError(f"there is no file or folder {media}")
        self.own_tasks = self._media is None
        self.folder = self._media if self._media is not None and self._media.is_dir() else None
        self.env = self._make(None if self.folder else self._media, None)

    def start(
        self,
        *,
        seed: int | None = None,
        index: int | None = None,
        file: str | None = None,
        question: str | None = None,
    ) -> tuple[Opened, list[Any]]:
        """Opens an episode: it, and its prompt and overview frames in order.

        Args:
            seed: Seeds the order of tasks; default: by chance.
            index: Which task of the source.
            file: Which file of the folder.
            question: What is asked about the medium.

        Raises:
            InvalidCall: There is no such file or task, or the arguments do not belong to what is
                served.
        """
        if self.own_tasks and (file, question) != (None, None):
            raise InvalidCall("this server asks its own questions: start takes seed and index")
        if not self.own_tasks and (seed, index) != (None, None):
            raise InvalidCall("this server serves media: start takes file and question")
        try:
            env = self._make(self._find_file(file), question)
            opened = Opened(secrets.token_hex(4), Episode(env))
            opened.shown["e0"] = captioned(opened.episode.start(seed=seed, index=index))
        except ValueError as error:
            raise InvalidCall(str(error)) from None
        with self._lock:
            self._open[opened.name] = opened
            dropped = []
            while len(self._open) > self._limit:
                dropped.append(self._open.popitem(last=False)[1])
        for old in dropped:
            _close(old)
        return opened, opened.shown["e0"]

    def find(self, name: str | None) -> Opened:
        """The episode of this name; without a name the only one.

        Raises:
            InvalidCall: There is none, or several and no name.
        """
        with self._lock:
            if name is None:
                if len(self._open) != 1:
                    raise InvalidCall(
                        "no episode is open: call start"
                        if not self._open
                        else "give the argument episode, which start returned"
                    )
                return next(iter(self._open.values()))
            if name not in self._open:
                raise InvalidCall(f"no episode {name[:40]!r} is open: call start")
            self._open.move_to_end(name)
            return self._open[name]

    def close(self) -> None:
        """Closes every episode."""
        with self._lock:
            opened = list(self._open.values())
            self._open.clear()
        for one in opened:
            _close(one)
        self.env.close()

    def _make(self, media: Path | None, question: str | None) -> ToolCall:
        asked = {} if media is None else {"source": media, "question": question or self._question}
        return make_env(self._env_id, {**self._kwargs, **asked})

    def _find_file(self, name: str | None) -> Path | None:
        """The medium to open; clients name files inside the folder and no others."""
        if self.folder is None:
            if name is not None:
                raise InvalidCall("this server serves one medium: start takes no file")
            return self._media
        path = None if name is None else (self.folder / name).resolve()
        if path is not None and path.is_file() and path.is_relative_to(self.folder):
            if path.suffix == ".jsonl":  # a manifest, which could name files anywhere
                raise InvalidCall(f"{name} is no image or video")
            return path
        files = sorted(
            str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file()
        )
        more = f" and {len(files) - _LISTED} more" if len(files) > _LISTED else ""
        named = "give the argument file" if name is None else f"there is no file {name[:80]!r}"
        raise InvalidCall(f"{named}; the files are {', '.join(files[:_LISTED])}{more}")


def _close(opened: Opened) -> None:
    with opened.lock:  # a call may be under way
        opened.episode.over = True
        opened.episode.env.close()
