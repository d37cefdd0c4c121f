"""Every type's answer rules, recomputed another way from the scene and from full-size id images."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from pixelis_env.rooms.kinds import DETAILS
from pixelis_env.rooms.questions import TYPES, Question, Survey
from pixelis_env.rooms.scene import Placed
from tests.env.question_rooms import SAMPLING, asked, counted_larger, gap, option

LEAST = 20


def only(survey: Survey, category: str) -> Placed:
    (placed,) = (o for o in survey.scene.room.objects if o.category == category)
    return placed


def all_of(survey: Survey, category: str) -> list[Placed]:
    return [o for o in survey.scene.room.objects if o.category == category]


def found(pattern: str, question: Question) -> tuple[str, ...]:
    match = re.fullmatch(pattern, question.text, re.DOTALL)
    assert match, question.text
    return match.groups()


@pytest.mark.parametrize("name", TYPES)
def test_there_are_enough_questions_and_they_are_well_formed(name: str) -> None:
    questions = asked(name)
    assert len(questions) >= LEAST
    for survey, question in questions:
        ids = {placed.id for placed in survey.scene.room.objects}
        assert set(question.targets) <= ids
        assert len(set(question.targets)) == len(question.targets)
        if TYPES[name].metric == "letter":
            assert question.options is not None
            assert len(set(question.options)) == len(question.options) >= 2
            assert question.answer in "ABCD"[: len(question.options)]
        else:
            assert question.options is None


def test_counting_is_of_two_or_more_that_are_all_seen() -> None:
    for survey, question in asked("object_counting"):
        (category,) = found(r"How many (.+)\(s\) are in this room\?", question)
        group = all_of(survey, category)
        assert int(question.answer) == len(group) >= 2
        assert all(survey.share[:, placed.id].max() >= 0.004 for placed in group)


def test_absolute_distance_is_between_closest_points() -> None:
    for survey, question in asked("object_abs_distance"):
        a, b = found(
            r"Measuring from the closest point of each object, what is the direct distance "
            r"between the (.+) and the (.+) \(in meters\)\?",
            question,
        )
        distance = gap(only(survey, a), only(survey, b))
        assert distance >= 0.2
        assert re.fullmatch(r"\d+\.\d", question.answer)
        assert abs(float(question.answer) - distance) <= 0.05 + SAMPLING


def test_relative_distance_has_one_closest_option_by_the_margin() -> None:
    for survey, question in asked("object_rel_distance"):
        listed, reference = found(
            r"Measuring from the closest point of each object, which of these objects \((.+)\) "
            r"is the closest to the (.+?)\?(?:\nIf there are multiple instances of an object "
            r"category, measure to the closest\.)?",
            question,
        )
        assert question.options is not None
        assert tuple(listed.split(", ")) == question.options
        several = any(len(all_of(survey, name)) > 1 for name in question.options)
        assert several == ("multiple instances" in question.text)
        near = {
            name: min(gap(only(survey, reference), other) for other in all_of(survey, name))
            for name in question.options
        }
        assert option(question) == min(near, key=lambda name: near[name])
        margin = 0.3 if survey.scene.room.area > 40 else 0.15
        assert np.diff(sorted(near.values())).min() >= margin - SAMPLING


def test_size_is_the_longest_edge_in_centimetres() -> None:
    for survey, question in asked("object_size_estimation"):
        (category,) = found(
            r"What is the length of the longest .* of the (.+), measured .*", question
        )
        assert question.answer == f"{100 * max(only(survey, category).size):.0f}"


def test_room_size_is_the_floor_area() -> None:
    for survey, question in asked("room_size_estimation"):
        room = survey.scene.room
        assert float(question.answer) == pytest.approx(room.width * room.depth, abs=0.051)
        assert re.fullmatch(r"\d+\.\d", question.answer)


@pytest.mark.parametrize("level", ["easy", "medium", "hard"])
def test_directions_keep_ten_degrees_from_every_boundary(level: str) -> None:
    for survey, question in asked(f"object_rel_direction_{level}"):
        names = found(
            r"If I am standing by the (.+?) and facing the (.+?), is the (.+?) to .*", question
        )
        # On the complex plane, facing along the real axis: the left is a positive angle.
        p, o, q = (complex(*only(survey, name).center[:2]) for name in names)
        angle = np.degrees(np.angle((q - p) / (o - p)))
        side, other = ("left", "right") if angle > 0 else ("right", "left")
        truth = {
            "easy": side,
            "medium": "back" if abs(angle) > 135 else side,
            "hard": f"{'front' if abs(angle) < 90 else 'back'}-{side}",
        }[level]
        bounds = {"easy": (0, 180), "medium": (0, 135), "hard": (0, 90, 180)}[level]
        assert option(question) == truth
        assert other not in truth
        assert min(abs(abs(angle) - bound) for bound in bounds) >= 10 - 1e-9
        assert all(0.3 <= abs(a - b) <= 5 for a, b in ((p, o), (p, q), (o, q)))


def test_appearance_order_has_gaps_and_permuted_distractors() -> None:
    for survey, question in asked("obj_appearance_order"):
        (listed,) = found(
            r"What will be the first-time appearance order .* video: (.+)\?", question
        )
        names = listed.split(", ")
        assert question.options is not None
        for text in question.options:
            assert sorted(text.split(", ")) == sorted(names)
        # By the rule's own id images, and by finer ones.
        for share, least in ((survey.share, 1.0), (counted_larger(survey.scene.seed), 0.0)):
            first = []
            for name in option(question).split(", "):
                ids = [placed.id for placed in all_of(survey, name)]
                first.append(np.argmax((share[:, ids] >= 0.01).any(1)) / survey.scene.camera.fps)
            assert (np.diff(first) > least).all()


def test_a_route_is_free_and_its_turns_are_clear() -> None:
    for survey, question in asked("route_planning"):
        start, facing, end, moves = found(
            r"You are a robot beginning at the (.+) and facing the (.+)\. You want to navigate to "
            r"the (.+)\. You will .* 'turn right\.'\): (.+)\. You have reached the final "
            r"destination\.",
            question,
        )
        steps = re.split(r"\s*\d+\. ", moves)[1:]
        assert 2 <= len(steps) <= 5
        filled = iter(option(question).split(", "))
        at = np.array(only(survey, start).center[:2])
        assert np.linalg.norm(at - only(survey, end).center[:2]) > 2
        heading = np.subtract(only(survey, facing).center[:2], at)
        turned = None
        for step in steps:
            if step.startswith("["):
                turned = next(filled)
                continue
            stop = only(survey, step.removeprefix("Go forward until the "))
            wanted = np.subtract(stop.center[:2], at)
            angle = np.degrees(np.angle(complex(*wanted) / complex(*heading)))
            # Judged between centroids here, and by where the robot really stands there.
            if turned == "Turn Back":
                assert abs(angle) > 135
            elif turned is not None:
                assert 20 <= (angle if turned == "Turn Left" else -angle) <= 135
            at, heading, turned = np.array(stop.center[:2]), wanted, None
        assert step == f"Go forward until the {end}"
        assert next(filled, None) is None


@pytest.mark.parametrize("name", ["search_color", "search_item", "search_place"])
def test_a_search_is_for_something_small_and_in_view(name: str) -> None:
    for survey, question in asked(name):
        detail = survey.scene.object(question.targets[0])
        assert detail.category in DETAILS
        assert len(all_of(survey, detail.category)) == 1
        box = survey.box(detail.id, survey.best_frame(detail.id))
        assert 6 <= max(box[2] - box[0], box[3] - box[1]) <= 24
        support = next((o for o in survey.scene.room.objects if o.id == detail.support), None)
        right = {"search_color": detail.color, "search_item": detail.category}
        assert support is not None or name == "search_color"
        if support is not None:
            right["search_place"] = support.category
            # It rests on the upper face of what it is said to stand on.
            top = support.center[2] + support.size[2] / 2
            assert detail.center[2] - detail.size[2] / 2 == pytest.approx(top, abs=0.01)
        assert option(question) == right[name]
        if name == "search_item" and support is not None:
            there = {o.category for o in survey.scene.room.objects if o.support == support.id}
            assert sum(text in there for text in question.options or ()) == 1


def test_a_number_is_on_the_only_tag_of_its_colour_and_small() -> None:
    for survey, question in asked("search_number"):
        (color,) = found(r"What number is on the (.+) tag\?", question)
        tags = all_of(survey, "tag")
        (tag,) = (o for o in tags if o.color == color)
        assert question.answer == tag.text
        assert re.fullmatch(r"[1-9]\d\d", question.answer)
        for alike in ({"red", "orange"}, {"red", "pink"}, {"blue", "purple"}, {"white", "yellow"}):
            assert alike not in [{color, o.color} for o in tags]
        frame = survey.best_frame(tag.id)
        x0, y0, x1, y1 = survey.box(tag.id, frame)
        assert x1 - x0 > y1 - y0
        # The digits fill a bit more than half of the tag's height; seen slantwise its box grows.
        assert 0.8 * 9 <= 0.53 * (y1 - y0) <= 1.35 * 14
        assert survey.video.mask(frame, tag.id).sum() >= 0.6 * (x1 - x0) * (y1 - y0)


def test_the_sign_that_is_asked_about_is_the_only_one_meant() -> None:
    for survey, question in asked("text_read"):
        (color,) = found(r"What does the (.+) sign on the wall say\?", question)
        (sign,) = (o for o in all_of(survey, "sign") if o.color == color)
        assert question.answer == sign.text
    for survey, question in asked("text_nearest"):
        (name,) = found(r"What does the sign that is closest to the (.+) say\?", question)
        near = sorted((gap(only(survey, name), sign), sign.text) for sign in all_of(survey, "sign"))
        assert question.answer == near[0][1]
        assert near[1][0] - near[0][0] >= 0.5 - 2 * SAMPLING


def test_motion_is_what_the_camera_films() -> None:
    for name in ("motion_which", "motion_direction", "motion_speed", "motion_distance"):
        for survey, question in asked(name):
            scene, (motion,) = survey.scene, survey.scene.motions
            mover = scene.object(motion.object_id)
            path = motion.centers[motion.start : motion.end + 1]
            length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
            if name == "motion_which":
                assert option(question) == mover.category
            elif name == "motion_distance":
                assert float(question.answer) == pytest.approx(length, abs=0.051)
            elif name == "motion_speed":
                seconds = (len(path) - 1) / scene.camera.fps
                assert float(question.answer) == pytest.approx(length / seconds, abs=0.006)
            else:
                # In the camera's own picture at half-way: across it, or nearer and farther.
                half = (motion.start + motion.end) // 2
                xy, depth = scene.camera.project(path[[0, -1]], half)
                across = (xy[1, 0] - xy[0, 0]) * depth.mean() / scene.camera.focal
                nearer = depth[0] - depth[1]
                sideways = abs(across) > abs(nearer)
                assert option(question) == (
                    ("right" if across > 0 else "left")
                    if sideways
                    else ("towards the camera" if nearer > 0 else "away from the camera")
                )


def test_times_are_those_of_full_size_id_images() -> None:
    for survey, question in asked("time_interval"):
        (target,) = question.targets
        start, end = (float(text) for text in question.answer.split("-"))
        video, fps = survey.video, survey.scene.camera.fps
        assert 0 <= start < end <= video.duration
        assert end - start <= 0.75 * video.duration
        frames = [round(start * fps), round((start + end) / 2 * fps), round(end * fps) - 1]
        for frame in frames:
            assert video.mask(frame, target).sum() >= 0.0005 * video.width * video.height
        for frame in (frames[0] - 5, frames[-1] + 5):
            if 0 <= frame < video.n_frames:
                assert video.mask(frame, target).sum() < 0.001 * video.width * video.height
    for survey, question in asked("time_first"):
        (target,) = question.targets
        frame = round(float(question.answer) * survey.scene.camera.fps)
        assert frame >= 15
        assert survey.video.mask(frame, target).any()
        assert not survey.video.mask(frame - 5, target).sum() > 0.001 * 320 * 240


def test_the_first_of_four_comes_a_second_before_the_others() -> None:
    for survey, question in asked("time_order"):
        assert question.options is not None
        ids = {name: only(survey, name).id for name in question.options}
        right = ids.pop(option(question))
        shown = int(np.flatnonzero(survey.share[:, right] >= 0.001)[0])
        until = shown + int(survey.scene.camera.fps)
        assert not survey.share[: until + 1, list(ids.values())].any()


def test_answers_are_not_lopsided() -> None:
    """What a blind guesser would profit from: one answer that is nearly always right."""
    for name in ("object_rel_direction_easy", "object_rel_direction_medium", "motion_direction"):
        counts = Counter(option(question) for _, question in asked(name))
        assert max(counts.values()) <= 0.75 * sum(counts.values()), (name, counts)
