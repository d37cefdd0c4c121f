"""Wrong steps: each is played, comes to what it is meant to, and leaves the answer reachable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from pixelis_agent.cota import slips
from pixelis_agent.cota.plan import Step, make_plan
from pixelis_agent.cota.record import AssistantTurn, ImageRef, ToolTurn
from pixelis_agent.cota.slips import MISTAKES, TRAPS, Moment, Slip
from pixelis_agent.cota.story import Story
from pixelis_agent.cota.write import _play
from pixelis_env.actions import Properties, Segment, Zoom
from pixelis_env.evidence import Intervals, Mask, Measurement, TextLines, ToolError
from pixelis_env.wrappers import ToolCall


@pytest.fixture(scope="module")
def worlds() -> dict[str, ToolCall]:
    """An environment for each type, with exact and quick tools."""
    return {
        name: ToolCall(gym.make("Pixelis-v0", types=[name], tools="oracle"))
        for name in ("text_read", "search_color", "time_interval")
    }


def _played(worlds: dict[str, ToolCall], kind: str, slip: Slip, folder: Path) -> Moment:
    """Plays a plan up to where the slip fits, then the slip; on the first task that allows it."""
    env = worlds[kind]
    for index in range(40):
        observation, _ = env.reset(options={"index": index})
        story = Story(env, observation, folder, {})
        rng = np.random.default_rng(index)
        try:
            steps, _ = make_plan(story, rng, rng)
        except LookupError:
            continue
        ids = ["e0"]
        for step in steps:
            if slip.fits(step, kind):
                name = story.task.truth.names[0]  # type: ignore[union-attr]
                moment = Moment(story, step, name, tuple(ids), rng)
                try:
                    said = slip.play(moment)
                except slips.SlipFailed:
                    break
                if said is None:
                    break
                assert said[-1] == "."
                return moment
            story.act("On.", slips.renamed(step.action, ids), aim=step.aim)
            ids.append(story.last_id)
    raise AssertionError("no task allows it")


def _find(play: object) -> Slip:
    return next(slip for slip in MISTAKES + TRAPS if slip.play is play)


def _image(moment: Moment) -> ImageRef:
    """What the wrong step showed."""
    turn = moment.story.turns[-1]
    assert isinstance(turn, ToolTurn)
    return turn.images[0]


def _elsewhere(moment: Moment) -> None:
    assert moment.step.aim is not None
    target = moment.story.box(moment.step.aim)
    assert target is not None
    x0, y0, x1, y1 = _image(moment).region
    shared = slips._shared(target, (float(x0), float(y0), float(x1), float(y1)))
    assert shared < slips.APART + 0.1  # a region has whole pixels


def _out_of_view(moment: Moment) -> None:
    assert moment.step.aim is not None
    frame = moment.story.base.workspace.frame_at(_image(moment).time)
    assert moment.story.box(moment.step.aim._replace(frame=frame)) is None


def _refused(moment: Moment) -> None:
    assert isinstance(moment.story.last, ToolError)


def _nothing_found(moment: Moment) -> None:
    assert isinstance(moment.story.last, Intervals)
    assert moment.story.last.spans == ()


def _read(moment: Moment) -> None:
    assert isinstance(moment.story.last, TextLines)


def _measured(moment: Moment) -> None:
    assert isinstance(moment.story.last, Measurement)


@pytest.mark.parametrize(
    ("kind", "play", "check"),
    [
        ("search_color", slips.other_object, _elsewhere),
        ("text_read", slips.other_sign, _read),
        ("time_interval", slips.other_time, _out_of_view),
        ("search_color", slips.invalid_box, _refused),
        ("search_color", slips.invalid_id, _refused),
        ("text_read", slips.whole_frame, _read),
        ("search_color", slips.background, _measured),
        ("time_interval", slips.wrong_span, _nothing_found),
    ],
)
def test_a_slip(
    worlds: dict[str, ToolCall],
    tmp_path: Path,
    kind: str,
    play: object,
    check: Callable[[Moment], None],
) -> None:
    moment = _played(worlds, kind, _find(play), tmp_path)
    check(moment)
    story = moment.story
    wrong = [t for t in story.turns if isinstance(t, AssistantTurn) and not t.learn]
    assert wrong
    assert all(turn.target is None and turn.pointing is None for turn in wrong)
    # The plan's own step can still be carried out.
    evidence = story.act("Again.", slips.renamed(moment.step.action, moment.ids))
    assert not isinstance(evidence, ToolError)


def test_what_fits_where() -> None:
    zoom = Step(Zoom(box=(0, 0, 500, 500), time=1.0), aim=slips.Aim(0, 3))
    crop = Step(Segment(source="e1", box=(0, 0, 500, 500)), aim=slips.Aim(0, 3))
    measure = Step(Properties(targets=("e2",)))

    def fitting(step: Step, kind: str) -> set[str]:
        return {slip.play.__name__ for slip in MISTAKES + TRAPS if slip.fits(step, kind)}

    looks = {"other_object", "other_time", "invalid_box"}
    assert fitting(zoom, "search_color") == looks
    assert fitting(zoom, "text_read") == looks | {"other_sign", "whole_frame"}
    assert fitting(crop, "search_color") == {"invalid_box", "invalid_id", "background"}
    assert fitting(measure, "search_color") == {"invalid_id"}


@pytest.mark.parametrize("misses", [False, True])
def test_points_that_miss_are_mended(
    worlds: dict[str, ToolCall], tmp_path: Path, misses: bool
) -> None:
    """A point that did not catch its target is not to be imitated, the box after it is."""
    env = worlds["search_color"]
    for index in range(40):
        observation, _ = env.reset(options={"index": index})
        story = Story(env, observation, tmp_path, {})
        rng = np.random.default_rng(index)
        try:
            steps, _ = make_plan(story, rng, rng)
        except LookupError:
            continue
        outline = next(step for step in steps if isinstance(step.action, Segment))
        boxed = outline.instead or outline.action
        assert isinstance(boxed, Segment)
        if boxed.source != "e0" and boxed.box is not None:
            break
    story.act("Look.", steps[0].action, aim=steps[0].aim)
    x0, y0, x1, y1 = boxed.box  # type: ignore[misc]
    point = (1.0, 1.0) if misses else ((x0 + x1) / 2, (y0 + y1) / 2)
    step = Step(boxed.model_copy(update={"box": None, "point": point}), outline.aim, boxed)
    assert isinstance(_play(story, step, "mug", ["e0", "e1"], None, rng), Mask)
    calls = [t for t in story.turns if isinstance(t, AssistantTurn) and t.op == "segment"]
    assert [turn.learn for turn in calls] == ([False, True] if misses else [True])
    assert ('"box"' in calls[-1].text) == misses
