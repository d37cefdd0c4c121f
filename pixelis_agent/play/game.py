"""One episode that a person plays, written down as a demonstration while it goes."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

import pixelis_env  # noqa: F401 - registers the ids
from pixelis_agent.cota.media import encoded
from pixelis_agent.cota.record import AssistantTurn, Record
from pixelis_agent.cota.story import Story
from pixelis_agent.report.episodes import Album, Moment, Shot, moments, shoot
from pixelis_env.actions import Action, Answer, Localize
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import ToolError
from pixelis_env.making import make_env
from pixelis_env.media import Media, MediaError
from pixelis_env.tasks import Task
from pixelis_env.tools.spans import frame_time
from pixelis_env.trace import Trace
from pixelis_env.workspace import Workspace

THOUGHT_LIMIT = 2000
"""The longest thought, characters."""

# What a turn is read by: in a person's words it would be read as a part of the turn.
_MARKS = re.compile(r"</?(?:think|tool_call|tool_response|answer)>|<\|")


class Refused(ValueError):
    """A wish that cannot be met; nothing was changed. The message says what would be.

    Attributes:
        status: Of HTTP.
    """

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Chain:
    """An episode, whole or so far.

    Attributes:
        moments: Its start and its steps, each with its pictures.
        score: 0..1; None where the right answer is unknown or the episode goes on.
    """

    moments: tuple[Moment, ...]
    score: float | None


@dataclass(frozen=True)
class Finished:
    """What stays of an episode that is over: the environment may go on to something else."""

    workspace: Workspace
    trace: Trace
    record: Record


class Game:
    """One episode. Its methods may be called from several threads; they take turns.

    Args:
        env_id: A registered environment.
        env_kwargs: Its keyword arguments.
        index: Of the task in its source.
        folder: For the images of the episode until it is kept; the game's own.

    Attributes:
        used: When somebody last asked for it, as of `time.monotonic`.

    Raises:
        ValueError: Arguments that the environment does not take, or a task that it has not.
        MediaError: The medium cannot be read.
    """

    def __init__(
        self, env_id: str, env_kwargs: Mapping[str, Any], index: int, folder: Path
    ) -> None:
        self.env_id, self.env_kwargs, self.index = env_id, dict(env_kwargs), index
        self.folder = folder
        self.used = time.monotonic()
        self.album = Album()
        self._env = make_env(env_id, self.env_kwargs)
        observation, _ = self._env.reset(options={"index": index})
        self._story = Story(self._env, observation, folder, {})
        self._base = self._story.base
        self._shots = [shoot(self._base.workspace, 0, self.album)]
        self._finished: Finished | None = None
        self._oracle: Chain | None = None
        self._lock = threading.Lock()

    @property
    def task(self) -> Task:
        """What is asked."""
        return self._base.task

    @property
    def media(self) -> Media:
        """The image or video."""
        return self.task.media

    def call(self, name: str, arguments: Mapping[str, Any], thought: str = "") -> None:
        """Carries out a tool call, as a language model writes it, or answers.

        A call that the tools refuse is a step that gives a `ToolError`, as for every agent; it is
        kept but not imitated. One that is no call at all is no step.

        Args:
            name: Of the operation, or "answer".
            arguments: As in `pixelis_env.actions`, coordinates in thousandths of the view.
            thought: Said before it; may be empty.

        Raises:
            Refused: It is no call of these tools, or the episode is over.
        """
        with self._lock:
            if self._finished is not None:
                raise Refused("the episode is over: start another one", 409)
            try:
                action = self._base.tool_calls.decode({"name": name, "arguments": dict(arguments)})
            except InvalidCall as error:
                raise Refused(str(error)) from None
            thought = _words("thought", thought, THOUGHT_LIMIT)
            if isinstance(action, Localize) and action.text is not None:
                _words("text to find", action.text)
            if isinstance(action, Answer) and not _words("answer", action.text):
                raise Refused("the answer is empty: write or choose one")
            with self._whole():
                self._carry_out(action, thought)
            if self._story.over:
                self._finished = self._finish()

    def state(self) -> dict[str, Any]:
        """The episode as the page shows it. Before its end nothing in it tells the answer."""
        with self._lock:
            task, media, workspace = self.task, self.media, self._workspace
            chain = _chain(self._story, self._trace(), self._shots)
            shown: dict[str, Any] = {
                "type": task.type,
                "index": self.index,
                "prompt": task.prompt,
                "options": task.options,
                "medium": {
                    "width": media.width,
                    "height": media.height,
                    "duration": media.duration,
                    "times": [round(float(time), 6) for time in media.times],
                },
                "steps_left": self._base.max_steps - len(chain.moments) + 1,
                "moments": [asdict(moment) for moment in chain.moments],
                "looks": _looks(workspace),
                "over": self._finished is not None,
            }
            if self._finished is not None:
                shown |= {
                    "score": chain.score,
                    "answer": self._finished.trace.answer,
                    "right": task.answer,
                    "has_oracle": task.oracle is not None,
                }
            return shown

    def view(self, number: int, frame: int) -> bytes:
        """What a call on evidence `number` looks at in a frame: a lossless WebP file.

        Raises:
            Refused: There is no such evidence or frame, or it has no place in the medium.
        """
        # Without the lock: evidence stays and media may be read from several threads, so a long
        # call does not hold up the looking around.
        workspace, media = self._workspace, self.media
        if not 0 <= frame < media.n_frames:
            raise Refused(f"there is no frame {frame}: give 0..{media.n_frames - 1}", 404)
        try:
            look = workspace.look(f"e{number}", frame_time(media, frame))
            return encoded(Image.fromarray(workspace.pixels(look)))
        except InvalidCall as error:
            raise Refused(str(error), 404) from None
        except MediaError:
            raise Refused(f"frame {frame} of {media.name} cannot be read", 404) from None

    def picture(self, key: str) -> bytes:
        """A picture of a step: a WebP file.

        Raises:
            Refused: There is none of that key.
        """
        data = self.album.pictures.get(key)
        if data is None:
            raise Refused(f"there is no picture {key}", 404)
        return base64.b64decode(data)

    def finished(self) -> Finished:
        """What stays of the episode.

        Raises:
            Refused: It goes on.
        """
        with self._lock:
            return self._over()

    def oracle(self) -> Chain:
        """The calls that solve the task, carried out; each time the same.

        Raises:
            Refused: The episode goes on, or nobody knows such calls for this task.
        """
        with self._lock:
            self._over()
            if self.task.oracle is None:
                raise Refused("this task has no oracle: only procedural tasks do", 404)
            if self._oracle is None:
                calls = self._base.oracle()
                observation, _ = self._env.reset(options={"index": self.index})
                story = Story(self._env, observation, self.folder, {})
                for action in calls:
                    if isinstance(action, Answer):
                        story.answer("", action.text)
                    else:
                        story.act("", action)
                workspace = self._base.workspace
                shots = [shoot(workspace, k, self.album) for k in range(len(workspace))]
                self._oracle = _chain(story, self._base.trace(), shots)
            return self._oracle

    def close(self) -> None:
        """Frees the environment, once no call is under way."""
        with self._lock:
            self._env.close()

    @property
    def _workspace(self) -> Workspace:
        return self._base.workspace if self._finished is None else self._finished.workspace

    def _trace(self) -> Trace:
        return self._base.trace() if self._finished is None else self._finished.trace

    def _over(self) -> Finished:
        if self._finished is None:
            raise Refused("the episode goes on: answer first", 409)
        return self._finished

    def _carry_out(self, action: Action, thought: str) -> None:
        if isinstance(action, Answer):
            self._story.answer(thought, action.text.strip())
            return
        evidence = self._story.act(thought, action)
        if isinstance(evidence, ToolError):
            failed = self._story.turns[-2]
            assert isinstance(failed, AssistantTurn)
            failed.learn = False
        number = len(self._base.workspace) - 1
        self._shots.append(shoot(self._base.workspace, number, self.album))

    def _finish(self) -> Finished:
        level = getattr(self._base.source, "level", 0)  # only rooms have levels
        record = self._story.record("unnamed", 0, level, None)
        return Finished(self._base.workspace, self._base.trace(), record)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Leaves the episode as it was when a step raises."""
        state, turns, shots = self._base.get_state(), len(self._story.turns), len(self._shots)
        try:
            yield
        except BaseException:
            self._base.set_state(state)
            del self._story.turns[turns:], self._shots[shots:]
            raise


def _chain(story: Story, trace: Trace, shots: list[tuple[Shot, ...]]) -> Chain:
    said = [turn.text for turn in story.turns]
    shown = dict(enumerate(shots))
    pictured = (replace(m, shots=shown.get(k, ())) for k, m in enumerate(moments(trace, said)))
    return Chain(tuple(pictured), trace.score)


def _looks(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Which evidence can be looked at: its frame, and the region that it shows, source px."""
    looks = {}
    for number, evidence in enumerate(workspace.evidence):
        try:
            look = workspace.look(f"e{number}")
        except InvalidCall:
            continue
        looks[f"e{number}"] = {
            "kind": evidence.kind,
            "frame": look.frame_index,
            "region": tuple(look.region),
        }
    return looks


def _words(what: str, text: str, limit: int | None = None) -> str:
    """A person's words as they may stand in a turn."""
    text = text.strip()
    if limit is not None and len(text) > limit:
        raise Refused(f"the {what} has {len(text)} characters; {limit} are taken at the most")
    if mark := _MARKS.search(text):
        raise Refused(f"the {what} holds {mark[0]!r}, which marks a part of a turn: leave it out")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Refused(f"the {what} holds a character that UTF-8 cannot encode") from None
    return text
