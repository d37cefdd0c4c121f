"""Text and images to model inputs, for the Qwen-VL families and `pixelis-tiny`.

Text is tokenised once, when it is fed; images become flattened patches whenever a batch is made.
The image processor is the Pillow one of transformers, so that torchvision is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelis_agent.images import Picture, shown, shown_size
from pixelis_agent.rollout import Fed
from pixelis_agent.spans import Label

if TYPE_CHECKING:
    import torch

IMAGE_TOKEN = "<|image_pad|>"
TURN_END = "<|im_end|>"


class Processor:
    """A tokenizer with a chat template, and an image processor.

    Args:
        tokenizer: A transformers tokenizer that has `<|image_pad|>` and `<|im_end|>`.
        image_processor: A `Qwen2VLImageProcessorPil`.

    Raises:
        ValueError: The tokenizer has no image token or no chat template.
    """

    def __init__(self, tokenizer: Any, image_processor: Any) -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        vocabulary = tokenizer.get_vocab()
        missing = [token for token in (IMAGE_TOKEN, TURN_END) if token not in vocabulary]
        if missing:
            raise ValueError(
                f"the tokenizer has no {' and no '.join(missing)}: it is not one of a Qwen-VL model"
            )
        if not tokenizer.chat_template:
            raise ValueError("the tokenizer has no chat template: save one with it")
        self.image_id: int = vocabulary[IMAGE_TOKEN]
        self.end_id: int = vocabulary[TURN_END]
        self.pad_id: int = self.end_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        eos = self.end_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
        self.end_ids = frozenset({self.end_id, eos})
        added = tokenizer.added_tokens_decoder.items()
        special = frozenset(i for i, token in added if token.special)
        self._markers = special - {self.image_id}
        self.unwritable = sorted((special | {self.image_id}) - self.end_ids)
        """Tokens that a model must not write: an image's placeholder without an image, markers."""

    @classmethod
    def load(cls, path: str | Path, **image_options: Any) -> Processor:
        """The processor saved with a model.

        Args:
            path: A folder, or the id of a model on the hub.
            image_options: In place of what is saved, e.g. `size={"longest_edge": 512 * 512, ...}`
                in pixels of the whole image.

        Raises:
            OSError: Nothing is there.
        """
        from transformers import AutoTokenizer
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
            Qwen2VLImageProcessorPil,
        )

        tokenizer = AutoTokenizer.from_pretrained(path)
        return cls(tokenizer, Qwen2VLImageProcessorPil.from_pretrained(path, **image_options))

    def numbers(self) -> dict[int, float]:
        """The tokens that are numbers, by their ids: digits, or longer ones where there are."""
        vocabulary = self.tokenizer.get_vocab().items()
        return {i: float(text) for text, i in vocabulary if text.isascii() and text.isdecimal()}

    def save(self, path: str | Path) -> None:
        """Writes tokenizer, template and image settings beside a model."""
        self.tokenizer.save_pretrained(path)
        self.image_processor.save_pretrained(path)

    def render(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] | None
    ) -> str:
        """The template's text for messages, up to where the model's turn begins."""
        return str(
            self.tokenizer.apply_chat_template(
                list(messages), tools=tools, tokenize=False, add_generation_prompt=True
            )
        )

    def feed(self, text: str, images: Sequence[Picture]) -> Fed:
        """Tokenises a piece of a dialogue; every image placeholder becomes its image's tokens.

        Raises:
            ValueError: The text has another number of placeholders than there are images.
        """
        pieces = text.split(IMAGE_TOKEN)
        if len(pieces) != len(images) + 1:
            raise ValueError(f"{len(pieces) - 1} image placeholders for {len(images)} images")
        tokens: list[int] = []
        for number, piece in enumerate(pieces):
            if number:
                tokens += [self.image_id] * self.image_tokens(images[number - 1])
            tokens += self.tokenizer.encode(piece, add_special_tokens=False)
        labels = [Label.TEMPLATE if t in self._markers else Label.OBSERVATION for t in tokens]
        return Fed(tokens, labels, list(images))

    def image_grid(self, image: Picture) -> tuple[int, int]:
        """Rows and columns of patches that an image becomes."""
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

        settings = self.image_processor
        width, height = shown_size(image)
        height, width = smart_resize(
            height,
            width,
            factor=settings.patch_size * settings.merge_size,
            min_pixels=settings.size["shortest_edge"],
            max_pixels=settings.size["longest_edge"],
        )
        return height // settings.patch_size, width // settings.patch_size

    def image_tokens(self, image: Picture) -> int:
        """Tokens that an image becomes."""
        rows, columns = self.image_grid(image)
        return rows * columns // self.image_processor.merge_size**2

    def pixels(self, images: Sequence[Picture]) -> dict[str, torch.Tensor]:
        """The model's image inputs.

        Returns:
            `pixel_values` float32 (patches of all images, channels x 2 x patch x patch) and
            `image_grid_thw` int64 (images, 3); empty without images.
        """
        if not images:
            return {}
        pictures = [shown(image) for image in images]
        inputs = self.image_processor(pictures, return_tensors="pt")
        return {key: inputs[key] for key in ("pixel_values", "image_grid_thw")}
