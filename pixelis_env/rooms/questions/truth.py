"""Where the objects of a question show: exact boxes, from full-size id images."""

from __future__ import annotations

from dataclasses import dataclass

from pixelis_env.coordinates import Box
from pixelis_env.rooms.questions.question import Question
from pixelis_env.rooms.questions.survey import IN_VIEW
from pixelis_env.rooms.video import RoomVideo


@dataclass(frozen=True)
class RoomTruth:
    """The truth of a task in a room (`pixelis_env.tasks.Truth`).

    Attributes:
        video: The room.
        targets: Ids of the objects, most telling first.
        names: What the question calls each of them.
    """

    video: RoomVideo
    targets: tuple[int, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, video: RoomVideo, question: Question, count: int) -> RoomTruth:
        """The truth of a question about a room, for its first `count` targets."""
        targets = question.targets[:count]
        names = [video.scene.object(target).category for target in targets]
        if question.called is not None:
            names[0] = question.called
        return cls(video, targets, tuple(names))

    def box(self, k: int, index: int) -> Box | None:
        """The box around target k's visible pixels in frame `index`, source px, half open.

        None where they cover less than `IN_VIEW` of the frame.

        Raises:
            IndexError: No such target or frame.
        """
        if not 0 <= k < len(self.targets):
            raise IndexError(f"there is no target {k}: give 0..{len(self.targets) - 1}")
        target = self.targets[k]
        least = IN_VIEW * self.video.width * self.video.height
        if self.video.mask(index, target).sum() < least:
            return None
        box = self.video.object_box(index, target)
        assert box is not None
        x0, y0, x1, y1 = (float(v) for v in box)
        return x0, y0, x1, y1
