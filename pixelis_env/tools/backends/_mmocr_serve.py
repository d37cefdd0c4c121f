"""What MMOCR does in its worker process: regions of frames come in, lines of text go out as JSON.

Run by `pixelis_env._worker_main` in MMOCR's environment, so it imports nothing of Pixelis. `start`
is given the arguments of `MMOCRInferencer`, and `batch`, as JSON; each request is a `SIZE` with the
pixels.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import struct
import sys
import types
from collections.abc import Callable
from typing import Any

SIZE = struct.Struct("<qq")
"""Height and width in pixels, before the bytes of a uint8 (height, width, 3) RGB image."""


def start(arguments: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    """Loads the models."""
    _without_compiled_operators()
    import numpy as np
    import torch
    from mmocr.apis import MMOCRInferencer

    torch.set_num_threads(1)
    _trust_history(np, torch)
    models = json.loads(arguments)
    batch = models.pop("batch")
    inferencer = MMOCRInferencer(**models)

    def answer(request: bytes) -> bytes:
        height, width = SIZE.unpack_from(request)
        pixels = np.frombuffer(request, np.uint8, offset=SIZE.size).reshape(height, width, 3)
        image = np.ascontiguousarray(pixels[:, :, ::-1])  # MMOCR reads BGR
        found = inferencer(image, out_dir="", rec_batch_size=batch)["predictions"][0]
        lines = zip(found["det_polygons"], found["rec_texts"], found["rec_scores"], strict=True)
        return json.dumps([_line(*line) for line in lines]).encode()

    return b"", answer


def _line(polygon: list[float], text: str, score: float) -> dict[str, Any]:
    """A line as its box (x0, y0, x1, y1): MMOCR itself reads the box around a polygon."""
    xs, ys = [float(x) for x in polygon[::2]], [float(y) for y in polygon[1::2]]
    return {"box": [min(xs), min(ys), max(xs), max(ys)], "text": text, "score": float(score)}


def _without_compiled_operators() -> None:
    """Lets mmcv-lite, and a torchvision that was built for another torch, be imported.

    DBNet, CRNN and most other models need none of their compiled operators, but are imported
    together with ones that do. Where the operators are there, this changes nothing.
    """
    if importlib.util.find_spec("mmcv._ext") is None:
        stand_in = types.ModuleType("mmcv._ext")
        stand_in.__spec__ = importlib.machinery.ModuleSpec("mmcv._ext", None)
        stand_in.__getattr__ = _missing  # type: ignore[method-assign]
        sys.modules["mmcv._ext"] = stand_in
    declare_torchvision()


def _trust_history(np: Any, torch: Any) -> None:
    """Lets torch load the log of losses that checkpoints of MMEngine carry beside the weights.

    By itself it refuses whatever is no tensor, since unpickling could run code; these could not.
    """
    from mmengine.logging import HistoryBuffer

    array = [np.ndarray, np.dtype, np.core.multiarray._reconstruct, np.core.multiarray.scalar]
    kinds = [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "O", "S1")]
    torch.serialization.add_safe_globals([HistoryBuffer, getattr, *array, *kinds])


def _missing(name: str) -> Callable[..., Any]:
    if name.startswith("__"):
        raise AttributeError(name)

    def operator(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(
            f"the operator {name!r} is compiled: install the full mmcv 2.0.1 for models that use it"
        )

    return operator


def declare_torchvision() -> None:
    """Declares the operators that torchvision describes to torch as it is imported.

    For a torchvision whose compiled part does not load; its Python part then does.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        import torch

        for name in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, name):
                signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                torch.library.define(f"torchvision::{name}", signature)
