"""The laws every medium keeps: timeline, thumbnails, cache."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelis_env.media import ArrayMedia, MediaError
from pixelis_env.media.cache import ByteCache

steps = st.lists(st.floats(1e-3, 1e3), min_size=0, max_size=30)
media_on = st.builds(
    lambda gaps: ArrayMedia(
        np.zeros((len(gaps) + 1, 2, 3, 3), np.uint8), times=np.cumsum([0.0, *gaps])
    ),
    steps,
)


@given(media_on, st.floats(0, 1), st.floats(0, 1))
def test_index_at_is_the_last_frame_begun_and_never_goes_back(
    media: ArrayMedia, a: float, b: float
) -> None:
    early, late = sorted((a * media.duration, b * media.duration))
    first, second = media.index_at(early), media.index_at(late)
    assert media.times[first] <= early
    assert first == media.n_frames - 1 or early < media.times[first + 1]
    assert first <= second


@given(media_on)
def test_index_at_boundaries(media: ArrayMedia) -> None:
    assert [media.index_at(t) for t in media.times] == list(range(media.n_frames))
    for i, t in enumerate(media.times[1:]):
        assert media.index_at(float(np.nextafter(t, 0))) == i
    assert media.index_at(media.duration) == media.n_frames - 1
    for outside in (-1e-9, float(np.nextafter(media.duration, np.inf)), np.nan, np.inf):
        with pytest.raises(ValueError, match="must lie within 0 and"):
            media.index_at(outside)


@given(st.integers(1, 500), st.sampled_from([1.0, 10.0, 23.976, 30000 / 1001, 60.0, 240.0]))
def test_a_time_printed_with_six_decimals_names_its_frame(n: int, fps: float) -> None:
    media = ArrayMedia(np.zeros((n, 1, 1, 3), np.uint8), fps)
    assert [media.index_at(float(f"{t:.6f}")) for t in media.times] == list(range(n))


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64))
def test_thumbnail_size_and_aspect(width: int, height: int, size: int) -> None:
    media = ArrayMedia(np.full((height, width, 3), 77, np.uint8))
    small = media.thumbnail(0, size)
    assert max(small.shape[:2]) == size
    assert small.dtype == np.uint8
    exact = min(width, height) * size / max(width, height)
    assert abs(min(small.shape[:2]) - exact) <= 1
    assert (small == 77).all()


def test_thumbnail_averages_areas() -> None:
    checks = np.indices((64, 64)).sum(0)[..., None] % 2 * np.full(3, 254)
    assert (ArrayMedia(checks.astype(np.uint8)).thumbnail(0, 8) == 127).all()


@given(
    st.integers(0, 500),
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 20)), max_size=60),
)
def test_cache_stays_within_its_bound_and_keeps_what_was_used_last(
    limit: int, uses: list[tuple[int, int]]
) -> None:
    cache = ByteCache(limit)
    kept: dict[int, np.ndarray] = {}
    last_used: list[int] = []
    for index, rows in uses:
        frame = cache.get(index)
        if frame is None:
            frame = np.full((rows, 4, 3), index, np.uint8)
            cache.put(index, frame)
        last_used = [*(i for i in last_used if i != index), index]
        kept[index] = frame
        assert cache.n_bytes <= limit
        room = limit
        for i in reversed(last_used):  # a shadow of the rule: newest first, while they fit
            room -= kept[i].nbytes
            if room < 0:
                last_used = last_used[last_used.index(i) + 1 :]
                break
    for i in range(10):
        found = cache.get(i)
        assert (found is not None) == (i in last_used)
        assert found is None or (found == i).all()


def test_array_media_is_immutable_and_pickles_so() -> None:
    source = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    media = ArrayMedia(source, fps=4)
    before = media.frame(1).copy()
    source[:] = 0
    for copy in (media, pickle.loads(pickle.dumps(media))):
        frame = copy.frame(1)
        assert np.array_equal(frame, before)
        assert frame.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            frame[0] = 1
        with pytest.raises(ValueError, match="read-only"):
            copy.times[0] = 1
        assert copy.digest == media.digest
        assert (copy.n_frames, copy.width, copy.height) == (2, 4, 3)
        assert (copy.duration, copy.is_video) == (0.5, True)


def test_digest_tells_contents_apart() -> None:
    frames = np.zeros((2, 3, 4, 3), np.uint8)
    changed = frames.copy()
    changed[1, 2, 3, 2] = 1
    media = [
        ArrayMedia(frames),
        ArrayMedia(frames, fps=5),
        ArrayMedia(changed),
        ArrayMedia(frames[0]),
        ArrayMedia(frames[:1]),
        ArrayMedia(frames.reshape(2, 4, 3, 3)),
    ]
    assert len({m.digest for m in media}) == len(media)
    assert ArrayMedia(frames.copy(), name="other").digest == media[0].digest


def test_image_has_no_duration() -> None:
    image = ArrayMedia(np.zeros((3, 4, 3), np.uint8))
    assert (image.n_frames, image.duration, image.is_video) == (1, 0.0, False)
    assert image.index_at(0) == 0


@pytest.mark.parametrize("index", [-1, 2, 10**30])
def test_frame_outside_is_an_index_error(index: int) -> None:
    media = ArrayMedia(np.zeros((2, 3, 4, 3), np.uint8))
    with pytest.raises(IndexError, match=r"must lie within 0\.\.1"):
        media.frame(index)


@pytest.mark.parametrize(
    ("frames", "kwargs", "says"),
    [
        (np.zeros((2, 3, 4, 3)), {}, "float64"),
        (np.zeros((3, 4), np.uint8), {}, "give uint8"),
        (np.zeros((2, 3, 4, 4), np.uint8), {}, "give uint8"),
        (np.zeros((0, 3, 4, 3), np.uint8), {}, "holds no pixel"),
        (np.zeros((2, 3, 4, 3), np.uint8), {"fps": 0}, "positive"),
        (np.zeros((2, 3, 4, 3), np.uint8), {"fps": float("nan")}, "positive"),
        (np.zeros((2, 3, 4, 3), np.uint8), {"times": [0.0]}, "strictly increasing"),
        (np.zeros((2, 3, 4, 3), np.uint8), {"times": [0.0, 0.0]}, "strictly increasing"),
        (np.zeros((2, 3, 4, 3), np.uint8), {"times": [1.0, 2.0]}, "from 0.0"),
        (np.zeros((2, 3, 4, 3), np.uint8), {"times": [0.0, np.inf]}, "strictly increasing"),
    ],
)
def test_bad_arrays_are_refused(frames: np.ndarray, kwargs: dict, says: str) -> None:
    with pytest.raises(MediaError, match=says):
        ArrayMedia(frames, **kwargs)
