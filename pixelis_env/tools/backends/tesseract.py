"""Reading by Tesseract, through pytesseract."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Region
from pixelis_env.errors import BackendError, InvalidCall, require
from pixelis_env.evidence import TextLine
from pixelis_env.media.base import Media
from pixelis_env.tools.backends.crops import Crop, crop_of

_LEAST_SIDE = 200  # px: letters of 8 to 12 px are misread at their own size
_BORDER = 10  # px: letters that touch the edge are lost


class TesseractReader:
    """Printed text in the languages that Tesseract has data for.

    Args:
        lang: Languages, joined by "+", as in "eng+deu".
        psm: Page segmentation mode, 3..13 (`tesseract --help-psm`). 6 takes a region for one block
            of text; 11 looks for words anywhere.
        tessdata: A folder with the languages' `.traineddata`; None for Tesseract's own.
        timeout_s: The longest that a call may take, in seconds.

    Raises:
        MissingExtra: pytesseract is not installed.
        BackendError: Tesseract itself is not installed.
        ValueError: `psm` or `timeout_s` is out of range, or a language's data are not in
            `tessdata`.
    """

    name = "tesseract"
    version = "1"

    def __init__(
        self,
        lang: str = "eng",
        psm: int = 6,
        tessdata: str | os.PathLike[str] | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        require("read_text='tesseract'", "tesseract", "pytesseract")
        if shutil.which("tesseract") is None:
            raise BackendError(
                "tesseract is not installed, or not on the PATH: apt install tesseract-ocr, or "
                "brew install tesseract (pytesseract only calls it)"
            )
        if psm not in range(3, 14):
            raise ValueError(f"psm {psm} of tesseract: must be 3..13")
        if not timeout_s > 0:
            raise ValueError(f"timeout_s {timeout_s} of tesseract: must be above 0")
        for language in lang.split("+") if tessdata is not None else ():
            if not (Path(str(tessdata)) / f"{language}.traineddata").is_file():
                raise ValueError(
                    f"tessdata {str(tessdata)!r} of tesseract: holds no {language}.traineddata; "
                    "they are at https://github.com/tesseract-ocr/tessdata_best"
                )
        self.lang = lang
        self.psm = psm
        self.tessdata = None if tessdata is None else str(Path(tessdata).absolute())
        self.timeout_s = timeout_s

    def read(self, media: Media, index: int, region: Region) -> list[TextLine]:
        """See `Reader.read`. A line's confidence is the mean of its words'.

        Raises:
            InvalidCall: It took too long.
            BackendError: Tesseract failed, as for want of a language's data.
        """
        import pytesseract

        crop = crop_of(media, index, region, least=_LEAST_SIDE)
        folder = () if self.tessdata is None else ("--tessdata-dir", self.tessdata)
        try:
            words = pytesseract.image_to_data(
                _bordered(crop.pixels),
                lang=self.lang,
                config=shlex.join(["--psm", str(self.psm), *folder]),
                output_type=pytesseract.Output.DICT,
                timeout=self.timeout_s,
            )
        except pytesseract.TesseractError as error:
            raise BackendError(
                f"tesseract failed ({error.message}): `tesseract --list-langs` lists the languages "
                "that it has data for"
            ) from error
        except RuntimeError as error:  # pytesseract's word for a timeout
            raise InvalidCall(
                f"the reader gave no answer within {self.timeout_s:g} s: read a smaller box"
            ) from error
        lines: dict[tuple[int, int, int], list[int]] = {}
        for k, text in enumerate(words["text"]):
            if text.strip():
                place = (words["block_num"][k], words["par_num"][k], words["line_num"][k])
                lines.setdefault(place, []).append(k)
        return [_line(words, numbers, crop) for numbers in lines.values()]


def _bordered(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(pixels, ((_BORDER, _BORDER), (_BORDER, _BORDER), (0, 0)), mode="edge")


def _line(words: dict[str, list[int]], numbers: list[int], crop: Crop) -> TextLine:
    """The words of a line as one."""
    left, top = (np.array(words[side])[numbers] - _BORDER for side in ("left", "top"))
    right, bottom = (
        left + np.array(words["width"])[numbers],
        top + np.array(words["height"])[numbers],
    )
    confidence = float(np.mean([float(words["conf"][k]) for k in numbers])) / 100
    return TextLine(
        text=" ".join(" ".join(str(words["text"][k]).split()) for k in numbers),
        quad=crop.quad(left.min(), top.min(), right.max(), bottom.max()),
        confidence=min(1.0, max(0.0, confidence)),
    )
