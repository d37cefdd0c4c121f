"""What operations return: immutable, plain, content-hashed values.

Evidence holds no pixel arrays: a `View` names its pixels (region, frame) and carries their digest,
a `Mask` is COCO run-length code. So evidence is small, serialises to JSON as it is, and equal
evidence is equal bytes. All geometry is in source pixels, all times in seconds.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, NoReturn, Union

import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from pixelis_env.coordinates import Box, Point, Region

MAX_MASK_PIXELS = 2**26
"""The largest mask that is read, as of the largest frame that is opened."""


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


class _Evidence(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the canonical JSON."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()


class Medium(_Evidence):
    """e0: the image or video of the episode. `size` is (width, height) in pixels."""

    kind: Literal["medium"] = "medium"
    size: tuple[int, int]
    n_frames: int
    duration: float
    media_digest: str


class View(_Evidence):
    """Native pixels of a region of one frame; `pixels` is their digest (`pixel_digest`)."""

    kind: Literal["view"] = "view"
    region: Region
    frame_index: int
    time: float
    pixels: str


class RLE(BaseModel):
    """COCO compressed run-length code of a full-frame mask; `size` is (height, width)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: tuple[int, int]
    counts: str

    @model_validator(mode="after")
    def _fills_the_frame(self) -> RLE:
        # A foreign trace may hold any string, and the C decoder trusts the run lengths it is given.
        pixels = self.size[0] * self.size[1]
        if min(self.size) < 1 or pixels > MAX_MASK_PIXELS:
            raise ValueError(f"a mask has 1..{MAX_MASK_PIXELS} pixels, not {self.size}")
        if sum(_run_lengths(self.counts)) != pixels:
            raise ValueError(f"the run lengths do not fill a mask of {self.size}")
        return self

    @classmethod
    def encode(cls, mask: NDArray[np.bool_]) -> RLE:
        """Encodes a bool (height, width) mask."""
        from pycocotools import mask as coco

        code = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
        return cls(
            size=(int(mask.shape[0]), int(mask.shape[1])), counts=code["counts"].decode("ascii")
        )

    def decode(self) -> NDArray[np.bool_]:
        """The bool (height, width) mask."""
        # COCO runs go down the columns and start with zeros. Not pycocotools' decoder: it warns
        # on every call under numpy 2.
        height, width = self.size
        runs = _run_lengths(self.counts)
        inside = np.arange(len(runs)) % 2 == 1
        return np.repeat(inside, runs).reshape(width, height).T


class Mask(_Evidence):
    """One object's outline in one frame. `box` is the tight box of `rle`, `area` its pixels."""

    kind: Literal["mask"] = "mask"
    rle: RLE
    frame_index: int
    time: float
    box: Box
    area: int
    score: float

    @classmethod
    def of(cls, mask: NDArray[np.bool_], *, frame_index: int, time: float, score: float) -> Mask:
        """Evidence for a non-empty (height, width) mask; what is not 0 is the object."""
        mask = np.asarray(mask, bool)
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        return cls(
            rle=RLE.encode(mask),
            frame_index=frame_index,
            time=time,
            box=box,
            area=int(mask.sum()),
            score=score,
        )


class Tracklet(_Evidence):
    """One object through frames, in the order of the span. Equal-length tuples, one entry a frame.

    Where `visible` is False the box is the last one seen.
    """

    kind: Literal["tracklet"] = "tracklet"
    frame_indices: tuple[int, ...]
    times: tuple[float, ...]
    boxes: tuple[Box, ...]
    visible: tuple[bool, ...]
    scores: tuple[float, ...]


class TextLine(BaseModel):
    """One line of text; `quad` is its corners from the top left, clockwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    text: str
    quad: tuple[Point, Point, Point, Point]
    confidence: float


class TextLines(_Evidence):
    """The text of a region of one frame in reading order."""

    kind: Literal["text_lines"] = "text_lines"
    region: Region
    frame_index: int
    time: float
    lines: tuple[TextLine, ...]

    @property
    def text(self) -> str:
        """The lines joined by spaces."""
        return " ".join(line.text for line in self.lines)


class Intervals(_Evidence):
    """When something is visible: disjoint (start, end) spans in order, each with a score."""

    kind: Literal["intervals"] = "intervals"
    spans: tuple[tuple[float, float], ...]
    scores: tuple[float, ...]


class Readings(dict[str, Any]):
    """A dict that stays as it was made, since evidence does."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("evidence is immutable: copy the readings with dict(...) to change them")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return Readings, (dict(self),)


class Measurement(_Evidence):
    """Named readings; the name says the unit (`area_px`, `speed_px_s`, `colour_rgb` ...)."""

    kind: Literal["measurement"] = "measurement"
    targets: tuple[str, ...]
    values: Annotated[dict[str, float | str | tuple[float, ...]], AfterValidator(Readings)]


class ToolError(_Evidence):
    """A call that could not be carried out: what was wrong and what would have been valid."""

    kind: Literal["tool_error"] = "tool_error"
    message: str


Evidence = Annotated[
    Union[Medium, View, Mask, Tracklet, TextLines, Intervals, Measurement, ToolError],
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(Evidence)


def parse_evidence(data: dict[str, Any]) -> Evidence:
    """Evidence from its JSON form. Raises pydantic's ValidationError where it is none."""
    return _ADAPTER.validate_python(data)


def _run_lengths(counts: str) -> list[int]:
    """The run lengths of COCO's compressed string: base-32 digits, deltas from two runs before."""
    runs: list[int] = []
    value = shift = 0
    for char in counts:
        digit = ord(char) - 48
        if not 0 <= digit < 64 or shift > 30:
            raise ValueError("the run-length code holds a character that COCO's code has not")
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            if digit & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            if runs[-1] < 0:
                raise ValueError("the run-length code holds a negative run")
            value = shift = 0
    if shift:
        raise ValueError("the run-length code ends in the middle of a number")
    return runs


def canonical_json(value: Any) -> bytes:
    """The bytes of a JSON value that digests are taken of: sorted keys, no spaces, no NaN."""
    return _ENCODER.encode(value).encode("utf-8")


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """Hex XXH3-128 of an array's shape and bytes.

    It is there to notice that pixels differ, on every step, so it is a fast hash and not a
    cryptographic one; the chain over a trace is SHA-256.
    """
    digest = xxhash.xxh3_128(repr(pixels.shape).encode("ascii"))
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
