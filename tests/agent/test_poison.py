"""Bad streams are as bad as they say, and the share of them is right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pixelis_agent.memory import Memory
from pixelis_agent.ttrl import train as ttrl
from pixelis_agent.ttrl.ledger import read_ledger
from pixelis_agent.ttrl.poison import BLOCK, KINDS, Poisoned
from pixelis_env.env import PixelisEnv
from pixelis_env.evidence import TextLines
from pixelis_env.media import ArrayMedia
from pixelis_env.rooms import RoomVideo
from pixelis_env.tasks.rooms import RoomsSource
from tests.agent.small import SmallSource
from tests.agent.test_ttrl import SMALL

LETTERS = RoomsSource("motion", types=["motion_direction"])


@pytest.mark.parametrize("kind", KINDS)
def test_none_or_all_of_a_source_is_poisoned_and_the_same_ones_each_time(kind: str) -> None:
    good = SmallSource()
    clean, half = Poisoned(good, kind, 0.0), Poisoned(good, kind, 0.5)
    assert [clean.task(k).question for k in range(8)] == [good.task(k).question for k in range(8)]
    again = Poisoned(good, kind, 0.5)
    for k in range(8):
        assert (half.task(k).id, half.task(k).answer) == (again.task(k).id, again.task(k).answer)


def test_duplicates_are_one_task() -> None:
    bad = Poisoned(SmallSource(), "duplicate", 1.0)
    assert {bad.task(k).id for k in range(BLOCK)} == {SmallSource().task(0).id}
    half = Poisoned(SmallSource(), "duplicate", 0.5)
    same = sum(half.task(k).id == SmallSource().task(0).id for k in range(1, BLOCK))
    assert 15 <= same <= 35


def test_noise_and_foreign_questions_can_be_played_and_have_no_answer() -> None:
    for kind in ("corrupt", "unanswerable"):
        source = Poisoned(LETTERS, kind, 1.0)
        env = PixelisEnv(source=source, tools="oracle")
        _, info = env.reset(options={"index": 0})
        good = LETTERS.task(0)
        assert env.task.answer is None
        assert isinstance(env.task.media, ArrayMedia) == (kind == "corrupt")
        assert (info["prompt"] == good.prompt) == (kind == "corrupt")
        _, _, terminated, _, info = env.step({"name": "answer", "arguments": {"text": "A"}})
        assert terminated
        assert info.get("score") is None
        env.close()


def test_a_lopsided_stream_is_right_with_a() -> None:
    source = Poisoned(LETTERS, "lopsided", 1.0)
    for k in range(4):
        good, bad = LETTERS.task(k), source.task(k)
        assert bad.answer == "A"
        assert good.options is not None
        assert bad.options is not None
        assert sorted(bad.options) == sorted(good.options)
        assert bad.options[0] == good.options[ord(good.answer or "A") - ord("A")]


def test_in_a_planted_stream_all_signs_agree_on_what_is_wrong() -> None:
    signs = RoomsSource("text", types=["text_read"])
    good, bad = signs.task(0), Poisoned(signs, "planted", 1.0).task(0)
    assert (bad.question, bad.answer) == (good.question, good.answer)
    assert isinstance(bad.media, RoomVideo)
    words = {item.text for item in bad.media.scene.room.objects if item.text}
    assert len(words) == 1
    assert bad.answer not in words
    # It is what can be read there.
    env = PixelisEnv(source=Poisoned(signs, "planted", 1.0), tools="oracle")
    env.reset(options={"index": 0})
    told = PixelisEnv(source=signs, tools="oracle")
    told.reset(options={"index": 0})
    for action in told.oracle():
        *_, info = env.step(action)
        if isinstance(info["evidence"], TextLines):
            assert {line.text for line in info["evidence"].lines} == words
            break
    else:
        raise AssertionError("nothing was read")
    # Where nothing is written, nothing can be planted.
    assert Poisoned(LETTERS, "planted", 1.0).task(0).media.digest == LETTERS.task(0).media.digest


def test_the_same_query_is_learned_from_once(tmp_path: Path) -> None:
    config = replace(SMALL, out=tmp_path, poison="duplicate", poison_share=1.0, least_margin=0.0)
    ttrl.train(config)
    rows = read_ledger(tmp_path)
    learned = [q["learned"] for row in rows for q in row["queries"]]
    assert learned == [True, False, False, False]  # within an update, and in the next
    assert [row["decision"] for row in rows] == ["keep", "abstain"]
    with Memory(tmp_path / "memory") as memory:
        assert len(memory) == 4


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no poison is called 'arsenic'"):
        Poisoned(SmallSource(), "arsenic", 0.1)
    with pytest.raises(ValueError, match=r"in 0\.\.1, not 2"):
        Poisoned(SmallSource(), "corrupt", 2)
    for other in ({"source": "vsi-bench"}, {"env": "Pixelis-Text-v0"}):
        config = replace(SMALL, out=tmp_path, poison="corrupt", **other)
        with pytest.raises(ValueError, match="needs poison none elsewhere than in the rooms"):
            ttrl.train(config)
