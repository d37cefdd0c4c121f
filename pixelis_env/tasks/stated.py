"""Truth that was written down: where targets show in some frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pixelis_env.coordinates import Box


class StatedTruth:
    """Boxes that somebody drew; see `pixelis_env.tasks.base.Truth`.

    Args:
        names: What each target is called.
        boxes: Of each target, its box by frame, xyxy in source px.
    """

    def __init__(self, names: Sequence[str], boxes: Sequence[Mapping[int, Box]]) -> None:
        if len(names) != len(boxes):
            raise ValueError(f"{len(names)} names but {len(boxes)} targets with boxes")
        self.names = tuple(names)
        self.boxes = tuple(dict(frames) for frames in boxes)

    def box(self, k: int, index: int) -> Box | None:
        """The box of target k in frame `index`; None where none was drawn there."""
        if not 0 <= k < len(self.boxes) or index < 0:
            raise IndexError(f"no target {k} in frame {index}: there are {len(self.boxes)} targets")
        return self.boxes[k].get(index)
