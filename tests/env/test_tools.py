"""The toolbox: dispatch, backends by name, the cache, and what arguments mean."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from pixelis_env.actions import Answer, Localize, Properties, ReadText, Segment, Track, Zoom
from pixelis_env.coordinates import Box, Region
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import Mask, TextLine, TextLines, View
from pixelis_env.media.base import ArrayMedia, Media
from pixelis_env.tools import Toolbox
from pixelis_env.tools.backend import BoolMask, TrackPoint
from pixelis_env.tools.backends.rapidocr import normalise
from pixelis_env.tools.cache import CAPACITY, RESULTS, ResultCache
from pixelis_env.tools.colours import colour_name
from pixelis_env.tools.read_text import in_reading_order
from pixelis_env.tools.track import MAX_FRAMES
from pixelis_env.workspace import Workspace
from tests.laws.scenes import clip, still


class RecordingTracker:
    """Reports the prompt's box everywhere, and keeps which frames it was given."""

    name, version = "recording", "1"

    def __init__(self) -> None:
        self.ways: list[tuple[int, ...]] = []

    def track(
        self, media: Media, indices: Sequence[int], box: Box, mask: BoolMask | None
    ) -> list[TrackPoint]:
        self.ways.append(tuple(indices))
        return [TrackPoint(box, True, 1.0) for _ in indices]


def _zoomed(toolbox: Toolbox, workspace: Workspace, time: float = 0.0) -> str:
    return workspace.add(toolbox.run(Zoom(box=(100, 100, 400, 400), time=time), workspace))


# ---- backends by name ----


def test_names_say_what_carries_out_each_operation() -> None:
    names = Toolbox().names
    assert list(names) == ["zoom", "segment", "track", "read_text", "localize", "properties"]
    assert all(len(name.split("@")) == 2 for name in names.values())
    assert set(Toolbox("oracle").names.values()) == {"native@1", "oracle@1"}
    mixed = Toolbox({"segment": {"name": "oracle", "noise": 0.2}, "track": RecordingTracker()})
    assert mixed.names["segment"] == "oracle@1"
    assert mixed.names["track"] == "recording@1"
    assert mixed.names["read_text"] == names["read_text"]


@pytest.mark.parametrize(
    ("tools", "says"),
    [
        ("nothing", "grabcut"),
        ({"segment": "nothing"}, "grabcut, sam, sam2, oracle"),
        ({"zoom": "oracle"}, "segment, track, read_text, localize"),
        ({"answer": object()}, "segment, track, read_text, localize"),
        ({"segment": {"name": "oracle", "noise": 3}}, "within 0 and 1"),
        ({"segment": {"name": "grabcut", "depth": 3}}, "takes no arguments"),
        ({"segment": {"noise": 0.5}}, "grabcut, sam, sam2, oracle"),
    ],
)
def test_unknown_backends_are_refused(tools: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Toolbox(tools)  # type: ignore[arg-type]


def test_import_is_light() -> None:
    heavy = "('cv2', 'scipy', 'rapidocr', 'onnxruntime', 'torch', 'pixelis_env.rooms')"
    code = (
        "import sys, pixelis_env.actions, pixelis_env.tools.registry, pixelis_env.metrics.text;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_answer_is_not_the_toolbox_s_affair() -> None:
    with pytest.raises(ValueError, match="answer"):
        Toolbox().run(Answer(text="A"), Workspace(still(0).media))


# ---- the cache ----


def test_cache_is_bounded_and_keeps_what_was_used_last() -> None:
    cache, made = ResultCache(2), []

    def make(name: str) -> View:
        made.append(name)
        return View(region=Region(0, 0, 1, 1), frame_index=0, time=0.0, pixels=name)

    for name in ("a", "b", "a", "c", "a", "b"):
        assert cache.get(name, lambda name=name: make(name)).pixels == name
        assert len(cache) <= 2
    assert made == ["a", "b", "c", "b"]
    assert RESULTS.capacity == CAPACITY


def test_results_are_shared_by_medium_and_arguments_but_not_between_backends() -> None:
    RESULTS.clear()
    scene, copy = still(3), still(3)
    action = Segment(box=scene.box, frame="px")
    first = Toolbox().run(action, Workspace(scene.media))
    assert Toolbox().run(action, Workspace(copy.media)) is first
    assert Toolbox().run(action, Workspace(still(4).media)) != first
    quiet, loud = (Toolbox({"track": {"name": "flow", "side": side}}) for side in (56.0, 20.0))
    assert quiet._identities["track"] != loud._identities["track"]
    mine, yours = (Toolbox({"track": RecordingTracker()}) for _ in range(2))
    assert mine._identities["track"] != yours._identities["track"]


def test_toolbox_travels() -> None:
    toolbox = Toolbox()
    scene = still(5)
    workspace = Workspace(scene.media)
    before = toolbox.run(ReadText(), workspace)
    carried = pickle.loads(pickle.dumps(toolbox))
    RESULTS.clear()
    assert carried.names == toolbox.names
    assert carried.run(ReadText(), workspace) == before


# ---- what arguments mean ----


@pytest.mark.parametrize(
    ("at", "span", "ways", "reported"),
    [
        (0.0, None, [(0, 1, 2, 3, 4, 5)], (0, 1, 2, 3, 4, 5)),
        (0.3, None, [(3, 4, 5)], (3, 4, 5)),
        (0.3, (0.1, 0.4), [(3, 4), (3, 2, 1)], (1, 2, 3, 4)),
        (0.3, (0.4, 0.1), [(3, 4), (3, 2, 1)], (4, 3, 2, 1)),
        (0.1, (0.3, 0.4), [(1, 2, 3, 4)], (3, 4)),
        (0.4, (0.1, 0.0), [(4, 3, 2, 1, 0)], (1, 0)),
        (0.2, (0.2, 0.2), [(2,)], (2,)),
    ],
)
def test_tracker_sets_out_from_the_target(
    at: float,
    span: tuple[float, float] | None,
    ways: list[tuple[int, ...]],
    reported: tuple[int, ...],
) -> None:
    tracker = RecordingTracker()
    toolbox = Toolbox({"track": tracker})
    workspace = Workspace(clip(0, n_frames=6).media)
    target = _zoomed(toolbox, workspace, at)
    track = toolbox.run(Track(target=target, span=span), workspace)
    assert track.frame_indices == reported
    assert tracker.ways == ways
    assert all(way[0] == round(at * 10) for way in tracker.ways)


def test_track_refuses_what_it_cannot_do() -> None:
    toolbox = Toolbox({"track": RecordingTracker()})
    image = Workspace(still(0).media)
    with pytest.raises(InvalidCall, match="one frame"):
        toolbox.run(Track(target=_zoomed(toolbox, image)), image)
    long = Workspace(ArrayMedia(np.zeros((MAX_FRAMES + 2, 8, 8, 3), np.uint8)))
    target = _zoomed(toolbox, long)
    with pytest.raises(InvalidCall, match=f"at most {MAX_FRAMES}"):
        toolbox.run(Track(target=target), long)
    toolbox.run(Track(target=target, span=(0.0, 1.0)), long)
    with pytest.raises(InvalidCall, match="shows no single object"):
        toolbox.run(Track(target="e0", span=(0.0, 1.0)), long)


def test_track_goes_on_from_a_track() -> None:
    scene = clip(1, n_frames=10)
    toolbox, workspace = Toolbox(), Workspace(scene.media)
    view = workspace.add(toolbox.run(Zoom(box=scene.boxes[0], frame="px"), workspace))
    half = toolbox.run(Track(target=view, span=(0.0, 0.4)), workspace)
    rest = toolbox.run(Track(target=workspace.add(half)), workspace)
    assert rest.frame_indices == (4, 5, 6, 7, 8, 9)
    assert rest.boxes[0] == half.boxes[-1]


def test_localize_refuses_what_it_cannot_do() -> None:
    toolbox, workspace = Toolbox(), Workspace(clip(0, n_frames=6).media)
    with pytest.raises(InvalidCall, match="ends before it starts"):
        toolbox.run(Localize(span=(0.4, 0.1)), workspace)
    with pytest.raises(InvalidCall, match="outside the medium"):
        toolbox.run(Localize(span=(0.0, 9.0)), workspace)
    with pytest.raises(InvalidCall, match="no letter or digit"):
        toolbox.run(Localize(text="..."), workspace)
    with pytest.raises(InvalidCall, match="shows no single object"):
        toolbox.run(Localize(target="e0"), workspace)


def test_interval_as_a_span_means_the_same_frames_to_the_millisecond() -> None:
    media = ArrayMedia(np.zeros((9, 8, 8, 3), np.uint8), fps=29.97)
    toolbox, workspace = Toolbox(), Workspace(media)
    for first, last in ((0, 2), (3, 5), (6, 8)):
        end = media.duration if last == 8 else float(media.times[last + 1])
        start = float(media.times[first])
        for span in ((start, end), (round(start, 3), min(round(end, 3), media.duration))):
            found = toolbox.run(Localize(span=span), workspace)
            assert found.spans == ((start, end),)


def test_properties_refuse_what_has_none() -> None:
    toolbox, workspace = Toolbox(), Workspace(still(0).media)
    measured = workspace.add(toolbox.run(Properties(targets=("e0",)), workspace))
    with pytest.raises(InvalidCall, match="no properties"):
        toolbox.run(Properties(targets=(measured,)), workspace)
    with pytest.raises(InvalidCall, match="no evidence e9"):
        toolbox.run(Properties(targets=("e9",)), workspace)


def test_properties_put_evidence_in_the_order_of_time() -> None:
    scene = clip(2, n_frames=6)
    toolbox, workspace = Toolbox(), Workspace(scene.media)
    late, early = (_zoomed(toolbox, workspace, time) for time in (0.4, 0.1))
    values = toolbox.run(Properties(targets=(late, early)), workspace).values
    assert values["order_in_time"] == f"{early} {late}"


def test_segment_refuses_a_box_of_next_to_nothing() -> None:
    with pytest.raises(InvalidCall, match="at least 4x4"):
        Toolbox().run(Segment(box=(5, 5, 7, 30), frame="px"), Workspace(still(0).media))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 40), (3, 3), (5, 4), (33, 2)])
def test_tiny_media_are_met_with_evidence_or_a_refusal(width: int, height: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, height, width, 3)).astype(np.uint8)
    toolbox, workspace = Toolbox(), Workspace(ArrayMedia(frames))
    workspace.add(toolbox.run(Zoom(box=(0, 0, 1000, 1000)), workspace))
    for action in (
        Segment(box=(0, 0, 1000, 1000)),
        Segment(point=(1000, 1000)),
        Track(target="e1"),
        ReadText(),
        Localize(target="e1"),
        Localize(),
        Properties(targets=("e1",)),
    ):
        try:
            toolbox.run(action, workspace)
        except InvalidCall as refusal:
            assert "at least" in str(refusal)  # noqa: PT017  (a refusal is not demanded)


# ---- small rules ----


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        ("SToP", "STOP"),
        ("sTOP", "STOP"),
        ("StOP", "Stop"),
        ("Stop", "Stop"),
        ("StoP", "Stop"),
        ("cow", "cow"),
        ("ＥＸＩＴ　２４", "EXIT 24"),
        ("  two   words ", "two words"),
        ("Box 7 vs Cox", "Box 7 vs Cox"),
        ("", ""),
    ],
)
def test_read_texts_are_normalised_by_rule(read: str, wanted: str) -> None:
    assert normalise(read) == wanted
    assert normalise(normalise(read)) == normalise(read)


def test_reading_order_does_not_depend_on_the_order_of_finding() -> None:
    def line(text: str, x: float, y: float) -> TextLine:
        quad = ((x, y), (x + 9, y), (x + 9, y + 10), (x, y + 10))
        return TextLine(text=text, quad=quad, confidence=1.0)

    page = [line("a", 0, 0), line("b", 40, 3), line("c", 80, -2), line("d", 0, 14)]
    rng = np.random.default_rng(0)
    for _ in range(10):
        shuffled = [page[i] for i in rng.permutation(4)]
        assert "".join(item.text for item in in_reading_order(shuffled)) == "abcd"


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((190, 42, 38), "red"),
        ((226, 122, 36), "orange"),
        ((232, 200, 62), "yellow"),
        ((62, 140, 70), "green"),
        ((46, 92, 178), "blue"),
        ((116, 66, 150), "purple"),
        ((226, 130, 160), "pink"),
        ((122, 80, 48), "brown"),
        ((36, 36, 40), "black"),
        ((234, 232, 226), "white"),
        ((134, 136, 140), "gray"),
    ],
)
def test_colour_names(rgb: tuple[int, int, int], name: str) -> None:
    assert colour_name(*rgb) == name


def test_every_colour_has_a_name() -> None:
    levels = range(0, 256, 15)
    assert all(colour_name(r, g, b) for r in levels for g in levels for b in levels)


def test_evidence_kinds_are_those_of_the_contract() -> None:
    scene = still(6)
    toolbox, workspace = Toolbox(), Workspace(scene.media)
    assert isinstance(toolbox.run(Segment(box=scene.box, frame="px"), workspace), Mask)
    assert isinstance(toolbox.run(ReadText(), workspace), TextLines)
