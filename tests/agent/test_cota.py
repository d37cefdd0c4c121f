"""Corpora of CoTA traces: what is written, read back, tokenised and validated."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest
from PIL import Image

from pixelis_agent.cota import write as writing
from pixelis_agent.cota.generate import LEAST_SCORE, CotaConfig, run
from pixelis_agent.cota.record import AssistantTurn, Corpus, CorpusError, Record, read_cota
from pixelis_agent.cota.tokens import to_rollout
from pixelis_agent.cota.validate import main as validate_main
from pixelis_agent.cota.validate import validate
from pixelis_agent.dialogue import Dialogue
from pixelis_agent.images import read_picture
from pixelis_agent.models.processor import Processor
from pixelis_agent.rollout import Rollout
from pixelis_agent.spans import WRITTEN, Label, label_tokens
from pixelis_agent.splits import DEMONSTRATED
from pixelis_env.actions import ToolCallCodec
from pixelis_env.wrappers import ToolCall

TYPES = ("text_read", "search_color")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> CotaConfig:
    out = tmp_path_factory.mktemp("cota") / "corpus"
    return CotaConfig(out, types=TYPES, episodes=6, variants=2, shard=4, seed=3, tools="oracle")


@pytest.fixture(scope="module")
def corpus(config: CotaConfig) -> Corpus:
    """Six episodes in two shards; every one tries to slip."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "MISTAKEN", 0.7)
        patch.setattr(writing, "TRAPPED", 0.3)
        result = run(config)
    assert result["records"] == 6
    return read_cota(config.out)


def _bytes(folder: Path) -> dict[str, bytes]:
    """Every file of a corpus but the statistics, which hold times."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "stats")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _assistant(record: Record) -> list[AssistantTurn]:
    return [turn for turn in record.turns if isinstance(turn, AssistantTurn)]


def test_episodes_are_good(corpus: Corpus) -> None:
    assert {record.task_type for record in corpus} == set(TYPES)
    for record in corpus:
        assert record.index in DEMONSTRATED
        assert record.score is not None
        assert record.score >= LEAST_SCORE["letter"]
        turns = _assistant(record)
        assert turns[-1].op == "answer"
        assert all(turn.learn for turn in turns[-2:])
        for turn in turns[:-1]:
            body = turn.text.partition("<tool_call>")[2].partition("</tool_call>")[0]
            assert json.loads(body)["name"] == turn.op
            if turn.learn:
                assert ToolCallCodec().decode(body).op == turn.op


def test_thoughts_are_short_and_finished(corpus: Corpus) -> None:
    for record in corpus:
        for turn in _assistant(record):
            thought = re.split(r" <(?:tool_call|answer)>", turn.text)[0]
            assert 3 <= len(thought.split()) <= 30
            assert not re.search(r"[{}]|\b1 seconds|\bNone\b", thought)
            assert thought[-1] in ".?"


def test_slips_are_repaired(corpus: Corpus) -> None:
    slipped = [record for record in corpus if not all(t.learn for t in _assistant(record))]
    assert len(slipped) >= 4
    for record in slipped:
        turns = _assistant(record)
        wrong = max(k for k, turn in enumerate(turns) if not turn.learn)
        assert turns[wrong + 1].learn
        assert turns[wrong].text != turns[wrong + 1].text


def test_targets_are_where_the_calls_look(corpus: Corpus) -> None:
    seen = 0
    for record in corpus:
        shown = 0
        for turn in record.turns:
            if not isinstance(turn, AssistantTurn):
                shown += len(turn.images)
                continue
            if turn.target is None:
                continue
            seen += 1
            assert turn.pointing is not None
            assert len(turn.pointing) == shown
            # The frame that the call looks at is one of those shown, and shows the target.
            images = [i for t in record.turns if t.role != "assistant" for i in t.images][:shown]
            boxes = [
                box
                for box, image in zip(turn.pointing, images, strict=True)
                if abs(image.time - turn.target.time) < 1e-6 and image.region[2:] == image.size
            ]
            assert turn.target.box in boxes
    assert seen >= 6


def test_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    settings = CotaConfig(
        tmp_path / "one", types=("text_read",), episodes=2, shard=1, seed=7, tools="oracle"
    )
    run(settings)
    run(replace(settings, out=tmp_path / "two", workers=2))
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")
    # A missing shard is written again, the same; whole ones are left alone.
    before = _bytes(tmp_path / "one")
    kept = (tmp_path / "one/shard-00000.jsonl").stat().st_mtime_ns
    (tmp_path / "one/shard-00001.jsonl").unlink()
    run(settings)
    assert _bytes(tmp_path / "one") == before
    assert (tmp_path / "one/shard-00000.jsonl").stat().st_mtime_ns == kept


def test_boxes_on_a_grid(tmp_path: Path) -> None:
    config = CotaConfig(tmp_path, types=("time_interval",), episodes=6, tools="oracle", grid=20)
    run(config)
    zoomed = 0
    for record in read_cota(tmp_path):
        assert (record.score or 0) >= LEAST_SCORE["tiou"]
        for turn in _assistant(record):
            call = turn.text.partition("<tool_call>")[2].removesuffix("</tool_call>")
            arguments = json.loads(call)["arguments"] if call and turn.learn else {}
            assert all(value % 20 == 0 for value in arguments.get("box", ()))
            zoomed += arguments.get("source", "e0") != "e0"
    assert zoomed  # some look into a view that the grid has moved
    with pytest.raises(ValueError, match="grid"):
        run(replace(config, grid=0))


def test_a_folder_holds_one_corpus(config: CotaConfig, corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="other settings"):
        run(replace(config, seed=4))
    with pytest.raises(ValueError, match=r"seed must be in 0\.\.39"):
        run(replace(config, seed=40))
    with pytest.raises(ValueError, match=rf"holds {config.episodes} episodes, more than 2: ask"):
        run(replace(config, episodes=2))
    with pytest.raises(ValueError, match="variants must be at least 1"):
        run(replace(config, variants=0))


def test_reading(corpus: Corpus, tmp_path: Path) -> None:
    assert len(corpus) == 6
    assert [record.id for record in corpus] == [corpus[k].id for k in range(-6, 0)]
    assert [record.id for record in corpus[2:4]] == [corpus[2].id, corpus[3].id]
    with pytest.raises(IndexError):
        corpus[6]
    with pytest.raises(CorpusError, match="is it a corpus"):
        read_cota(tmp_path)
    (tmp_path / "shard-00000.jsonl").write_text('{"version": "pixelis-cota-1"}\n')
    with pytest.raises(CorpusError, match="line 1 is no record: at id"):
        read_cota(tmp_path)[0]


def test_direct_records_ask_the_same(config: CotaConfig, corpus: Corpus) -> None:
    for record, direct in zip(corpus, read_cota(config.out, direct=True), strict=True):
        assert direct.turns[0] == record.turns[0]
        assert [turn.text for turn in _assistant(direct)] == [f"<answer>{record.gold}</answer>"]


def test_a_rollout_is_what_was_played(corpus: Corpus, processor: Processor) -> None:
    """Tokens, labels and pixels from a record are those of the episode itself."""
    dialogue = Dialogue(processor, [])
    record = next(r for r in corpus if not all(t.learn for t in _assistant(r)))
    env = ToolCall(gym.make(record.env_id, **record.env_kwargs))
    observation, _ = env.reset(options={"index": record.index})
    played = Rollout()
    played.feed(dialogue.open(observation))
    tokenizer = processor.tokenizer
    for turn in _assistant(record):
        ids = [*tokenizer.encode(turn.text, add_special_tokens=False), processor.end_id]
        played.write(ids, label_tokens(tokenizer, ids, processor.end_ids), learn=turn.learn)
        observation, _, ended, _, _ = env.step(turn.text)
        if not ended:
            played.feed(dialogue.reply(observation, ended=True))
    stored = to_rollout(record, dialogue)
    assert stored.tokens == played.tokens
    assert stored.labels == played.labels
    assert stored.learn == played.learn
    pairs = zip(stored.images, played.images, strict=True)
    assert all(read_picture(a).tobytes() == read_picture(b).tobytes() for a, b in pairs)
    wrong = [not turn.learn for turn in _assistant(record)]
    for label, turn, learn in zip(stored.labels, stored.turns, stored.learn, strict=True):
        assert learn == (label in WRITTEN and not wrong[turn])
    assert Label.ANSWER in stored.labels


def test_a_good_corpus_is_valid(config: CotaConfig, corpus: Corpus) -> None:
    verdict = validate(config.out)
    assert (verdict.records, verdict.played, verdict.failed) == (6, 6, {})
    assert validate(config.out, every=100).played == 4


def _change(folder: Path, old: str, new: str) -> str:
    """Replaces a text once, in the first record that has it; returns the record's id."""
    path = folder / "shard-00000.jsonl"
    lines = path.read_text().splitlines()
    number = next(k for k, line in enumerate(lines) if re.search(old, line))
    lines[number] = re.sub(old, new, lines[number], count=1)
    path.write_text("\n".join(lines) + "\n")
    return str(json.loads(lines[number])["id"])


def test_damage_is_found(
    config: CotaConfig, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"

    def renew() -> None:
        """A copy with one record."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(config.out, folder)
        (folder / "shard-00001.jsonl").unlink()
        path = folder / "shard-00000.jsonl"
        path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])

    def fails(record_id: str, words: str) -> None:
        assert words in validate(folder).failed[record_id]
        renew()

    renew()
    image = corpus[0].turns[0].images[0]  # type: ignore[union-attr]
    Image.new("RGB", image.size).save(folder / image.file, "WEBP", lossless=True)
    fails(corpus[0].id, "other pixels than its name says")
    (folder / image.file).unlink()
    fails(corpus[0].id, "cannot be read")
    fails(_change(folder, r'"score":1\.0', '"score":0.95'), "its score is 1.0, not 0.95")
    fails(_change(folder, r'(\\"time\\": )[\d.]+', r"\g<1>0.3"), "is ")
    fails(_change(folder, r'"role":"tool","text":"e1', '"role":"tool","text":"e2'), "the text of")
    trace = corpus[0].trace
    assert trace is not None
    data = json.loads((folder / trace).read_text())
    data["steps"][0]["reward_terms"]["step"] = 0.0
    (folder / trace).write_text(json.dumps(data))
    fails(corpus[0].id, "changed after it was written")
    _change(folder, r'"role":"user"', '"role":"judge"')
    assert validate_main([str(folder)]) == 1
    assert "shard-00000.jsonl line 1" in capsys.readouterr().err
    assert validate_main([str(tmp_path)]) == 2
