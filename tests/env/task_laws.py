"""What every procedural task keeps, whatever its type: put to the episode that has just begun."""

from __future__ import annotations

import numpy as np

from pixelis_env.actions import Action, Answer, Localize, ReadText, Segment, Track, Zoom
from pixelis_env.coordinates import Box
from pixelis_env.env import PixelisEnv
from pixelis_env.evidence import Mask, View
from pixelis_env.observation import overview_indices
from pixelis_env.rooms.questions.survey import IN_VIEW
from pixelis_env.rooms.questions.truth import RoomTruth
from pixelis_env.scoring import perturb

CALLED = {
    "search_item": "object on the ",
    "text_nearest": "sign that is closest to the ",
    "motion_which": "object that moves",
}
"""What the first target is called where its name is no part of the question as it stands."""


def solve(env: PixelisEnv, chain: list[Action]) -> None:
    """Plays a chain to its end: every call can be carried out, and the answer is right."""
    for action in chain:
        _, _, terminated, _, info = env.step(action)
        assert not info["invalid"], info["evidence"].message
    assert terminated
    assert info["score"] == 1.0, (env.task.id, env.task.question, chain[-1])


def oracle_is_right(env: PixelisEnv) -> None:
    """The oracle scores 1, an empty answer 0, a perturbed one less than 1."""
    start = env.get_state()
    chain = env.oracle()
    assert len(chain) > 1, "an oracle looks before it answers"
    solve(env, chain)
    wrong = perturb(env.task, np.random.default_rng(start.index))
    for text, good in (("", lambda s: s == 0.0), (wrong, lambda s: s < 1.0)):
        env.set_state(start)
        info = env.step(Answer(text=text))[4]
        assert good(info["score"]), (env.task.id, text, info["score"])
    env.set_state(start)


def truth_is_what_the_oracle_looks_at(env: PixelisEnv) -> None:
    """One name and one exact box for each object that the oracle outlines or zooms on."""
    start, truth = env.get_state(), env.task.truth
    assert isinstance(truth, RoomTruth)
    assert len(truth.names) == len(truth.targets)
    if env.task.type != "room_size_estimation":  # which names nothing
        wording = " ".join([env.task.question, *(env.task.options or ())])
        for k, called in enumerate(truth.names):
            assert called in wording or (k == 0 and CALLED[env.task.type] in called)
    solve(env, env.oracle())
    evidence = env.workspace.evidence
    masks = [item for item in evidence if isinstance(item, Mask)]
    views = [item for item in evidence if isinstance(item, View)]
    assert len(masks or views) == len(truth.names)
    for item in (*masks, *views):
        boxes = [box_or_speck(truth, k, item.frame_index) for k in range(len(truth.names))]
        if isinstance(item, Mask):
            assert item.box in boxes
        else:
            x0, y0, x1, y1 = item.region
            inside = [b and x0 <= b[0] and y0 <= b[1] and b[2] <= x1 and b[3] <= y1 for b in boxes]
            assert any(inside)
    env.set_state(start)


def box_or_speck(truth: RoomTruth, k: int, frame: int) -> Box | None:
    """The truth's box; also of what is in view on the oracle's small id image and just not here."""
    box = truth.box(k, frame)
    seen = truth.video.object_box(frame, truth.targets[k])
    if box is None and seen is not None:
        assert truth.video.mask(frame, truth.targets[k]).mean() < IN_VIEW
        return tuple(seen)
    return box


def frame_of(env: PixelisEnv, time: float) -> int:
    """The frame that starts at this time, s."""
    (frame,) = np.flatnonzero(np.isclose(env.task.media.times, time, atol=1e-6))
    return int(frame)


def glimpses_suffice(env: PixelisEnv) -> bool:
    """The oracle of the overview looks nowhere else and knows no time; False: it says it cannot."""
    start, frames = env.get_state(), overview_indices(env.task.media)
    try:
        chain = env.oracle(np.random.default_rng(start.index), frames)
    except LookupError:
        return False
    for action in chain:
        if isinstance(action, (Zoom, Segment, ReadText)):
            assert (action.time is None) == (action.source != "e0")
            assert action.time is None or frame_of(env, action.time) in frames
        if isinstance(action, Localize):
            assert action.span is None
        if isinstance(action, Track):
            assert action.span is not None
            assert frame_of(env, action.span[0]) in frames
            assert action.span[1] <= min(action.span[0] + 1.0, env.task.media.duration)
    solve(env, chain)
    env.set_state(start)
    return True
