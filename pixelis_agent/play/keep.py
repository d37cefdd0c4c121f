"""Keeps finished games: every trace, and what is worth imitating as a record of a corpus."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pixelis_agent.cota.generate import LEAST_SCORE
from pixelis_agent.cota.record import AssistantTurn, Record, record_line
from pixelis_agent.files import replace_file, whole
from pixelis_agent.play.game import Finished, Game
from pixelis_env.media.base import digest_file

SHARD = "shard-00000.jsonl"


@dataclass(frozen=True)
class Kept:
    """What was written.

    Attributes:
        trace: The trace's file.
        record: The id of the record in the corpus; None where it is not worth imitating.
        why_not: Why there is no record; empty where there is one.
    """

    trace: str
    record: str | None
    why_not: str


def check_corpus(out: Path) -> None:
    """Says at once when games cannot be kept in a folder.

    Raises:
        ValueError: It holds a corpus that a generator wrote and may go on with.
    """
    if (out / "corpus.json").exists():
        raise ValueError(
            f"{out} holds a corpus of `pixelis cota`, which is written anew from its settings: "
            "give another --out, and give `pixelis sft --data` both"
        )


def keep(game: Game, out: Path) -> Kept:
    """Writes a finished game; called twice it writes it twice.

    Args:
        game: The game.
        out: The corpus' folder: `traces/` with each trace, and the own medium beside it; `media/`
            and a shard with the records. Several processes may write to it.

    Raises:
        Refused: The game goes on.
        OSError: It cannot be written.
    """
    finished = game.finished()
    traces = out / "traces"
    traces.mkdir(parents=True, exist_ok=True)
    name, variant = _claim(traces, game.task.id)
    path = finished.trace.save(traces / f"{name}.json")
    update = {"id": name, "variant": variant, "trace": path.relative_to(out).as_posix()}
    if finished.trace.header.media_file is not None:
        medium = traces / finished.trace.header.media_file
        if not medium.exists():
            _copy(Path(game.env_kwargs["source"]), medium)
        update["medium"] = medium.relative_to(out).as_posix()
    why_not = _unworthy(game, finished)
    if why_not:
        return Kept(str(path), None, why_not)
    record = finished.record.model_copy(update=update)
    for file in _images(record):
        if not (out / file).exists():
            replace_file(out / file, (game.folder / file).read_bytes())
    # One write to the end of the file: no other process' line gets into it.
    with (out / SHARD).open("ab", buffering=0) as shard:
        shard.write(record_line(record))
    return Kept(str(path), name, "")


def shelf_name(file: Path, name: str) -> str:
    """What a medium is called in a corpus: its content's digest stands before its owner's name.

    Raises:
        MediaError: The file cannot be read.
    """
    safe = re.sub(r"[^A-Za-z0-9_.+-]+", "-", name)[-60:]
    return f"{digest_file(file)[:16]}-{safe}"


def _unworthy(game: Game, finished: Finished) -> str:
    """Why a game is nothing to imitate; empty where it is."""
    score = finished.trace.score
    if finished.trace.answer is None:
        return "the steps ran out before an answer"
    least = LEAST_SCORE[game.task.metric]
    if score is not None and score < least:
        return f"it scores {score:.2f}; demonstrations score {least:g} or more"
    return ""


def _claim(traces: Path, task_id: str) -> tuple[str, int]:
    """A name that no other game has, and its number among those on this task."""
    task = re.sub(r"[^A-Za-z0-9_.+-]+", "-", task_id)[-100:]
    number = 0
    while True:
        try:
            (traces / f"{task}-{number}.json").open("x").close()
        except FileExistsError:
            number += 1
            continue
        return f"{task}-{number}", number


def _images(record: Record) -> list[str]:
    turns = [turn for turn in record.turns if not isinstance(turn, AssistantTurn)]
    return list(dict.fromkeys(ref.file for turn in turns for ref in turn.images))


def _copy(source: Path, target: Path) -> None:
    with whole(target) as file:
        shutil.copyfile(source, file)
