"""What may stand where: categories with their models, colours and places, and the room themes."""

from __future__ import annotations

from dataclasses import dataclass

_WOODS = ("brown", "white", "black", "gray", "orange")
_FABRICS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "gray", "brown", "black")
_BRIGHT = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black")


@dataclass(frozen=True)
class Kind:
    """A category of objects.

    Attributes:
        models: Meshes to draw from.
        colors: Names its tinted faces may take; empty = it keeps its own colour.
        place: "wall" (back to a wall), "corner", "open" (free in the room), "floor" (small,
            anywhere on the floor), "top" (on furniture), "panel" (on a wall).
        top: Share of its length and width that carries things on its upper face; 0 = none.
        front: Free floor kept before it, m.
        turns: How far its yaw may stray from square, rad.
    """

    models: tuple[str, ...]
    colors: tuple[str, ...] = ()
    place: str = "wall"
    top: float = 0.0
    front: float = 0.35
    turns: float = 0.0


KINDS: dict[str, Kind] = {
    "sofa": Kind(("sofa_two", "sofa_club"), _FABRICS),
    "corner sofa": Kind(("sofa_corner",), _FABRICS, "wall"),
    "armchair": Kind(("armchair_round", "armchair_club"), _FABRICS, "open", turns=0.4),
    "coffee table": Kind(("coffee_table",), _WOODS, "open", 0.85),
    "table": Kind(("table_dining", "table_round", "table_cloth"), _WOODS, "open", 0.62),
    "desk": Kind(("desk_plain",), _WOODS, "wall", 0.85, 0.75),
    "chair": Kind(
        (
            "chair_banquet",
            "chair_shell",
            "chair_padded",
            "chair_osaka",
            "chair_cafe",
            "chair_tulip",
        ),
        _FABRICS,
        "open",
        turns=0.25,
    ),
    "office chair": Kind(("chair_office",), _FABRICS, "open", turns=0.6),
    "stool": Kind(("stool_bar", "stool_shop"), (*_WOODS, "red", "yellow"), "floor"),
    "bed": Kind(("bed_wood", "bed_wide", "bed_check"), _FABRICS, "wall", 0.0, 0.5),
    "bedside table": Kind(("bedside_table",), _WOODS, "wall", 0.85, 0.2),
    "wardrobe": Kind(("wardrobe",), ("white", "brown", "black", "blue", "green"), "wall", 0, 0.6),
    "cupboard": Kind(("cupboard",), (), "wall", 0.0, 0.5),
    "bookcase": Kind(("bookcase_tall",), _WOODS, "wall", 0.85),
    "shelf": Kind(("shelf_cube",), (*_WOODS, "red", "blue"), "wall", 0.85),
    "cabinet": Kind(
        ("cabinet_drawers", "cabinet_lower"),
        ("white", "red", "blue", "green", "yellow", "brown"),
        "wall",
        0.85,
        0.45,
    ),
    "sink": Kind(
        ("cabinet_sink",), ("white", "red", "blue", "green", "yellow", "brown"), "wall", 0.0, 0.5
    ),
    "oven": Kind(("oven",), (), "wall", 0.0, 0.5),
    "refrigerator": Kind(
        ("fridge_double", "fridge_french"),
        ("white", "gray", "red", "blue", "black"),
        "wall",
        0.0,
        0.6,
    ),
    "toilet": Kind(("toilet",), (), "wall", 0.0, 0.5),
    "washbasin": Kind(("washbasin",), (), "wall", 0.0, 0.5),
    "tv stand": Kind(("tv_stand",), _WOODS, "wall", 0.85, 0.4),
    "whiteboard": Kind(("whiteboard",), (), "wall", 0.0, 0.4),
    "piano": Kind(("piano",), (), "open", 0.0, 0.4),
    "bench": Kind(("bench",), _BRIGHT, "wall", 0.8),
    "radiator": Kind(("radiator",), ("white",), "wall", 0.0, 0.1),
    "trash bin": Kind(("bin",), ("gray", "black", "blue", "green", "red"), "floor"),
    "crate": Kind(("crate",), (), "floor", 0.8),
    "barrel": Kind(("barrel",), (), "floor", 0.6),
    "box": Kind(
        ("carton", "tray_box"), ("brown", "blue", "green", "red", "yellow"), "floor", turns=0.5
    ),
    "speaker": Kind(("speaker",), (), "floor"),
    "floor lamp": Kind(
        ("floor_lamp",), ("white", "yellow", "orange", "red", "blue", "green"), "floor"
    ),
    "plant": Kind(("plant_tall",), (), "floor"),
    "guitar": Kind(("guitar",), ("red", "purple", "blue", "black", "orange"), "floor"),
    "rocking horse": Kind(("rocking_horse",), (), "floor", turns=1.0),
    "fire extinguisher": Kind(("extinguisher",), (), "floor"),
    "suitcase": Kind(("suitcase",), _BRIGHT, "floor", turns=0.4),
    "traffic cone": Kind(("cone",), ("orange", "red", "blue", "green"), "floor"),
    "bucket": Kind(("bucket",), _BRIGHT, "floor"),
    "tv": Kind(("tv",), (), "top"),
    "monitor": Kind(("monitor",), (), "top", turns=0.15),
    "laptop": Kind(("laptop",), ("gray", "black", "white", "pink", "blue"), "top", turns=0.3),
    "lamp": Kind(("lamp_desk",), (), "top"),
    "ball": Kind(
        ("plain_ball", "basketball"),
        ("red", "orange", "yellow", "green", "blue", "purple", "pink"),
        "floor",
    ),
    "teddy bear": Kind(("teddy",), ("brown", "pink", "blue", "white"), "top", turns=0.6),
    "mug": Kind(("mug",), _BRIGHT, "top", turns=3.1),
    "cup": Kind(("cup_paper",), _BRIGHT, "top", turns=3.1),
    "book": Kind(("book",), _BRIGHT, "top", turns=0.6),
    "books": Kind(("books",), _BRIGHT, "top", turns=0.1),
    "vase": Kind(("vase",), _BRIGHT, "top"),
    "bowl": Kind(("bowl",), _BRIGHT, "top"),
    "candle": Kind(("candle",), _BRIGHT, "top"),
    "apple": Kind(("apple",), ("red", "green", "yellow"), "top", turns=3.1),
    "teapot": Kind(("teapot",), _BRIGHT, "top", turns=3.1),
    "gift": Kind(("gift",), ("red", "green", "blue", "purple", "pink"), "top", turns=0.5),
    "bottle": Kind(("bottle",), ("red", "green", "blue", "orange", "purple"), "top"),
    "milk carton": Kind(("milk",), (), "top", turns=0.5),
    "coffee maker": Kind(("coffee_maker",), ("red", "black", "blue", "yellow"), "top"),
    "fan": Kind(("fan",), (), "top", turns=0.4),
    "handbag": Kind(("handbag",), _BRIGHT, "top", turns=0.5),
    "headphones": Kind(("headphones",), _BRIGHT, "top", turns=1.0),
    "cactus": Kind(("cactus",), (), "top"),
    "flowerpot": Kind(("plant_small",), (), "top"),
    "cube": Kind(("cube",), _BRIGHT, "top", turns=0.7),
    "photo": Kind(("photo",), _BRIGHT, "top", turns=0.5),
    "boots": Kind(("boots",), _BRIGHT, "floor", turns=0.6),
    "potty": Kind(("potty",), ("pink", "blue", "green", "yellow"), "floor", turns=0.6),
    "sign": Kind(
        ("sign",),
        ("white", "yellow", "red", "green", "blue", "orange", "black", "purple", "pink"),
        "panel",
    ),
    "tag": Kind(
        ("sign",),
        ("white", "yellow", "red", "green", "blue", "orange", "black", "purple", "pink"),
        "panel",
    ),
    "poster": Kind(("poster",), ("black", "white", "brown", "gray"), "panel"),
    "clock": Kind(("clock",), ("black", "white", "red", "blue", "green", "yellow"), "panel"),
    "screen": Kind(("screen",), (), "panel"),
    "robot vacuum": Kind(("robot",), ("white", "black", "red", "blue"), "mover"),
    "trolley": Kind(("trolley",), ("gray", "blue", "red", "green", "yellow"), "mover"),
    "toy car": Kind(("toy_car",), ("red", "yellow", "green", "blue", "orange"), "mover"),
}
"""Every category a room can hold."""

DETAILS = (
    "mug",
    "book",
    "vase",
    "bowl",
    "candle",
    "teapot",
    "cup",
    "gift",
    "bottle",
    "cube",
    "handbag",
    "headphones",
    "apple",
    "laptop",
)
"""Categories of the small, coloured things that a search asks for."""

CLUTTER = (
    "mug",
    "book",
    "books",
    "vase",
    "bowl",
    "candle",
    "apple",
    "teapot",
    "bottle",
    "cup",
    "cactus",
    "flowerpot",
    "photo",
    "milk carton",
    "headphones",
    "cube",
    "gift",
    "lamp",
    "teddy bear",
    "fan",
    "coffee maker",
    "laptop",
    "handbag",
)
"""Categories that fill table tops."""

FLOOR_CLUTTER = (
    "ball",
    "box",
    "suitcase",
    "bucket",
    "boots",
    "potty",
    "traffic cone",
    "crate",
    "trash bin",
)
"""Categories that fill the floor."""

MOVERS = ("ball", "robot vacuum", "trolley", "toy car", "suitcase", "box", "traffic cone", "bucket")
"""Categories that can slide across a room."""


WORDS = (
    "EXIT",
    "OPEN",
    "CLOSED",
    "PUSH",
    "PULL",
    "STOP",
    "CAFE",
    "BAKERY",
    "LIBRARY",
    "OFFICE",
    "STAFF",
    "LOBBY",
    "MUSIC",
    "GARDEN",
    "KITCHEN",
    "MARKET",
    "TICKETS",
    "STUDIO",
    "GALLERY",
    "MUSEUM",
    "THEATRE",
    "HOTEL",
    "PHARMACY",
    "FLOWERS",
    "COFFEE",
    "PIZZA",
    "BOOKS",
    "GAMES",
    "STAIRS",
    "PARKING",
    "RECEPTION",
    "MEETING",
    "QUIET",
    "DANGER",
    "CAUTION",
    "WELCOME",
    "INFORMATION",
    "LOST AND FOUND",
    "NO ENTRY",
    "WET PAINT",
    "KEEP LEFT",
    "KEEP RIGHT",
    "FIRST AID",
    "MIND THE STEP",
    "PLEASE WAIT",
    "ROOM",
    "GATE",
    "PLATFORM",
    "LEVEL",
    "LAB",
)
"""Words that signs are made of; some get a number."""
