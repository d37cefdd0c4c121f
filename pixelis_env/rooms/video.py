"""A scene as a medium: frames, instance ids, depth and visibility, all made when asked for."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from pixelis_env.media.base import Media

from .render import Renderer, View
from .scene import Scene
from .sensor import expose
from .tracer import available

T = TypeVar("T")
RENDERERS = ("auto", "embree", "numpy")
_KEEP = {"frame": 112, "view": 4, "ids": 32, "thumbnail": 64, "visible": 4}
"""Of each kind the last used. Fewer frames than a video has would be none: those who follow a thing
go through all of them, and again from the beginning."""


class RoomVideo(Media):
    """The video of a room's camera walk, rendered lazily, with exact ground truth.

    Pictures, ids and depth of a frame come from the same rays, so they agree pixel by pixel. It
    can be pickled (caches and geometry are left behind and rebuilt), carried over a fork and used
    from several threads.

    Attributes:
        scene: What is shown.
        renderer: "embree" or "numpy": what renders it.
    """

    def __init__(self, scene: Scene, renderer: str = "auto") -> None:
        """Take a scene; nothing is built before the first frame is asked for.

        Args:
            scene: From `pixelis_env.rooms.make_scene`.
            renderer: "embree"; "numpy" (slower, hard shadows left out, same ids); "auto" =
                Embree where its package is installed.

        Raises:
            ValueError: Unknown renderer.
            ImportError: "embree" was asked for and embreex is not installed.
        """
        if renderer not in RENDERERS:
            raise ValueError(f"renderer={renderer!r} is unknown; choose one of {RENDERERS}")
        if renderer == "auto":
            renderer = "embree" if available() else "numpy"
        elif renderer == "embree" and not available():
            raise ImportError("renderer='embree' needs the package embreex; use 'numpy' or 'auto'")
        self.scene = scene
        self.renderer = renderer
        self.name = f"room-{scene.seed}-level{scene.level}-{scene.shift}"
        self.width, self.height = scene.camera.width, scene.camera.height
        self.times = np.arange(scene.n_frames) / scene.camera.fps
        self.times.flags.writeable = False
        self.duration = scene.n_frames / scene.camera.fps
        # The two renderers draw other pixels: a result on one must not pass for the other's.
        content = f"{scene.digest} {renderer}".encode("ascii")
        self.digest = hashlib.sha256(content).hexdigest()
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._built: Renderer | None = None
        self._owner_pid = os.getpid()
        self._kept: dict[str, OrderedDict[Any, Any]] = {k: OrderedDict() for k in _KEEP}

    def __getstate__(self) -> dict[str, Any]:
        """Everything but caches, geometry and the lock."""
        gone = ("_lock", "_built", "_kept", "_owner_pid")
        return {k: v for k, v in self.__dict__.items() if k not in gone}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore; geometry is rebuilt at the first frame."""
        super().__setstate__(state)
        self._reset()

    def _renderer(self) -> Renderer:
        # A fork leaves Embree's worker threads behind, so the child builds its own.
        if self._owner_pid != os.getpid():
            self._reset()
        with self._lock:
            if self._built is None:
                self._built = Renderer(self.scene, self.renderer)
            return self._built

    def _cached(self, kind: str, key: Any, make: Callable[[], T]) -> T:
        renderer_lock = self._lock
        with renderer_lock:
            kept = self._kept[kind]
            if key in kept:
                kept.move_to_end(key)
                return kept[key]
            value = make()
            kept[key] = value
            while len(kept) > _KEEP[kind]:
                kept.popitem(last=False)
            return value

    def _view(self, index: int) -> View:
        return self._cached("view", index, lambda: self._renderer().view(index, self.width))

    def frame(self, index: int) -> np.ndarray:
        """The frame at `index`, uint8 (H, W, 3) RGB, read-only.

        Raises:
            IndexError: `index` is outside 0..n_frames-1.
        """
        index = self._checked_index(index)
        renderer = self._renderer()

        def make() -> np.ndarray:
            image = renderer.color(index, self._view(index))
            return _frozen(expose(image, self.scene.sensor, self._noise_seed(index)))

        return self._cached("frame", index, make)

    def thumbnail(self, index: int, size: int) -> np.ndarray:
        """The frame rendered directly so that its longer side is `size` px; uint8, read-only.

        Raises:
            IndexError: `index` is outside 0..n_frames-1.
            ValueError: `size` is below 1.
        """
        index = self._checked_index(index)
        if size < 1:
            raise ValueError(f"thumbnail size {size} px: must be at least 1")
        renderer = self._renderer()
        wide = size if self.width >= self.height else max(1, round(size * self.width / self.height))

        def make() -> np.ndarray:
            image = renderer.color(index, renderer.view(index, wide))
            scale = wide / self.width
            return _frozen(expose(image, self.scene.sensor, self._noise_seed(index), scale))

        return self._cached("thumbnail", (index, size), make)

    def ids(self, index: int) -> np.ndarray:
        """Instance ids, int32 (H, W), read-only; 0 = walls, floor, ceiling, door, windows."""
        index = self._checked_index(index)
        renderer = self._renderer()
        return self._cached("ids", index, lambda: _frozen(renderer.owners(self._view(index))))

    def depth(self, index: int) -> np.ndarray:
        """Distance along the viewing axis, float32 (H, W), m."""
        index = self._checked_index(index)
        self._renderer()
        return self._view(index).depth.reshape(self.height, self.width).copy()

    def visible(self, stride: int = 1, size: int = 80) -> np.ndarray:
        """How many pixels show each object, from a small id image of every `stride`-th frame.

        Args:
            stride: Frames between samples, >= 1.
            size: Width of the id image, px.

        Returns:
            int32 (ceil(n_frames / stride), n_objects + 1), read-only; column = id, column 0 =
            structure.
        """
        if stride < 1 or size < 1:
            raise ValueError(f"stride={stride}, size={size}: both must be at least 1")
        columns = len(self.scene.room.objects) + 1

        def make() -> np.ndarray:
            renderer = self._renderer()
            rows = [
                np.bincount(renderer.owners(renderer.view(i, size)).ravel(), minlength=columns)
                for i in range(0, self.n_frames, stride)
            ]
            return _frozen(np.array(rows, np.int32))

        self._renderer()  # a forked child drops its parent's caches here
        return self._cached("visible", (stride, size), make)

    def mask(self, index: int, object_id: int) -> np.ndarray:
        """Where an object shows in a frame, bool (H, W).

        Raises:
            KeyError: No such object.
        """
        self.scene.object(object_id)
        return np.asarray(self.ids(index) == object_id)

    def object_box(self, index: int, object_id: int) -> np.ndarray | None:
        """Box around an object's visible pixels, float64 (4,) xyxy px; None where it is hidden.

        Raises:
            KeyError: No such object.
        """
        mask = self.mask(index, object_id)
        rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        if not len(rows):
            return None
        return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)

    def close(self) -> None:
        """Drop geometry and caches; both come back when needed."""
        self._reset()

    def _noise_seed(self, index: int) -> tuple[int, ...]:
        return int(self.digest[:8], 16), index


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
