"""Each law notices the faults that it is there for: planted one by one, all must be caught."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pixelis_env.tools import Toolbox
from tests.laws import broken, test_laws  # noqa: F401  (test_laws enters every law)
from tests.laws import broken_backends as backends
from tests.laws.broken import Corrupted
from tests.laws.law import LAWS

FAULTS: list[tuple[str, str, Callable[[], Toolbox]]] = [
    (law, fault.__name__, make)
    for law, fault, make in [
        *(
            (law, change, lambda change=change: Corrupted(change))
            for law, change in [
                ("zoom_shows_the_pixels_it_names", broken.off_by_one_crop),
                ("zoom_shows_the_pixels_it_names", broken.wrong_pixels),
                ("zoom_shows_the_pixels_it_names", broken.first_frame_always),
                ("zoom_of_a_zoom_is_one_zoom", broken.wider_than_the_parent),
                ("zoom_of_a_zoom_is_one_zoom", broken.wrong_pixels),
                ("zoom_on_the_full_box_is_identity", broken.wider_than_the_parent),
                ("segment_gives_a_mask_of_the_frame", broken.area_of_the_box),
                ("track_keeps_the_order_of_its_span", broken.always_forward),
                ("read_text_stays_in_its_region", broken.quads_outside),
                ("read_text_reads_rows_from_the_top", broken.unsorted_lines),
                ("localize_stays_in_its_span", broken.beyond_the_clip),
                ("localize_stays_in_its_span", broken.ends_with_the_last_frame_time),
                ("localize_cuts_a_clip_into_its_scenes", broken.ends_with_the_last_frame_time),
                ("localize_of_a_track_is_where_it_is_visible", broken.ignores_visibility),
                ("properties_add_up_areas", broken.union_counts_twice),
                ("properties_measure_what_is_there", broken.centroid_at_corners),
                ("properties_measure_what_is_there", broken.turned_orientation),
                ("properties_measure_motion", broken.mirrored_direction),
                ("properties_measure_motion", broken.speed_per_frame),
                ("properties_depend_on_their_evidence_alone", broken.knows_its_id),
                ("properties_do_not_know_the_crop", broken.relative_to_the_crop),
                ("evidence_survives_json", broken.list_in_evidence),
            ]
        ),
        *(
            (law, backend, lambda op=op, backend=backend: Toolbox({op: backend()}))
            for law, op, backend in [
                ("segment_finds_a_plain_object", "segment", backends.ShiftedMask),
                ("segment_moves_with_the_medium", "segment", backends.GridMask),
                ("segment_contains_its_point", "segment", backends.MissesPoint),
                ("operations_repeat_themselves", "segment", backends.DiceMask),
                ("operations_change_nothing", "segment", backends.DrawingSegmenter),
                ("track_follows", "track", backends.WrongFrame),
                ("track_stands_still_on_a_still_clip", "track", backends.Drifting),
                ("track_starts_with_its_prompt", "track", backends.ImprovesPrompt),
                ("track_knows_when_the_object_is_gone", "track", backends.NeverLost),
                (
                    "track_of_the_reversed_clip_is_the_reversed_track",
                    "track",
                    backends.ClockwiseOnly,
                ),
                ("read_text_reads_what_was_drawn", "read_text", backends.Misreads),
                (
                    "read_text_finds_nothing_on_a_blank_image",
                    "read_text",
                    backends.SeesThings,
                ),
                (
                    "read_text_reads_the_frame_of_its_time",
                    "read_text",
                    backends.FirstFrameReader,
                ),
                ("localize_finds_a_text", "read_text", backends.FirstFrameReader),
                (
                    "localize_of_what_is_always_there_is_the_whole_span",
                    "localize",
                    backends.OneFrameShort,
                ),
                (
                    "localize_finds_when_the_object_is_there",
                    "localize",
                    backends.OneFrameShort,
                ),
                (
                    "localize_finds_when_the_object_is_there",
                    "localize",
                    backends.SeesAllTheTime,
                ),
                ("localize_stays_in_its_span", "localize", backends.WholeClip),
            ]
        ),
        ("zoom_refuses_what_lies_outside", broken.Clamping, broken.Clamping),
        ("track_of_a_part_is_part_of_the_track", broken.FromSpanStart, broken.FromSpanStart),
        ("operations_change_nothing", broken.Hoarding, broken.Hoarding),
        ("operations_repeat_themselves", broken.Forgetful, broken.Forgetful),
    ]
]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # of a planted fault
@pytest.mark.parametrize(
    ("law", "make"),
    [(law, make) for law, _, make in FAULTS],
    ids=[f"{fault}-breaks-{law}" for law, fault, _ in FAULTS],
)
def test_fault_is_noticed(law: str, make: Callable[[], Toolbox]) -> None:
    with pytest.raises(AssertionError):
        LAWS[law].put_to(make())


def test_every_law_can_fail() -> None:
    assert {law for law, _, _ in FAULTS} == set(LAWS)
