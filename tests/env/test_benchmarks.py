"""Every loader on a genuine miniature copy of its layout."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from pixelis_env import scoring
from pixelis_env.env import PixelisEnv
from pixelis_env.media import MediaError
from pixelis_env.replay import replay
from pixelis_env.tasks import BENCHMARKS, make_source
from pixelis_env.tasks.benchmarks.layouts import LAYOUTS
from pixelis_env.tasks.benchmarks.source import FaultyRows
from pixelis_env.trace import TraceError
from tests.env import benchmark_samples as samples
from tests.env.benchmark_samples import WRITERS, Written


@pytest.fixture(scope="module")
def copies(tmp_path_factory) -> dict[str, tuple[Path, list[Written]]]:
    made = {}
    for name, (write, options) in WRITERS.items():
        root = tmp_path_factory.mktemp(name.split(",")[0])
        made[name] = root, write(root, **options)
    return made


def source_of(copies, name: str, **options):
    return make_source(name.split(",")[0], root=copies[name][0], **options)


def test_every_benchmark_has_a_layout_and_a_copy() -> None:
    assert set(LAYOUTS) == set(BENCHMARKS) == {name.split(",")[0] for name in WRITERS}


@pytest.mark.parametrize("name", WRITERS)
def test_every_row_and_every_medium_comes_back(copies, name: str) -> None:
    source, written = source_of(copies, name), copies[name][1]
    tasks = [source.task(index) for index in range(source.size)]
    by_id = {task.id: task for task in tasks}
    assert len(by_id) == len(tasks) == len(written)
    assert source.faults == ()
    for row in written:
        task = by_id[row.id]
        assert (task.type, task.question) == (row.type, row.question)
        if row.digest is not None:
            assert task.media.digest == row.digest
        assert task.media.frame(task.media.n_frames - 1).shape == (240, 320, 3)
        if name == "v-star":  # options in a drawn order: the first of the file is the right one
            assert sorted(task.options) == sorted(row.options)
            assert task.options[ord(task.answer) - ord("A")] == row.options[0]
        else:
            assert (task.options, task.answer) == (row.options, row.answer)
        scoring.check_gold(task)
        right = scoring.right_answers(task.metric, task.answer)[0]
        assert scoring.score(task.metric, right, task) == 1
        assert scoring.score(task.metric, "", task) == 0


METRICS = {
    "vsi-bench": {"letter", "mra"},
    "v-star": {"letter"},
    "infovqa": {"anls"},
    "mvbench": {"letter"},
    "mmbench": {"letter"},
    "video-mmmu": {"letter", "open"},
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_metric_is_the_benchmarks_own(copies, name: str) -> None:
    source = source_of(copies, name)
    tasks = [source.task(index) for index in range(source.size)]
    assert {task.metric for task in tasks} == METRICS[name.split(",")[0]]
    assert all((task.metric == "letter") == (task.options is not None) for task in tasks)


def test_numbers_of_vsi_bench_are_scored_by_mra_and_choices_by_letter(copies) -> None:
    source = source_of(copies, "vsi-bench")
    numeric = {"object_counting", "object_abs_distance", "object_size_estimation"}
    for index in range(source.size):
        task = source.task(index)
        assert (task.metric == "mra") == (task.type in numeric | {"room_size_estimation"})


def test_prompts_are_the_protocols(copies) -> None:
    vsi = source_of(copies, "vsi-bench")
    choice = next(t for t in map(vsi.task, range(vsi.size)) if t.options)
    assert choice.prompt == "\n".join(
        [
            "These are frames of a video.",
            choice.question,
            "Options:",
            *samples.lettered(choice.options),
            "Answer with the option's letter from the given choices directly.",
        ]
    )
    number = next(t for t in map(vsi.task, range(vsi.size)) if not t.options)
    last = "Please answer the question using a single word or phrase."
    assert number.prompt == f"These are frames of a video.\n{number.question}\n{last}"
    info = source_of(copies, "infovqa").task(0)
    assert info.prompt == (f"{info.question}\nAnswer the question using a single word or phrase.")
    assert source_of(copies, "mvbench").task(0).prompt.endswith("only give the best option.")
    perceived, understood, adapted = map(source_of(copies, "video-mmmu").task, range(3))
    assert "ignore the Quiz question in last frame" in perceived.prompt
    assert "ignore the Quiz question in last frame" in understood.prompt
    assert adapted.prompt.startswith("You should watch and learn the video content.")
    assert "open-ended question" in adapted.prompt


def test_no_medium_is_opened_before_its_task(copies, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a medium was opened")

    for module in ("rows.open_media", "rows.ImageFile", "rows.FrameFolder"):
        monkeypatch.setattr(f"pixelis_env.tasks.benchmarks.{module}", refuse)
    for name in WRITERS:
        source = source_of(copies, name)
        with pytest.raises(AssertionError, match="was opened"):
            source.task(0)


# ---- choosing and ordering rows ----


@pytest.mark.parametrize("name", ["vsi-bench", "vsi-bench, parquet"])
def test_splits_of_vsi_bench_part_its_rows(copies, name: str) -> None:
    parts = {s: source_of(copies, name, split=s) for s in ("full", "debiased", "pruned")}
    ids = {s: {row.id for row in part._rows} for s, part in parts.items()}
    assert ids["debiased"] | ids["pruned"] == ids["full"]
    assert not ids["debiased"] & ids["pruned"]
    assert len(ids["pruned"]) == 10
    assert parts["debiased"].name == "vsi-bench-debiased"
    with pytest.raises(ValueError, match="full, debiased, pruned"):
        source_of(copies, name, split="easy")


def test_types_and_columns_choose(copies) -> None:
    source = source_of(copies, "vsi-bench", types=["route_planning", "object_counting"])
    assert [source.task(i).type for i in range(4)].count("route_planning") == 2
    scannet = source_of(copies, "vsi-bench", where={"dataset": "scannet"})
    assert scannet.size == 10
    assert source_of(copies, "vsi-bench", where={"dataset": ["scannet", "x"]}).size == 10
    for wrong, words in (
        ({"types": ["riddle"]}, "object_counting.*not"),
        ({"types": []}, "must be some"),
        ({"where": {"colour": "red"}}, "no row has a column 'colour'; there are id, dataset"),
        ({"where": {"dataset": "mars"}}, "no row"),
        ({"limit": 0}, "limit must be"),
        ({"shuffle": -1}, "shuffle must be"),
        ({"scorer": "bleu"}, "vsi-official, vsi-lenient"),
        ({"question": "What?"}, "which takes root, split, scorer"),
    ):
        with pytest.raises(ValueError, match=words):
            source_of(copies, "vsi-bench", **wrong)


def test_a_seeded_order_is_the_same_everywhere_and_the_limit_cuts_it(copies) -> None:
    def ids(**options) -> list[str]:
        source = source_of(copies, "vsi-bench", **options)
        return [row.id for row in source._rows]

    shuffled = ids(shuffle=5)
    assert shuffled == ids(shuffle=5)
    assert shuffled != ids(shuffle=6)
    assert sorted(shuffled) == sorted(ids())
    assert ids(shuffle=5, limit=4) == shuffled[:4]


@pytest.mark.parametrize("name", ["vsi-bench", "v-star", "v-star, listed", "mmbench"])
def test_shuffled_options_keep_their_answer_whatever_else_is_chosen(copies, name: str) -> None:
    plain = source_of(copies, name)
    turned = source_of(copies, name, shuffle_options=4)
    later = source_of(copies, name, shuffle_options=4, shuffle=3)
    same = {later.task(i).id: later.task(i) for i in range(later.size)}
    moved = 0
    for index in range(plain.size):
        one, other = plain.task(index), turned.task(index)
        if one.options is None:
            continue
        assert sorted(one.options) == sorted(other.options)
        right = one.options[ord(one.answer) - ord("A")]
        assert other.options[ord(other.answer) - ord("A")] == right
        assert same[one.id].options == other.options
        moved += one.options != other.options
    assert moved


def test_right_letters_of_v_star_are_spread() -> None:
    from pixelis_env.tasks.benchmarks.rows import Locator, Row
    from pixelis_env.tasks.benchmarks.source import with_shuffled_options

    medium = Locator(Path("x.jpg"))
    rows = [Row(f"a/{k}", "t", "?", tuple("wxyz"), "A", "letter", medium) for k in range(400)]
    letters = [with_shuffled_options(row, 0).answer for row in rows]
    assert all(70 <= letters.count(letter) <= 130 for letter in "ABCD")


# ---- parts of media ----


def test_the_medium_of_a_bounded_task_is_the_part_and_no_more(copies) -> None:
    source = source_of(copies, "mvbench")
    tasks = {task.type: task for task in map(source.task, range(source.size))}
    part, whole = tasks["action_sequence"].media, tasks["moving_direction"].media
    assert (whole.n_frames, whole.duration) == (12, 3.0)
    assert (part.n_frames, part.duration) == (4, 1.0)
    assert part.times.tolist() == [0.0, 0.25, 0.5, 0.75]
    assert np.array_equal(part.frame(0), whole.frame(4))
    assert np.array_equal(part.frame(3), whole.frame(7))
    with pytest.raises(IndexError):
        part.frame(4)
    again = pickle.loads(pickle.dumps(part))
    assert np.array_equal(again.frame(2), part.frame(2))
    frames = tasks["episodic_reasoning"].media
    assert frames.n_frames == 6
    assert frames.duration == pytest.approx(2.0)
    folder = copies["mvbench"][0] / "video/tvqa/frames_fps3_hq/show_clip_00"
    first = np.asarray(samples.Image.open(folder / "00004.jpg"))
    assert np.array_equal(frames.frame(0), first)


def test_parts_that_were_cut_already_are_taken_whole(copies, tmp_path: Path) -> None:
    samples.mvbench(tmp_path)
    (tmp_path / "video/star/Charades_v1_480").rename(tmp_path / "video/star/Charades_segment")
    source = make_source("mvbench", root=tmp_path, types=["action_sequence"])
    assert source.task(0).media.duration == 3.0


# ---- rows that cannot be asked ----


def broken_copy(root: Path) -> list[str]:
    """Six faults among twenty rows; their ids."""
    samples.vsi_bench(root)
    lines = [json.loads(line) for line in (root / "test.jsonl").read_text().splitlines()]
    lines[0]["scene_name"] = "scene9999_00"
    lines[1]["question_type"] = "riddle"
    del lines[2]["question"]
    choice = next(k for k, row in enumerate(lines) if k > 2 and row["options"])
    number = next(k for k, row in enumerate(lines) if k > 2 and not row["options"])
    lines[choice]["ground_truth"] = "Z"
    lines[number]["ground_truth"] = "many"
    text = [json.dumps(row) for row in lines]
    text[-1] = "{broken"
    (root / "test.jsonl").write_text("\n".join(text))
    return [*(str(lines[k]["id"]) for k in (0, 1, 2, choice, number)), "test.jsonl:20"]


def test_a_missing_video_and_broken_rows_are_raised_by_id(tmp_path: Path) -> None:
    ids = broken_copy(tmp_path)
    with pytest.raises(FaultyRows) as caught:
        make_source("vsi-bench", root=tmp_path)
    assert {fault.id for fault in caught.value.faults} == set(ids)
    for words in ("scene9999_00.mp4 is missing", "'riddle'", "'question'", "'Z'", "'many'"):
        assert words in str(caught.value)
    assert "strict=False" in str(caught.value)


def test_without_strict_they_are_left_out_named_and_counted_as_0(tmp_path: Path) -> None:
    ids = broken_copy(tmp_path)
    with pytest.warns(UserWarning, match="6 of 20 rows of vsi-bench cannot be asked"):
        source = make_source("vsi-bench", root=tmp_path, strict=False)
    assert source.size == 14
    result = source.result(dict.fromkeys(range(14), 1.0))
    assert (result.n, {fault.id for fault in result.skipped}) == (20, set(ids))
    counting = next(line for line in result.lines if line.name == "object_counting")
    assert (counting.n, counting.skipped) == (2, 1)
    assert counting.score == 50.0
    assert result.score < 100


def test_of_a_part_that_was_played_only_earlier_faults_count(tmp_path: Path) -> None:
    broken_copy(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = make_source("vsi-bench", root=tmp_path, strict=False)
    assert {f.where for f in source.result({0: 1.0}).skipped} <= {
        f"test.jsonl:{line}" for line in range(1, 6)
    }
    assert len(source.result({0: 1.0}).skipped) >= 3


def test_nothing_that_can_be_asked_is_an_error_even_without_strict(tmp_path: Path) -> None:
    samples.vsi_bench(tmp_path)
    for folder in ("scannet", "arkitscenes"):
        (tmp_path / folder).rename(tmp_path / f"not-{folder}")
    with pytest.raises(FaultyRows, match="20 rows of vsi-bench"):
        make_source("vsi-bench", root=tmp_path, strict=False)


def test_a_row_cannot_lead_out_of_the_folder_and_an_id_stands_once(tmp_path: Path) -> None:
    samples.vsi_bench(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    lines[0]["dataset"] = "../elsewhere"
    lines[2]["id"] = lines[1]["id"]
    samples.write_jsonl(tmp_path / "test.jsonl", lines)
    with pytest.raises(FaultyRows, match="leads out") as caught:
        make_source("vsi-bench", root=tmp_path)
    assert "stands at test.jsonl:2 already" in str(caught.value)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_empty_folder_says_what_was_looked_for(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds n.*(json|tsv|parquet)"):
        make_source(name, root=tmp_path)
    with pytest.raises(ValueError, match="no folder"):
        make_source(name, root=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="needs root="):
        make_source(name)


def test_an_empty_image_cell_is_a_media_error_that_names_it(tmp_path: Path) -> None:
    samples.mmbench(tmp_path)
    file = tmp_path / "MMBench_DEV_EN.tsv"
    whole = file.read_text()
    start = whole.index("/9j/")  # base64 of a JPEG's first bytes
    file.write_text(whole[:start] + "A" * 2000 + whole[start + 2000 :])
    source = make_source("mmbench", root=tmp_path)
    with pytest.raises(MediaError, match=r"MMBench_DEV_EN.tsv, column 'image'"):
        source.task(0)


def test_parquet_without_its_extra_names_it(copies) -> None:
    root = copies["vsi-bench, parquet"][0]
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pixelis_env.tasks import make_source\n"
        f"make_source('vsi-bench', root={str(root)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'pixelis[parquet]'" in done.stderr


# ---- in the environment ----


def test_a_trace_replays_with_the_folder_and_names_no_path(copies) -> None:
    root = copies["vsi-bench"][0]
    env = gym.make("Pixelis-VSI-v0", source="vsi-bench", root=root, shuffle=2, scorer="vsi-lenient")
    env.reset(options={"index": 3})
    env.step({"op": "zoom", "box": [0, 0, 500, 500]})
    info = env.step({"op": "answer", "text": f"({env.unwrapped.task.answer})"})[4]
    trace = env.unwrapped.trace()
    assert trace.header.portable
    assert str(root) not in trace.to_json().decode()
    assert trace.header.kwargs["source"] == "vsi-bench"
    assert info["score"] in (0.0, 1.0)
    assert replay(trace, root=root).ok
    with pytest.raises(TraceError, match="pass root="):
        replay(trace)


def test_v_star_knows_where_its_targets_are(copies) -> None:
    for name in ("v-star", "v-star, listed"):
        truth = source_of(copies, name).task(0).truth
        assert truth.names == ("chair",)
        assert truth.box(0, 0) == (10, 20, 40, 60)
        assert truth.box(0, 1) is None
        with pytest.raises(IndexError):
            truth.box(1, 0)


def test_the_scorer_decides_how_an_answer_is_read(copies) -> None:
    root = copies["vsi-bench"][0]
    for scorer, score in (("vsi-official", 0.0), ("vsi-lenient", 1.0)):
        env = PixelisEnv("vsi-bench", root=root, scorer=scorer, types=["object_rel_distance"])
        env.reset(options={"index": 0})
        answer = f"The answer is ({env.task.answer})."
        assert env.step({"op": "answer", "text": answer})[4]["score"] == score
