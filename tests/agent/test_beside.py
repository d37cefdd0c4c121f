"""Learning beside serving: versions are whole, the dead are started again, answers never stop."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pixelis_agent.memory import Memory, verify
from pixelis_agent.models.digest import adapter_digest
from pixelis_agent.models.load import TINY, Lora, load_model
from pixelis_agent.ttrl import beside
from pixelis_agent.ttrl.beside import PATIENCE, Supervised
from pixelis_agent.ttrl.ledger import config_of, read_ledger
from pixelis_agent.ttrl.replay import replay_ledger
from pixelis_agent.ttrl.train import train
from pixelis_agent.ttrl.versions import KEPT, Versions
from tests.agent.test_ttrl import SMALL


def adapter_of(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if "lora" in n}


def test_a_version_is_whole_or_not_there(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "versions")
    assert versions.newest == -1
    one, other = (load_model(TINY, lora=Lora(rank=4, alpha=8)).model for _ in range(2))
    with pytest.raises(ValueError, match="no version of an adapter is in"):
        versions.load(other)
    for version in range(KEPT + 2):
        with torch.no_grad():
            for name, weight in one.named_parameters():
                if "lora" in name:
                    weight.fill_(version + 1)
        versions.publish(one, version)
    assert versions.newest == KEPT + 1
    assert versions.load(other) == KEPT + 1
    assert all((w == KEPT + 2).all() for w in adapter_of(other).values())
    assert len(list((tmp_path / "versions").glob("*.safetensors"))) == KEPT
    # Who makes an update again after a crash publishes what is there already.
    versions.publish(one, KEPT - 1)
    assert versions.newest == versions.load(other) == KEPT + 1
    assert len(list((tmp_path / "versions").glob("*.safetensors"))) == KEPT
    # What a process left that died while it wrote is not taken for a version.
    (tmp_path / "versions" / ".00000009.safetensors.new").write_bytes(b"half")
    assert versions.newest == KEPT + 1
    file = tmp_path / "versions" / f"{KEPT + 1:08d}.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="was changed"):
        versions.load(other)
    assert all((w == KEPT + 2).all() for w in adapter_of(other).values())


def wait_for(happened: Any) -> None:
    for _ in range(600):
        if happened():
            return
        time.sleep(0.05)
    raise TimeoutError


def test_the_dead_are_started_again_until_it_is_no_use(tmp_path: Path) -> None:
    versions, log = Versions(tmp_path / "versions"), tmp_path / "log"
    sleeper = Supervised([sys.executable, "-c", "import time; time.sleep(99)"], versions, log)
    first = sleeper.pid
    assert first is not None
    assert sleeper.look()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: sleeper.look() and sleeper.pid != first)
    assert sleeper.deaths == 1
    sleeper.stop()

    done = Supervised([sys.executable, "-c", ""], versions, log)
    wait_for(lambda: not done.look())
    assert done.deaths == 0

    broken = Supervised([sys.executable, "-c", "raise SystemExit('no weights')"], versions, log)
    with pytest.warns(UserWarning, match="queries are still answered"):
        wait_for(lambda: not broken.look())
    assert broken.deaths == PATIENCE
    assert broken.pid is None
    assert log.read_text().count("no weights") == PATIENCE


class Mortal(Supervised):
    """One that is killed now and then."""

    chance = random.Random(0)
    most = beside.PATIENCE - 1  # more without an update between, and it would be given up

    def look(self) -> bool:
        if self.deaths < self.most and self.pid is not None and self.chance.random() < 0.5:
            time.sleep(self.chance.random() * 8)
            os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.1)
        return super().look()


@pytest.mark.slow
def test_answers_never_stop_and_what_was_learned_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "Supervised", Mortal)
    config = replace(SMALL, out=tmp_path, beside=True, updates=6, checkpoint_every=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # it must not be given up
        result = train(config)
    assert result["updater_deaths"] > 0
    assert result["updates"] == 6
    with Memory(tmp_path / "memory") as memory:
        assert len(memory) == 6 * config.queries
        assert verify(memory) == []
    rows = read_ledger(tmp_path)
    places = [query["place"] for row in rows for query in row["queries"]]
    assert places == list(range(6 * config.queries))  # each learned from once, in order
    assert replay_ledger(config) == {"updates": 6, "adapter": result["adapter"]}
    assert adapter_digest(load_model(tmp_path).model) == result["adapter"]


class Stopped(Supervised):
    """One that learns no more, as after an exam that was failed."""

    def __init__(self, command: list[str], versions: Versions, log: Path) -> None:
        super().__init__([sys.executable, "-c", ""], versions, log)


@pytest.mark.slow
def test_who_answers_on_without_learning_keeps_no_more_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "Supervised", Stopped)
    config = replace(SMALL, out=tmp_path, beside=True, updates=3, capacity=2)
    assert train(config)["updates"] == 0
    with Memory(tmp_path / "memory") as memory:
        assert memory.next_place == 3 * config.queries
        assert len(memory) == config.capacity + config.queries  # the last round's came after
        assert verify(memory) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_with_its_updater_a_server_goes_on(tmp_path: Path) -> None:
    chance = random.Random(1)
    words = [sys.executable, "-m", "pixelis_agent.cli", "ttrl", "--model", TINY, "--out"]
    words += [str(tmp_path), "--types", "text_read", "--shift", "lighting", "--tools", "oracle"]
    words += ["--updates", "6", "--queries", "2", "--group", "3", "--least-margin", "0.05"]
    words += ["--learning-rate", "1e-3", "--max-tokens", "96", "--workers", "1", "--batch", "6"]
    words += ["--checkpoint-every", "1", "--beside"]
    met = 0
    for _ in range(4):
        with subprocess.Popen(words, start_new_session=True) as server:
            deadline = time.monotonic() + 120
            # Before it, the place that the agent comes from is measured.
            while not (tmp_path / "memory" / "memory.sqlite").is_file():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            time.sleep(5 + chance.random() * 20)
            os.killpg(server.pid, signal.SIGKILL)
        with Memory(tmp_path / "memory") as memory:
            assert len(memory) >= met
            met = len(memory)
            assert verify(memory) == []
    subprocess.run(words, check=True)
    config = config_of(tmp_path)
    rows = read_ledger(tmp_path)
    assert sorted(q["place"] for row in rows for q in row["queries"]) == list(range(12))
    served = adapter_digest(load_model(tmp_path).model)
    assert replay_ledger(config)["adapter"] == rows[-1]["adapter"] == served
