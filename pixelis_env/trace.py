"""The record of an episode: what was done, what came back, and a hash chain over it.

A trace is JSON. Link k of the chain is SHA-256 over link k-1 and the canonical JSON of step k, and
link 0 is taken of the header, so that a changed, dropped or moved step is noticed when the trace
is read. The evidence holds pixel digests, so `replay` notices when pixels come out different.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import cv2
import numpy as np
import PIL
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pixelis_env import __version__
from pixelis_env.actions import Action, Malformed
from pixelis_env.evidence import Evidence, canonical_json

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


class Header(_Record):
    """What an episode was played on, enough to play it again.

    Attributes:
        format: The version of this layout.
        env_id: The registered id, "" for an environment built by hand.
        kwargs: The environment's keyword arguments. A media file stands here by its bare name:
            a trace never names a path.
        portable: Whether `kwargs` alone rebuild the environment; False where it was given objects.
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
    portable: bool
    index: int
    task_id: str
    task_type: str
    question: str
    media_digest: str
    tools: dict[str, str]
    versions: dict[str, str]

    @model_validator(mode="after")
    def _names_no_path(self) -> Header:
        source = self.kwargs.get("source", "rooms")
        if not isinstance(source, str) or Path(source).name != source or "\\" in source:
            raise ValueError(f"source must be a bare name, not {source!r}")
        return self


class Trace(_Record):
    """A whole episode. `chain` has one link for the header and one for each step."""

    header: Header
    steps: tuple[Step, ...] = Field(max_length=MAX_STEPS)
    answer: str | None
    score: float | None
    chain: tuple[str, ...]

    @classmethod
    def build(cls, header: Header, steps: Sequence[Step], score: float | None) -> Trace:
        """The trace of these steps, chained."""
        last = steps[-1].action if steps else None
        answer = last.text if last is not None and last.op == "answer" else None
        if steps and steps[-1].evidence is not None:
            answer = None  # an answer that was refused is a ToolError like any other
        return cls(
            header=header,
            steps=tuple(steps),
            answer=answer,
            score=score,
            chain=_chain(header, steps),
        )

    def save(self, path: str | Path) -> Path:
        """Writes the trace as one line of canonical JSON; returns its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.to_json() + b"\n")
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
        expected = _chain(trace.header, trace.steps)
        if len(trace.chain) != len(expected):
            raise TraceError(f"{name} has {len(trace.chain)} links for {len(expected) - 1} steps")
        for number, (found, wanted) in enumerate(zip(trace.chain, expected, strict=True)):
            if found != wanted:
                what = "its header" if number == 0 else f"step {number}"
                raise TraceError(
                    f"{name} was changed after it was written: {what} breaks the chain"
                )
        return trace


def portable_kwargs(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """An environment's arguments as plain JSON without any path, and whether they rebuild it."""
    plain, portable = {}, True
    for key, value in kwargs.items():
        if key in ("render_mode", "prefetch"):
            continue  # they change nothing that a trace holds
        if key == "source":
            if isinstance(value, (str, Path)):
                plain[key] = Path(value).name
            else:
                plain[key], portable = Path(value.name).name, False
            continue
        try:
            plain[key] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            portable = False
    return plain, portable


def versions() -> dict[str, str]:
    """The versions that a trace's pixels depend on."""
    return {
        "pixelis": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
    }


def _chain(header: Header, steps: Sequence[Step]) -> tuple[str, ...]:
    link = hashlib.sha256(canonical_json(header.model_dump(mode="json"))).hexdigest()
    links = [link]
    for step in steps:
        body = canonical_json(step.model_dump(mode="json"))
        link = hashlib.sha256(link.encode("ascii") + body).hexdigest()
        links.append(link)
    return tuple(links)
