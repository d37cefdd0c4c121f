"""The record of an episode: what was done, what came back, and a hash chain over it.

A trace is JSON. Link k of the chain is SHA-256 over link k-1 and the canonical JSON of step k;
link 0 is taken of the header, the last of the answer, the score and the number of steps. So a
changed, dropped or moved step is noticed when the trace is read. The evidence holds pixel digests,
so `replay` notices when pixels come out different.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pixelis_env import __version__
from pixelis_env.actions import Action, Malformed
from pixelis_env.evidence import Evidence, ToolError, canonical_json
from pixelis_env.tasks import BENCHMARKS

MAX_BYTES = 64 * 1024 * 1024  # of a trace file
MAX_STEPS = 10_000


class TraceError(ValueError):
    """A trace that cannot be trusted or read; the message says where it is broken."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Step(_Record):
    """One action and what came of it. `evidence` is None for the answer."""

    action: Annotated[Union[Action, Malformed], Field(discriminator="op")]
    evidence: Evidence | None
    reward_terms: dict[str, float]

    @property
    def valid(self) -> bool:
        """Whether it is an operation that was carried out."""
        return self.evidence is not None and not isinstance(self.evidence, ToolError)


# A backend is named, with plain options, by words that cannot be a path or a hub id.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+-]{1,64}$")]
Option = Union[bool, int, float, Word, None]


class Settings(_Record):
    """The environment's arguments that a trace may set: a stranger's trace gets no others."""

    source: Word = "rooms"
    family: Word = "all"
    types: list[str] | None = None
    level: int = 1
    shift: Word = "none"
    split: Word | None = None
    scorer: Word | None = None
    where: dict[str, str | list[str]] | None = None
    shuffle: int | None = None
    shuffle_options: int | None = None
    limit: int | None = None
    strict: bool = True
    question: str | None = None
    options: list[str] | None = None
    answer: str | None = None
    decoder: Word = "pyav"
    tools: Word | dict[Word, Word | dict[Word, Option]] | None = None
    max_steps: int = Field(default=16, le=MAX_STEPS)
    step_cost: float = 0.01
    invalid_cost: float = 0.05
    frame: Word = "rel1000"


class Header(_Record):
    """What an episode was played on, enough to play it again.

    Attributes:
        format: The version of this layout.
        env_id: The registered id, "" for an environment built by hand.
        kwargs: The environment's keyword arguments (those of `Settings`).
        media_file: The bare name of the media file or manifest that was played on, or None. A
            trace never names a path, so a benchmark's folder is not in it either.
        portable: Whether this rebuilds the environment; False where it was given objects.
        index: The task's index in its source.
        task_id: The task's id.
        task_type: The question type.
        question: The question.
        media_digest: The medium's content digest.
        tools: The backend of each operation, `name@version`.
        versions: The packages that produced the trace.
    """

    format: Literal["pixelis-trace-1"] = "pixelis-trace-1"
    env_id: str
    kwargs: dict[str, Any]
    media_file: str | None
    portable: bool
    index: int
    task_id: str
    task_type: str
    question: str
    media_digest: str
    tools: dict[str, str]
    versions: dict[str, str]

    @model_validator(mode="after")
    def _can_be_trusted(self) -> Header:
        settings = Settings.model_validate(self.kwargs)
        if settings.source not in ("rooms", *BENCHMARKS):
            raise ValueError(f"source must be rooms or one of {', '.join(BENCHMARKS)}")
        name = self.media_file
        if name is not None and (name in ("", ".", "..") or "/" in name or "\\" in name):
            raise ValueError(f"media_file must be a bare name, not {name!r}")
        return self


class Trace(_Record):
    """A whole episode. `chain` has a link for the header, for each step, and for the end."""

    header: Header
    steps: tuple[Step, ...] = Field(max_length=MAX_STEPS)
    answer: str | None
    score: float | None
    chain: tuple[str, ...]

    @classmethod
    def build(cls, header: Header, steps: Sequence[Step], score: float | None) -> Trace:
        """The trace of these steps, chained."""
        answer = final_answer(steps)
        chain = _chain(header, steps, answer, score)
        return cls(header=header, steps=tuple(steps), answer=answer, score=score, chain=chain)

    def save(self, path: str | Path) -> Path:
        """Writes the trace as one line of canonical JSON; returns its path.

        Raises:
            TraceError: It is larger than what `load` reads.
        """
        path, data = Path(path), self.to_json() + b"\n"
        if len(data) > MAX_BYTES:
            raise TraceError(f"the trace has {len(data)} bytes; {MAX_BYTES} are read at the most")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def to_json(self) -> bytes:
        """The canonical bytes of the trace: equal traces are equal bytes."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Reads and checks a trace.

        Raises:
            TraceError: Too large, not JSON, not a trace, or its chain is broken.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise TraceError(f"{path} cannot be read: {error.strerror}") from None
        if len(data) > MAX_BYTES:
            raise TraceError(f"{path} is over {MAX_BYTES} bytes, the largest trace that is read")
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: bytes, name: str = "the trace") -> Trace:
        """A trace from its bytes; `name` is what messages call it. Raises as `load` does."""
        try:
            trace = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"])) or "its start"
            raise TraceError(f"{name} is no valid trace: at {where}: {first['msg']}") from None
        expected = _chain(trace.header, trace.steps, final_answer(trace.steps), trace.score)
        if len(trace.chain) != len(expected):
            raise TraceError(f"{name} has {len(trace.chain)} links, not {len(expected)}")
        for number, (found, wanted) in enumerate(zip(trace.chain, expected, strict=True)):
            if found != wanted:
                parts = {0: "its header", len(expected) - 1: "its end (answer or score)"}
                what = parts.get(number, f"step {number}")
                raise TraceError(
                    f"{name} was changed after it was written: {what} breaks the chain"
                )
        if trace.answer != final_answer(trace.steps):
            raise TraceError(f"{name} was changed: its answer is not that of its last step")
        return trace


def portable_kwargs(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], str | None, bool]:
    """An environment's arguments as a header holds them.

    Returns:
        The arguments of `Settings`, the file's bare name (None for rooms, benchmarks and objects),
        and whether the two, and a benchmark's folder, rebuild the environment.
    """
    source = kwargs.get("source", "rooms")
    is_file = isinstance(source, (str, Path)) and source not in ("rooms", *BENCHMARKS)
    plain, portable = {}, isinstance(source, (str, Path))
    for key in Settings.model_fields:
        if key not in kwargs or (key == "source" and (is_file or not portable)):
            continue
        try:
            value = json.loads(json.dumps(kwargs[key], allow_nan=False))
            Settings.model_validate({key: value})
            plain[key] = value
        except (TypeError, ValueError):
            portable = False
    return plain, Path(source).name if is_file else None, portable


@cache
def versions() -> dict[str, str]:
    """The versions that a trace's pixels depend on."""
    found = {"pixelis": __version__, "python": ".".join(map(str, sys.version_info[:3]))}
    for package in ("numpy", "opencv-python-headless", "av", "embreex", "rapidocr", "onnxruntime"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def final_answer(steps: Sequence[Step]) -> str | None:
    """The answer that ended an episode. One that was refused is a ToolError like any other."""
    last = steps[-1] if steps else None
    stands = last is not None and last.action.op == "answer" and last.evidence is None
    return last.action.text if stands else None  # type: ignore[union-attr]


def _chain(
    header: Header, steps: Sequence[Step], answer: str | None, score: float | None
) -> tuple[str, ...]:
    """A link for the header, one for each step, and one for how it ended."""
    bodies = [header.model_dump(mode="json"), *(step.model_dump(mode="json") for step in steps)]
    bodies.append({"answer": answer, "score": score, "steps": len(steps)})
    links, link = [], ""
    for body in bodies:
        link = hashlib.sha256(link.encode("ascii") + canonical_json(body)).hexdigest()
        links.append(link)
    return tuple(links)
