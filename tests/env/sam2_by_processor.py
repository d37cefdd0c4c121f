"""Compares the SAM 2 backend with transformers' processor: `python sam2_by_processor.py FOLDER`."""

from __future__ import annotations

import sys

import numpy as np
import torch

from pixelis_env.actions import Segment
from pixelis_env.tools import Toolbox
from pixelis_env.tools.backends import sam2 as backend
from pixelis_env.tools.backends._mmocr_serve import declare_torchvision
from pixelis_env.workspace import Workspace
from tests.env.tiny_models import SIDE, TORCHVISION
from tests.laws.scenes import still


def main() -> None:
    sys.path.append(str(TORCHVISION))
    declare_torchvision()
    from transformers import Sam2ImageProcessor, Sam2Model, Sam2Processor

    torch.set_num_threads(1)
    square = {"height": SIDE, "width": SIDE}
    processor = Sam2Processor(Sam2ImageProcessor(size=square), target_size=SIDE)
    model = Sam2Model.from_pretrained(sys.argv[1]).eval()
    toolbox = Toolbox({"segment": {"name": "sam2", "checkpoint": sys.argv[1]}})
    for seed in range(6):
        scene = still(seed)
        image = scene.media.frame(0).copy()
        inputs = processor(images=image, input_boxes=[[list(scene.box)]], return_tensors="pt")
        ours = backend._pixels(image, model)
        # A level of a byte, where one rounds up and the other down.
        assert (ours - inputs["pixel_values"]).abs().max() < 1.01 / 255 / min(backend._STD)
        with torch.inference_mode():
            output = model(
                pixel_values=ours, input_boxes=inputs["input_boxes"], multimask_output=False
            )
        masks = processor.post_process_masks(output.pred_masks, inputs["original_sizes"])
        found = toolbox.run(Segment(box=scene.box, frame="px"), Workspace(scene.media))
        assert np.array_equal(found.rle.decode(), masks[0][0, 0].numpy())
    print("all agree")


if __name__ == "__main__":
    main()
