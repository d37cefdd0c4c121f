"""Segmentation by SAM (Kirillov et al. 2023, arXiv:2304.02643), with Meta's `segment-anything`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelis_env.coordinates import Box, Point
from pixelis_env.errors import require
from pixelis_env.media.base import Frame, Media
from pixelis_env.tools.backend import BoolMask
from pixelis_env.tools.backends.weights import TorchBackend, best_mask

if TYPE_CHECKING:
    import torch

_WEIGHTS = "https://github.com/facebookresearch/segment-anything#model-checkpoints"


class SamSegmenter(TorchBackend[Any]):
    """Box or point prompts by `SamPredictor`.

    A point gets the best of the model's three masks that contain it, a box its single mask. The
    score is the model's own estimate of the mask's IoU.

    Args:
        checkpoint: A `.pth` file of weights.
        model_type: The architecture, a key of `segment_anything.sam_model_registry`; None reads
            it off the file's name, as in `sam_vit_b_01ec64.pth`.
        device: A torch device.
        dtype: "float32"; "bfloat16" or "float16" run under autocast.

    Raises:
        MissingExtra: segment-anything, torch or torchvision is not installed.
        ValueError: There is no such file, or its name does not tell the architecture.
    """

    name = "sam"
    version = "1"

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] | None = None,
        model_type: str | None = None,
        device: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        require("segment='sam'", "sam", "torch", "torchvision", "segment_anything")
        if checkpoint is None or not Path(checkpoint).is_file():
            raise ValueError(
                f"checkpoint {str(checkpoint)!r} of sam: must be a file of weights; they are at "
                f"{_WEIGHTS}"
            )
        told = re.search(r"vit_[bhl]", Path(checkpoint).name)
        if model_type is None and told is None:
            raise ValueError(
                f"checkpoint {Path(checkpoint).name!r} of sam: its name does not say which "
                "architecture it is; give model_type='vit_b', 'vit_l' or 'vit_h'"
            )
        super().__init__(str(Path(checkpoint).absolute()), device, dtype)
        self.model_type = model_type or (told[0] if told else "")

    def segment(
        self, media: Media, index: int, *, box: Box | None, point: Point | None
    ) -> tuple[BoolMask, float]:
        """See `Segmenter.segment`.

        Raises:
            InvalidCall: None of the masks contains the point.
            BackendError: The weights do not fit, or the device is not there.
        """
        import torch

        loaded = self._loaded()
        predictor, size = loaded.model, (media.height, media.width)
        half = torch.autocast(
            torch.device(self.device).type, getattr(torch, self.dtype), self.dtype != "float32"
        )
        with loaded.lock, torch.inference_mode(), half:

            def encode(frame: Frame) -> torch.Tensor:
                predictor.set_image(frame)
                features: torch.Tensor = predictor.get_image_embedding()
                return features

            features = loaded.embedding(media, index, encode)
            # What `set_image` would leave behind.
            transform = predictor.transform
            predictor.features, predictor.is_image_set = features, True
            predictor.original_size = size
            predictor.input_size = transform.get_preprocess_shape(*size, transform.target_length)
            points = labels = boxes = None
            if box is not None:
                corners = transform.apply_boxes(np.array(box), size)
                boxes = torch.from_numpy(corners).float().to(predictor.device)
            else:
                places = transform.apply_coords(np.array([[point]]), size)
                points = torch.from_numpy(places).float().to(predictor.device)
                labels = torch.ones((1, 1), dtype=torch.int, device=predictor.device)
            masks, scores, _ = predictor.predict_torch(
                points, labels, boxes, multimask_output=box is None
            )
        return best_mask(masks[0].cpu().numpy(), scores[0].float().cpu().numpy(), point)

    def _load(self) -> Any:
        import torch
        from segment_anything import SamPredictor, sam_model_registry

        if self.model_type not in sam_model_registry:
            raise ValueError(
                f"model_type {self.model_type!r}: must be one of {', '.join(sam_model_registry)}"
            )
        model = sam_model_registry[self.model_type]()
        # Not by segment-anything itself, which would unpickle whatever the file holds.
        model.load_state_dict(torch.load(self.checkpoint, map_location="cpu", weights_only=True))
        return SamPredictor(model.eval())

    def _place(self, model: Any, device: torch.device, dtype: torch.dtype) -> None:
        # Weights stay in float32: autocast computes in `dtype` where that is safe.
        model.model.to(device)
