"""Do two sets of media overlap: what is trained on or adapted to, and what judges?

Two media leak into each other when their content is the same, or when they look the same: the
difference hashes (N. Krawetz, "Kind of like that", 2013; the package `imagehash`, extra `leakage`)
of the frames that an agent is shown are compared. So a copy that was scaled, compressed anew or
relit is found, a picture that is a frame of a video, and a part of a video. A mirrored or cropped
copy is not. Frames of one colour look like one another and are left out of this.

`python -m pixelis_env.leakage A B` compares two sets. A set is a folder of images and videos, one
such file, a manifest (.jsonl), or a benchmark with its folder, as in `vsi-bench=DIR`. It exits with
0 where nothing leaks, 1 where something does, 2 where a set cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelis_env.errors import MissingExtra
from pixelis_env.media import Media, MediaError
from pixelis_env.observation import overview_indices
from pixelis_env.tasks import BENCHMARKS, make_source
from pixelis_env.tasks.benchmarks.rows import Locator
from pixelis_env.tasks.benchmarks.source import RowSource

NEAR = 0.15
"""Share of the bits that may differ in near duplicates. Of ten rooms no two differ in less than
0.32, and no frame in less than 0.20 from the nearest one of another room; the same room differs in
0.01 when it is blurred, and in 0.07 on average in other light."""

PLAIN = 4.0
"""Standard deviation of grey levels below which a frame is of one colour."""

_THUMBNAIL = 160  # px; hashes are made of 9 x 8

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
    | {".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm"}
)
"""What is taken for media in a folder; a file that is named is read whatever it is called."""


@dataclass(frozen=True)
class Fingerprint:
    """What a medium is known by.

    Attributes:
        task_id: Of the task that is about it, or its path.
        media_digest: Of the medium's content.
        bits: bool (frames, 64), the hashes of the frames that are not of one colour.
    """

    task_id: str
    media_digest: str
    bits: NDArray[np.bool_]

    @classmethod
    def of(cls, task_id: str, media_digest: str, images: Sequence[Image.Image]) -> Fingerprint:
        """The fingerprint of a medium that shows these images.

        Raises:
            MissingExtra: imagehash is not installed.
        """
        try:
            from imagehash import dhash
        except ImportError:
            raise MissingExtra("comparing what media look like", "leakage") from None
        grey = [image.convert("L") for image in images]
        telling = [image for image in grey if np.std(np.asarray(image)) >= PLAIN]
        bits = [np.asarray(dhash(image).hash, bool).ravel() for image in telling]
        return cls(task_id, media_digest, np.array(bits, bool).reshape(len(bits), 64))

    @classmethod
    def of_medium(cls, task_id: str, media: Media) -> Fingerprint:
        """The fingerprint of a medium by the frames of its overview; raises as `of` does."""
        shown = [media.thumbnail(k, _THUMBNAIL) for k in overview_indices(media)]
        return cls.of(task_id, media.digest, [Image.fromarray(frame) for frame in shown])


@dataclass(frozen=True)
class Leak:
    """A pair that is not kept apart.

    Attributes:
        one: The id in the first set.
        other: The id in the second.
        same_content: Whether they are the same, byte for byte.
        difference: Share of bits that differ, 0..1: the mean over the frames of the one that has
            fewer, each compared with the nearest frame of the other; 1 where there is none.
    """

    one: str
    other: str
    same_content: bool
    difference: float

    def __str__(self) -> str:
        how = "same content" if self.same_content else f"looks the same ({self.difference:.3f})"
        return f"{self.one} = {self.other}: {how}"


def leaks(
    adapted: Iterable[Fingerprint], held_out: Sequence[Fingerprint], near: float = NEAR
) -> list[Leak]:
    """The pairs whose media are the same, or look the same.

    Args:
        adapted: Of what is trained on or adapted to.
        held_out: Of what judges.
        near: Largest difference of near duplicates, 0..1.

    Raises:
        ValueError: `near` is outside 0..1.
    """
    if not 0 <= near <= 1:
        raise ValueError(f"near must be in 0..1, not {near}")
    found = []
    others = [other.bits for other in held_out]
    for one in adapted:
        for other, difference in zip(held_out, _differences(one.bits, others), strict=True):
            same = one.media_digest == other.media_digest
            if same or difference <= near:
                found.append(Leak(one.task_id, other.task_id, same, float(difference)))
    return found


def _differences(
    one: NDArray[np.bool_], others: Sequence[NDArray[np.bool_]]
) -> NDArray[np.float64]:
    """float64 (others,): how much each differs from `one`."""
    found = np.ones(len(others))
    telling = [k for k, bits in enumerate(others) if len(bits)]
    if not len(one) or not telling:
        return found
    lengths = np.array([len(others[k]) for k in telling])
    starts = np.cumsum(lengths) - lengths
    a = one.astype(np.float32)
    b = np.concatenate([others[k] for k in telling]).astype(np.float32)
    apart = (a @ (1 - b).T + (1 - a) @ b.T) / a.shape[1]  # (frames of one, frames of all others)
    nearest_there = np.minimum.reduceat(apart, starts, axis=1).mean(axis=0)
    nearest_here = np.add.reduceat(apart.min(axis=0), starts) / lengths
    found[telling] = np.where(lengths < len(one), nearest_here, nearest_there)
    return found


def fingerprints(name: str) -> Iterator[Fingerprint | str]:
    """The fingerprint of every different medium of a set; a text for one that cannot be read.

    Args:
        name: A set, as the command takes it.

    Raises:
        ValueError: There is no such set, or it is empty.
    """
    for ident, medium in _media_of(name).items():
        try:
            media = medium.open()
            yield Fingerprint.of_medium(ident, media)
            media.close()
        except MediaError as error:
            yield f"{ident}: {error}"


def _media_of(name: str) -> dict[str, Locator]:
    benchmark, sign, root = name.partition("=")
    path = Path(name)
    if benchmark in BENCHMARKS:
        if not sign:
            raise ValueError(f"{name}: say where it lies, as in {name}=DIR")
        return _rows(benchmark, root=root)
    if path.suffix == ".jsonl" and path.is_file():
        return _rows(name)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            raise ValueError(f"{name}: holds no image and no video")
        return {str(file.relative_to(path)): Locator(file) for file in files}
    if path.is_file():
        return {path.name: Locator(path)}
    raise ValueError(
        f"{name}: no folder, no file, and none of {', '.join(f'{b}=DIR' for b in BENCHMARKS)}"
    )


def _rows(source: str, **options: str) -> dict[str, Locator]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what cannot be asked holds no medium to compare
        rows = make_source(source, strict=False, **options)
    assert isinstance(rows, RowSource)
    return rows.media


def main(argv: list[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m pixelis_env.leakage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", help="a set: what is trained on")
    parser.add_argument("b", help="a set: what judges")
    parser.add_argument(
        "--near", type=float, default=NEAR, help=f"largest difference, 0..1; default {NEAR}"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    try:
        sets = [list(fingerprints(name)) for name in (args.a, args.b)]
        read = [[one for one in found if isinstance(one, Fingerprint)] for found in sets]
        found = leaks(read[0], read[1], args.near)
    except (ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    unread = [one for found_set in sets for one in found_set if isinstance(one, str)]
    counts = {"a": len(read[0]), "b": len(read[1]), "near": args.near}
    if args.json:
        print(json.dumps({**counts, "unread": unread, "leaks": [asdict(leak) for leak in found]}))
    else:
        for line in (*(f"not read: {text}" for text in unread), *found):
            print(line)
        print(f"{len(read[0])} and {len(read[1])} media, {len(found)} pairs leak")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
