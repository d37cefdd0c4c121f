"""VSI-Bench's route planning: which way to turn between going forward from object to object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pixelis_env.rooms.boxes import footprint
from pixelis_env.rooms.questions.question import Question, QuestionType, Targets, arrange
from pixelis_env.rooms.questions.solve import compare
from pixelis_env.rooms.questions.survey import NoQuestion, Survey
from pixelis_env.rooms.scene import Placed

ROBOT_RADIUS = 0.18
"""The robot is a disc of this radius, m: a robot vacuum."""

ARRIVAL = 0.06
"""It has reached an object when this much (m) is left between them."""

STEP = 0.04
"""Its path is checked for collisions every so many metres."""

FLAT = 0.02
"""It rolls over what is lower than this (m), and under what hangs higher than itself."""

ROBOT_HEIGHT = 0.3

MIN_LENGTH = 2.0
"""Metres between the centroids of the start and of the end, at the least."""

PLANS = ((1, True), (2, False), (2, True), (3, False))
"""Forward moves, and whether the first one needs a turn: 2 to 5 numbered moves in all."""

TRIES = 300
"""How many random routes are looked at in one room: most of them collide."""

Floor = NDArray[np.float64]
"""float64 (..., 2): places on the floor, m."""


@dataclass(frozen=True)
class Route:
    """A drivable route.

    Attributes:
        turns: "Turn Left", "Turn Right" or "Turn Back" before each leg; None before the first
            one where the robot already faces its way.
        stops: Where it stands at the start and after each leg, float64 (2,) each, m.
    """

    turns: tuple[str | None, ...]
    stops: tuple[Floor, ...]


def _angle(heading: Floor, wanted: Floor) -> float:
    """Degrees from one direction to another, -180..180; left is positive."""
    cross = heading[0] * wanted[1] - heading[1] * wanted[0]
    return float(np.degrees(np.arctan2(cross, heading @ wanted)))


def turn(heading: Floor, wanted: Floor) -> str | None:
    """The turn from one direction to another, or None where no name fits it clearly.

    Left and right are 45 to 135 degrees, back is over 150.
    """
    angle = _angle(heading, wanted)
    if 45 <= abs(angle) <= 135:
        return "Turn Left" if angle > 0 else "Turn Right"
    return "Turn Back" if abs(angle) > 150 else None


def agrees(name: str, heading: Floor, wanted: Floor) -> bool:
    """Whether a turn's name also fits roughly between two other directions."""
    angle = _angle(heading, wanted)
    if name == "Turn Back":
        return abs(angle) > 135
    return 20 <= (angle if name == "Turn Left" else -angle) <= 135


def drive(survey: Survey, start: Placed, facing: Placed, waypoints: Sequence[Placed]) -> Route:
    """The route from beside `start`, facing `facing`, straight to each waypoint in turn.

    Raises:
        NoQuestion: It collides, or a turn is neither left, right nor back.
    """
    at, last = _leave(start, facing), start
    heading = _direction(at, facing)
    ahead = _direction(_middle(start), facing)
    turns: list[str | None] = []
    stops = [at]
    for k, waypoint in enumerate(waypoints):
        wanted, beyond = _direction(at, waypoint), _direction(_middle(last), waypoint)
        if k == 0 and waypoint.id == facing.id:
            turns.append(None)
        else:
            name = turn(heading, wanted)
            # Who takes the objects for points, and the robot to stand at them, must agree.
            if name is None or not agrees(name, ahead, beyond):
                raise NoQuestion("a turn is not clearly left, right or back")
            turns.append(name)
        at, heading = _advance(survey, at, wanted, waypoint), wanted
        last, ahead = waypoint, beyond
        stops.append(at)
    return Route(tuple(turns), tuple(stops))


def clearance(points: Floor, quad: Floor) -> NDArray[np.float64]:
    """Distance (m) of points (N, 2) from a convex counter-clockwise quad (4, 2); 0 inside."""
    start, edge = quad[None], (np.roll(quad, -1, 0) - quad)[None]
    offset = points[:, None] - start
    along = ((offset * edge).sum(-1) / (edge**2).sum(-1)).clip(0, 1)
    distance = np.sqrt(((offset - along[..., None] * edge) ** 2).sum(-1)).min(1)
    inside = (edge[..., 0] * offset[..., 1] - edge[..., 1] * offset[..., 0] >= 0).all(1)
    return np.where(inside, 0.0, distance)


def _middle(placed: Placed) -> Floor:
    return np.asarray(placed.center[:2])


def _direction(at: Floor, to: Placed) -> Floor:
    offset = _middle(to) - at
    length = float(np.hypot(*offset))
    if length < 1e-6:
        raise NoQuestion("the robot stands where it should go")
    return offset / length


def _leave(start: Placed, facing: Placed) -> Floor:
    """Beside `start`, on the side of `facing`."""
    middle = _middle(start)
    ray = middle + np.arange(0, 4, STEP)[:, None] * _direction(middle, facing)
    return ray[int(np.argmax(clearance(ray, footprint(start)) >= ROBOT_RADIUS + ARRIVAL))]


def _advance(survey: Survey, at: Floor, heading: Floor, waypoint: Placed) -> Floor:
    """Where the robot stops before `waypoint`; `NoQuestion` if it hits something on its way."""
    room = survey.scene.room
    ray = at + np.arange(0, np.hypot(room.width, room.depth), STEP)[:, None] * heading
    reached = clearance(ray, footprint(waypoint)) <= ROBOT_RADIUS + ARRIVAL
    if not reached.any():
        raise NoQuestion("the way never reaches the object")
    path = ray[: int(np.argmax(reached)) + 1]
    walls = np.minimum(path, [room.width, room.depth] - path).min()
    if walls < ROBOT_RADIUS:
        raise NoQuestion("the robot hits a wall")
    for placed in room.objects:
        low = placed.center[2] - placed.size[2] / 2
        if low > ROBOT_HEIGHT or low + placed.size[2] < FLAT or placed.id == waypoint.id:
            continue
        if clearance(path, footprint(placed)).min() < ROBOT_RADIUS:
            raise NoQuestion(f"the robot hits the {placed.category}")
    return path[-1]


def _routes(survey: Survey, rng: Generator) -> Iterable[Targets]:
    """Start, facing, then the waypoints; the first one is faced unless the plan turns first."""
    floor = [placed for placed in survey.unique if placed.mount == "floor"]
    for _ in range(TRIES if len(floor) >= 2 else 0):
        legs, turned = PLANS[int(rng.integers(len(PLANS)))]
        start, *stops = (floor[k].id for k in rng.permutation(len(floor))[: legs + 1])
        # The robot can face what hangs on a wall; it cannot drive there.
        faced = [placed.id for placed in survey.unique if placed.id not in (start, *stops)]
        if len(stops) == legs and (faced or not turned):
            yield start, faced[int(rng.integers(len(faced)))] if turned else stops[0], *stops


def _ask(survey: Survey, targets: Targets, rng: Generator) -> Question:
    start, facing, *waypoints = survey.named(targets)
    end = waypoints[-1]
    if np.hypot(start.center[0] - end.center[0], start.center[1] - end.center[1]) <= MIN_LENGTH:
        raise NoQuestion("the end is too close to the start")
    turns = drive(survey, start, facing, waypoints).turns
    moves = []
    for name, waypoint in zip(turns, waypoints, strict=True):
        moves += ["[please fill in]"] * (name is not None)
        moves.append(f"Go forward until the {waypoint.category}")
    filled = [name for name in turns if name is not None]
    right = ", ".join(filled)
    every = product(("Turn Back", "Turn Left", "Turn Right"), repeat=len(filled))
    wrong = [text for names in every if (text := ", ".join(names)) != right]
    options, answer = arrange(right, wrong, rng, n_options=min(len(wrong) + 1, 4))
    numbered = " ".join(f"{k}. {move}" for k, move in enumerate(moves, 1))
    text = (
        f"You are a robot beginning at the {start.category} and facing the {facing.category}. "
        f"You want to navigate to the {end.category}. You will perform the following actions "
        "(Note: for each [please fill in], choose either 'turn back,' 'turn left,' or "
        f"'turn right.'): {numbered}. You have reached the final destination."
    )
    return Question(text, options, answer, tuple(dict.fromkeys(targets)))


TYPES = (
    QuestionType(
        "route_planning", "vsi", "letter", {"details": 3}, _routes, _ask, compare, looks_at=3
    ),
)
