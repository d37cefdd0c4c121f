"""What an episode is going to do: the oracle's chain, varied, with the target of each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from numpy.random import Generator

from pixelis_agent.cota.story import Aim, Story
from pixelis_env.actions import Action, Properties, ReadText, Segment, Zoom
from pixelis_env.coordinates import Box, Region, box_from_source, box_to_source, snap
from pixelis_env.metrics.overlap import box_iou
from pixelis_env.observation import overview_indices

AT_ONCE = 0.15
"""Share of the episodes in which small things are looked at without zooming in first."""

BY_POINT = 0.1
"""Share of the outlines that are asked for by a point instead of a box."""


@dataclass(frozen=True)
class Step:
    """One action of a plan.

    Attributes:
        action: Its evidence ids count the plan's steps from e1, whatever is played in between.
        aim: What its box or point is meant to show; None for actions without.
        instead: The same by a box, for an outline that is asked for by a point.
    """

    action: Action
    aim: Aim | None = None
    instead: Segment | None = None


def make_plan(
    story: Story, looks: Generator, rng: Generator, grid: int = 1
) -> tuple[list[Step], str]:
    """The steps up to the answer, and the oracle's answer.

    Args:
        story: The episode, at its start.
        looks: Makes the oracle's free choices.
        rng: Varies its chain.
        grid: Boxes are rounded to multiples of this, thousandths of the view.

    Raises:
        LookupError: The overview does not show what the question needs.
    """
    frames = overview_indices(story.task.media)
    *actions, answer = story.base.oracle(looks, frames)
    actions = _on_grid(_at_once(actions, story, rng), story, grid)
    if story.task.type in ("obj_appearance_order", "time_order"):
        # The outlines' times say it all.
        actions = [action for action in actions if not isinstance(action, Properties)]
        times = [action.time for action in actions if isinstance(action, Segment)]
        if len(set(times)) < len(times):
            raise LookupError("two of them show first in the same frame")
    steps = [_by_point(step, rng) for step in _aimed(actions, story)]
    assert answer.op == "answer"
    return steps, answer.text


def renamed(action: Action, ids: Sequence[str]) -> Action:
    """The action with the plan's ids `ek` replaced by `ids[k]`."""

    def new(name: str) -> str:
        return ids[int(name[1:])]

    update: dict[str, object] = {}
    if isinstance(action, (Zoom, Segment, ReadText)):
        update["source"] = new(action.source)
    elif isinstance(action, Properties):
        update["targets"] = tuple(new(name) for name in action.targets)
    elif (target := getattr(action, "target", None)) is not None:
        update["target"] = new(target)
    return action.model_copy(update=update)


def _on_grid(actions: Sequence[Action], story: Story, grid: int) -> list[Action]:
    """The same looks with rounded boxes; what follows a zoom counts from the view it then shows."""
    if grid == 1:
        return list(actions)
    bounds = story.base.workspace.bounds
    views = {"e0": (bounds, bounds)}  # of each id: the oracle's, and the one that is shown
    kept: list[Action] = []
    for number, action in enumerate(actions, start=1):
        if isinstance(action, (Zoom, Segment, ReadText)) and action.box is not None:
            old, new = views[action.source]
            meant = box_to_source(action.box, action.frame, old)
            box = rounded(box_from_source(meant, "rel1000", new), grid)
            action = action.model_copy(update={"box": box, "frame": "rel1000"})
            if isinstance(action, Zoom):
                shown = snap(box_to_source(box, "rel1000", new), new)
                views[f"e{number}"] = snap(meant, old), shown
        kept.append(action)
    return kept


def rounded(box: Box, grid: int) -> Box:
    """A box in thousandths with its sides on multiples of `grid`, inside 0..1000 and not empty."""
    sides: list[float] = []
    for low, high in ((box[0], box[2]), (box[1], box[3])):
        start = min(max(round(low / grid), 0), 1000 // grid - 1)
        end = min(max(round(high / grid), start + 1), 1000 // grid)
        sides += [float(start * grid), float(end * grid)]
    return sides[0], sides[2], sides[1], sides[3]


def _aimed(actions: Sequence[Action], story: Story) -> list[Step]:
    """Which target each box is about: the one whose true box it fits best."""
    workspace = story.base.workspace
    views: dict[str, tuple[Region, int]] = {}
    steps = []
    for number, action in enumerate(actions, start=1):
        if not isinstance(action, (Zoom, Segment, ReadText)):
            steps.append(Step(action))
            continue
        look = views.get(action.source)
        if look is None:
            assert action.time is not None
            look = workspace.bounds, workspace.frame_at(action.time)
        aim = None
        if action.box is not None:
            box = box_to_source(action.box, action.frame, look[0])
            aim = _best_aim(story, box, look[1])
            if isinstance(action, Zoom):
                views[f"e{number}"] = snap(box, look[0]), look[1]
        steps.append(Step(action, aim))
    return steps


def _best_aim(story: Story, box: Box, frame: int) -> Aim:
    truth = story.task.truth
    assert truth is not None
    fits = []
    for k in range(len(truth.names)):
        true = story.box(Aim(k, frame))
        fits.append((0.0 if true is None else box_iou(box, true), -k))
    return Aim(-max(fits)[1], frame)


def _at_once(actions: Sequence[Action], story: Story, rng: Generator) -> list[Action]:
    """Now and then what follows a zoom is done on the whole frame, without it."""
    kept = list(actions)
    alone = len(kept) > 1 and isinstance(kept[0], Zoom) and isinstance(kept[1], (Segment, ReadText))
    if not alone or rng.random() >= AT_ONCE:
        return kept
    zoom, look = kept[0], kept[1]
    assert isinstance(zoom, Zoom)
    assert isinstance(look, (Segment, ReadText))
    bounds = story.base.workspace.bounds
    box = zoom.box
    if look.box is not None:
        region = snap(box_to_source(zoom.box, zoom.frame, bounds), bounds)
        inside = box_to_source(look.box, look.frame, region)
        box = box_from_source(inside, look.frame, bounds)
    kept[1] = look.model_copy(update={"source": "e0", "time": zoom.time, "box": box})
    # The zoom's own id is gone: the others move up by one.
    ids = ["e0", "e0", *(f"e{k}" for k in range(1, len(kept)))]
    return [kept[1], *(renamed(action, ids) for action in kept[2:])]


def _by_point(step: Step, rng: Generator) -> Step:
    action = step.action
    if not isinstance(action, Segment) or action.box is None or rng.random() >= BY_POINT:
        return step
    x0, y0, x1, y1 = action.box
    point = (float(round((x0 + x1) / 2)), float(round((y0 + y1) / 2)))
    pointed = action.model_copy(update={"box": None, "point": point})
    return replace(step, action=pointed, instead=action)
