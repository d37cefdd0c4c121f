"""Embree behind two questions: what does this ray hit, and is this point hidden from the lamp."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

import numpy as np

_first_use = threading.Lock()
_single = False


def available() -> bool:
    """Whether embreex can be imported here (it has no wheel for some platforms)."""
    try:
        import embreex.rtcore_scene  # noqa: F401
    except ImportError:
        return False
    return True


@dataclass(frozen=True, eq=False)
class Hits:
    """Nearest hits of N rays.

    Attributes:
        tri: int32 (N,): triangle number, -1 = nothing.
        depth: float32 (N,): how many ray vectors away; planar depth (m) for camera rays.
        u: float32 (N,): weight of the triangle's second corner.
        v: float32 (N,): weight of its third corner.
    """

    tri: np.ndarray
    depth: np.ndarray
    u: np.ndarray
    v: np.ndarray


def _stay_single() -> None:
    """Keep Embree from starting worker threads in this process.

    A process forked while such a worker holds a lock inherits the lock for ever: vector
    environments would hang now and then. Embree's scheduler counts the processors of its first
    caller and starts one worker fewer, so that caller is shown one processor. Rooms are small;
    what scales here is processes.
    """
    global _single
    with _first_use:
        if _single:
            return
        _single = True
        if not hasattr(os, "sched_setaffinity"):
            return
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(mine)})
        try:
            scene = EmbreeScene()
            kept = TriangleMesh(scene, np.eye(3, dtype=np.float32)[None])
            ray = np.ones((1, 3), np.float32)
            scene.run(ray, ray)
            del kept
        finally:
            os.sched_setaffinity(0, mine)


class Tracer:
    """A committed bounding volume hierarchy over triangles."""

    def __init__(self, triangles: np.ndarray) -> None:
        """Build it.

        Args:
            triangles: float32 (T, 3, 3), m; T >= 1.
        """
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        _stay_single()
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(triangles, np.float32))
        # Embree commits at the first query; asking now keeps that out of threads' way.
        ray = np.ones((1, 3), np.float32)
        self._scene.run(ray, ray)

    def intersect(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """Nearest hits; `origins` and `directions` are float32 (N, 3), directions unnormalised."""
        found = self._scene.run(origins, directions, query="INTERSECT", output=True)
        return Hits(found["primID"], found["tfar"], found["u"], found["v"])

    def free(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """bool (N,): whether nothing stands between an origin and origin + direction."""
        # Without distances Embree would count the walls behind the lamp.
        reach = np.full(len(origins), 0.999, np.float32)
        return np.asarray(self._scene.run(origins, directions, reach, query="OCCLUDED") == -1)
