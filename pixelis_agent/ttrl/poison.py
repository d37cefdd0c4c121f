"""Bad streams: what an agent that adapts may meet when nobody looks.

A share of a source's tasks is replaced by

- *duplicate*: the first task of its block of fifty, again and again;
- *corrupt*: the same question about noise;
- *unanswerable*: a question of the same type about another medium;
- *lopsided*: the same task with its right option moved to "A": a consensus that an agent would do
  well to take for a rule;
- *planted*: a room whose every sign and label says the same: whoever reads well agrees with all
  others on a wrong answer. Where nothing is written the task stays.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pixelis_env.media import ArrayMedia
from pixelis_env.rooms import RoomVideo
from pixelis_env.tasks.base import Task, TaskSource

KINDS = ("duplicate", "corrupt", "unanswerable", "lopsided", "planted")
BLOCK = 50
_FRAMES, _SIDES = 16, (240, 320)
_WORD = "SALE"
_LOOKED_AT = 64  # tasks among which another of the same type is looked for


class Poisoned:
    """A source with bad tasks among its own.

    Args:
        source: Where good ones come from.
        kind: One of `KINDS`.
        share: Of bad ones, 0..1.
        seed: Decides which they are.

    Raises:
        ValueError: An unknown kind, or a share out of range.
    """

    def __init__(self, source: TaskSource, kind: str, share: float, seed: int = 0) -> None:
        if kind not in KINDS:
            raise ValueError(f"no poison is called {kind!r}; there are {', '.join(KINDS)}")
        if not 0 <= share <= 1:
            raise ValueError(f"a share of poison is in 0..1, not {share}")
        self._source, self._kind, self._share, self._seed = source, kind, share, seed
        self.name, self.size = f"{source.name}+{kind}", source.size

    def task(self, index: int) -> Task:
        """The task at `index`, good or bad."""
        rng = np.random.default_rng([self._seed, index])
        if self._kind == "duplicate" and rng.random() < self._share:
            return self._source.task(index - index % BLOCK)
        task = self._source.task(index)
        if self._kind == "duplicate" or rng.random() >= self._share:
            return task
        if self._kind == "corrupt":
            pixels = rng.integers(0, 256, (_FRAMES, *_SIDES, 3), dtype=np.uint8)
            noise = ArrayMedia(pixels, fps=2.0, name="noise")
            return replace(task, media=noise, answer=None, oracle=None, truth=None)
        if self._kind == "unanswerable":
            other = self._other(task, index)
            return replace(
                task,
                question=other.question,
                options=other.options,
                answer=None,
                oracle=None,
                truth=None,
            )
        if self._kind == "planted":
            return _planted(task)
        if task.metric != "letter" or not task.options or task.answer is None:
            return task
        right = ord(task.answer.upper()) - ord("A")
        rest = [text for k, text in enumerate(task.options) if k != right]
        return replace(task, options=(task.options[right], *rest), answer="A", oracle=None)

    def _other(self, task: Task, index: int) -> Task:
        """Another task of the same type and form, with another question where there is one."""
        near = [index + k for k in range(1, _LOOKED_AT)]
        if self.size is not None:
            near = [k % self.size for k in near if k % self.size != index]
        for k in near:
            other = self._source.task(k)
            alike = (other.type, other.metric) == (task.type, task.metric)
            if alike and other.question != task.question:
                return other
        return task


def _planted(task: Task) -> Task:
    """The task with other words on everything that has words, and its answer as it was."""
    video = task.media
    if not isinstance(video, RoomVideo) or not any(item.text for item in video.scene.room.objects):
        return task
    objects = tuple(
        replace(item, text="7" * len(item.text) if item.text.isdigit() else _WORD)
        if item.text
        else item
        for item in video.scene.room.objects
    )
    scene = replace(video.scene, room=replace(video.scene.room, objects=objects))
    return replace(task, media=RoomVideo(scene, video.renderer), oracle=None, truth=None)
