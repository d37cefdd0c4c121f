"""Segmentation and tracking by SAM 2 (Ravi et al. 2024, arXiv:2408.00714), with transformers."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Box, Point
from pixelis_env.errors import BackendError, require
from pixelis_env.media.base import Frame, Media
from pixelis_env.tools.backend import BoolMask, TrackPoint
from pixelis_env.tools.backends.outline import tight_box
from pixelis_env.tools.backends.weights import TorchBackend, best_mask

if TYPE_CHECKING:
    import torch

# What the weights were trained with, as in the `Sam2ImageProcessor` of every published checkpoint.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Features:
    """What the image encoder makes of a frame, from fine to coarse."""

    maps: list[torch.Tensor]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return sum(each.nbytes for each in self.maps)


class _Sam2(TorchBackend[Any]):
    """What both operations share.

    Args:
        checkpoint: A folder written by `save_pretrained`, or a hub id such as
            "facebook/sam2.1-hiera-small", which transformers downloads at the first call.
        device: A torch device.
        dtype: What weights and activations are held in.

    Raises:
        MissingExtra: torch or transformers is not installed.
        ValueError: `checkpoint` is neither a folder nor can it be a hub id.
    """

    name = "sam2"
    version = "1"

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        require("the backend 'sam2'", "sam2", "torch", "transformers")
        text = "" if checkpoint is None else str(checkpoint)
        if Path(text).is_dir() and text:
            text = str(Path(text).absolute())
        elif not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", text):
            raise ValueError(
                f"checkpoint {text!r} of sam2: must be a folder written by save_pretrained, or a "
                "hub id such as 'facebook/sam2.1-hiera-small'"
            )
        super().__init__(text, device, dtype)

    def _from_pretrained(self, kind: Any) -> Any:
        model, report = kind.from_pretrained(self.checkpoint, output_loading_info=True)
        # Left to itself transformers only warns, and fills what is missing with noise.
        missing = sorted(report["missing_keys"])
        if missing:
            raise BackendError(
                f"{self.checkpoint!r} holds no SAM 2 for this operation: {len(missing)} weights "
                f"are missing, such as {missing[0]!r}; the published checkpoints hold all of them"
            )
        return model.eval()

    def _place(self, model: Any, device: torch.device, dtype: torch.dtype) -> None:
        model.to(device, dtype)


class Sam2Segmenter(_Sam2):
    """Box or point prompts by `Sam2Model`.

    A point gets the best of the model's three masks that contain it, a box its single mask. The
    score is the model's own estimate of the mask's IoU. See `_Sam2` for the arguments.
    """

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
        model = loaded.model

        def encode(frame: Frame) -> Features:
            return Features(model.get_image_embeddings(_pixels(frame, model)))

        with loaded.lock, torch.inference_mode():
            features = loaded.embedding(media, index, encode)
            prompt = {}
            if box is not None:
                corners = _scaled([box[:2], box[2:]], media, model)
                prompt["input_boxes"] = corners.reshape(1, 1, 4)
            else:
                assert point is not None
                prompt["input_points"] = _scaled([point], media, model).reshape(1, 1, 1, 2)
            found = model(image_embeddings=features.maps, multimask_output=box is None, **prompt)
            masks = _full_size(found.pred_masks[0], media)
            scores = found.iou_scores[0, 0].float().cpu().numpy()
        return best_mask(masks, scores, point)

    def _load(self) -> Any:
        from transformers import Sam2Model

        return self._from_pretrained(Sam2Model)


class Sam2Tracker(_Sam2):
    """Masks from frame to frame by `Sam2VideoModel`, with its memory of the frames before.

    The prompt is the mask where there is one, else the box. The object is visible where the
    model says that it appears and the mask is not empty; the score is the probability of that.

    Args:
        checkpoint: See `_Sam2`.
        device: A torch device.
        dtype: What weights and activations are held in.
        batch: Frames that the image encoder takes at once, >= 1: more are quicker on a GPU.

    Raises:
        MissingExtra: torch or transformers is not installed.
        ValueError: An argument is not as above.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        batch: int = 1,
    ) -> None:
        super().__init__(checkpoint, device, dtype)
        if batch < 1:
            raise ValueError(f"batch {batch!r} of sam2: must be at least 1")
        self.batch = batch

    def track(
        self, media: Media, indices: Sequence[int], box: Box, mask: BoolMask | None
    ) -> list[TrackPoint]:
        """See `Tracker.track`.

        Raises:
            BackendError: The weights do not fit, or the device is not there.
        """
        import torch
        from transformers import Sam2VideoInferenceSession

        loaded = self._loaded()
        model = loaded.model.video

        def encode(frames: list[Frame]) -> list[Features]:
            pixels = torch.cat([_pixels(frame, model) for frame in frames])
            found = model.get_image_features(pixels, return_dict=True)
            # The same for every frame. A clone, so that a kept frame does not keep its batch.
            loaded.model.positions = [p[:, :1].clone() for p in found.fpn_position_encoding]
            return [
                Features([level[:, k : k + 1].clone() for level in found.fpn_hidden_states])
                for k in range(len(frames))
            ]

        points = [TrackPoint(box, True, 1.0)]
        with loaded.lock, torch.inference_mode():
            session = Sam2VideoInferenceSession(
                video_height=media.height,
                video_width=media.width,
                inference_device=model.device,
                inference_state_device=model.device,
                video_storage_device=model.device,
                dtype=model.dtype,
            )
            _prompt(session, media, model, box, mask)
            features: dict[int, Features] = {}
            for step, index in enumerate(indices):
                if step % self.batch == 0:
                    ahead = indices[step : step + self.batch]
                    made = loaded.embeddings(media, ahead, encode)
                    features = dict(zip(ahead, made, strict=True))
                session.cache.cache_vision_features(
                    step,
                    {
                        "vision_feats": features[index].maps,
                        "vision_pos_embeds": loaded.model.positions,
                    },
                )
                # With its features known, the frame's pixels are never asked for.
                found = model(session, frame_idx=step, frame=torch.empty(0))
                if step > 0:
                    points.append(_point(found, media, points[-1].box))
                _forget(session, model, step)
        return points

    def _load(self) -> Any:
        from transformers import Sam2VideoModel

        return _Video(self._from_pretrained(Sam2VideoModel))

    def _place(self, model: Any, device: torch.device, dtype: torch.dtype) -> None:
        super()._place(model.video, device, dtype)


@dataclass
class _Video:
    """A video model, and the encodings of positions that go with every frame's features."""

    video: Any
    positions: Any = None


def _side(model: Any) -> int:
    """Pixels a side of the square that the model sees."""
    return int(model.config.prompt_encoder_config.image_size)


def _pixels(frame: Frame, model: Any) -> torch.Tensor:
    """The frame as the model sees it, (1, 3, side, side): stretched, then normalised.

    What `Sam2ImageProcessor` does, without torchvision, which that needs.
    """
    import torch

    size = (_side(model), _side(model))
    levels = torch.tensor(frame, device=model.device).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(levels, size, mode="bilinear", antialias=True)
    mean, std = (levels.new_tensor(v).reshape(1, 3, 1, 1) for v in (_MEAN, _STD))
    pixels: torch.Tensor = ((resized.round() / 255 - mean) / std).to(model.dtype)
    return pixels


def _scaled(points: Sequence[Sequence[float]], media: Media, model: Any) -> torch.Tensor:
    """Points (n, 2) of the frame as the model sees it."""
    import torch

    side = _side(model)
    factor = torch.tensor([side / media.width, side / media.height])
    return (torch.tensor(points, dtype=torch.float32) * factor).to(model.device)


def _full_size(logits: torch.Tensor, media: Media) -> NDArray[np.bool_]:
    """Masks (n, height, width) of the frame, from logits (1, n, h, w)."""
    import torch

    size = (media.height, media.width)
    full = torch.nn.functional.interpolate(logits.float(), size, mode="bilinear")
    masks: NDArray[np.bool_] = (full[0] > 0).cpu().numpy()
    return masks


def _prompt(session: Any, media: Media, model: Any, box: Box, mask: BoolMask | None) -> None:
    """Shows the object in the session's first frame."""
    import torch

    number = session.obj_id_to_idx(1)
    seen = None if mask is None else _reduced(mask, _side(model))
    # A very small object can vanish from a mask that is reduced; its box does not.
    if seen is not None and seen.any():
        session.add_mask_inputs(number, 0, seen)
    else:
        corners = _scaled([box[:2], box[2:]], media, model).reshape(1, 1, 2, 2)
        labels = torch.tensor([[[2, 3]]], dtype=torch.int32)  # upper left, lower right
        session.add_point_inputs(number, 0, {"point_coords": corners, "point_labels": labels})
    session.obj_with_new_inputs = [1]


def _reduced(mask: BoolMask, side: int) -> torch.Tensor:
    """A mask of the frame as the model sees it, (1, 1, side, side)."""
    import torch

    whole = torch.tensor(np.ascontiguousarray(mask), dtype=torch.float32)[None, None]
    part = torch.nn.functional.interpolate(whole, (side, side), mode="bilinear", antialias=True)
    return (part >= 0.5).float()


def _point(found: Any, media: Media, last: Box) -> TrackPoint:
    """Where the object is in a frame."""
    appears = float(found.object_score_logits.float().sigmoid().reshape(()))
    mask = _full_size(found.pred_masks, media)[0]
    visible = appears > 0.5 and bool(mask.any())
    return TrackPoint(tight_box(mask) if visible else last, visible, appears)


def _forget(session: Any, model: Any, step: int) -> None:
    """Drops the frame that the model's memory does not reach back to any more.

    The session keeps everything, some 6 MB a frame.
    """
    reach = max(model.config.num_maskmem, model.config.max_object_pointers_in_encoder)
    for outputs in session.output_dict_per_obj.values():
        outputs["non_cond_frame_outputs"].pop(step - reach, None)
