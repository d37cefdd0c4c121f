"""MVBench: twenty kinds of temporal understanding, 200 questions each.

Li et al., CVPR 2024. `json/<task>.json`, and the videos of eleven data sets under `video/`. Five
tasks ask about a part of a video, from `start` to `end`: the medium is that part and no more. One
of them comes as folders of frames, three a second. Copies whose parts were cut already
(`*_segment`) are taken as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pixelis_env.tasks.benchmarks.rows import BadRow, Locator, Row, inside, text, texts
from pixelis_env.tasks.benchmarks.source import Layout
from pixelis_env.tasks.benchmarks.tables import Record, read_table

FRAMES_PER_SECOND = 3.0


class _Place(NamedTuple):
    """A folder of a task's media. `cut`: they are the asked parts; `frames`: folders of images."""

    folder: str
    cut: bool = True
    frames: bool = False


_CHARADES = (_Place("star/Charades_v1_480", cut=False), _Place("star/Charades_segment"))
_CLEVRER = (_Place("clevrer/video_validation"),)
_PERCEPTION = (_Place("perception/videos"),)

# In the order of the paper's tables.
PLACES: dict[str, tuple[_Place, ...]] = {
    "action_sequence": _CHARADES,
    "action_prediction": _CHARADES,
    "action_antonym": (_Place("ssv2_video"), _Place("ssv2_video_mp4")),
    "fine_grained_action": (_Place("Moments_in_Time_Raw/videos"),),
    "unexpected_action": (_Place("FunQA_test/test"),),
    "object_existence": _CLEVRER,
    "object_interaction": _CHARADES,
    "object_shuffle": _PERCEPTION,
    "moving_direction": _CLEVRER,
    "action_localization": (
        _Place("sta/sta_video", cut=False),
        _Place("sta/sta_video_segment"),
    ),
    "scene_transition": (_Place("scene_qa/video"),),
    "action_count": _PERCEPTION,
    "moving_count": _CLEVRER,
    "moving_attribute": _CLEVRER,
    "state_change": _PERCEPTION,
    "fine_grained_pose": (_Place("nturgbd"), _Place("nturgbd_convert")),
    "character_order": _PERCEPTION,
    "egocentric_navigation": (_Place("vlnqa"),),
    "episodic_reasoning": (
        _Place("tvqa/frames_fps3_hq", cut=False, frames=True),
        _Place("tvqa/video_fps3_hq_segment"),
    ),
    "counterfactual_inference": _CLEVRER,
}


def _records(root: Path, split: str) -> Iterator[Record]:
    found = False
    for task in PLACES:
        for folder in (root / "json", root):
            file = folder / f"{task}.json"
            if file.is_file():
                found = True
                for number, (_, values) in enumerate(read_table(file)):
                    yield Record(f"{task}[{number}]", values and {**values, "type": task})
                break
    if not found:
        raise ValueError(f"{root / 'json'} holds none of {', '.join(f'{t}.json' for t in PLACES)}")


def _parse(root: Path, record: Record) -> Row:
    values = record.values
    candidates = texts(values, "candidates")
    answer = text(values, "answer")
    if candidates.count(answer) != 1:
        raise BadRow(f"the answer {answer!r} stands {candidates.count(answer)} times in candidates")
    return Row(
        id=record.where,
        type=values["type"],
        question=text(values, "question"),
        options=tuple(candidates),
        answer=chr(ord("A") + candidates.index(answer)),
        metric="letter",
        medium=_medium(root, values["type"], values),
        form="Answer with the option's letter from the given choices directly and only give the "
        "best option.",
        columns=values,
    )


def _medium(root: Path, task: str, values: dict[str, object]) -> Locator:
    name = text(values, "video")
    found = []
    for place in PLACES[task]:
        for top in ("video", "."):
            path = inside(root, top, place.folder, name)
            span = None
            if not place.cut:
                try:
                    span = (float(text(values, "start")), float(text(values, "end")))
                except ValueError as error:
                    raise BadRow(f"start and end are no seconds: {error}") from None
            fps = FRAMES_PER_SECOND if place.frames else None
            found.append(Locator(path, span, fps))
            if not place.frames:  # converted copies keep the names that the rows have
                found.append(Locator(path.with_suffix(".mp4"), span))
    return next((medium for medium in found if not medium.missing), found[0])


MVBENCH = Layout(
    name="mvbench",
    scorers=("letter-accuracy",),
    splits=("test",),
    types=tuple(PLACES),
    records=_records,
    parse=_parse,
    id_column=None,
)
