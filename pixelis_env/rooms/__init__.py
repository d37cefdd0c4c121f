"""Rooms: procedural, furnished rooms filmed by a walking camera, with exact ground truth.

>>> from pixelis_env.rooms import RoomVideo, make_scene
>>> video = RoomVideo(make_scene(7, level=1))
>>> video.frame(0).shape, video.ids(0).dtype
((240, 320, 3), dtype('int32'))
"""

from __future__ import annotations

from .boxes import box_distance, corners, footprint
from .scene import SHIFTS, Camera, Motion, Placed, Room, Scene
from .video import RoomVideo
from .world import make_scene

__all__ = [
    "SHIFTS",
    "Camera",
    "Motion",
    "Placed",
    "Room",
    "RoomVideo",
    "Scene",
    "box_distance",
    "corners",
    "footprint",
    "make_scene",
]
