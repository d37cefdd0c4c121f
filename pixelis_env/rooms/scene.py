"""What a room is: plain, frozen, picklable data.

Units are metres, radians and seconds. The world is right-handed with z up: the floor is z = 0 and
the room spans ``[0, width] x [0, depth] x [0, height]``. Yaw turns about +z, counter-clockwise seen
from above, from +x. An object's local axes are length (x), width (y) and height (z); furniture
faces its local -y. A camera with yaw 0 and pitch 0 looks along +x; a positive pitch looks up.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

RGB = tuple[int, int, int]
Vec3 = tuple[float, float, float]

SHIFTS = ("none", "lighting", "texture", "camera", "clutter", "blur", "fonts")
"""Names accepted as ``shift=``."""


@dataclass(frozen=True)
class Lettering:
    """How a text is drawn on a sign or screen.

    Attributes:
        fill: Share of the panel's height that a capital letter may take, 0..1.
        slant: Horizontal shear of the letters (0 upright, 0.3 strongly slanted).
        case: "as-is", "upper", "lower" or "title": how the letters are drawn. The truth stays
            ``Placed.text``; compare without case.
        ink: Colour of the letters, 0..255.
        paper: Colour of the panel, 0..255.
    """

    fill: float = 0.62
    slant: float = 0.0
    case: str = "as-is"
    ink: RGB = (20, 20, 24)
    paper: RGB = (245, 243, 236)


@dataclass(frozen=True)
class Placed:
    """One object in the room: an oriented box with a mesh inside it.

    Attributes:
        id: 1, 2, ... : its value in id images.
        category: What a person would call it ("chair", "mug", "sign").
        model: Name of the mesh (see `pixelis_env.rooms.furniture`).
        center: Centre of the oriented box, m.
        size: Length, width and height of the oriented box, m.
        yaw: Rotation about +z, rad.
        color: Name of its main colour ("red").
        text: What is written on it, or None.
        rgb: Main colour, 0..255; its materials are tinted with it.
        mount: What it is fixed to: "floor", "top" (of another object), "wall" or "ceiling".
        support: Id of the object it stands on; 0 = floor, wall or ceiling.
        lettering: How `text` is drawn; None without text.
        pattern: Seed of its drawn texture (poster art, book covers); 0 = none.
    """

    id: int
    category: str
    model: str
    center: Vec3
    size: Vec3
    yaw: float
    color: str
    text: str | None = None
    rgb: RGB = (128, 128, 128)
    mount: str = "floor"
    support: int = 0
    lettering: Lettering | None = None
    pattern: int = 0


@dataclass(frozen=True)
class Light:
    """A horizontal square ceiling lamp.

    Attributes:
        position: Centre, m.
        color: Linear RGB weights, around 1.
        power: Radiance scale; 1 lights a 15 m² room well.
        radius: Half the lamp's edge, m: larger means softer shadows.
    """

    position: Vec3
    color: Vec3
    power: float
    radius: float = 0.18


@dataclass(frozen=True)
class Opening:
    """A door or window drawn on a wall; part of the structure (id 0).

    Attributes:
        kind: "door" or "window".
        wall: 0 = y=0, 1 = x=width, 2 = y=depth, 3 = x=0.
        at: Centre along the wall, m (x for walls 0 and 2, y for walls 1 and 3).
        width: m.
        bottom: Height of its lower edge, m.
        top: Height of its upper edge, m.
    """

    kind: str
    wall: int
    at: float
    width: float
    bottom: float
    top: float


@dataclass(frozen=True)
class Style:
    """Everything about a room's looks that no question asks for.

    Attributes:
        wall: Wall pattern name (see `pixelis_env.rooms.textures`).
        wall_rgb: Main and second wall colour, 0..255.
        floor: Floor pattern name.
        floor_rgb: Main and second floor colour, 0..255.
        ceiling_rgb: Ceiling colour, 0..255.
        skirting_rgb: Skirting board and frames, 0..255.
        lights: One to three lamps.
        ambient: Linear RGB of the indirect light, around 0.4.
        exposure: Multiplier before tone mapping.
        texture_seed: Seed of the textures' detail.
    """

    wall: str
    wall_rgb: tuple[RGB, RGB]
    floor: str
    floor_rgb: tuple[RGB, RGB]
    ceiling_rgb: RGB
    skirting_rgb: RGB
    lights: tuple[Light, ...]
    ambient: Vec3
    exposure: float = 1.0
    texture_seed: int = 0


@dataclass(frozen=True)
class Sensor:
    """The camera's imperfections, applied to RGB only, seeded per frame.

    Attributes:
        defocus: Gaussian sigma, px at the full frame size.
        motion: Length of the motion-blur line, px.
        noise: Standard deviation of the sensor noise, 0..255 scale.
    """

    defocus: float = 0.0
    motion: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class Room:
    """The static room: its box, its objects in their first-frame places, its looks."""

    width: float
    depth: float
    height: float
    objects: tuple[Placed, ...]
    style: Style
    openings: tuple[Opening, ...] = ()

    @property
    def area(self) -> float:
        """Floor area, m²."""
        return self.width * self.depth


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera on a path, one pose a frame.

    Attributes:
        position: float64 (T, 3), m.
        yaw: float64 (T,), rad; 0 looks along +x; continuous (unwrapped).
        pitch: float64 (T,), rad; positive looks up.
        fov_deg: Horizontal field of view, degrees.
        width: Pixels.
        height: Pixels.
        fps: Frames a second.
    """

    position: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray
    fov_deg: float
    width: int
    height: int
    fps: float

    @property
    def n_frames(self) -> int:
        """Number of frames T."""
        return len(self.yaw)

    @property
    def focal(self) -> float:
        """Focal length, px."""
        return self.width / 2 / float(np.tan(np.radians(self.fov_deg) / 2))

    def axes(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Unit vectors (right, down, forward), each float64 (3,), of frame `index`."""
        cy, sy = np.cos(self.yaw[index]), np.sin(self.yaw[index])
        cp, sp = np.cos(self.pitch[index]), np.sin(self.pitch[index])
        forward = np.array([cp * cy, cp * sy, sp])
        right = np.array([sy, -cy, 0.0])
        down = np.array([sp * cy, sp * sy, -cp])
        return right, down, forward

    def project(self, points: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Project world points into frame `index`.

        Args:
            points: float (N, 3), m.
            index: Frame number.

        Returns:
            ``xy`` float64 (N, 2) in pixels (pixel centres at +0.5; NaN behind the camera) and
            ``depth`` float64 (N,), m along the viewing axis (<= 0 behind the camera).
        """
        offset = np.asarray(points, float) - self.position[index]
        x, y, z = (
            offset[:, 0] * axis[0] + offset[:, 1] * axis[1] + offset[:, 2] * axis[2]
            for axis in self.axes(index)
        )
        safe = np.where(z > 1e-9, z, np.nan)
        xy = np.stack(
            [self.width / 2 + self.focal * x / safe, self.height / 2 + self.focal * y / safe], 1
        )
        return xy, z


@dataclass(frozen=True, eq=False)
class Motion:
    """The path of one moving object.

    It rests at ``centers[0]`` up to frame `start`, then slides straight at constant speed and has
    arrived at frame `end`, where it stays.

    Attributes:
        object_id: Id of the `Placed` that moves.
        centers: float64 (T, 3), m: centre of its box in each frame.
        yaws: float64 (T,), rad.
        start: Last frame at the starting place.
        end: First frame at the final place.
    """

    object_id: int
    centers: np.ndarray
    yaws: np.ndarray
    start: int
    end: int

    @property
    def distance(self) -> float:
        """Metres between the starting and the final place."""
        return float(np.sqrt(((self.centers[-1] - self.centers[0]) ** 2).sum()))

    def speed(self, fps: float) -> float:
        """Speed while moving, m/s."""
        return self.distance / (self.end - self.start) * fps


@dataclass(frozen=True, eq=False)
class Scene:
    """A room, its camera path and its moving objects: all that a room video is rendered from."""

    seed: int
    level: int
    shift: str
    room: Room
    camera: Camera
    motions: tuple[Motion, ...] = ()
    sensor: Sensor = Sensor()

    @property
    def n_frames(self) -> int:
        """Number of frames of the video."""
        return self.camera.n_frames

    def object(self, object_id: int) -> Placed:
        """The object with that id.

        Raises:
            KeyError: No such object; the message states the valid ids.
        """
        objects = self.room.objects
        if not 1 <= object_id <= len(objects):
            raise KeyError(f"no object {object_id}: this scene has ids 1..{len(objects)}")
        return objects[object_id - 1]

    def at(self, object_id: int, index: int) -> Placed:
        """The object as it stands in frame `index` (moved when it has a motion)."""
        placed = self.object(object_id)
        for motion in self.motions:
            if motion.object_id == object_id:
                x, y, z = (float(v) for v in motion.centers[index])
                return dataclasses.replace(placed, center=(x, y, z), yaw=float(motion.yaws[index]))
        return placed

    @cached_property
    def by_category(self) -> dict[str, tuple[Placed, ...]]:
        """Objects by category, in id order."""
        groups: dict[str, list[Placed]] = {}
        for placed in self.room.objects:
            groups.setdefault(placed.category, []).append(placed)
        return {name: tuple(group) for name, group in groups.items()}

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of the whole content: equal scenes have equal digests."""
        sink = hashlib.sha256()
        fields = {f.name: _plain(getattr(self, f.name), sink) for f in dataclasses.fields(self)}
        sink.update(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())
        return sink.hexdigest()


def _plain(value: Any, sink: Any) -> Any:
    """`value` as JSON types; arrays go into `sink` as bytes and leave their shape."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name), sink) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value, "<f8")
        sink.update(data.tobytes())
        return ["array", list(value.shape)]
    if isinstance(value, (tuple, list)):
        return [_plain(item, sink) for item in value]
    return value
