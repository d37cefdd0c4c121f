"""The memory: the record survives, the index is its shadow, and what is alike is found."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelis_agent.cli import main
from pixelis_agent.memory import (
    Entry,
    HybridEncoder,
    InvalidMemory,
    Memory,
    Voted,
    WordLlamaWords,
    export,
    stats,
    verify,
)
from pixelis_agent.memory.index import MemoryIndex
from pixelis_agent.memory.schema import VERSION
from pixelis_env.trace import Trace
from tests.agent.small import small_kwargs

SIZE = 8


def trace_of(index: int) -> Trace:
    """A real episode's."""
    with gym.make("Pixelis-v0", **small_kwargs()) as env:
        env.reset(seed=0, options={"index": index})
        pixelis = env.unwrapped
        for action in pixelis.oracle():
            env.step(action)
        return pixelis.trace()


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    return [trace_of(k) for k in range(3)]


def entry_of(k: int, traces: list[Trace], confidence: float = 0.5) -> Entry:
    colour = (k % 256, k // 256, 7)
    return Entry(
        task_id=f"task {k}",
        task_type="even",
        question=f"Which is number {k}?",
        media_digest=f"{k % 3:032x}",
        images=(Image.new("RGB", (6, 4), colour), Image.new("RGB", (6, 4), (1, 2, 3))),
        rollouts=tuple(Voted(trace, 0.5, 1.0) for trace in traces),
        answer="A",
        confidence=confidence,
        margin=0.2,
        exemplar=1,
    )


def vector_of(k: int, size: int = SIZE) -> np.ndarray:
    vector = np.random.default_rng(k).normal(size=size).astype(np.float32)
    return vector / np.linalg.norm(vector)


def test_what_was_added_is_there_when_it_is_opened_again(
    tmp_path: Path, traces: list[Trace]
) -> None:
    with Memory(tmp_path, "e", SIZE) as memory:
        numbers = [memory.add(entry_of(k, traces), vector_of(k)) for k in range(5)]
        assert numbers == sorted(set(numbers))
    with Memory(tmp_path, "e", SIZE) as memory:
        assert len(memory) == 5
        assert verify(memory) == []
        kept = memory.get(numbers[3])
        whole = entry_of(3, traces)
        assert [i.tobytes() for i in kept.images] == [i.tobytes() for i in whole.images]
        assert (kept.rollouts, kept.question, kept.answer, kept.exemplar) == (
            (whole.rollouts, whole.question, whole.answer, whole.exemplar)
        )
        ((number, near),) = memory.nearest(vector_of(3), 1)
        assert (number, near) == (numbers[3], pytest.approx(1, abs=1e-5))
        found = memory.recall(vector_of(3), 3, least=0.5)
        assert found[0].ops == ("zoom",)
        assert found[0].confidence == 0.5
        assert stats(memory)["images"] == 6  # one of them is the same in all
        assert export(memory, tmp_path / "all.jsonl") == 5
        lines = (tmp_path / "all.jsonl").read_text().splitlines()
        assert json.loads(lines[3])["rollouts"][0]["trace"] == json.loads(traces[0].to_json())
        with pytest.raises(KeyError, match="no entry 99"):
            memory.get(99)


def test_the_worthless_are_forgotten_and_their_ids_not_used_again(
    tmp_path: Path, traces: list[Trace]
) -> None:
    with Memory(tmp_path, "e", SIZE) as memory:
        sure: dict[int, int] = {}
        for k in range(6):
            # Entry 1 is among the neighbours of those from 3 on.
            entry = replace(entry_of(k, traces, 0.1 * k), neighbours=(2,) if k > 2 else ())
            sure[memory.add(entry, vector_of(k))] = k
        assert memory.prune(6) == []
        # .1 x 4 is worth as much as .4: the younger one stays, and so does the 5th.
        gone = memory.prune(3)
        assert [sure[number] for number in gone] == [0, 2, 3]
        assert verify(memory) == []
        assert stats(memory)["images"] == 4
        assert memory.prune(0) == sorted(set(sure) - set(gone))
        assert memory.nearest(vector_of(1), 3) == []
        assert memory.add(entry_of(9, traces), vector_of(9)) == max(sure) + 1
        with pytest.raises(ValueError, match="0 or more, not -1"):
            memory.prune(-1)


def test_another_process_writes_and_this_one_sees_it(tmp_path: Path, traces: list[Trace]) -> None:
    with Memory(tmp_path, "e", SIZE) as reader, Memory(tmp_path, "e", SIZE) as writer:
        first = writer.add(entry_of(0, traces), vector_of(0))
        assert [n for n, _ in reader.nearest(vector_of(0), 5)] == [first]
        second = writer.add(entry_of(1, traces), vector_of(1))
        writer.prune(1)
        assert [n for n, _ in reader.nearest(vector_of(0), 5)] == [second]
        assert verify(reader) == []


def test_a_memory_of_something_else_is_refused(tmp_path: Path, traces: list[Trace]) -> None:
    Memory(tmp_path / "a", "e", SIZE).close()
    with pytest.raises(InvalidMemory, match="encoder e, not f"):
        Memory(tmp_path / "a", "f", SIZE)
    with pytest.raises(InvalidMemory, match="size 8, not 9"):
        Memory(tmp_path / "a", "e", SIZE + 1)
    with sqlite3.connect(tmp_path / "a" / "memory.sqlite") as db:
        db.execute("PRAGMA user_version = 77")
    with pytest.raises(InvalidMemory, match="newer Pixelis"):
        Memory(tmp_path / "a", "e", SIZE)
    # One whose maker died before it had said of what it is.
    with sqlite3.connect(tmp_path / "a" / "memory.sqlite") as db:
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("DELETE FROM about")
    for words in ((), ("e",)):
        with pytest.raises(InvalidMemory, match="never begun"):
            Memory(tmp_path / "a", *words)
    Memory(tmp_path / "a", "e", SIZE).close()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "memory.sqlite").write_bytes(b"not a database " * 99)
    with pytest.raises(InvalidMemory, match="is no memory"):
        Memory(tmp_path / "b", "e", SIZE)
    with (
        Memory(tmp_path / "c", "e", SIZE) as memory,
        pytest.raises(ValueError, match="8 finite numbers"),
    ):
        memory.add(entry_of(0, traces), vector_of(0, 7))


def test_verify_finds_what_was_changed_behind_its_back(tmp_path: Path, traces: list[Trace]) -> None:
    with Memory(tmp_path, "e", SIZE) as memory:
        memory.add(entry_of(0, traces), vector_of(0))
        with sqlite3.connect(tmp_path / "memory.sqlite") as db:
            db.execute("UPDATE images SET webp = x'00' WHERE rowid = 1")
            db.execute("UPDATE queries SET vector = zeroblob(32)")
            db.execute("UPDATE traces SET trace = x'00' WHERE place = 0")
        wrong = verify(memory)
        assert len(wrong) == 3
        assert all(
            any(word in line for line in wrong) for word in ("image", "trace", "another vector")
        )


def test_the_command_looks_after_it(
    tmp_path: Path, traces: list[Trace], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "m", tmp_path / "m.jsonl"
    assert main(["memory", "stats", str(folder)]) == 2
    assert "there is no memory in" in capsys.readouterr().err
    assert not folder.exists()
    with Memory(folder, "e", SIZE) as memory:
        for k in range(4):
            memory.add(entry_of(k, traces), vector_of(k))
        for k in range(3):
            memory.ledger.write(k, {"update": k, "beta": 0.1 + 0.2 * k})
        memory.ledger.forget_after(1)
    assert main(["memory", "ledger", str(folder)]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told == [{"update": 0, "beta": 0.1}, {"update": 1, "beta": 0.1 + 0.2}]
    assert main(["memory", "prune", str(folder), "--keep", "3"]) == 0
    assert main(["memory", "verify", str(folder)]) == 0
    assert main(["memory", "export", str(folder), "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 3
    capsys.readouterr()
    assert main(["memory", "stats", str(folder)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["entries"], said["updates"]) == (3, 2)
    with sqlite3.connect(folder / "memory.sqlite") as db:
        db.execute("UPDATE traces SET trace = x'00'")
    assert main(["memory", "verify", str(folder)]) == 2
    assert "a trace of entry" in capsys.readouterr().err


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=60), st.integers(1, 30))
@settings(max_examples=30)
def test_an_index_finds_what_a_plain_search_finds(what: list[tuple[bool, int]], exact: int) -> None:
    index, held = MemoryIndex(SIZE, exact), {}
    for add, k in what:
        if add and k not in held:
            held[k] = vector_of(k)
            index.add([k], held[k][None])
        elif not add:
            held.pop(k, None)
            index.remove([k])
    assert index.ids == set(held)
    wanted = vector_of(99)
    plain = sorted(((-float(v @ wanted), k) for k, v in held.items()))[:5]
    # So few that the graph is searched whole: its effort is more than its entries.
    assert [k for k, _ in index.nearest(wanted, 5)] == [k for _, k in plain]


def test_a_graph_is_saved_and_mended(tmp_path: Path, traces: list[Trace]) -> None:
    with Memory(tmp_path, "e", SIZE, exact=3) as memory:
        numbers = [memory.add(entry_of(k, traces), vector_of(k)) for k in range(8)]
    saved = tmp_path / "memory.index"
    whole = saved.read_bytes()
    with Memory(tmp_path, "e", SIZE, exact=3) as memory:
        assert verify(memory) == []
        memory.prune(7)
        memory.add(entry_of(8, traces), vector_of(8))
        saved.write_bytes(whole)  # as if it had died here: what was saved is behind the record
    for broken in (whole, whole[:-9], b"", whole[:40] + b"x" + whole[41:]):
        saved.write_bytes(broken)
        with Memory(tmp_path, "e", SIZE, exact=3) as memory:
            assert verify(memory) == []
            assert len(memory) == 8
            assert memory.nearest(vector_of(7), 1)[0][0] == numbers[7]


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 4)),
        st.tuples(st.just("prune"), st.integers(0, 6)),
        st.tuples(st.just("forget_after"), st.integers(0, 12)),
        st.tuples(st.just("ledger"), st.just(0)),
        st.tuples(st.just("look"), st.just(0)),
    ),
    max_size=14,
)


@given(OPS, st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_another_process_sees_what_is_there(
    traces: list[Trace], ops: list[tuple[str, int]], exact: int
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Memory(folder, "e", SIZE, exact=exact) as writer,
        Memory(folder, "e", SIZE, exact=exact) as reader,
    ):
        for what, number in [*ops, ("look", 0)]:
            if what == "add":
                for _ in range(number):
                    count = len(writer)
                    writer.add(entry_of(count, traces), vector_of(count))
            elif what == "prune":
                writer.prune(number)
            elif what == "forget_after":
                writer.forget_after(number)
            elif what == "ledger":
                writer.ledger.write(0, {})
            else:
                reader.sync()
                assert verify(reader) == []
                assert reader.index.ids == writer.index.ids


def kill_at_random(folder: Path, times: int, seed: int) -> None:
    """Kills a process that remembers, and opens what it left."""
    chance = random.Random(seed)
    acknowledged: list[int] = []
    for _ in range(times):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.agent.rememberer", str(folder)],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.random() * 0.15)
            process.kill()
            acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]
        with Memory(folder, "e", SIZE, exact=20) as memory:
            assert verify(memory) == []
            held = {number for number, _ in memory.nearest(vector_of(0), 10**6)}
            # It keeps the newest 60 when it prunes; of equal worth else.
            assert {number for number in acknowledged if number > max(held) - 60} <= held
    assert acknowledged == sorted(set(acknowledged))  # no id comes twice
    assert acknowledged


def test_killed_at_any_moment_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    kill_at_random(tmp_path, 4, 0)


def test_what_nobody_has_learned_from_yet_stays(tmp_path: Path, traces: list[Trace]) -> None:
    with Memory(tmp_path, "e", SIZE) as memory:
        numbers = [memory.add(entry_of(k, traces, 1 - 0.1 * k), vector_of(k)) for k in range(6)]
        # Those after the 4th are worth least, and are not touched.
        assert memory.prune(3, last=numbers[3]) == numbers[1:4]
        assert memory.prune(1, last=numbers[3]) == numbers[:1]
        assert memory.after(0, 9) == numbers[4:]


def test_a_stream_never_comes_back_to_what_was_forgotten(
    tmp_path: Path, traces: list[Trace]
) -> None:
    with Memory(tmp_path, "e", SIZE) as memory:
        assert memory.next_place == 0
        for k in range(4):
            entry = replace(entry_of(k, traces, 0.9 - 0.1 * k), place=k, learned=k < 2)
            newest = memory.add(entry, vector_of(k))
        assert memory.prune(2, last=newest) == [3, 4]  # the newest: nobody learns from them
        assert memory.next_place == 4
        memory.pass_over(4)
    with Memory(tmp_path) as memory:
        assert memory.next_place == 5
        # A run that goes on from before they were met meets them again.
        memory.forget_after(1)
        assert memory.next_place == 1
        memory.record.execute("DELETE FROM about WHERE name = 'next_place'")  # as older ones are
        assert memory.next_place == 1


def test_a_vote_that_was_not_learned_from_counts_for_nothing(
    tmp_path: Path, traces: list[Trace]
) -> None:
    with Memory(tmp_path, "e", SIZE) as memory:
        passed = replace(entry_of(0, traces, 0.9), learned=False)
        number = memory.add(passed, vector_of(0))
        assert memory.get(number).confidence == 0.9
        assert not memory.get(number).learned
        (near,) = memory.recall(vector_of(0), 1)
        assert (near.answer, near.confidence) == ("A", 0.0)
        assert memory.times_learned(passed.question, passed.media_digest) == 0
        learned = memory.add(entry_of(1, traces, 0.1), vector_of(1))
        assert memory.prune(1) == [number]
        assert stats(memory)["learned"] == 1
        assert memory.times_learned("Which is number 1?", f"{1:032x}") == 1
        assert memory.after(0, 9) == [learned]


def test_a_memory_of_an_older_version_is_read(tmp_path: Path, traces: list[Trace]) -> None:
    with Memory(tmp_path, "e", SIZE) as memory:
        memory.add(entry_of(0, traces), vector_of(0))
        memory.add(replace(entry_of(1, traces), exemplar=None), vector_of(1))
    with sqlite3.connect(tmp_path / "memory.sqlite") as db:  # as version 1 had it
        db.execute("DROP TABLE updates")
        db.execute("ALTER TABLE votes DROP COLUMN learned")
        db.execute("ALTER TABLE queries ADD COLUMN uses INTEGER NOT NULL DEFAULT 0")
        db.execute("PRAGMA user_version = 1")
    with Memory(tmp_path) as memory:
        assert [memory.get(number).learned for number in (1, 2)] == [True, False]
        assert memory.ledger.rows() == []
        memory.add(entry_of(2, traces), vector_of(2))
        assert verify(memory) == []


def test_a_locked_memory_is_no_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Memory(tmp_path, "e", SIZE).close()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0.01}))
    with contextlib.closing(connect(tmp_path / "memory.sqlite", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        Memory(tmp_path).close()  # it keeps nobody from reading
        writer.execute("PRAGMA locking_mode = EXCLUSIVE")
        writer.execute("COMMIT")
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InvalidMemory, match="held by another process: database is locked"):
            Memory(tmp_path)


@pytest.mark.slow
def test_killed_at_two_hundred_moments_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    kill_at_random(tmp_path, 200, 1)


class Mean:
    """The mean colour of images."""

    name, size = "mean", 3

    def __call__(self, images: list[Image.Image]) -> np.ndarray:
        means = [np.asarray(image, np.float32).mean((0, 1)) for image in images]
        return np.mean(means, 0) if means else np.zeros(3, np.float32)


def test_what_is_asked_and_what_is_shown_both_count() -> None:
    encode = HybridEncoder(WordLlamaWords(64), Mean(), share=0.6)
    red, blue = [Image.new("RGB", (4, 4), "red")], [Image.new("RGB", (4, 4), "blue")]
    sign, chairs = "What does the yellow sign say?", "How many chairs are there?"
    mine = encode(sign, red)
    assert mine.shape == (encode.size,)
    assert mine.dtype == np.float32
    assert mine @ mine == pytest.approx(1, abs=1e-5)
    assert mine @ encode(sign, blue) == pytest.approx(0.6, abs=1e-5)
    assert mine @ encode("What is written on the red sign?", red) > mine @ encode(chairs, red)
    assert np.isfinite(encode("", [])).all()
    assert "wordllama" in encode.name
    with pytest.raises(ValueError, match=r"in 0\.\.1, not 2"):
        HybridEncoder(WordLlamaWords(64), Mean(), share=2)
