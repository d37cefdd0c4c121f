"""Filling a layout: how much of what, in which order.

Room areas at level 3 follow the 5th, 50th and 95th percentile of indoor scans (5.4, 17.5,
46.7 m²).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from .furniture import COLORS
from .kinds import CLUTTER, DETAILS, FLOOR_CLUTTER, KINDS, WORDS
from .layout import Layout
from .scene import Lettering, Placed
from .themes import THEMES

_SIGN_INKS = {
    "white": (24, 24, 30),
    "yellow": (20, 20, 20),
    "red": (250, 248, 244),
    "green": (250, 250, 246),
    "blue": (250, 250, 250),
    "orange": (22, 18, 16),
    "black": (246, 244, 236),
    "purple": (250, 246, 252),
    "pink": (40, 12, 24),
}

_TAG_ASPECT = 1.65
"""Width of a tag over its height: three digits fill it."""

_TAG_GAP = 0.3
"""Metres between a tag and the next: a zoom on one shows no other."""


@dataclass(frozen=True)
class Plan:
    """How much goes into a room.

    Attributes:
        area: Floor area range, m²; None = the real prior.
        floor: Fewest and most pieces on the floor.
        small: Fewest and most things on table tops.
        posters: Fewest and most posters and clocks.
        detail_scale: Size of search details relative to real ones.
        sign_width: Width range of signs, m.
        tag_height: Height range of tags, m.
    """

    area: tuple[float, float] | None
    floor: tuple[int, int]
    small: tuple[int, int]
    posters: tuple[int, int]
    detail_scale: float
    sign_width: tuple[float, float]
    tag_height: tuple[float, float]


PLANS = {
    1: Plan((11.0, 17.0), (5, 7), (0, 2), (0, 1), 1.3, (0.85, 1.15), (0.17, 0.21)),
    2: Plan((14.0, 25.0), (9, 13), (4, 7), (1, 2), 1.1, (0.6, 0.9), (0.15, 0.19)),
    3: Plan(None, (8, 24), (6, 12), (1, 3), 1.0, (0.45, 0.75), (0.14, 0.18)),
}


def furnish(
    rng: np.random.Generator,
    level: int,
    signs: int,
    details: int,
    tags: int = 0,
    roomy: float = 0.0,
) -> Layout:
    """Draw one layout.

    Args:
        rng: Source of every choice.
        level: 1..3.
        signs: Wall signs with text to hang.
        details: Small things of unique category to put down.
        tags: Small wall tags with a number to hang.
        roomy: 0..1: how much emptier to leave the floor.

    Returns:
        The layout; it may hold fewer signs, details or tags than asked when the walls or tops are
        full.
    """
    plan = PLANS[level]
    if plan.area is None:
        area = float(np.clip(np.exp(rng.normal(np.log(17.5), 0.597)), 5.4, 48.0))
    else:
        area = float(rng.uniform(*plan.area))
    area = max(area, 9.0) if signs + details + tags > 2 or roomy else area
    aspect = float(rng.uniform(0.68, 1.0))
    wide, deep = round(math.sqrt(area / aspect), 2), round(math.sqrt(area * aspect), 2)
    if rng.random() < 0.5:
        wide, deep = deep, wide
    layout = Layout(rng, wide, deep, round(float(rng.uniform(2.5, 2.85)), 2))
    layout.cut_openings(int(rng.integers(0, 3)) if area > 7 else 0)
    small_room = area < 8.5
    names = (
        [n for n in THEMES if (n == "bath") == small_room]
        if area < 10
        else [n for n in THEMES if n != "bath"]
    )
    theme = THEMES[names[int(rng.integers(len(names)))]]
    low, high = plan.floor
    if level == 3:
        want = int(np.clip(round(2.5 + 0.62 * area), low, high))
    else:
        want = int(rng.integers(low, high + 1))
    want = max(3, round(want * (1 - 0.5 * roomy)))
    _stand(layout, theme.must, theme.may, want, details)
    _hang_signs(layout, plan, signs)
    if tags:
        _hang_tags(layout, plan, tags)
    _lay_details(layout, plan, details)
    taken = {o.category for o in layout.objects if o.category in DETAILS}
    _decorate(layout, plan, level, signs, taken)
    return layout


def _stand(
    layout: Layout,
    must: tuple[tuple[str, int, int], ...],
    may: tuple[str, ...],
    want: int,
    details: int,
) -> None:
    """Put the furniture on the floor."""
    firsts: dict[str, Placed] = {}

    def one(category: str) -> None:
        match = (
            firsts.get(category)
            if category in ("chair", "office chair", "cabinet", "bedside table", "desk", "stool")
            else None
        )
        if match is not None and layout.rng.random() < 0.15:
            match = None
        placed = layout.place(category, match)
        if placed is not None:
            firsts.setdefault(category, placed)

    for category, fewest, most in must:
        for _ in range(int(layout.rng.integers(fewest, most + 1))):
            if len(layout.objects) < want:
                one(category)
    if details and not any(KINDS[o.category].top >= 0.6 for o in layout.objects):
        one("cabinet")
        one("table")
    for category in (may[int(k)] for k in layout.rng.permutation(len(may))):
        if len(layout.objects) >= want:
            break
        one(category)
    extra = 0
    while len(layout.objects) < want and extra < 6:
        extra += 1
        one(layout.pick(("chair", "plant", "box", "stool", "chair", "cabinet")))
    for stand in [o for o in layout.objects if o.category == "tv stand"]:
        layout.place_on_top("tv", on=stand)
    for desk in [o for o in layout.objects if o.category == "desk"]:
        if layout.rng.random() < 0.75:
            layout.place_on_top("monitor", on=desk)


def _hang_signs(layout: Layout, plan: Plan, signs: int) -> None:
    """Hang signs, each with its own paper colour and text."""
    papers = layout.rng.permutation(len(KINDS["sign"].colors))
    words = layout.rng.permutation(len(WORDS))
    simple = plan.detail_scale > 1.2
    drawn = [w for w in (WORDS[int(k)] for k in words) if not simple or len(w) <= 8]
    for k in range(signs):
        color = KINDS["sign"].colors[int(papers[k % len(papers)])]
        text = drawn[k % len(drawn)]
        if text in ("ROOM", "GATE", "PLATFORM", "LEVEL", "LAB") or layout.rng.random() < 0.2:
            text = f"{text} {int(layout.rng.integers(1, 60))}"
        if layout.rng.random() < 0.35:
            text = text.title()
        wide = layout.uniform(*plan.sign_width)
        high = wide * (0.38 if len(text) <= 8 else 0.3 if len(text) <= 12 else 0.34)
        base = layout.look("sign")
        paper = COLORS[color]
        item = replace(
            base,
            size=(round(wide, 3), 0.024, round(high, 3)),
            color=color,
            rgb=paper,
            text=text,
            lettering=Lettering(ink=_SIGN_INKS[color], paper=paper),
        )
        layout.place_panel(item, 1.5, 1.72, 90)


def _hang_tags(layout: Layout, plan: Plan, tags: int) -> None:
    """Hang tags, each with its own paper colour and number, well apart."""
    colors = KINDS["tag"].colors
    papers = layout.rng.permutation(len(colors))
    numbers = layout.rng.choice(np.arange(100, 1000), tags, replace=False)
    for paper, number in zip(papers[:tags], numbers, strict=True):
        color, high = colors[int(paper)], layout.uniform(*plan.tag_height)
        item = replace(
            layout.look("tag"),
            size=(round(_TAG_ASPECT * high, 3), 0.012, round(high, 3)),
            color=color,
            rgb=COLORS[color],
            text=str(int(number)),
            lettering=Lettering(ink=_SIGN_INKS[color], paper=COLORS[color]),
        )
        layout.place_panel(item, 1.15, 1.5, 90, gap=_TAG_GAP)


def _lay_details(layout: Layout, plan: Plan, details: int) -> None:
    """Lay down small things, each the only one of its category."""
    order = layout.rng.permutation(len(DETAILS))
    left = details
    for name in (DETAILS[int(k)] for k in order):
        if left == 0:
            return
        if any(o.category == name for o in layout.objects):
            continue
        if layout.place_on_top(name, plan.detail_scale) or layout.place(name):
            left -= 1


def _decorate(layout: Layout, plan: Plan, level: int, signs: int, taken: set[str]) -> None:
    """Add posters, a clock, a screen and things on tops that no one asked for."""
    rng = layout.rng
    for _ in range(int(rng.integers(plan.posters[0], plan.posters[1] + 1))):
        poster = layout.look("poster")
        scale = layout.uniform(0.7, 1.15)
        size = tuple(round(v * scale, 3) for v in poster.size)
        layout.place_panel(replace(poster, size=(size[0], 0.027, size[2])), 1.45, 1.6, 20)
    if rng.random() < (0.25, 0.5, 0.6)[level - 1]:
        layout.place_panel(layout.look("clock"), 1.85, 2.0, 20)
    if level > 1 and rng.random() < 0.25:
        layout.place_panel(layout.look("screen"), 1.5, 1.6, 20)
    names = tuple(n for n in CLUTTER if n not in taken)
    for _ in range(int(rng.integers(plan.small[0], plan.small[1] + 1))):
        layout.place_on_top(layout.pick(names))


def clutter(layout: Layout, keep_unique: set[str], count: int) -> None:
    """Add many more small things, for the clutter shift.

    Args:
        layout: The finished layout; what stands in it stays.
        keep_unique: Categories of which no second one may appear.
        count: How many to try.
    """
    tops = tuple(n for n in CLUTTER if n not in keep_unique)
    floors = tuple(n for n in FLOOR_CLUTTER if n not in keep_unique)
    for k in range(count):
        if k % 3 == 2 and floors:
            layout.place(layout.pick(floors), tries=12)
        elif k % 7 == 0:
            layout.place_panel(layout.look("poster"), 1.4, 1.6, 12)
        elif tops:
            layout.place_on_top(layout.pick(tops))
