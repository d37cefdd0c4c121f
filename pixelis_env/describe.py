"""Evidence and calls in words: one line that a policy or a person can act on."""

from __future__ import annotations

import re

from pixelis_env.actions import Action, Malformed
from pixelis_env.coordinates import Box, Frame, Region, box_from_source
from pixelis_env.evidence import (
    Evidence,
    Intervals,
    Mask,
    Measurement,
    Medium,
    TextLines,
    ToolError,
    Tracklet,
    View,
)
from pixelis_env.workspace import Workspace

OWN_ID = re.compile(r"^e\d+ ")
"""What a description begins with."""


def describe(workspace: Workspace, evidence_id: str, frame: Frame = "rel1000") -> str:
    """One line about a piece of evidence: what it is, where (in `frame` over e0), and when."""
    evidence = workspace.get(evidence_id)
    return f"{evidence_id} {evidence.kind}: {_details(evidence, frame, workspace.bounds)}"


def describe_call(action: Action | Malformed) -> str:
    """An action as a call: `zoom(box=(0.0, 0.0, 500.0, 500.0), time=1.5)`."""
    arguments = action.model_dump(exclude={"op", "frame"}, exclude_defaults=True)
    return f"{action.op}({', '.join(f'{k}={v}' for k, v in arguments.items())})"


def _details(evidence: Evidence, frame: Frame, bounds: Region) -> str:
    def place(box: Box) -> str:
        digits = 3 if frame == "unit" else 0
        numbers = ", ".join(f"{v:.{digits}f}" for v in box_from_source(box, frame, bounds))
        return f"[{numbers}]"

    if isinstance(evidence, Medium):
        width, height = evidence.size
        if evidence.n_frames == 1:
            return f"image, {width}x{height} px"
        return f"video, {width}x{height} px, {evidence.duration:.3f} s, {evidence.n_frames} frames"
    if isinstance(evidence, View):
        region = evidence.region
        return (
            f"{region.width}x{region.height} px at {place(region.box)} of e0, {evidence.time:.3f} s"
        )
    if isinstance(evidence, Mask):
        return (
            f"{evidence.area} px in {place(evidence.box)} of e0, {evidence.time:.3f} s, "
            f"score {evidence.score:.2f}"
        )
    if isinstance(evidence, Tracklet):
        seen = sum(evidence.visible)
        return (
            f"{evidence.times[0]:.3f}-{evidence.times[-1]:.3f} s, {place(evidence.boxes[0])} to "
            f"{place(evidence.boxes[-1])} of e0, seen in {seen} of {len(evidence.visible)} frames"
        )
    if isinstance(evidence, TextLines):
        if not evidence.lines:
            return "no text"
        return " / ".join(f'"{line.text}" ({line.confidence:.2f})' for line in evidence.lines)
    if isinstance(evidence, Intervals):
        if not evidence.spans:
            return "never"
        return ", ".join(f"{start:.3f}-{end:.3f} s" for start, end in evidence.spans)
    if isinstance(evidence, Measurement):
        return ", ".join(f"{name} {reading(value)}" for name, value in evidence.values.items())
    if isinstance(evidence, ToolError):
        return evidence.message
    raise TypeError(f"no words for {type(evidence).__name__}")


def reading(value: float | str | tuple[float, ...]) -> str:
    """A value of a measurement in words."""
    if isinstance(value, tuple):
        return "(" + ", ".join(f"{v:.4g}" for v in value) + ")"
    return value if isinstance(value, str) else f"{value:.4g}"
