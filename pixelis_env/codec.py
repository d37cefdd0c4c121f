"""Typed actions to and from Gymnasium's spaces: a structured `Dict`, and a flat `MultiDiscrete`.

One field means one thing in every operation:

| field | meaning |
|---|---|
| `op` | index into `actions.OPS` |
| `source` | the evidence to work on (zoom, segment, read_text: `source`; track, localize: `target`): 0 = the medium, k = the k-th newest, the medium where there are fewer |
| `targets` | bit k-1: the k-th newest evidence is measured (properties) or the answer rests on it (answer); bits of evidence that is not there mean nothing |
| `prompt` | 0 = the whole view, 1 = the box, 2 = the box's centre point |
| `box` | two opposite corners, unit coordinates of the view |
| `timed` | 1 = use `time` |
| `time` | (start, end) as a share of the duration; operations on one frame use the start |
| `query` | localize: 0 = scenes, 1 = the evidence `source`, 2 = `text` |
| `answer` | which field answers: 0 `letter`, 1 `number`, 2 `text`, 3 `time`, 4 what `source` reads |
| `letter` | 0 = A ... 25 = Z |
| `number` | u stands for the number 10^(4u) - 1, so 0 to 9,999, to four digits |
| `text` | bytes of UTF-8, zero-padded |
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from pixelis_env.actions import (
    OPS,
    TEXT_LIMIT,
    Action,
    Localize,
    Properties,
    ReadText,
    Segment,
    Track,
    Zoom,
    parse_action,
)
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import Intervals, TextLines
from pixelis_env.workspace import Workspace

WHOLE, BOX, POINT = 0, 1, 2
SCENES, TARGET, TEXT = 0, 1, 2
NEWEST = 8
LETTER, NUMBER, FREE_TEXT, TIME, SOURCE = 0, 1, 2, 3, 4

# The flat form's grid: box corners in twentieths of the view, times in 32nds of the clip, and the
# answers A..Z, whole numbers 0..20, 43 numbers spaced evenly in logarithm, the time, the source.
_GRID, _TICKS = 20, 32
_NUMBERS: NDArray[np.float64] = np.concatenate(
    [np.arange(21.0), [float(f"{v:.3g}") for v in np.geomspace(0.1, 5000.0, 43)]]
)
_ANSWERS = 26 + len(_NUMBERS) + 2


class DictCodec:
    """Typed actions to and from the structured `Dict` space.

    Evidence is named by age: with ids, nearly every random action would name evidence that is
    not there.
    """

    def __init__(self) -> None:
        self.space = spaces.Dict(
            {
                "op": spaces.Discrete(len(OPS)),
                "source": spaces.Discrete(NEWEST + 1),
                "targets": spaces.MultiBinary(NEWEST),
                "prompt": spaces.Discrete(3),
                "box": spaces.Box(0.0, 1.0, (4,), np.float32),
                "timed": spaces.Discrete(2),
                "time": spaces.Box(0.0, 1.0, (2,), np.float32),
                "query": spaces.Discrete(3),
                "answer": spaces.Discrete(5),
                "letter": spaces.Discrete(26),
                "number": spaces.Box(0.0, 1.0, (1,), np.float32),
                "text": spaces.MultiDiscrete(np.full(TEXT_LIMIT, 256)),
            }
        )

    def empty(self) -> dict[str, Any]:
        """An action of the space with every field at its zero."""
        return {
            key: np.zeros(space.shape, space.dtype) if space.shape else np.int64(0)
            for key, space in self.space.items()
        }

    def decode(self, data: Mapping[str, Any], workspace: Workspace) -> Action:
        """The typed action that a member of the space stands for.

        Raises:
            InvalidCall: Not a member of the space, or no action (e.g. a box without area is one,
                an empty text to look for is not).
        """
        for key, space in self.space.items():
            if key not in data:
                raise InvalidCall(f"the action has no field {key!r}; it needs {list(self.space)}")
            if not _member(space, data[key]):
                kind = f"{type(space).__name__} {space.shape}"
                raise InvalidCall(f"the action's field {key!r} is not in its space, {kind}")
        op = OPS[int(data["op"])]
        source = self._id(int(data["source"]), workspace)
        ages = [int(bit) + 1 for bit in np.flatnonzero(data["targets"])]
        chosen = tuple(self._id(a, workspace) for a in reversed(ages) if a <= len(workspace))
        duration = workspace.media.duration
        start, end = (float(t) * duration for t in data["time"])
        timed = bool(data["timed"])
        fields: dict[str, Any] = {"op": op}
        if op in ("zoom", "segment", "read_text"):
            fields |= {"source": source, "frame": "unit", "time": start if timed else None}
            fields |= self._prompt(op, int(data["prompt"]), data["box"])
        elif op == "track":
            fields |= {"target": source, "span": (start, end) if timed else None}
        elif op == "localize":
            query = int(data["query"])
            fields |= {
                "target": source if query == TARGET else None,
                "text": _read_text(data["text"]) if query == TEXT else None,
                "span": (start, end) if timed else None,
            }
        elif op == "properties":
            fields["targets"] = chosen or (source,)
        else:
            text = self._answer(data, workspace, source, start, end)
            fields |= {"evidence": chosen, "text": text}
        return parse_action(fields)

    @staticmethod
    def _prompt(op: str, prompt: int, corners: NDArray[np.float32]) -> dict[str, Any]:
        x0, x1 = sorted((float(corners[0]), float(corners[2])))
        y0, y1 = sorted((float(corners[1]), float(corners[3])))
        if prompt == POINT and op == "segment":
            return {"point": ((x0 + x1) / 2, (y0 + y1) / 2)}
        if prompt == WHOLE:
            return {} if op == "read_text" else {"box": (0.0, 0.0, 1.0, 1.0)}
        return {"box": (x0, y0, x1, y1)}

    @staticmethod
    def _answer(
        data: Mapping[str, Any], workspace: Workspace, source: str, start: float, end: float
    ) -> str:
        kind = int(data["answer"])
        if kind == LETTER:
            return chr(ord("A") + int(data["letter"]))
        if kind == NUMBER:
            return f"{10 ** (4 * float(data['number'][0])) - 1:.4g}"
        if kind == FREE_TEXT:
            return _read_text(data["text"])
        if kind == TIME:
            return f"{start:.3f}-{end:.3f}"
        return _quote(workspace, source)

    def encode(self, action: Action, workspace: Workspace) -> dict[str, Any]:
        """The member of the space that decodes to `action`, up to float32 rounding.

        Raises:
            ValueError: The space cannot say this action: coordinates in another frame than
                `unit`, a text over the limit, evidence older than the newest eight.
        """
        data = self.empty()
        data["op"] = np.int64(OPS.index(action.op))
        duration = workspace.media.duration
        if isinstance(action, (Zoom, Segment, ReadText)):
            if action.frame != "unit":
                raise ValueError(f"the space is in unit coordinates, the action in {action.frame}")
            data["source"] = self._age(action.source, workspace)
            if isinstance(action, Segment) and action.point is not None:
                data["prompt"], data["box"] = (
                    np.int64(POINT),
                    np.array(action.point * 2, np.float32),
                )
            elif action.box is not None:
                data["prompt"], data["box"] = np.int64(BOX), np.array(action.box, np.float32)
            if action.time is not None:
                self._set_time(data, (action.time, action.time), duration)
        elif isinstance(action, (Track, Localize)):
            if action.target is not None:
                data["source"] = self._age(action.target, workspace)
                data["query"] = np.int64(TARGET)
            if isinstance(action, Track):
                data["query"] = np.int64(SCENES)
            elif action.text is not None:
                data["query"], data["text"] = np.int64(TEXT), _write_text(action.text)
            if action.span is not None:
                self._set_time(data, action.span, duration)
        elif isinstance(action, Properties):
            self._set_targets(data, action.targets, workspace)
        else:
            self._set_targets(data, action.evidence, workspace)
            if len(action.text) == 1 and "A" <= action.text <= "Z":
                data["letter"] = np.int64(ord(action.text) - ord("A"))
            else:
                data["answer"], data["text"] = np.int64(FREE_TEXT), _write_text(action.text)
        return data

    @staticmethod
    def _id(age: int, workspace: Workspace) -> str:
        return f"e{max(0, len(workspace) - age) if age else 0}"

    @staticmethod
    def _age(evidence_id: str, workspace: Workspace) -> np.int64:
        number = int(evidence_id[1:])
        age = len(workspace) - number
        if number and not 1 <= age <= NEWEST:
            raise ValueError(f"the space names e0 and the newest {NEWEST}, not {evidence_id}")
        return np.int64(age if number else 0)

    @staticmethod
    def _set_targets(data: dict[str, Any], ids: tuple[str, ...], workspace: Workspace) -> None:
        ages = [len(workspace) - int(i[1:]) for i in ids]
        if ages != sorted(set(ages), reverse=True):
            raise ValueError("the space holds evidence as a set: name it once each, in order")
        if ages and not 1 <= ages[-1] <= ages[0] <= NEWEST:
            raise ValueError(f"the space names the newest {NEWEST} pieces of evidence only")
        data["targets"][[age - 1 for age in ages]] = 1

    @staticmethod
    def _set_time(data: dict[str, Any], span: tuple[float, float], duration: float) -> None:
        data["timed"] = np.int64(1)
        shares = np.asarray(span) / duration if duration else np.zeros(2)
        if not (shares >= 0).all() or not (shares <= 1).all():
            raise ValueError(f"the times {span} are outside the medium's 0..{duration:g} s")
        data["time"] = np.float32(shares)


class FlatCodec:
    """The `Dict` space's actions to and from a flat `MultiDiscrete`, on the grid stated above.

    Args:
        codec: The structured codec whose actions it makes.
    """

    def __init__(self, codec: DictCodec) -> None:
        self._codec = codec
        ages, corners, times = NEWEST + 1, [_GRID + 1] * 4, [_TICKS + 1] * 2
        # op, source, cited/measured evidence, prompt, timed, query, box, time, answer
        sizes = [len(OPS), ages, ages, 3, 2, 2, *corners, *times, _ANSWERS]
        self.space = spaces.MultiDiscrete(sizes)

    def unflatten(self, flat: NDArray[np.integer[Any]]) -> dict[str, Any]:
        """The structured action of a flat one."""
        op, source, target, prompt, timed, query, *rest = (int(v) for v in flat)
        data = self._codec.empty()
        data |= {"op": np.int64(op), "source": np.int64(source)}
        data |= {"prompt": np.int64(prompt), "timed": np.int64(timed), "query": np.int64(query)}
        if target:
            data["targets"][target - 1] = 1
        data["box"] = np.float32(np.asarray(rest[:4]) / _GRID)
        data["time"] = np.float32(np.asarray(rest[4:6]) / _TICKS)
        answer = rest[6]
        if answer < 26:
            data["answer"], data["letter"] = np.int64(LETTER), np.int64(answer)
        elif answer < 26 + len(_NUMBERS):
            data["answer"] = np.int64(NUMBER)
            share = np.log10(_NUMBERS[answer - 26] + 1) / 4
            data["number"] = np.array([share], np.float32)
        else:
            data["answer"] = np.int64(TIME if answer == _ANSWERS - 2 else SOURCE)
        return data

    def flatten(self, data: Mapping[str, Any]) -> NDArray[np.int64]:
        """The flat action nearest to a structured one; the inverse of `unflatten` on its grid.

        Raises:
            ValueError: The flat space cannot say it: a text, or more than one cited evidence.
        """
        targets = np.flatnonzero(data["targets"])
        kind, query = int(data["answer"]), int(data["query"])
        if kind == FREE_TEXT or query == TEXT or len(targets) > 1:
            raise ValueError("the flat space has no texts and one piece of evidence an action")
        if kind == LETTER:
            answer = int(data["letter"])
        elif kind == NUMBER:
            number = 10 ** (4 * float(data["number"][0])) - 1
            answer = 26 + int(np.argmin(np.abs(_NUMBERS - number)))
        else:
            answer = _ANSWERS - (2 if kind == TIME else 1)
        head = [int(data["op"]), int(data["source"])]
        head += [int(targets[0]) + 1 if len(targets) else 0]
        head += [int(data[key]) for key in ("prompt", "timed", "query")]
        box = np.rint(np.asarray(data["box"], np.float64) * _GRID).astype(int)
        time = np.rint(np.asarray(data["time"], np.float64) * _TICKS).astype(int)
        return np.array([*head, *box, *time, answer], np.int64)


def _member(space: spaces.Space[Any], value: Any) -> bool:
    """Whether a value is in a space; also for values that make `contains` itself raise or warn."""
    if space.shape and not isinstance(value, np.ndarray):
        return False
    try:
        return bool(space.contains(value))
    except Exception:
        return False


def _read_text(data: NDArray[np.int64]) -> str:
    raw = bytes(data.tolist()).split(b"\0", 1)[0]
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidCall("the action's text is not UTF-8") from None


def _write_text(text: str) -> NDArray[np.int64]:
    raw = text.encode("utf-8")
    if len(raw) > TEXT_LIMIT or b"\0" in raw:
        raise ValueError(f"the space holds texts of at most {TEXT_LIMIT} bytes without NUL")
    return np.array(list(raw.ljust(TEXT_LIMIT, b"\0")), np.int64)


def _quote(workspace: Workspace, evidence_id: str) -> str:
    """What a piece of evidence says, as an answer."""
    evidence = workspace.get(evidence_id)
    if isinstance(evidence, TextLines):
        return evidence.text[:TEXT_LIMIT]
    if isinstance(evidence, Intervals) and evidence.spans:
        return "{:.3f}-{:.3f}".format(*evidence.spans[0])
    raise InvalidCall(f"{evidence_id} is a {evidence.kind}; only read text and intervals answer")
