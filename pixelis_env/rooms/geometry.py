"""A scene as triangles: the room's shell, every object's mesh, and what each face looks like."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from .drawing import draw_face, outdoors
from .furniture import mesh
from .scene import Opening, Placed, Room
from .textures import Atlas, linear, shell_texture

STRUCTURE = 1 << 20
"""First label of the room's own surfaces; objects' labels are smaller."""

LIGHT_GLOW = 1.6
WINDOW_GLOW = 0.75


@dataclass(frozen=True, eq=False)
class Soup:
    """Triangles with their looks.

    Attributes:
        triangles: float32 (T, 3, 3), m.
        owner: int32 (T,): instance id, 0 = structure.
        normals: float32 (T, 9): unit normals of the three corners.
        flat: bool (T,): all three corner normals are the same.
        label: int32 (T,): tells surfaces apart: an object's faces of one main direction share
            one, and so does each flat piece of the structure (those start at `STRUCTURE`).
        albedo: float32 (T, 3): linear colour.
        glow: float32 (T,): emitted light; 0 = none.
        uv: float32 (T, 6): texture coordinates of the three corners, in texture lengths.
        texture: int32 (T,): texture number in the atlas, -1 = plain.
        scale: float32 (T,): texels a metre at the finest level (0 where plain).
    """

    triangles: np.ndarray
    owner: np.ndarray
    normals: np.ndarray
    flat: np.ndarray
    label: np.ndarray
    albedo: np.ndarray
    glow: np.ndarray
    uv: np.ndarray
    texture: np.ndarray
    scale: np.ndarray

    def __len__(self) -> int:
        return len(self.owner)


def join(parts: list[Soup]) -> Soup:
    """Concatenate soups, in order."""
    if len(parts) == 1:
        return parts[0]
    names = tuple(f.name for f in fields(Soup))
    return Soup(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


def _soup(
    triangles: np.ndarray,
    owner: np.ndarray,
    normals: np.ndarray,
    albedo: np.ndarray,
    glow: np.ndarray,
    uv: np.ndarray,
    texture: np.ndarray,
    scale: np.ndarray,
) -> Soup:
    """A soup with what follows from its triangles filled in."""
    a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    face = np.abs(
        np.stack(
            [
                a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
                a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
                a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
            ],
            1,
        )
    )
    flat = (np.abs(normals[:, 3:6] - normals[:, :3]) < 1e-3).all(1)
    flat &= (np.abs(normals[:, 6:] - normals[:, :3]) < 1e-3).all(1)
    return Soup(
        triangles.astype(np.float32),
        owner.astype(np.int32),
        normals.astype(np.float32),
        flat,
        (owner * 3 + face.argmax(1)).astype(np.int32),
        albedo.astype(np.float32),
        glow.astype(np.float32),
        uv.astype(np.float32),
        texture.astype(np.int32),
        scale.astype(np.float32),
    )


def object_soup(item: Placed, atlas: Atlas) -> Soup:
    """One object where it stands, as triangles."""
    shape = mesh(item.model)
    c, s = np.float32(np.cos(item.yaw)), np.float32(np.sin(item.yaw))
    points = shape.points * np.array(item.size, np.float32)
    x = points[:, 0] * c - points[:, 1] * s + np.float32(item.center[0])
    y = points[:, 0] * s + points[:, 1] * c + np.float32(item.center[1])
    z = points[:, 2] + np.float32(item.center[2])
    triangles = np.stack([x, y, z], 1)[shape.faces]
    # Stretching the unit box to the object's size bends normals the other way.
    normals = shape.normals * (np.array(shape.size, np.float32) / np.array(item.size, np.float32))
    normals = normals / np.sqrt(np.maximum((normals**2).sum(-1, keepdims=True), 1e-12))
    turned = np.stack(
        [
            normals[..., 0] * c - normals[..., 1] * s,
            normals[..., 0] * s + normals[..., 1] * c,
            normals[..., 2],
        ],
        -1,
    )
    albedo = linear(shape.colors)
    if shape.tint.any():
        own = albedo[shape.tint]
        luminance = own[:, 0] * 0.3 + own[:, 1] * 0.6 + own[:, 2] * 0.1
        shade = np.clip(luminance / max(float(np.median(luminance)), 1e-3), 0.55, 1.5)
        albedo = albedo.copy()
        albedo[shape.tint] = linear(np.array(item.rgb, np.uint8))[None] * shade[:, None]
    n = len(shape.faces)
    number = np.full(n, -1, np.int32)
    scale = np.zeros(n, np.float32)
    if shape.painted.any():
        where = shape.painted
        face = draw_face(item)
        number[where] = atlas.add(face)
        scale[where] = face.width / item.size[0]
        albedo = albedo.copy()
        albedo[where] = 1.0
    glow = np.zeros(n, np.float32)
    if item.category in ("tv", "screen", "monitor", "laptop"):
        glow[shape.painted] = 0.45
    return _soup(
        triangles,
        np.full(n, item.id),
        turned.reshape(n, 9),
        albedo,
        glow,
        shape.uv.reshape(n, 6),
        number,
        scale,
    )


class _Shell:
    """Collects the flat quads of the room's structure."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def quad(
        self,
        corner: tuple[float, float, float],
        along: tuple[float, float, float],
        up: tuple[float, float, float],
        normal: tuple[float, float, float],
        rgb: np.ndarray,
        texture: int = -1,
        metres: float = 1.0,
        texels: float = 0.0,
        glow: float = 0.0,
    ) -> None:
        """Add a rectangle; `metres` is the length of one texture repeat."""
        o, a, b = (np.array(v, float) for v in (corner, along, up))
        length, height = np.sqrt((a**2).sum()) / metres, np.sqrt((b**2).sum()) / metres
        points = [o, o + a, o + a + b, o + b]
        coords = [(0.0, height), (length, height), (length, 0.0), (0.0, 0.0)]
        for k in ((0, 1, 2), (0, 2, 3)):
            self.rows.append(
                (
                    np.array([points[i] for i in k]),
                    np.tile(normal, 3),
                    rgb,
                    glow,
                    np.array([coords[i] for i in k]).reshape(-1),
                    texture,
                    texels,
                )
            )

    def block(
        self,
        low: tuple[float, float, float],
        high: tuple[float, float, float],
        rgb: np.ndarray,
        glow_down: float = 0.0,
    ) -> None:
        """Add an axis-aligned block (five or six faces)."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        dx, dy, dz = x1 - x0, y1 - y0, z1 - z0
        self.quad((x0, y0, z0), (dx, 0, 0), (0, 0, dz), (0, -1, 0), rgb)
        self.quad((x0, y1, z0), (dx, 0, 0), (0, 0, dz), (0, 1, 0), rgb)
        self.quad((x0, y0, z0), (0, dy, 0), (0, 0, dz), (-1, 0, 0), rgb)
        self.quad((x1, y0, z0), (0, dy, 0), (0, 0, dz), (1, 0, 0), rgb)
        self.quad((x0, y0, z1), (dx, 0, 0), (0, dy, 0), (0, 0, 1), rgb)
        self.quad((x0, y0, z0), (dx, 0, 0), (0, dy, 0), (0, 0, -1), rgb, glow=glow_down)

    def soup(self) -> Soup:
        """The quads as triangles."""
        columns = list(zip(*self.rows, strict=True))
        points, normals, albedo, glow, uv, texture, scale = (np.array(c) for c in columns)
        soup = _soup(points, np.zeros(len(points), int), normals, albedo, glow, uv, texture, scale)
        piece = STRUCTURE + np.arange(len(points), dtype=np.int32) // 2
        return replace(soup, label=piece)


def shell_soup(room: Room, atlas: Atlas) -> Soup:
    """Floor, walls, ceiling, skirting boards, door, windows and lamps."""
    style, shell = room.style, _Shell()
    w, d, h = room.width, room.depth, room.height
    white = np.ones(3)
    floor = shell_texture(style.floor, style.floor_rgb, style.texture_seed)
    wall = shell_texture(style.wall, style.wall_rgb, style.texture_seed)
    floor_at, wall_at = atlas.add(floor), atlas.add(wall)
    shell.quad(
        (0, 0, 0),
        (w, 0, 0),
        (0, d, 0),
        (0, 0, 1),
        white,
        floor_at,
        floor.metres,
        floor.width / floor.metres,
    )
    for corner, along, normal in (
        ((w, 0, 0), (-w, 0, 0), (0, 1, 0)),
        ((w, d, 0), (0, -d, 0), (-1, 0, 0)),
        ((0, d, 0), (w, 0, 0), (0, -1, 0)),
        ((0, 0, 0), (0, d, 0), (1, 0, 0)),
    ):
        shell.quad(
            corner, along, (0, 0, h), normal, white, wall_at, wall.metres, wall.width / wall.metres
        )
    shell.quad((0, 0, h), (w, 0, 0), (0, d, 0), (0, 0, -1), linear(np.array(style.ceiling_rgb)))
    frame = linear(np.array(style.skirting_rgb))
    for number in range(4):
        _skirting(shell, room, number, frame)
    view = -1
    if any(o.kind == "window" for o in room.openings):
        view = atlas.add(outdoors(style.texture_seed))
    for opening in room.openings:
        _opening(shell, room, opening, frame, view)
    for light in style.lights:
        x, y, _ = light.position
        r = light.radius
        shell.block(
            (x - r, y - r, h - 0.05),
            (x + r, y + r, h - 0.002),
            np.full(3, 0.85),
            glow_down=LIGHT_GLOW,
        )
    return shell.soup()


def _wall_block(
    shell: _Shell,
    room: Room,
    wall: int,
    a: float,
    b: float,
    low: float,
    high: float,
    thick: float,
    rgb: np.ndarray,
    behind: float = 0.0,
) -> None:
    """A block along a wall between two positions; `behind` keeps it off the wall's plane."""
    w, d = room.width, room.depth
    lo, hi = behind, thick
    corners = (
        ((a, lo, low), (b, hi, high)),
        ((w - hi, a, low), (w - lo, b, high)),
        ((a, d - hi, low), (b, d - lo, high)),
        ((lo, a, low), (hi, b, high)),
    )[wall]
    shell.block(corners[0], corners[1], rgb)


def _skirting(shell: _Shell, room: Room, wall: int, rgb: np.ndarray) -> None:
    length = room.width if wall % 2 == 0 else room.depth
    cuts = sorted(
        (o.at - o.width / 2 - 0.06, o.at + o.width / 2 + 0.06)
        for o in room.openings
        if o.wall == wall and o.bottom < 0.1
    )
    at = 0.001
    for low, high in [*cuts, (length - 0.001, length)]:
        if low - at > 0.02:
            _wall_block(shell, room, wall, at, low, 0.0005, 0.085, 0.014, rgb, 0.0005)
        at = high


def _opening(shell: _Shell, room: Room, opening: Opening, rgb: np.ndarray, view: int) -> None:
    a, b = opening.at - opening.width / 2, opening.at + opening.width / 2
    wall, low, high = opening.wall, opening.bottom, opening.top
    edge = 0.06
    base = 0.0005 if low < 0.1 else low - edge
    _wall_block(shell, room, wall, a - edge, a, base, high + edge, 0.03, rgb, 0.0005)
    _wall_block(shell, room, wall, b, b + edge, base, high + edge, 0.03, rgb, 0.0005)
    _wall_block(shell, room, wall, a, b, high, high + edge, 0.03, rgb, 0.0005)
    if opening.kind == "door":
        leaf = linear(np.array((196, 188, 172))) * 0.9
        _wall_block(shell, room, wall, a, b, 0.0005, high, 0.012, leaf, 0.0005)
        inset = opening.width * 0.16
        for z0, z1 in ((0.25, 0.95), (1.1, high - 0.2)):
            _wall_block(shell, room, wall, a + inset, b - inset, z0, z1, 0.02, leaf * 0.92, 0.01)
        knob = np.full(3, 0.35)
        _wall_block(shell, room, wall, b - 0.12, b - 0.05, 0.98, 1.02, 0.06, knob, 0.012)
        return
    _wall_block(shell, room, wall, a - edge, b + edge, low - edge, low, 0.05, rgb, 0.0005)
    middle = (a + b) / 2
    _wall_block(shell, room, wall, middle - 0.02, middle + 0.02, low, high, 0.025, rgb, 0.0005)
    w, d = room.width, room.depth
    off, dz = 0.006, high - low
    corner, along, normal = (
        ((b, off, low), (a - b, 0, 0), (0, 1, 0)),
        ((w - off, b, low), (0, a - b, 0), (-1, 0, 0)),
        ((a, d - off, low), (b - a, 0, 0), (0, -1, 0)),
        ((off, a, low), (0, b - a, 0), (1, 0, 0)),
    )[wall]
    # One picture spans all windows of a height: its repeat is the window's longer side.
    shell.quad(
        corner,
        along,
        (0, 0, dz),
        normal,
        np.ones(3),
        view,
        max(b - a, dz),
        128 / max(b - a, dz),
        WINDOW_GLOW,
    )
