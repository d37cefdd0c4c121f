"""The quality of the operations on rooms, where the truth is exact."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pixelis_env.actions import Action, Localize, ReadText, Segment, Track, Zoom
from pixelis_env.coordinates import Box
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import Evidence, Intervals, Mask, TextLines, Tracklet
from pixelis_env.media import ArrayMedia, Media
from pixelis_env.metrics.overlap import boundary_f1, interval_iou, mask_iou
from pixelis_env.metrics.text import cer
from pixelis_env.metrics.tracking import hota
from pixelis_env.rooms import Placed, RoomVideo
from pixelis_env.rooms.drawing import draw_face
from pixelis_env.rooms.questions.survey import CLEAR, Survey
from pixelis_env.tools import Toolbox
from pixelis_env.tools.backends.rapidocr import normalise
from pixelis_env.workspace import Workspace

LEAST_AREA = 150
"""Visible pixels of an object that is prompted."""

LEAST_TRACKED = 60
"""Visible pixels of an object that a track should report. Frames with fewer but some are left out
of the evaluation, as is usual for barely visible objects."""

TRACK_FRAMES = 25
LETTER_BINS = ((8, 12), (12, 16), (16, math.inf))
"""Heights of letters, px."""

FACE = 0.284 / 0.3
"""Height of a sign's drawn face over the sign's."""

Tools = Mapping[str, Toolbox]


class Scores:
    """Figures by (operation, backend, case, metric), each with the index of its task."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, str, str], list[tuple[int, float]]] = {}
        self.task = 0

    def add(self, op: str, backend: str, case: str, **figures: float) -> None:
        """Enters the figures of one case."""
        for metric, value in figures.items():
            key = (op, backend, case, metric.replace("_", " "))
            self.values.setdefault(key, []).append((self.task, float(value)))


class Desk:
    """A workspace with its medium: runs actions, files their evidence."""

    def __init__(self, media: Media) -> None:
        self.media = media
        self.workspace = Workspace(media)

    def file(self, evidence: Evidence) -> str:
        """Puts evidence into the workspace; its id."""
        return self.workspace.add(evidence)

    def run(self, toolbox: Toolbox, action: Action) -> Evidence | None:
        """The evidence; None where the tool declines."""
        try:
            return toolbox.run(action, self.workspace)
        except InvalidCall:
            return None

    def zoom(self, toolbox: Toolbox, box: Box, index: int) -> str:
        """Zooms on a box and files the view."""
        action = Zoom(box=box, time=self.time(index), frame="px")
        return self.file(toolbox.run(action, self.workspace))

    def time(self, index: int) -> float:
        """When a frame is on show, s."""
        return float(self.media.times[index])


def segment_cases(scores: Scores, video: RoomVideo, tools: Tools, rng: Generator) -> None:
    """Two visible objects of a random frame, each by its box, a jittered box and a point."""
    index = int(rng.integers(video.n_frames))
    areas = np.bincount(video.ids(index).ravel())
    objects = [int(i) for i in rng.permutation(len(areas)) if i and areas[i] >= LEAST_AREA][:2]
    for number in objects:
        truth = video.mask(index, number)
        box = _box(video, index, number)
        sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
        moved = np.array(box) + rng.uniform(-0.05, 0.05, 4) * sides
        x0, y0, x1, y1 = moved.clip(0, [video.width, video.height] * 2)
        # The point that lies deepest inside.
        deep = cv2.distanceTransform(np.pad(truth, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        row, column = np.unravel_index(int(deep.argmax()), deep.shape)
        at = {"time": float(video.times[index]), "frame": "px"}
        prompts = {
            "tight box": Segment(box=box, **at),
            "box jittered ±5 %": Segment(box=(x0, y0, x1, y1), **at),
            "point inside": Segment(point=(column + 0.5, row + 0.5), **at),
        }
        for case, action in prompts.items():
            for name in tools:
                found = Desk(video).run(tools[name], action)
                iou = edge = 0.0
                if isinstance(found, Mask):
                    mask = found.rle.decode()
                    iou, edge = mask_iou(mask, truth), boundary_f1(mask, truth)
                scores.add("segment", name, case, mask_IoU=iou, boundary_F1=edge)


def track_cases(scores: Scores, video: RoomVideo, tools: Tools, rng: Generator) -> None:
    """One object: the one that moves, or one at rest seen by the walking camera."""
    start, number = _tracked(video, rng)
    if number == 0:
        return
    moving = bool(video.scene.motions)
    case = "moving object" if moving else "object at rest, camera walking"
    frames = range(start, start + TRACK_FRAMES)
    mask = video.mask(start, number)
    areas = [int((video.ids(index) == number).sum()) for index in frames]
    judged = [k for k, area in enumerate(areas) if area == 0 or area >= LEAST_TRACKED]
    truth = [{1: _box(video, frames[k], number)} if areas[k] else {} for k in judged]
    prompt = Mask.of(mask, frame_index=start, time=float(video.times[start]), score=1.0)
    for name in tools:
        desk = Desk(video)
        span = (desk.time(frames[0]), desk.time(frames[-1]))
        targets = {"mask": desk.file(prompt)}
        if name == "default":
            targets["view"] = desk.zoom(tools[name], _box(video, start, number), start)
        for form, target in targets.items():
            found = desk.run(tools[name], Track(target=target, span=span))
            boxes: list[dict[int, Box]] = [{} for _ in frames]
            if isinstance(found, Tracklet):
                pairs = zip(found.boxes, found.visible, strict=True)
                boxes = [{1: box} if seen else {} for box, seen in pairs]
            result = hota(truth, [boxes[k] for k in judged])
            label = case if form == "mask" else f"{case}, from its view"
            scores.add("track", name, label, HOTA=result.hota, DetA=result.det_a, LocA=result.loc_a)
            if form == "mask" and not moving and _whole(_box(video, start, number), video):
                scores.add("track", name, f"{case}, whole at the start", HOTA=result.hota)


def _tracked(video: RoomVideo, rng: Generator) -> tuple[int, int]:
    """The first frame of a track and the object's id; id 0: there is none to be seen."""
    latest = video.n_frames - TRACK_FRAMES
    for _ in range(8):
        start = int(rng.integers(latest + 1))
        numbers: Iterable[int] = rng.permutation(len(video.scene.room.objects)) + 1
        if video.scene.motions:
            motion = video.scene.motions[0]
            low, high = max(0, motion.start - TRACK_FRAMES // 2), max(0, motion.end - 5)
            start = min(latest, int(rng.integers(low, high + 1)))
            numbers = [motion.object_id]
        areas = np.bincount(video.ids(start).ravel(), minlength=video.ids(start).max() + 1)
        for number in numbers:
            if number < len(areas) and areas[number] >= LEAST_AREA:
                return start, int(number)
    return 0, 0


def read_cases(scores: Scores, video: RoomVideo, tools: Tools) -> None:
    """Every sign, zoomed on where it is seen best."""
    survey = Survey(video, 1)
    for sign in video.scene.by_category.get("sign", ()):
        if not survey.clear(sign.id, least=0.001):
            continue
        index = survey.best_frame(sign.id)
        height = letter_height(video, sign, index)
        label = bin_label(height)
        if not label:
            continue
        x0, y0, x1, y1 = _box(video, index, sign.id)
        pad = 0.15 * (y1 - y0)
        padded = (
            max(0.0, x0 - pad),
            max(0.0, y0 - pad),
            min(float(video.width), x1 + pad),
            min(float(video.height), y1 + pad),
        )
        truth = normalise(sign.text or "")
        for name in tools:
            desk = Desk(video)
            view = desk.zoom(tools[name], padded, index)
            found = desk.run(tools[name], ReadText(source=view))
            text = found.text if isinstance(found, TextLines) else ""
            bare = cer(text.replace(" ", ""), truth.replace(" ", ""))
            scores.add("read_text", name, label, CER=cer(text, truth), CER_without_spaces=bare)


def letter_height(video: RoomVideo, sign: Placed, index: int) -> float:
    """Height of a sign's capitals in a frame, px: a zoom keeps native pixels, so also after it.

    Measured on the sign's drawn face (the leftmost letter, always a capital), and projected at
    the sign's centre.
    """
    face = draw_face(sign).levels[0].mean(2)
    height = len(face)
    paper = float(np.median(face))
    rim = round(0.08 * height)
    ink = (np.abs(face - paper) > 0.4 * np.abs(face - paper).max())[rim:-rim, rim:-rim]
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8))
    parts = stats[1:][stats[1:, cv2.CC_STAT_AREA] >= 12]
    capital = int(parts[parts[:, cv2.CC_STAT_LEFT].argmin(), cv2.CC_STAT_HEIGHT])
    metres = sign.size[2] * FACE * capital / height
    up = np.array([0.0, 0.0, metres / 2])
    centre = np.array(sign.center)
    (top, bottom), _ = video.scene.camera.project(np.stack([centre + up, centre - up]), index)
    return float(np.hypot(*(top - bottom)))


def localize_cases(scores: Scores, video: RoomVideo, tools: Tools, rng: Generator) -> None:
    """An object that is shown clearly at some time, by a view of it then."""
    survey = Survey(video, 1)
    clear = [p.id for p in video.scene.room.objects if not p.text and survey.clear(p.id, CLEAR)]
    if not clear:
        return
    number = int(rng.choice(clear))
    index = survey.best_frame(number)
    if video.mask(index, number).sum() < LEAST_AREA:
        return
    truth = spans(video, survey.in_view(number))
    whole = interval_iou([(0.0, video.duration)], truth)
    scores.add("localize", "(the whole video)", "object by a view of it", temporal_IoU=whole)
    for name in tools:
        desk = Desk(video)
        view = desk.zoom(tools[name], _box(video, index, number), index)
        value = _interval_score(desk.run(tools[name], Localize(target=view)), truth)
        scores.add("localize", name, "object by a view of it", temporal_IoU=value)


def localize_text_cases(scores: Scores, video: RoomVideo, tools: Tools, rng: Generator) -> None:
    """A sign by its text; the truth is when its letters are legible."""
    survey = Survey(video, 1)
    signs = [s for s in video.scene.by_category.get("sign", ()) if survey.clear(s.id, CLEAR)]
    if not signs:
        return
    sign = signs[int(rng.integers(len(signs)))]
    legible = [
        int(k)
        for k in survey.in_view(sign.id)
        if survey.clarity(sign.id)[k] > 0
        and letter_height(video, sign, int(k)) >= LETTER_BINS[0][0]
    ]
    truth = spans(video, np.array(legible))
    for name in tools:
        found = Desk(video).run(tools[name], Localize(text=sign.text))
        value = _interval_score(found, truth)
        scores.add("localize", name, "sign by its text", temporal_IoU=value)


def cut_cases(scores: Scores, videos: Sequence[RoomVideo], tools: Tools) -> None:
    """Pieces of walk-throughs joined into one clip."""
    pieces = [[v.thumbnail(i, 160) for i in range(20)] for v in videos]
    media = ArrayMedia(np.array([frame for piece in pieces for frame in piece]), fps=10.0)
    starts = list(range(20, len(media.times), 20))
    found = Desk(media).run(tools["default"], Localize())
    score_cuts(scores, "default", "cuts between walk-throughs", media, starts, found)


def score_cuts(
    scores: Scores,
    name: str,
    case: str,
    media: Media,
    starts: Sequence[int],
    found: Evidence | None,
) -> None:
    """F1 of cuts at the exact frame, and each true scene's best temporal IoU."""
    assert isinstance(found, Intervals)
    true = {round(float(media.times[i]), 3) for i in starts}
    said = {round(start, 3) for start, _ in found.spans[1:]}
    hits = len(true & said)
    f1 = 2 * hits / (len(true) + len(said)) if true | said else 1.0
    edges = [0.0, *sorted(true), media.duration]
    ious = [max(interval_iou([(a, b)], [span]) for span in found.spans) for a, b in pairwise(edges)]
    scores.add("localize", name, case, F1_of_cuts=f1, temporal_IoU=float(np.mean(ious)))


def spans(media: Media, frames: NDArray[np.int64]) -> list[tuple[float, float]]:
    """Frame numbers in order as spans of seconds."""
    if not len(frames):
        return []
    ends = [*map(float, media.times[1:]), media.duration]
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return [(float(media.times[run[0]]), ends[run[-1]]) for run in runs]


def _interval_score(found: Evidence | None, truth: list[tuple[float, float]]) -> float:
    return interval_iou(found.spans, truth) if isinstance(found, Intervals) else 0.0


def _box(video: RoomVideo, index: int, number: int) -> Box:
    box = video.object_box(index, number)
    assert box is not None
    x0, y0, x1, y1 = (float(v) for v in box)
    return x0, y0, x1, y1


def _whole(box: Box, media: Media) -> bool:
    """Whether a box keeps off the frame's border, which may cut the object."""
    return box[0] > 1 and box[1] > 1 and box[2] < media.width - 1 and box[3] < media.height - 1


def bin_label(height: float) -> str:
    """The bin of a letter height in px; empty below the first."""
    for low, high in LETTER_BINS:
        if low <= height < high:
            return f"letters ≥ {low} px" if math.isinf(high) else f"letters {low}–{high} px"
    return ""
