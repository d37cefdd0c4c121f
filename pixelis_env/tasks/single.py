"""One question about the user's own image or video."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path

from pixelis_env.media import Decoder, Media, open_media
from pixelis_env.tasks.base import Task


class SingleSource:
    """A source of one task: a medium and a question about it.

    Args:
        media: A file's path, or a medium that is open already.
        question: What is asked.
        options: The texts of the options, for a multiple-choice question.
        answer: The right answer (for options: its letter); None: the episode is not scored.
        metric: How an answer is scored; default: `letter` with options, else `anls`.
        decoder: The video decoder.
    """

    size = 1

    def __init__(
        self,
        media: str | Path | Media,
        question: str,
        *,
        options: Sequence[str] | None = None,
        answer: str | None = None,
        metric: str | None = None,
        decoder: Decoder = "pyav",
    ) -> None:
        self.name = media.name if isinstance(media, Media) else Path(media).name
        opened = media if isinstance(media, Media) else open_media(media, decoder=decoder)
        if options is not None and not 2 <= len(options) <= 26:
            raise ValueError(f"a question has 2..26 options, not {len(options)}")
        letters = string.ascii_uppercase[: len(options or ())]
        if options is not None and answer is not None and answer not in letters:
            raise ValueError(f"the answer must be one of the letters {letters}, not {answer!r}")
        self._task = Task(
            id=f"{self.name}:0",
            type="question",
            media=opened,
            question=question,
            options=None if options is None else tuple(options),
            answer=answer,
            metric=metric or ("letter" if options else "anls"),
        )

    def task(self, index: int) -> Task:
        """The task; `index` must be 0."""
        if index != 0:
            raise IndexError(f"{self.name} holds one task, index 0; there is no {index}")
        return self._task
