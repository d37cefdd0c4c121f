"""Hypothesis strategies for actions, shared by the tests of the environment."""

from __future__ import annotations

from hypothesis import strategies as st

from pixelis_env.actions import (
    Action,
    Answer,
    Localize,
    Properties,
    ReadText,
    Segment,
    Track,
    Zoom,
)
from pixelis_env.coordinates import Frame, Region, limits

TOPS = {"rel1000": 1000.0, "unit": 1.0}

# What UTF-8 can encode, without NUL: the Dict space pads texts with it.
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))


@st.composite
def boxes(draw: st.DrawFn, frame: Frame, region: Region) -> tuple[float, float, float, float]:
    """A valid box, float32-representable in `unit` (the Dict space's dtype)."""
    top_x, top_y = limits(frame, region)
    x0, x1 = sorted(draw(st.lists(st.integers(0, 64), min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(draw(st.lists(st.integers(0, 64), min_size=2, max_size=2, unique=True)))
    return (x0 / 64 * top_x, y0 / 64 * top_y, x1 / 64 * top_x, y1 / 64 * top_y)


@st.composite
def actions(draw: st.DrawFn, *, frame: Frame, region: Region, evidence: int, end: float) -> Action:
    """A well-formed action on evidence e0..e`evidence`; times are 64ths of `end` seconds."""
    ids = st.integers(0, evidence).map(lambda n: f"e{n}")
    sets = st.sets(st.integers(0, evidence), min_size=1, max_size=8).map(
        lambda s: tuple(f"e{n}" for n in sorted(s))
    )
    ticks = st.integers(0, 64).map(lambda n: n / 64 * end)
    times = st.none() | ticks
    spans = st.none() | st.tuples(ticks, ticks)
    box = draw(boxes(frame, region))
    place = {"source": draw(ids), "time": draw(times), "frame": frame}
    op = draw(st.sampled_from(range(8)))
    if op == 0:
        return Zoom(box=box, **place)
    if op == 1:
        return Segment(box=box, **place)
    if op == 2:
        return Segment(point=box[:2], **place)
    if op == 3:
        return ReadText(box=draw(st.sampled_from([None, box])), **place)
    if op == 4:
        return Track(target=draw(ids), span=draw(spans))
    if op == 5:
        query = draw(st.sampled_from(["target", "text", None]))
        text = draw(texts.filter(lambda t: 0 < len(t.encode()) <= 64))
        return Localize(
            target=draw(ids) if query == "target" else None,
            text=text if query == "text" else None,
            span=draw(spans),
        )
    if op == 6:
        return Properties(targets=draw(sets))
    answer = draw(texts.filter(lambda t: len(t.encode()) <= 64))
    return Answer(text=answer, evidence=draw(st.just(()) | sets))
