"""Episodes as the explorer shows them: what was thought, called and returned, and pictures of it.

The pictures are made by playing a trace again, so an episode that has them also says whether every
step came out the same.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelis_agent.evaluate import trace_file
from pixelis_agent.evaluated import Evaluation
from pixelis_agent.spans import Label, label_turn
from pixelis_env.describe import describe_call
from pixelis_env.draw import draw_evidence
from pixelis_env.evidence import ToolError
from pixelis_env.replay import replay_file
from pixelis_env.trace import Step, Trace, TraceError, versions
from pixelis_env.workspace import Workspace

QUALITY = 78
"""Of the pictures, as WebP: at this the thin outlines are still sharp."""

Verdict = Literal["verified", "diverged", "damaged", "unplayable", "unchecked", "absent"]

VERDICTS: dict[Verdict, str] = {
    "verified": "played again: every step came out the same",
    "diverged": "did not come out the same",
    "damaged": "the trace cannot be read or was changed",
    "unplayable": "the trace cannot be played here",
    "unchecked": "the chain is whole; not played again",
    "absent": "there is no trace",
}


class Album:
    """Pictures, each kept once, as WebP in base64."""

    def __init__(self) -> None:
        self.pictures: dict[str, str] = {}

    def add(self, pixels: NDArray[np.uint8]) -> str:
        """Keeps a picture, uint8 (H, W, 3), and returns its key."""
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", quality=QUALITY, method=4)
        data = file.getvalue()
        key = hashlib.sha256(data).hexdigest()[:16]
        self.pictures[key] = base64.b64encode(data).decode("ascii")
        return key


@dataclass(frozen=True)
class Shot:
    """A picture: what it shows, its key in the album, width and height in px."""

    shows: str
    key: str
    width: int
    height: int


@dataclass(frozen=True)
class Moment:
    """A step, or the start. `link`: of the trace's chain; `digest`: of the evidence."""

    op: str
    thought: str
    call: str
    result: str
    valid: bool
    rewards: dict[str, float]
    digest: str | None
    link: str
    shots: tuple[Shot, ...] = ()


@dataclass(frozen=True)
class Shown:
    """An episode.

    Attributes:
        name: The task's index and, where there are more on it, which episode: "12", "12-1".
        task_id: Of its task.
        task_type: The question type.
        question: The question alone.
        prompt: As it was put to the agent, with options and the form of the answer.
        score: 0..1; None where it is unknown.
        answer: That was given, or None.
        right: The right answer, of an episode that was played again.
        verdict: Whether the trace holds.
        detail: What is wrong, or how it was checked.
        tools: The backend of each operation.
        moments: The start and each step; empty where there is no readable trace.
    """

    name: str
    task_id: str
    task_type: str
    question: str
    prompt: str
    score: float | None
    answer: str | None
    right: str | None
    verdict: Verdict
    detail: str
    tools: dict[str, str] = field(default_factory=dict)
    moments: tuple[Moment, ...] = ()

    @property
    def ops(self) -> Counter[str]:
        """How often each operation was called, the invalid calls as "invalid"."""
        return Counter(m.op if m.valid else "invalid" for m in self.moments[1:])


def show_episodes(played: Evaluation, pictures: int, album: Album) -> Iterator[Shown]:
    """The episodes of an evaluation, in order.

    Args:
        played: The evaluation.
        pictures: How many are played again and drawn: as many of each type as possible, by order.
        album: Takes the pictures.
    """
    drawn = choose([row["task_type"] for row in played.episodes], pictures)
    for number, row in enumerate(played.episodes):
        yield _show(played, row, album if number in drawn else None)


def choose(types: Sequence[str], most: int) -> set[int]:
    """At most `most` places in a list of types: the first of each type, the second of each ..."""
    places = defaultdict[str, list[int]](list)
    for place, kind in enumerate(types):
        places[kind].append(place)
    ranked = sorted((rank, place) for own in places.values() for rank, place in enumerate(own))
    return {place for _, place in ranked[:most]}


def _show(played: Evaluation, row: dict[str, Any], album: Album | None) -> Shown:
    which = row["index"], row["sample"]
    path, said = played.traces / trace_file(*which), played.dialogues.get(which, [])
    shown = Shown(
        name=path.stem,
        task_id=row["task_id"],
        task_type=row["task_type"],
        question="",
        prompt=said[0] if said else "",
        score=row["score"],
        answer=row["answer"],
        right=None,
        verdict="absent",
        detail=VERDICTS["absent"],
    )
    if not path.is_file():
        return shown
    try:
        trace = Trace.load(path)
    except TraceError as error:
        return replace(shown, verdict="damaged", detail=_without(path, str(error)))
    shown = replace(
        shown,
        question=trace.header.question,
        prompt=shown.prompt or trace.header.question,
        tools=trace.header.tools,
        moments=tuple(moments(trace, said)),
        verdict="unchecked",
        detail=VERDICTS["unchecked"],
    )
    for name in ("task_id", "score", "answer"):
        found = trace.header.task_id if name == "task_id" else getattr(trace, name)
        if found != row[name]:
            detail = f"results.json says that the {name} is {row[name]!r}, the trace {found!r}"
            return replace(shown, verdict="diverged", detail=detail)
    return shown if album is None else _replayed(shown, path, trace, album)


def _replayed(shown: Shown, path: Path, trace: Trace, album: Album) -> Shown:
    """The episode with what its replay shows."""
    try:
        report, env = replay_file(path)
    except TraceError as error:
        return replace(shown, verdict="unplayable", detail=_without(path, str(error)))
    shots = {k: shoot(env.workspace, k, album) for k in range(len(env.workspace))}
    detail = VERDICTS["verified"] if report.ok else f"{report}{_other_versions(trace)}"
    return replace(
        shown,
        right=env.task.answer,
        verdict="verified" if report.ok else "diverged",
        detail=detail,
        moments=tuple(replace(m, shots=shots.get(k, ())) for k, m in enumerate(shown.moments)),
    )


def _other_versions(trace: Trace) -> str:
    """What differs between the packages that wrote a trace and those here."""
    here = versions()
    names = sorted({*here, *trace.header.versions})
    changed = [
        f"{name} {trace.header.versions.get(name, 'none')} (here {here.get(name, 'none')})"
        for name in names
        if here.get(name) != trace.header.versions.get(name)
    ]
    return f"; it was written with {', '.join(changed)}" if changed else ""


def _without(path: Path, words: str) -> str:
    """A message without the folder: a report may travel, its maker's paths need not."""
    return words.replace(str(path), path.name)


def shoot(workspace: Workspace, number: int, album: Album) -> tuple[Shot, ...]:
    """The pictures of a piece of evidence (`draw_evidence`), which go into the album."""
    return tuple(
        Shot(words, album.add(pixels), pixels.shape[1], pixels.shape[0])
        for words, pixels in draw_evidence(workspace, number)
    )


def moments(trace: Trace, said: Sequence[str]) -> Iterator[Moment]:
    """The start and the steps of a trace.

    Args:
        trace: Of the episode, which may still go on.
        said: What the environment and the agent said in turns, the prompt first; may be shorter.
    """
    words = dict(enumerate(said))
    yield Moment(
        op="start",
        thought="",
        call="",
        # The prompt stands above; its last line says what e0 is.
        result=words.get(0, "").rpartition("\n")[2],
        valid=True,
        rewards={},
        digest=None,
        link=trace.chain[0],
    )
    for number, step in enumerate(trace.steps, start=1):
        yield Moment(
            op=step.action.op,
            thought=_thought(words.get(2 * number - 1, "")),
            call=describe_call(step.action),
            result=words.get(2 * number, _result(step)),
            valid=not isinstance(step.evidence, ToolError),
            rewards=step.reward_terms,
            digest=None if step.evidence is None else step.evidence.digest,
            link=trace.chain[number],
        )


def _thought(turn: str) -> str:
    parts = [turn[s.start : s.end] for s in label_turn(turn) if s.label is Label.THOUGHT]
    return " ".join(part.strip() for part in parts).strip()


def _result(step: Step) -> str:
    """A result where what was said of it was not kept."""
    if step.evidence is None:
        return ""
    return step.evidence.message if isinstance(step.evidence, ToolError) else step.evidence.kind
