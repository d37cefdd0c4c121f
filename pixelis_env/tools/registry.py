"""Backends by name, imported when first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

BACKENDS: dict[str, dict[str, str]] = {
    "segment": {
        "grabcut": "pixelis_env.tools.backends.grabcut:GrabCut",
        "sam": "pixelis_env.tools.backends.sam:SamSegmenter",
        "sam2": "pixelis_env.tools.backends.sam2:Sam2Segmenter",
        "oracle": "pixelis_env.tools.backends.oracle:OracleSegmenter",
    },
    "track": {
        "flow": "pixelis_env.tools.backends.flow:FlowTracker",
        "sam2": "pixelis_env.tools.backends.sam2:Sam2Tracker",
        "opencv": "pixelis_env.tools.backends.opencv_trackers:OpenCVTracker",
        "oracle": "pixelis_env.tools.backends.oracle:OracleTracker",
    },
    "read_text": {
        "rapidocr": "pixelis_env.tools.backends.rapidocr:RapidOCRReader",
        "tesseract": "pixelis_env.tools.backends.tesseract:TesseractReader",
        "mmocr": "pixelis_env.tools.backends.mmocr:MMOCRReader",
        "oracle": "pixelis_env.tools.backends.oracle:OracleReader",
    },
    "localize": {
        "scan": "pixelis_env.tools.backends.scan:ScanLocalizer",
        "oracle": "pixelis_env.tools.backends.oracle:OracleLocalizer",
    },
}
"""Operation -> backend name -> "module:class". Zoom and properties are exact and have none."""

DEFAULTS: dict[str, str] = {
    "segment": "grabcut",
    "track": "flow",
    "read_text": "rapidocr",
    "localize": "scan",
}


def make_backend(op: str, spec: str | Mapping[str, Any]) -> Any:
    """A backend from its name, or from `{"name": ..., **options}`.

    Raises:
        ValueError: Unknown operation or name (the message lists the known ones), or options
            that the backend does not take.
        MissingExtra: The backend's packages are not installed.
    """
    if op not in BACKENDS:
        raise ValueError(f"no backend can be set for {op!r}: only for {', '.join(BACKENDS)}")
    options = {} if isinstance(spec, str) else dict(spec)
    name = spec if isinstance(spec, str) else options.pop("name", None)
    if name not in BACKENDS[op]:
        raise ValueError(f"{op} has no backend {name!r}: choose from {', '.join(BACKENDS[op])}")
    module, _, attribute = BACKENDS[op][name].partition(":")
    factory = getattr(importlib.import_module(module), attribute)
    try:
        return factory(**options)
    except TypeError as error:
        raise ValueError(f"backend {name!r} of {op}: {error}") from None
