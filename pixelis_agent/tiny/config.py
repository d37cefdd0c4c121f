"""The shape of `pixelis-tiny`: the same classes as Qwen3-VL-8B, from small numbers.

What is small and why: patches of 8 pixels, so that an object of 40 pixels covers several tokens of
a 128x96 image; a vision tower that is as wide as it is cheap; four layers of language model, the
fewest that learned to copy a value out of an earlier tool result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

IMAGE = {
    "patch_size": 8,
    "merge_size": 2,
    "temporal_patch_size": 2,
    "size": {"shortest_edge": 32 * 32, "longest_edge": 128 * 96},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
"""Arguments of the image processor: a 4:3 image becomes 128x96 px, 16x12 patches, 48 tokens."""

HIDDEN = 192

GRID = 10
"""Its boxes are written in multiples of this, thousandths of the view."""


def tiny_config(vocab_size: int, ids: dict[str, int]) -> Qwen3VLConfig:
    """The configuration of `pixelis-tiny`.

    Args:
        vocab_size: Entries of its tokenizer.
        ids: Token ids of `image`, `video`, `vision_start`, `vision_end`, `eos`, `pad`.
    """
    from transformers import Qwen3VLConfig

    text: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": HIDDEN,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 4096,
        # Three sections (time, height, width) that sum to half a head.
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [6, 5, 5],
            "mrope_interleaved": True,
        },
        "tie_word_embeddings": True,
        "eos_token_id": ids["eos"],
        "pad_token_id": ids["pad"],
    }
    vision: dict[str, Any] = {
        "depth": 4,
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_heads": 4,
        "patch_size": IMAGE["patch_size"],
        "spatial_merge_size": IMAGE["merge_size"],
        "temporal_patch_size": IMAGE["temporal_patch_size"],
        "out_hidden_size": HIDDEN,
        "num_position_embeddings": 16 * 16,
        "deepstack_visual_indexes": [1],
    }
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["image"],
        video_token_id=ids["video"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
        # The text configuration's setting alone is not looked at by the full model.
        tie_word_embeddings=True,
    )


def build_tiny(vocab_size: int, ids: dict[str, int], seed: int) -> Qwen3VLForConditionalGeneration:
    """A fresh `pixelis-tiny` with random weights in float32; global random state is left alone."""
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3VLForConditionalGeneration(tiny_config(vocab_size, ids)).float()
