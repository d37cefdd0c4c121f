"""Reading by MMOCR, whose numpy 1 and old companions live in an environment of their own."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

from pixelis_env.coordinates import Region
from pixelis_env.errors import BackendError, InvalidCall
from pixelis_env.evidence import TextLine
from pixelis_env.media.base import Media
from pixelis_env.tools.backends import _mmocr_serve as serve
from pixelis_env.tools.backends.crops import crop_of
from pixelis_env.tools.backends.weights import once_in_a_process
from pixelis_env.worker import Worker, WorkerError, WorkerGone

ENVIRONMENT = ".venv-mmocr/bin/python"
"""The interpreter that `make env-mmocr` leaves in the working directory."""

_LEAST_SIDE = 32  # px: the line height of MMOCR's recognisers; smaller regions are enlarged to it
_START_S = 300.0  # imports, and weights that are still to be fetched
_log = logging.getLogger(__name__)


class MMOCRReader:
    """Any detector and recogniser of MMOCR 1.0, by `MMOCRInferencer`, in a worker process.

    All readers of a process that are set up alike share one worker. It is started at the first
    call, and anew after it crashed or was ended because a call took too long.

    Args:
        det: The detector: a name of MMOCR's model zoo, or the path of a config file.
        rec: The recogniser, likewise.
        det_weights: Path or address of the detector's weights; None fetches those that the zoo
            names. A config file needs it.
        rec_weights: The recogniser's, likewise.
        device: A torch device of that environment.
        batch: Lines that the recogniser takes at once, >= 1: more are quicker on a GPU.
        python: The interpreter of MMOCR's environment.
        timeout_s: The longest that a call may take, in seconds.

    Raises:
        ValueError: There is no such interpreter, a config file comes without weights or folder,
            `batch` is below 1, or `timeout_s` is not above 0.
    """

    name = "mmocr"
    version = "1"

    def __init__(
        self,
        det: str = "DB_r18",
        rec: str = "CRNN",
        det_weights: str | None = None,
        rec_weights: str | None = None,
        device: str = "cpu",
        batch: int = 1,
        python: str | os.PathLike[str] = ENVIRONMENT,
        timeout_s: float = 60.0,
    ) -> None:
        # Bare names are refused: a stranger's trace may set such options, and both are run.
        if os.sep not in str(python) or not Path(python).is_file():
            raise ValueError(
                f"python {str(python)!r} of mmocr: there is no such interpreter; MMOCR needs an "
                "environment of its own: run `make env-mmocr` (docs/backends.md says what it "
                "does), and give the path of its python"
            )
        for role, model, weights in (("det", det, det_weights), ("rec", rec, rec_weights)):
            if model.endswith(".py") and weights is None:
                raise ValueError(
                    f"{role} {model!r} of mmocr: is a config file, so it needs {role}_weights= too "
                    "(MMOCR would run with random ones)"
                )
            if model.endswith(".py") and os.sep not in model:
                raise ValueError(f"{role} {model!r} of mmocr: give the file's whole path")
        if batch < 1:
            raise ValueError(f"batch {batch!r} of mmocr: must be at least 1")
        if not timeout_s > 0:
            raise ValueError(f"timeout_s {timeout_s} of mmocr: must be above 0")
        self.models: dict[str, Any] = {
            "det": det,
            "rec": rec,
            "det_weights": det_weights,
            "rec_weights": rec_weights,
            "device": device,
            "batch": batch,
        }
        # Not resolved: an environment's python is a link, and is told by where the link lies.
        self.python = str(Path(python).absolute())
        self.timeout_s = timeout_s

    def read(self, media: Media, index: int, region: Region) -> list[TextLine]:
        """See `Reader.read`. Confidences are the recogniser's; spaces are made single.

        Raises:
            InvalidCall: MMOCR cannot read this region, or not in time.
            BackendError: It cannot be started.
        """
        crop = crop_of(media, index, region, least=_LEAST_SIDE)
        request = serve.SIZE.pack(*crop.pixels.shape[:2]) + crop.pixels.tobytes()
        arguments = json.dumps(self.models, sort_keys=True)
        client = once_in_a_process(
            ("mmocr", self.python, arguments), lambda: _Client(self.python, arguments)
        )
        lines = []
        for line in json.loads(client.ask(request, self.timeout_s, region)):
            text = " ".join(line["text"].split())
            if text:
                confidence = min(1.0, max(0.0, line["score"]))
                quad = crop.quad(*line["box"])
                lines.append(TextLine(text=text, quad=quad, confidence=confidence))
        return lines


class _Client:
    """The worker of a process, and its replacement after it is gone."""

    def __init__(self, python: str, arguments: str) -> None:
        self._python = python
        self._arguments = arguments
        self._lock = threading.Lock()
        self._worker: Worker | None = None

    def ask(self, request: bytes, timeout_s: float, region: Region) -> bytes:
        """The worker's answer; asked once more if it crashed, since that may have been chance."""
        size = f"{region.width}x{region.height} pixels"
        with self._lock:
            for last in (False, True):
                worker = self._worker or self._started()
                self._worker = worker
                try:
                    return worker.ask(request, timeout_s=timeout_s)
                except WorkerGone as error:
                    worker.stop()
                    self._worker = None
                    _log.warning("mmocr, reading %s: %s", size, error)
                    if last or error.late:
                        raise InvalidCall(
                            f"the reader gave up on this region of {size}: read a smaller one"
                        ) from error
                except WorkerError as error:
                    _log.warning("mmocr, reading %s: %s", size, error)
                    raise InvalidCall(
                        f"the reader failed on this region of {size}: read a larger or another one"
                    ) from error
        raise AssertionError("unreachable")

    def _started(self) -> Worker:
        try:
            serving = Path(serve.__file__)
            return Worker(serving, self._arguments, python=self._python, timeout_s=_START_S)
        except (WorkerError, OSError) as error:
            raise BackendError(
                f"mmocr cannot start in {self._python} with {self._arguments} ({error}): build the "
                "environment with `make env-mmocr`, and give det_weights= and rec_weights= where "
                "the zoo's cannot be fetched"
            ) from error
