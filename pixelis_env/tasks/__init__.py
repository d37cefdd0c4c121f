"""Tasks: a question about a medium, and where questions come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixelis_env.media import Decoder
from pixelis_env.tasks.base import Oracle, Task, TaskSource, Truth

__all__ = ["Oracle", "Task", "TaskSource", "Truth", "make_source"]


def make_source(
    source: str | Path | TaskSource,
    *,
    family: str = "all",
    level: int = 1,
    shift: str = "none",
    types: Sequence[str] | None = None,
    question: str | None = None,
    options: Sequence[str] | None = None,
    answer: str | None = None,
    decoder: Decoder = "pyav",
) -> TaskSource:
    """The task source that `source=` of an environment names.

    Args:
        source: `"rooms"`, the path of an image or video (then `question` is needed), or a
            `TaskSource`.
        family: Rooms: the family of question types.
        level: Rooms: the difficulty, 1..3.
        shift: Rooms: the change of looks.
        types: Rooms: these question types only.
        question: A file: what is asked.
        options: A file: the options' texts.
        answer: A file: the right answer.
        decoder: A file: the video decoder.

    Raises:
        ValueError: No such source, or arguments that do not belong to it.
    """
    own = {"level": level != 1, "shift": shift != "none", "types": types is not None}
    if source != "rooms" and any(own.values()):
        wrong = ", ".join(name for name, given in own.items() if given)
        raise ValueError(f"{wrong}: an argument of rooms, which source={source!r} is not")
    asked = question is not None or options is not None or answer is not None
    if asked and (source == "rooms" or not isinstance(source, (str, Path))):
        raise ValueError("this source asks its own questions; a question goes with a media file")
    if not isinstance(source, (str, Path)):
        if not isinstance(source, TaskSource):
            raise ValueError(
                f"source must be 'rooms', a media file's path, or an object with `name`, `size` "
                f"and `task(index)`, not {type(source).__name__}"
            )
        return source
    if source == "rooms":
        from pixelis_env.tasks.rooms import RoomsSource

        return RoomsSource(family=family, level=level, shift=shift, types=types)
    if not Path(source).exists():
        raise ValueError(f"no source {str(source)!r}: give 'rooms' or the path of a media file")
    if question is None:
        raise ValueError(f"a media file needs a question: source={str(source)!r}, question='...'")
    from pixelis_env.tasks.single import SingleSource

    return SingleSource(source, question, options=options, answer=answer, decoder=decoder)
