"""Sorts of rooms: which furniture belongs together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """A sort of room.

    Attributes:
        must: Furniture placed first, in order: (category, fewest, most).
        may: Furniture added while there is room, drawn without order.
        floors: Floor patterns to draw from.
    """

    must: tuple[tuple[str, int, int], ...]
    may: tuple[str, ...]
    floors: tuple[str, ...] = ("planks", "parquet", "carpet")


THEMES: dict[str, Theme] = {
    "living": Theme(
        (("sofa", 1, 2), ("tv stand", 1, 1), ("coffee table", 1, 1), ("armchair", 0, 2)),
        (
            "bookcase",
            "plant",
            "floor lamp",
            "shelf",
            "speaker",
            "guitar",
            "bench",
            "table",
            "stool",
            "cabinet",
            "ball",
            "chair",
            "armchair",
            "plant",
        ),
    ),
    "lounge": Theme(
        (("corner sofa", 1, 1), ("table", 1, 1), ("chair", 2, 4)),
        (
            "bookcase",
            "plant",
            "floor lamp",
            "shelf",
            "speaker",
            "piano",
            "stool",
            "tv stand",
            "armchair",
            "ball",
            "suitcase",
            "plant",
        ),
    ),
    "bedroom": Theme(
        (("bed", 1, 1), ("bedside table", 1, 2), ("wardrobe", 0, 1), ("chair", 1, 2)),
        (
            "desk",
            "cupboard",
            "plant",
            "floor lamp",
            "shelf",
            "suitcase",
            "ball",
            "rocking horse",
            "boots",
            "bookcase",
            "armchair",
            "box",
            "guitar",
        ),
        ("planks", "carpet", "carpet", "parquet"),
    ),
    "office": Theme(
        (("desk", 1, 3), ("office chair", 1, 3), ("whiteboard", 0, 1), ("trash bin", 1, 1)),
        (
            "bookcase",
            "plant",
            "shelf",
            "cabinet",
            "box",
            "fire extinguisher",
            "chair",
            "table",
            "sofa",
            "trash bin",
            "suitcase",
            "floor lamp",
            "cabinet",
        ),
        ("carpet", "tiles", "planks"),
    ),
    "dining": Theme(
        (("table", 1, 1), ("chair", 3, 6), ("refrigerator", 1, 1), ("cabinet", 1, 3)),
        (
            "sink",
            "oven",
            "stool",
            "trash bin",
            "plant",
            "bench",
            "cabinet",
            "barrel",
            "bucket",
            "stool",
            "box",
            "shelf",
        ),
        ("tiles", "checker", "planks"),
    ),
    "play": Theme(
        (
            ("piano", 0, 1),
            ("rocking horse", 1, 1),
            ("chair", 1, 3),
            ("shelf", 1, 2),
            ("table", 1, 1),
        ),
        (
            "ball",
            "box",
            "guitar",
            "armchair",
            "plant",
            "crate",
            "barrel",
            "potty",
            "ball",
            "traffic cone",
            "speaker",
            "cupboard",
            "bench",
        ),
    ),
    "bath": Theme(
        (("toilet", 1, 1), ("washbasin", 1, 1), ("radiator", 1, 1), ("stool", 1, 1)),
        ("cabinet", "trash bin", "plant", "bucket", "bench", "shelf", "potty", "box"),
        ("tiles", "checker"),
    ),
}
"""The sorts of room that are drawn from."""
