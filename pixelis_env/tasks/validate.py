"""Names every fault of a manifest by its line.

`python -m pixelis_env.tasks.validate pixelis.jsonl` exits with 0 when every line can be asked, 1
when one cannot, 2 when the file cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pixelis_env.media import Media, MediaError
from pixelis_env.tasks.benchmarks.rows import Fault, Locator, Row
from pixelis_env.tasks.manifest import read_manifest
from pixelis_env.tasks.stated import StatedTruth


def faults_of(file: Path, *, open_media: bool = True) -> tuple[int, list[str]]:
    """How many lines a manifest has, and what is wrong with them.

    Args:
        file: The manifest.
        open_media: Also open every medium, and compare the evidence with its frames.

    Returns:
        The number of lines, and a message for each fault that begins with `<file>:<line>: `.

    Raises:
        ValueError: The file cannot be read.
    """
    rows = read_manifest(file.absolute())
    found: list[str] = []
    opened: dict[Locator, Media | str] = {}
    lines = _lines(file)
    for line, row in zip(lines, rows, strict=True):
        place = f"{file}:{line}"
        if isinstance(row, Fault):
            found.append(f"{place}: {row.reason}")
        elif open_media:
            if row.medium not in opened:
                opened[row.medium] = _opened(row.medium)
            medium = opened[row.medium]
            wrong = [medium] if isinstance(medium, str) else _misplaced(row, medium)
            found += [f"{place}: {message}" for message in wrong]
    return len(rows), found


def _lines(file: Path) -> list[int]:
    """The numbers of the lines that hold something."""
    text = file.read_text(encoding="utf-8")
    return [number for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _opened(medium: Locator) -> Media | str:
    try:
        media = medium.open()
        media.frame(0)
    except MediaError as error:
        return str(error)
    media.close()
    return media


def _misplaced(row: Row, media: Media) -> list[str]:
    """What of the evidence lies outside the medium."""
    if not isinstance(row.truth, StatedTruth):
        return []
    found = []
    for name, boxes in zip(row.truth.names, row.truth.boxes, strict=True):
        for frame, box in boxes.items():
            if frame >= media.n_frames:
                found.append(
                    f"evidence {name!r}: frame {frame} must lie within 0..{media.n_frames - 1}"
                )
            elif min(box) < 0 or box[2] > media.width or box[3] > media.height:
                found.append(
                    f"evidence {name!r}: the box {list(box)} must lie within the frame, "
                    f"{media.width}x{media.height} px"
                )
    return found


def main(argv: list[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m pixelis_env.tasks.validate", description=__doc__
    )
    parser.add_argument(
        "manifest", type=Path, help="a file of JSON lines (docs/sources/manifest.md)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="only see that the media are there, do not open them"
    )
    args = parser.parse_args(argv)
    try:
        n, faults = faults_of(args.manifest, open_media=not args.quick)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for fault in faults:
        print(fault)
    print(f"{n} lines, {len(faults)} faults")
    return 1 if faults or not n else 0


if __name__ == "__main__":
    sys.exit(main())
