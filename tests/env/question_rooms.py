"""Rooms and the questions about them that the question tests share; each is made once."""

from __future__ import annotations

from functools import cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from pixelis_env.rooms import Placed, RoomVideo, make_scene
from pixelis_env.rooms.questions import TYPES, Question, Survey, questions_about

STILL_ROOMS = range(24)
MOVING_ROOMS = range(100, 146)
TAG_ROOMS = range(200, 230)
PER_ROOM = 2

SAMPLING = 0.06
"""Metres between the points that stand for a box's surface."""


@cache
def survey(seed: int) -> Survey:
    """Rooms 0.. are walked through; in rooms 100.. something moves before a standing camera,
    in rooms 200.. small tags hang on the walls.
    """
    if seed in MOVING_ROOMS:
        return Survey(RoomVideo(make_scene(seed, level=1, movers=1)), stride=3)
    if seed in TAG_ROOMS:
        return Survey(RoomVideo(make_scene(seed, level=1, tags=3)), stride=3)
    scene = make_scene(seed, level=2, details=5, signs=2, n_frames=110)
    return Survey(RoomVideo(scene), stride=1)


@cache
def asked(name: str) -> tuple[tuple[Survey, Question], ...]:
    """Questions of a type from all rooms, at most two from each."""
    kind = TYPES[name]
    found = []
    rooms = MOVING_ROOMS if kind.family == "motion" else STILL_ROOMS
    for seed in TAG_ROOMS if name == "search_number" else rooms:
        rng = np.random.default_rng(seed)
        questions = islice(questions_about(survey(seed), kind, rng), PER_ROOM)
        found += [(survey(seed), question) for question in questions]
    return tuple(found)


@cache
def counted_larger(seed: int) -> NDArray[np.float64]:
    """The share of each frame that each id covers, counted on larger id images; (T, ids)."""
    counts = survey(seed).video.visible(stride=1, size=112)
    return np.asarray(counts / counts.sum(1, keepdims=True))


def surface(placed: Placed, step: float = SAMPLING) -> NDArray[np.float64]:
    """Points all over an object's box, at most `step` m apart, float64 (N, 3), m."""
    size = np.array(placed.size)
    axes = [np.linspace(-0.5, 0.5, max(2, int(np.ceil(length / step)) + 1)) for length in size]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    local = grid[(np.abs(grid) == 0.5).any(1)] * size
    cos, sin = np.cos(placed.yaw), np.sin(placed.yaw)
    x = local[:, 0] * cos - local[:, 1] * sin
    y = local[:, 0] * sin + local[:, 1] * cos
    return np.stack([x, y, local[:, 2]], 1) + placed.center


def gap(a: Placed, b: Placed) -> float:
    """Distance (m) of the closest sampled points of two boxes; at most SAMPLING too long."""
    points, others = surface(a), surface(b)
    return float(min(np.sqrt(((others - p) ** 2).sum(1)).min() for p in points))


def option(question: Question) -> str:
    """The text of the right option."""
    assert question.options is not None
    return question.options[ord(question.answer) - ord("A")]
