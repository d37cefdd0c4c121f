"""The operations of an environment: from a typed action to evidence."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from pixelis_env.actions import (
    Action,
    Localize,
    Properties,
    ReadText,
    Segment,
    Track,
    Zoom,
)
from pixelis_env.evidence import Evidence, Tracklet
from pixelis_env.tools.backend import Query, Wording
from pixelis_env.tools.cache import RESULTS
from pixelis_env.tools.localize import localize, localize_track, query_of, search_span
from pixelis_env.tools.properties import properties
from pixelis_env.tools.read_text import read_text, reading_region
from pixelis_env.tools.registry import BACKENDS, DEFAULTS, make_backend
from pixelis_env.tools.segment import segment, segment_prompt
from pixelis_env.tools.track import track, track_plan
from pixelis_env.tools.zoom import zoom
from pixelis_env.workspace import Workspace

Spec = str | Mapping[str, Any] | object
"""A backend: its name, `{"name": ..., **options}`, or an object that keeps the protocol."""


class Toolbox:
    """Carries out every operation but the answer. Picklable; holds no state of an episode.

    Args:
        tools: None for the default backends; one name for every operation that has a backend so
            called (the others keep their default); or a mapping from operation to `Spec`.

    Attributes:
        names: Operation -> `name@version` of what carries it out.

    Raises:
        ValueError: An unknown operation, backend or option.
    """

    def __init__(self, tools: str | Mapping[str, Spec] | None = None) -> None:
        if isinstance(tools, str):
            if not any(tools in known for known in BACKENDS.values()):
                named = sorted({name for known in BACKENDS.values() for name in known})
                raise ValueError(f"no backend is called {tools!r}: choose from {', '.join(named)}")
            tools = {op: tools for op, known in BACKENDS.items() if tools in known}
        specs: dict[str, Spec] = {**DEFAULTS, **(tools or {})}
        self._backends = {op: _backend(op, spec) for op, spec in specs.items()}
        self._identities = {op: _identity(spec, self._backends[op]) for op, spec in specs.items()}
        self.names: dict[str, str] = {
            "zoom": "native@1",
            **{op: f"{b.name}@{b.version}" for op, b in self._backends.items()},
            "properties": "native@1",
        }

    def run(self, action: Action, workspace: Workspace) -> Evidence:
        """The evidence that `action` yields. Changes neither the workspace nor the medium.

        Raises:
            InvalidCall: The action cannot be carried out; the message says what could be.
            ValueError: The action is an answer, which is the environment's own affair.
        """
        if isinstance(action, Zoom):
            return zoom(action, workspace)
        if isinstance(action, Segment):
            return self._segment(action, workspace)
        if isinstance(action, Track):
            return self._track(action, workspace)
        if isinstance(action, ReadText):
            return self._read_text(action, workspace)
        if isinstance(action, Localize):
            return self._localize(action, workspace)
        if isinstance(action, Properties):
            return properties(action, workspace)
        raise ValueError(f"{action.op} is no operation on pixels")

    def _segment(self, action: Segment, workspace: Workspace) -> Evidence:
        media, backend = workspace.media, self._backends["segment"]
        index, box, point = segment_prompt(action, workspace)
        return self._cached(
            "segment",
            (media.digest, index, box, point),
            lambda: segment(backend, media, index, box, point),
        )

    def _track(self, action: Track, workspace: Workspace) -> Evidence:
        media, backend = workspace.media, self._backends["track"]
        target, frames = track_plan(action, workspace)
        return self._cached(
            "track",
            (media.digest, target, frames[0], frames[-1]),
            lambda: track(backend, media, target, frames),
        )

    def _read_text(self, action: ReadText, workspace: Workspace) -> Evidence:
        media, backend = workspace.media, self._backends["read_text"]
        index, region = reading_region(action, workspace)
        return self._cached(
            "read_text",
            (media.digest, index, region),
            lambda: read_text(backend, media, index, region),
        )

    def _localize(self, action: Localize, workspace: Workspace) -> Evidence:
        media, backend = workspace.media, self._backends["localize"]
        first, last = search_span(action, workspace)
        if action.target is not None:
            evidence = workspace.get(action.target)
            if isinstance(evidence, Tracklet):
                return localize_track(evidence, media, first, last)
        query = query_of(action, workspace, self._backends["read_text"])
        return self._cached(
            "localize",
            (media.digest, self._query_key(query), first, last),
            lambda: localize(backend, media, query, first, last),
        )

    def _query_key(self, query: Query) -> Hashable:
        if isinstance(query, Wording):
            return ("wording", query.text, self._identities["read_text"])
        return query

    def _cached(
        self, op: str, arguments: tuple[Hashable, ...], compute: Callable[[], Evidence]
    ) -> Evidence:
        return RESULTS.get((op, self._identities[op], *arguments), compute)


class _Own:
    """The identity of a backend object that a caller made: equal to nothing but itself."""


def _backend(op: str, spec: Spec) -> Any:
    if isinstance(spec, (str, Mapping)):
        return make_backend(op, spec)
    if op not in BACKENDS:
        raise ValueError(f"no backend can be set for {op!r}: only for {', '.join(BACKENDS)}")
    return spec


def _identity(spec: Spec, backend: Any) -> Hashable:
    """What tells cached results of one backend from those of another, options included."""
    if isinstance(spec, (str, Mapping)):
        options = {} if isinstance(spec, str) else dict(spec)
        return (backend.name, backend.version, json.dumps(options, sort_keys=True, default=repr))
    return _Own()
