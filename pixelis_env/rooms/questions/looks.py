"""Where and when a solver looks: with all of the video in view, or with some frames only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from pixelis_env.rooms.drawing import letter_height
from pixelis_env.rooms.questions.survey import IN_VIEW, Survey

Span = tuple[float, float]
"""Start and end, s."""

ROOMY, TIGHT = 0.5, 0.15
"""How much is kept around an object in a zoom, as a share of its longer side."""

ASIDE = 0.6
"""How far off the middle the zooms of one are who saw an object in the overview, as a share of the
margin."""

LEAST_WINDOW = 80.0
"""Longer side, px, of the smallest zoom of one who saw an object in the overview: where it is was
seen coarsely there."""

EDGE = 0.5
"""Seconds searched before and after the moment at which an object comes or goes."""

MAX_TRACK = 10
"""Frames that one track follows."""

MAX_FOLLOW = 1.0
"""Seconds that one track follows who does not know how long the object is in view."""


LEGIBLE = 7.0
"""Height of letters that can be read, px."""


class Looks:
    """Where the oracle looks: it knows all of the video.

    Args:
        survey: What the video shows, and when.

    Attributes:
        least_window: Longer side of its smallest zoom, px.
    """

    least_window = 0.0

    def __init__(self, survey: Survey) -> None:
        self.survey = survey

    def best(self, object_id: int) -> int:
        """The frame that shows an object best."""
        return self.survey.best_frame(object_id)

    def first(self, object_id: int) -> int:
        """The first frame that shows an object well."""
        return self.survey.first_sight(object_id)

    def legible(self, object_id: int) -> int:
        """The frame in which a sign or tag can best be read."""
        return self.survey.best_frame(object_id)

    def margin(self, rng: Generator) -> float:
        """How much a zoom keeps around an object, as a share of its longer side."""
        return float(rng.uniform(TIGHT, ROOMY))

    def aside(self, rng: Generator) -> tuple[float, float]:
        """How far off the middle a zoom is, to the right and down, as shares of its margin."""
        return 0.0, 0.0

    def closer(self, rng: Generator) -> bool:
        """Whether to zoom in on an object before it is outlined, where either will do."""
        return bool(rng.random() < 0.5)

    def edges(self, object_id: int) -> tuple[Span | None, ...]:
        """Spans to search for when an object comes into view and for when it goes.

        None is the whole video, which shows both.
        """
        video, shown = self.survey.video, self.survey.in_view(object_id)
        times = [float(video.times[frame]) for frame in (shown[0], shown[-1])]
        return tuple(
            (round(max(time - EDGE, 0.0), 3), round(min(time + EDGE, video.duration), 3))
            for time in times
        )

    def path(self, object_id: int) -> tuple[int, float]:
        """A frame that shows an object on its way, and until when to follow it, s."""
        frames = self.survey.moving(object_id)
        start = int(frames[0])
        last = int(frames[frames < start + MAX_TRACK][-1])
        return start, float(self.survey.video.times[last])


class Glimpses(Looks):
    """Where an agent can look that saw some frames only and does not know the answer.

    Its zooms leave one margin, so that what it writes follows from what it saw, up to `ASIDE`.

    Args:
        survey: What the video shows, and when.
        frames: The frames that were seen, in any order.

    Attributes:
        least_window: Longer side of its smallest zoom, px.

    Raises:
        ValueError: No frame at all, or one outside the video.
    """

    least_window = LEAST_WINDOW

    def __init__(self, survey: Survey, frames: Sequence[int]) -> None:
        super().__init__(survey.only(frames))

    def best(self, object_id: int) -> int:
        """The frame that shows an object best; LookupError where none shows it clearly."""
        self._need(object_id, self.survey.clear(object_id, IN_VIEW), "shows it clearly")
        return super().best(object_id)

    def first(self, object_id: int) -> int:
        """The first frame that shows an object well; LookupError where none does clearly."""
        self._need(object_id, self.survey.clear(object_id, IN_VIEW), "shows it clearly")
        return super().first(object_id)

    def legible(self, object_id: int) -> int:
        """The frame in which a sign or tag can best be read; LookupError where none can be."""
        frame = self.best(object_id)
        letters = letter_height(self.survey.scene.object(object_id))
        large = self.survey.rise(object_id, frame, letters) >= LEGIBLE
        self._need(
            object_id,
            large and self.survey.entire(object_id),
            "shows it whole with letters large enough to read",
        )
        return frame

    def margin(self, rng: Generator) -> float:
        """How much a zoom keeps around an object, as a share of its longer side."""
        return ROOMY

    def aside(self, rng: Generator) -> tuple[float, float]:
        """Anywhere up to `ASIDE`.

        Always in the middle, an object would be outlined there without being looked for, also
        where one's own zoom went a little wide of it.
        """
        right, down = rng.uniform(-ASIDE, ASIDE, 2)
        return float(right), float(down)

    def closer(self, rng: Generator) -> bool:
        """Always: an outline drawn in a zoom is finer."""
        return True

    def edges(self, object_id: int) -> tuple[Span | None, ...]:
        """The whole video, once."""
        return (None,)

    def path(self, object_id: int) -> tuple[int, float]:
        """The frame nearest to the middle of an object's way, and until when to follow it, s.

        Raises:
            LookupError: No frame shows it on its way.
        """
        motion, frames = self.survey.motion(object_id), self.survey.moving(object_id)
        self._need(object_id, len(frames) > 0, "shows it while it moves")
        start = int(frames[np.argmin(np.abs(2 * frames - motion.start - motion.end))])
        video = self.survey.video
        return start, round(min(float(video.times[start]) + MAX_FOLLOW, video.duration), 3)

    def _need(self, object_id: int, shown: bool, what: str) -> None:
        if not shown:
            category = self.survey.scene.object(object_id).category
            seen = ", ".join(str(frame) for frame in self.survey.frames)
            raise LookupError(f"{category} (object {object_id}): none of the frames {seen} {what}")
