"""One episode from its plan: thoughts, calls, now and then a slip, and the answer that follows."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator

from pixelis_agent.cota.answers import Unanswered, conclude
from pixelis_agent.cota.plan import Step, make_plan, renamed
from pixelis_agent.cota.record import AssistantTurn
from pixelis_agent.cota.slips import MISTAKES, TRAPS, Moment, Slip, SlipFailed
from pixelis_agent.cota.story import Story
from pixelis_agent.cota.thoughts import notice, short, thought_of
from pixelis_env.evidence import Evidence, Mask, ToolError
from pixelis_env.metrics.overlap import box_iou

MISTAKEN, TRAPPED = 0.16, 0.06
"""Shares of the episodes that try a mistake, and a first look that finds nothing; a few cannot."""

NOT_SHOWN = "the overview does not show it"
"""Why a task is passed over whose question an agent cannot solve from the overview."""

SLIPPED = "a slip came out otherwise"
"""Why an episode is dropped that might have been good without its slip."""

POOR = 0.5
"""IoU of an outline's box with the true one, below which a point is said to have missed."""


def write_episode(story: Story, looks: Generator, rng: Generator, grid: int = 1) -> str | None:
    """Plays and writes a whole episode.

    Args:
        story: Just begun.
        looks: Makes the oracle's free choices: where to look, and whether to zoom in first.
        rng: Makes all others: words, points, what goes wrong.
        grid: Boxes are rounded to multiples of this, thousandths of the view.

    Returns:
        Why it is of no use, or None when it reached an answer. Its score stands in the story.
    """
    try:
        steps, oracle = make_plan(story, looks, rng, grid)
    except LookupError:
        return NOT_SHOWN
    names = () if story.task.truth is None else story.task.truth.names
    slip, due = _slip(story, steps, rng)
    name = names[0] if names else "object"
    ids, kept = ["e0"], list[tuple[str, str, Evidence]]()
    for number, step in enumerate(steps):
        if step.aim is not None:
            name = names[step.aim.k]
        said = None
        if slip is not None and number == due:
            try:
                said = slip.play(Moment(story, step, name, tuple(ids), rng))
            except SlipFailed:
                return SLIPPED
        evidence = _play(story, step, name, ids, said, rng)
        if story.over:
            return "too many steps"
        if isinstance(evidence, ToolError):
            return "a tool refused"
        ids.append(story.last_id)
        kept.append((name, story.last_id, evidence))
    try:
        thought, answer = conclude(story.task, kept, oracle, rng)
    except Unanswered:
        return "the evidence does not say"
    story.answer(thought, answer)
    return None


def _slip(story: Story, steps: Sequence[Step], rng: Generator) -> tuple[Slip | None, int]:
    """What goes wrong in this episode and before which step; mostly nothing."""
    chance = rng.random()
    pool = MISTAKES if chance < MISTAKEN else TRAPS if chance < MISTAKEN + TRAPPED else ()
    fitting = [
        (slip, number)
        for slip in pool
        for number, step in enumerate(steps)
        if slip.fits(step, story.task.type)
    ]
    return fitting[int(rng.integers(len(fitting)))] if fitting else (None, 0)


def _play(
    story: Story, step: Step, name: str, ids: list[str], said: str | None, rng: Generator
) -> Evidence:
    """Plays a step, and once more with a box where a point missed."""
    action = renamed(step.action, ids)
    first = len(ids) == 1
    thought = thought_of(action, name, story.last, rng, task_type=story.task.type, first=first)
    if said is not None:
        # A look at a frame names its time again: that is what the box goes with.
        again = step.aim is not None and getattr(action, "source", "") == "e0"
        thought = f"{said} {thought}" if again else said
    evidence = story.act(thought, action, aim=step.aim)
    if step.instead is None or step.aim is None or story.over:
        return evidence
    true = story.box(step.aim)
    if true is None or (isinstance(evidence, Mask) and box_iou(evidence.box, true) >= POOR):
        return evidence
    missed = story.turns[-2]
    assert isinstance(missed, AssistantTurn)
    missed.learn = False
    area = evidence.area if isinstance(evidence, Mask) else 0
    said = notice("part", rng, name=short(name), area=str(area))
    return story.act(said, renamed(step.instead, ids), aim=step.aim)
