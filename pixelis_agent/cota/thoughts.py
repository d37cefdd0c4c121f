"""The words around a call: short, varied, and about nothing but what has been seen."""

from __future__ import annotations

import re

from numpy.random import Generator

from pixelis_env.actions import Action, Localize, Properties, ReadText, Segment, Track, Zoom
from pixelis_env.evidence import Evidence, Mask, TextLines, Tracklet

_ZOOM = (
    "The {name} shows best at {time} seconds.",
    "At {time} seconds the {name} is in view; zoom in on it.",
    "The frame at {time} seconds shows the {name} clearly.",
    "Look closer at the {name} at {time} seconds.",
    "I see the {name} in the frame at {time} seconds.",
)
_ZOOM_SMALL = (
    "The {name} at {time} seconds is small; zoom in.",
    "The {name} is too small at {time} seconds; look closer.",
)
_READ_AT_ONCE = (
    "The {name} at {time} seconds can be read at once.",
    "Read the {name} in the frame at {time} seconds.",
)
_READ = (
    "The crop shows the {name}; read it.",
    "Now the {name} is large enough to read.",
    "{source} holds the {name}; read its text.",
    "Read what the {name} says in {source}.",
)
_SEGMENT = (
    "The {name} shows best at {time} seconds; outline it.",
    "At {time} seconds the {name} is in view; outline it.",
    "Outline the {name} in the frame at {time} seconds.",
    "I see the {name} at {time} seconds; draw a box around it.",
)
_SEGMENT_FIRST = (
    "The {name} first shows at {time} seconds; outline it.",
    "The first frame with the {name} is at {time} seconds.",
    "Outline the {name} where it first appears, at {time} seconds.",
)
_SEGMENT_CROP = (
    "The crop shows the {name}; outline it.",
    "Now outline the {name} in {source}.",
    "{source} shows the {name}; draw a box around it.",
)
_POINT = (
    "Point at the middle of the {name} to outline it.",
    "A point on the {name} will outline it.",
)
_COLOUR = (
    "The outline has {area} px; measure its colour.",
    "{source} outlines the {name}; what colour is it?",
    "Measure the colour of the {name} in {source}.",
)
_MEASURE = (
    "The outlines are there; measure them.",
    "Measure what was outlined.",
    "Now compare the measurements.",
)
_PATH = (
    "It is seen in {seen} of {count} frames; measure its path.",
    "The track is there; measure how it moves.",
    "Measure the path of the {name} in {source}.",
)
_LOCALIZE = (
    "With the outline {source}, find when the {name} is in view.",
    "The outline has {area} px; search the video for the {name}.",
    "{source} outlines the {name}; when does it come and go?",
    "Find when the {name} is in view.",
)
_TRACK = (
    "Follow the {name} from {start} to {end} seconds.",
    "{source} outlines the {name}; follow it to {end} seconds.",
    "See where the {name} goes until {end} seconds.",
)
_MOVES_ON = ("Next:", "Then:", "Now the next one:")


def thought_of(
    action: Action, name: str, seen: Evidence, rng: Generator, *, task_type: str, first: bool
) -> str:
    """A thought before an action.

    Args:
        action: With the episode's own evidence ids.
        name: What the question calls the object that it is about.
        seen: The newest evidence.
        rng: Chooses the words.
        task_type: The question type.
        first: Whether nothing has been looked at yet.
    """
    facts = _facts(action, name if first else short(name), seen)
    words = _choose(_templates(action, seen, task_type), rng).format(**facts)
    later = isinstance(action, Segment) and action.source == "e0" and not first
    if later and isinstance(seen, Mask) and rng.random() < 0.5:
        rest = words if words.startswith("I ") else words[0].lower() + words[1:]
        words = f"{_choose(_MOVES_ON, rng)} {rest}"
    return polished(words)


def short(name: str) -> str:
    """What a thing is called once it has been named in full: "sign" for "sign that is ..."."""
    return name.partition(" that ")[0]


def polished(words: str) -> str:
    """A sentence with a capital, unless an evidence id opens it, and with "1 second"."""
    words = _ONE.sub("1 second", words)
    return words if _ID.match(words) else words[0].upper() + words[1:]


_ONE, _ID = re.compile(r"(?<![\d.])1 seconds"), re.compile(r"e\d")


def _templates(action: Action, seen: Evidence, task_type: str) -> tuple[str, ...]:
    if isinstance(action, Zoom):
        small = task_type.startswith("search")
        return _ZOOM + _ZOOM_SMALL if small else _ZOOM
    if isinstance(action, ReadText):
        return _READ if action.source != "e0" else _READ_AT_ONCE
    if isinstance(action, Segment):
        if action.point is not None:
            return _POINT
        if action.source != "e0":
            return _SEGMENT_CROP
        return _SEGMENT_FIRST if task_type in ("obj_appearance_order", "time_order") else _SEGMENT
    if isinstance(action, Properties):
        if isinstance(seen, Tracklet):
            return _PATH
        return _COLOUR if task_type == "search_color" and isinstance(seen, Mask) else _MEASURE
    if isinstance(action, Localize):
        return _LOCALIZE if isinstance(seen, Mask) else _LOCALIZE[3:]
    if isinstance(action, Track):
        return _TRACK
    raise ValueError(f"there is no thought for {action.op}")


def _facts(action: Action, name: str, seen: Evidence) -> dict[str, str]:
    source = getattr(action, "source", None) or getattr(action, "target", None)
    if isinstance(action, Properties):
        source = action.targets[-1]
    facts = {"name": name, "source": source or "e0"}
    if getattr(action, "time", None) is not None:
        facts["time"] = f"{action.time:g}"  # type: ignore[union-attr]
    if isinstance(action, Track) and action.span is not None:
        facts["start"], facts["end"] = (f"{time:g}" for time in action.span)
    if isinstance(seen, Mask):
        facts["area"] = str(seen.area)
    if isinstance(seen, Tracklet):
        facts["seen"], facts["count"] = str(sum(seen.visible)), str(len(seen.visible))
    return facts


_NOT_IT = (
    "That is the {other}, not the {name}.",
    "This shows the {other} instead of the {name}.",
    "Not the {name} but the {other}; look elsewhere.",
)
_NOT_THERE = (
    "The {name} is not in view at {time} seconds.",
    "At {time} seconds the {name} is out of view; try another time.",
)
_SAYS_OTHER = (
    "That says {text}, but it is the {other}, not the {name}.",
    "{text} stands on the {other}; I need the {name}.",
)
_INVALID = {
    "box": (
        "Coordinates must lie within 0 to 1000; write the box again.",
        "That box leaves the view; it has to stay inside.",
    ),
    "id": (
        "There is no {wrong}; the newest evidence is {newest}.",
        "{wrong} does not exist yet; use the right id.",
    ),
}
_EMPTY = (
    "No text there; the {name} is somewhere else.",
    "Nothing can be read there; look at the {name} itself.",
)
_NEVER = (
    "Never in that span; search the whole video.",
    "It does not show in that span; search all of it.",
)
_UNSUITED = (
    "That may be the text of anything in the frame; zoom in first.",
    "Whose text that is cannot be told; zoom in first.",
)
_BACKGROUND = (
    "That colour includes what is behind the {name}; outline it first.",
    "The crop holds more than the {name}; outline it first.",
)
_PART = (
    "That outline of {area} px misses the {name}; use a box.",
    "The point did not catch the {name}; draw a box instead.",
)

NOTICES: dict[str, tuple[str, ...]] = {
    "other": _NOT_IT,
    "absent": _NOT_THERE,
    "read other": _SAYS_OTHER,
    "invalid box": _INVALID["box"],
    "invalid id": _INVALID["id"],
    "empty": _EMPTY,
    "never": _NEVER,
    "unsuited": _UNSUITED,
    "background": _BACKGROUND,
    "part": _PART,
}
"""What is said when a step turns out wrong, by what went wrong."""


def notice(kind: str, rng: Generator, **facts: str) -> str:
    """A thought that notices a wrong step from its result."""
    return polished(_choose(NOTICES[kind], rng).format(**facts))


def described(seen: Evidence) -> str:
    """The text that evidence reads, as it is quoted in a thought; "" where it reads none."""
    if isinstance(seen, TextLines) and seen.lines:
        return " / ".join(f'"{line.text}"' for line in seen.lines)
    return ""


def _choose(options: tuple[str, ...], rng: Generator) -> str:
    return options[int(rng.integers(len(options)))]
