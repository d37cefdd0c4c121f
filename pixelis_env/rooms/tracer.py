"""Embree behind two questions: what does this ray hit, and is this point hidden from the lamp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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


class Tracer:
    """A committed bounding volume hierarchy over triangles."""

    def __init__(self, triangles: np.ndarray) -> None:
        """Build it.

        Args:
            triangles: float32 (T, 3, 3), m; T >= 1.
        """
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(triangles, np.float32))

    def intersect(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """Nearest hits; `origins` and `directions` are float32 (N, 3), directions unnormalised."""
        found = self._scene.run(origins, directions, query="INTERSECT", output=True)
        return Hits(found["primID"], found["tfar"], found["u"], found["v"])

    def free(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """bool (N,): whether nothing stands between an origin and origin + direction."""
        # Without distances Embree would count the walls behind the lamp.
        reach = np.full(len(origins), 0.999, np.float32)
        return np.asarray(self._scene.run(origins, directions, reach, query="OCCLUDED") == -1)
