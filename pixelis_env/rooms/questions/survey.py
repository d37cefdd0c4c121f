"""What a room video shows of each object, and when: from a small id pass, never from RGB."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelis_env.coordinates import Box
from pixelis_env.rooms.boxes import corners
from pixelis_env.rooms.scene import Motion, Placed, Scene
from pixelis_env.rooms.video import RoomVideo

SURVEY_WIDTH = 80
"""Width of the id images, px: 4800 rays a frame, so that a question costs milliseconds."""

LOOKALIKES = {
    "chair": ("office chair", "armchair"),
    "office chair": ("chair", "armchair"),
    "table": ("coffee table", "bedside table", "desk"),
    "sofa": ("corner sofa",),
    "lamp": ("floor lamp",),
    "plant": ("flowerpot", "cactus"),
    "flowerpot": ("plant", "cactus"),
    "mug": ("cup",),
    "cup": ("mug",),
    "book": ("books",),
    "books": ("book",),
    "tv": ("monitor", "screen"),
    "monitor": ("tv", "screen"),
    "screen": ("tv", "monitor", "poster"),
    "poster": ("screen",),
    "cabinet": ("cupboard",),
    "cupboard": ("cabinet", "wardrobe"),
    "shelf": ("bookcase",),
    "bookcase": ("shelf",),
    "box": ("crate", "gift"),
    "bucket": ("trash bin",),
    "trash bin": ("bucket",),
}
"""Categories whose presence makes a name ambiguous: is an armchair a chair?"""

IN_VIEW = 0.001
"""An object is in view where it covers this share of the frame: 9x9 pixels of 320x240."""

CLEAR = 0.004
"""An object can be told by its category where it covers this share of the frame, ..."""

WHOLE = 0.6
"""... this share of its box lies inside the frame, ..."""

UNCOVERED = 0.2
"""... and its pixels fill this share of the rectangle around that part: it is not hidden."""


CUT_OFF = 4.0
"""A frame that cuts the object off must show it this many times larger to be the better one."""


class NoQuestion(Exception):
    """These objects give no question of this type: a rule of its answers is broken."""


class Sight(NamedTuple):
    """How each frame looked at shows one object, float64 (S,) each.

    Attributes:
        held: Share of the object's box that lies inside the frame, 0..1.
        filled: Share of the rectangle around that part that the object's pixels fill.
    """

    held: NDArray[np.float64]
    filled: NDArray[np.float64]


class Survey:
    """The visibility of every object over a video.

    Args:
        video: The room.
        stride: Look at every `stride`-th frame.
        lenient: Call clear whatever is in view. For a shifted room: its question was chosen by
            what the plain room shows clearly, and stands while its objects are seen at all.
        frames: Look at these frames instead, at full size.

    Attributes:
        frames: int (S,), the frames looked at.
        share: float64 (S, n_objects + 1), the part of the frame that each id covers, 0..1.
    """

    def __init__(
        self,
        video: RoomVideo,
        stride: int,
        lenient: bool = False,
        frames: Sequence[int] | None = None,
    ) -> None:
        self.video = video
        self.stride = stride
        self.lenient = lenient
        if frames is None:
            self.frames = np.arange(0, video.n_frames, stride)
            counts = video.visible(stride, SURVEY_WIDTH)
        else:
            self.frames = np.unique(np.asarray(frames, np.int64))
            columns = len(video.scene.room.objects) + 1
            ids = [video.ids(int(k)).ravel() for k in self.frames]
            counts = np.array([np.bincount(image, minlength=columns) for image in ids])
        self.share: NDArray[np.float64] = counts / counts.sum(1, keepdims=True)
        self._sights: dict[int, Sight] = {}

    def only(self, frames: Sequence[int]) -> Survey:
        """The survey of some frames alone.

        Raises:
            ValueError: No frame at all, or one outside the video.
        """
        last = self.video.n_frames - 1
        if not len(frames) or min(frames) < 0 or max(frames) > last:
            raise ValueError(f"frames={list(frames)}: give some of 0..{last}")
        return Survey(self.video, self.stride, self.lenient, frames)

    @property
    def scene(self) -> Scene:
        """The room and all that moves in it."""
        return self.video.scene

    def sight(self, object_id: int) -> Sight:
        """How each frame looked at shows the object."""
        if object_id not in self._sights:
            self._sights[object_id] = self._measure(object_id)
        return self._sights[object_id]

    def clarity(self, object_id: int) -> NDArray[np.float64]:
        """The share of the frame that the object covers where it is whole and uncovered, else 0.

        Returns:
            float64 (S,), 0..1.
        """
        held, filled = self.sight(object_id)
        clear = (held >= WHOLE) & (filled >= UNCOVERED)
        return np.where(clear, self.share[:, object_id], 0.0)

    def clear(self, object_id: int, least: float = CLEAR) -> bool:
        """Whether some frame shows the object whole, uncovered and at least that large."""
        if self.lenient:
            return bool(self.share[:, object_id].max() >= IN_VIEW)
        return bool(self.clarity(object_id).max() >= least)

    def best_frame(self, object_id: int) -> int:
        """The frame that shows the object best: large, and rather not cut off at the edge."""
        clarity, held = self.clarity(object_id), self.sight(object_id).held
        best = np.where(held == 1, clarity, clarity / CUT_OFF)
        return int(self.frames[int(np.argmax(best if best.any() else self.share[:, object_id]))])

    def entire(self, object_id: int) -> bool:
        """Whether the best frame holds all of the object, uncovered."""
        best = int(np.flatnonzero(self.frames == self.best_frame(object_id))[0])
        return bool(self.clarity(object_id)[best] > 0 and self.sight(object_id).held[best] == 1)

    def in_view(self, object_id: int) -> NDArray[np.int64]:
        """The frames looked at in which the object is in view, in order."""
        return self.frames[self.share[:, object_id] >= IN_VIEW]

    @property
    def slack(self) -> float:
        """Seconds by which the survey may notice a change too late: it skips frames."""
        return (self.stride - 1) / self.scene.camera.fps

    def first_sight(self, object_id: int) -> int:
        """The first frame that shows the object as large as half its best one does."""
        share = self.share[:, object_id]
        return int(self.frames[int(np.argmax(share >= max(share.max() / 2, IN_VIEW)))])

    def box(self, object_id: int, frame: int) -> Box:
        """The object's box in that frame, source pixels; LookupError where it is not in view."""
        box = self.video.object_box(frame, object_id)
        if box is None:
            raise LookupError(f"object {object_id} is not in frame {frame}")
        x0, y0, x1, y1 = (float(v) for v in box)
        return x0, y0, x1, y1

    def rise(self, object_id: int, frame: int, metres: float) -> float:
        """How tall an upright stretch at an object's centre shows in that frame, px."""
        up = np.array([0.0, 0.0, metres / 2])
        ends = np.asarray(self.scene.object(object_id).center) + np.stack([up, -up])
        (top, foot), _ = self.scene.camera.project(ends, frame)
        return float(np.hypot(*(top - foot)))

    def motion(self, object_id: int) -> Motion:
        """How the object moves; `NoQuestion` where it stands still."""
        for motion in self.scene.motions:
            if motion.object_id == object_id:
                return motion
        raise NoQuestion(f"object {object_id} stands still")

    def moving(self, object_id: int) -> NDArray[np.int64]:
        """The frames looked at in which the object is in view on its way, in order."""
        motion, shown = self.motion(object_id), self.in_view(object_id)
        return shown[(shown >= motion.start) & (shown <= motion.end)]

    def first_frame(self, ids: list[int], share: float = IN_VIEW) -> int | None:
        """The first frame where one of the objects covers at least `share`, or None."""
        shown = np.flatnonzero((self.share[:, ids] >= share).any(1))
        return int(self.frames[shown[0]]) if len(shown) else None

    @cached_property
    def groups(self) -> dict[str, tuple[Placed, ...]]:
        """Objects by category, the categories that have a lookalike in the room left out."""
        present = self.scene.by_category
        return {
            category: group
            for category, group in present.items()
            if not any(other in present for other in LOOKALIKES.get(category, ()))
        }

    def group(self, category: str) -> tuple[Placed, ...]:
        """The objects of a category; `NoQuestion` where a lookalike makes its name ambiguous."""
        if category not in self.groups:
            raise NoQuestion(f"{category} names no clear group of objects")
        return self.groups[category]

    @cached_property
    def unique(self) -> tuple[Placed, ...]:
        """Clearly shown objects that are the only one of their category in the room."""
        return tuple(
            group[0]
            for group in self.groups.values()
            if len(group) == 1 and self.clear(group[0].id)
        )

    def named(self, targets: Sequence[int]) -> tuple[Placed, ...]:
        """The objects, each of which its category alone must name.

        Raises:
            NoQuestion: One is not unique, or never shown clearly.
        """
        unique = {placed.id: placed for placed in self.unique}
        for target in targets:
            if target not in unique:
                raise NoQuestion(f"object {target} is not unique or never shown clearly")
        return tuple(unique[target] for target in targets)

    @cached_property
    def clear_ids(self) -> tuple[int, ...]:
        """Objects that are shown clearly, in id order."""
        return tuple(p.id for p in self.scene.room.objects if self.clear(p.id))

    @cached_property
    def _axes(self) -> NDArray[np.float64]:
        """The camera's right, down and forward in each frame looked at, (S, 3 axes, 3)."""
        camera = self.scene.camera
        return np.array([camera.axes(int(frame)) for frame in self.frames])

    def _measure(self, object_id: int) -> Sight:
        """Points spread over the object's box tell how much of it a frame holds."""
        camera, share = self.scene.camera, self.share[:, object_id]
        held, filled = np.zeros(len(share)), np.zeros(len(share))
        shown = np.flatnonzero(share >= IN_VIEW)
        if not len(shown):
            return Sight(held, filled)
        frames = self.frames[shown]
        points = lattice(self.scene.object(object_id))[None]
        if any(motion.object_id == object_id for motion in self.scene.motions):
            points = np.stack([lattice(self.scene.at(object_id, int(k))) for k in frames])
        offset = points - camera.position[frames][:, None]
        x, y, depth = np.einsum("kpc,kac->akp", offset, self._axes[shown])
        ahead = np.maximum(depth, 1e-6)
        x = camera.width / 2 + camera.focal * x / ahead
        y = camera.height / 2 + camera.focal * y / ahead
        inside = (depth > 0) & (x >= 0) & (x <= camera.width) & (y >= 0) & (y <= camera.height)
        width, height = (
            np.where(inside, v, -1.0).max(1) - np.where(inside, v, camera.width).min(1)
            for v in (x, y)
        )
        outline = np.where(inside.any(1), np.maximum(width * height, 1.0), np.inf)
        held[shown] = inside.mean(1)
        filled[shown] = share[shown] * camera.width * camera.height / outline
        return Sight(held, filled)


_STEPS = np.stack(np.meshgrid(*[[0.0, 0.5, 1.0]] * 3), -1).reshape(-1, 3)


def lattice(placed: Placed) -> NDArray[np.float64]:
    """Points spread evenly over an object's box, float64 (27, 3), m."""
    origin, along, back, up = corners(placed)[[0, 1, 3, 4]]
    return origin + _STEPS @ np.stack([along - origin, back - origin, up - origin])
