"""Reading by RapidOCR: PP-OCR detection and recognition in ONNX, weights inside the wheel."""

from __future__ import annotations

import os
import re
import unicodedata
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Point, Region
from pixelis_env.evidence import TextLine
from pixelis_env.media.base import Media
from pixelis_env.tools.backends.crops import crop_of

_SIDE = 240  # px: the detector's shorter side; 736, its default, is four times slower, not better
_LEAST_HEIGHT = 48  # px: the recogniser's own line height; smaller crops are enlarged to it
_SLIMMEST = 8  # times as long as wide: slimmer regions are widened, or the detector blows them up
_CAPITAL_LOOKALIKES = "ckopsuvwxz"  # small letters whose capitals differ in size only


class RapidOCRReader:
    """Printed text in Latin and Chinese script, from letters of about 8 pixels.

    Texts are normalised by rule: Unicode NFKC (full-width forms become plain), runs of space
    become one space, and letters whose capital only is a larger small letter (c k o p s u v w x
    z) take the case of the rest of their word (`SToP` becomes `STOP`).
    """

    name = "rapidocr"
    version = "1"

    def read(self, media: Media, index: int, region: Region) -> list[TextLine]:
        """See `Reader.read`."""
        crop = crop_of(media, index, region, least=_LEAST_HEIGHT)
        found = _engine(os.getpid())(np.ascontiguousarray(_widened(crop.pixels)[:, :, ::-1]))
        if found.boxes is None or found.txts is None:
            return []
        lines = []
        for quad, text, score in zip(found.boxes, found.txts, found.scores, strict=True):
            text = normalise(text)
            if text:
                corners = [crop.to_source(x, y) for x, y in quad]
                lines.append(TextLine(text=text, quad=_quad(corners), confidence=float(score)))
        return lines


def _widened(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The crop, if it is very slim with its right or lower edge repeated."""
    height, width = crop.shape[:2]
    right = max(0, -(-height // _SLIMMEST) - width)
    below = max(0, -(-width // _SLIMMEST) - height)
    return np.pad(crop, ((0, below), (0, right), (0, 0)), mode="edge")


def _quad(corners: list[Point]) -> tuple[Point, Point, Point, Point]:
    return corners[0], corners[1], corners[2], corners[3]


def normalise(text: str) -> str:
    """The text by the rule that `RapidOCRReader` states."""
    text = " ".join(unicodedata.normalize("NFKC", text).split())
    return re.sub(r"[^\W\d_]+", lambda word: _even_case(word[0]), text)


def _even_case(word: str) -> str:
    """Gives lookalike letters the case that the others of the word have."""
    # A word's first letter may be its only capital, so it says nothing about the others.
    telling = [c for c in word[1:] if c.lower() not in _CAPITAL_LOOKALIKES]
    if not telling:
        return word
    if all(c.isupper() for c in telling):
        return "".join(c.upper() if c in _CAPITAL_LOOKALIKES else c for c in word)
    if all(c.islower() for c in telling):
        tail = [c.lower() if c.lower() in _CAPITAL_LOOKALIKES else c for c in word[1:]]
        return word[0] + "".join(tail)
    return word


@lru_cache(maxsize=1)
def _engine(pid: int) -> Any:
    """The models of this process: a session made before a fork is not used after it."""
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            # One thread: pools of several processes would fight for the cores.
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Global.use_cls": False,
            "Det.limit_side_len": _SIDE,
            "Global.log_level": "error",
        }
    )
