"""The shape of the reference model, Qwen3-VL-8B-Instruct, for checks that need no weights.

The numbers are those of the published configuration (Qwen/Qwen3-VL-8B-Instruct, config.json).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import Qwen3VLConfig

REFERENCE = "Qwen/Qwen3-VL-8B-Instruct"


def reference_config(layers: int = 36, vision_layers: int = 27) -> Qwen3VLConfig:
    """The reference model's configuration.

    Args:
        layers: Of the language model; fewer give a model of the same widths that fits a test GPU.
        vision_layers: Of the vision tower; at least 3, for its three deepstack outputs.
    """
    from transformers import Qwen3VLConfig

    third = vision_layers // 3
    return Qwen3VLConfig(
        text_config={
            "vocab_size": 151936,
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": layers,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 262144,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5_000_000,
                "mrope_section": [24, 20, 20],
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": False,
        },
        vision_config={
            "depth": vision_layers,
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_heads": 16,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 4096,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [third - 1, 2 * third - 2, 3 * third - 3],
        },
        image_token_id=151655,
        video_token_id=151656,
        vision_start_token_id=151652,
        vision_end_token_id=151653,
        tie_word_embeddings=False,
    )
