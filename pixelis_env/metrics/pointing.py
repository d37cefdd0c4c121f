"""Where an agent's calls pointed, judged by the truth of a procedural task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pixelis_env.actions import ReadText, Segment, Zoom
from pixelis_env.coordinates import Box, Point, box_to_source, point_to_source
from pixelis_env.metrics.overlap import box_iou

if TYPE_CHECKING:
    from pixelis_env.tasks.base import Truth
    from pixelis_env.trace import Step
    from pixelis_env.workspace import Workspace


@dataclass(frozen=True)
class Aim:
    """One valid call that wrote a box or a point.

    Attributes:
        step: Its number, from 1.
        op: `zoom`, `segment` or `read_text`.
        form: What it wrote.
        target: The target that it fits best; None where none is in view in its frame.
        score: A box: its IoU with that target's box; a point: 1 inside that box, else 0. Without
            a target 0.
    """

    step: int
    op: str
    form: Literal["box", "point"]
    target: int | None
    score: float


def aims(steps: Sequence[Step], workspace: Workspace, truth: Truth) -> tuple[Aim, ...]:
    """Every aim of an episode, in source pixels of the frame that the call looked at.

    Args:
        steps: The episode's steps.
        workspace: Its evidence, which the calls name.
        truth: Where the task's targets show.
    """
    found = []
    for number, step in enumerate(steps, start=1):
        action = step.action
        if not isinstance(action, (Zoom, Segment, ReadText)):
            continue
        if not step.valid:
            continue
        look = workspace.look(action.source, action.time)
        shown = {
            k: box
            for k in range(len(truth.names))
            if (box := truth.box(k, look.frame_index)) is not None
        }
        form: Literal["box", "point"] = "box"
        if action.box is not None:
            written = box_to_source(action.box, action.frame, look.region)
            fits = {k: box_iou(written, box) for k, box in shown.items()}
        elif isinstance(action, Segment) and action.point is not None:
            form = "point"
            point = point_to_source(action.point, action.frame, look.region)
            fits = {k: float(_inside(point, box)) for k, box in shown.items()}
        else:
            continue
        best = max(fits, key=lambda k: fits[k], default=None)
        score = 0.0 if best is None else fits[best]
        found.append(Aim(number, action.op, form, best, score))
    return tuple(found)


def _inside(point: Point, box: Box) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]
