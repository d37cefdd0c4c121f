"""Writes checkpoints of a detector and a recogniser with drawn weights, as MMEngine writes them.

Run in MMOCR's environment: `python write_mmocr_weights.py SERVE DET_CONFIG DET_OUT REC_CONFIG
REC_OUT`, where SERVE is the path of `_mmocr_serve.py`.
"""

from __future__ import annotations

import runpy
import sys


def main() -> None:
    runpy.run_path(sys.argv[1])["_without_compiled_operators"]()
    import torch
    from mmengine.logging import HistoryBuffer
    from mmocr.apis import TextDetInferencer, TextRecInferencer

    torch.manual_seed(0)
    for kind, config, out in (
        (TextDetInferencer, *sys.argv[2:4]),
        (TextRecInferencer, *sys.argv[4:6]),
    ):
        model = kind(config, device="cpu").model
        log = {"log_scalars": {"loss": HistoryBuffer([1.0, 0.5], [1, 1])}}
        torch.save({"state_dict": model.state_dict(), "message_hub": log}, out)


if __name__ == "__main__":
    main()
