"""What the adapters share, without the packages that they adapt to."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pixelis_env.errors import InvalidCall, MissingExtra
from pixelis_env.making import make_env
from pixelis_env.serve.arguments import warn_if_open
from pixelis_env.serve.desk import Desk
from pixelis_env.serve.episode import Episode
from pixelis_env.serve.pictures import data_url, read_picture


@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_a_picture_comes_back_as_it_was(height: int, width: int, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    smooth = np.full((height, width, 3), seed % 256, np.uint8)
    for pixels in (noise, smooth):
        assert (np.asarray(read_picture(data_url(Image.fromarray(pixels)))) == pixels).all()


@pytest.mark.parametrize(
    "url",
    ["", "data:image/jpeg;base64,AAAA", "data:image/png;base64,?", "data:image/png;base64,AA"],
)
def test_what_is_no_picture_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="data URL"):
        read_picture(url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for path in (tmp_path / "in" / "a.png", tmp_path / "out.png"):
        Image.new("RGB", (64, 48), (200, 40, 40)).save(path)
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "out.png")
    (tmp_path / "in" / "rows.jsonl").write_text("{}\n")
    return tmp_path / "in"


def test_an_episode_counts_what_came_of_it(folder: Path) -> None:
    asked = {"source": folder / "a.png", "question": "What colour?", "answer": "red"}
    episode = Episode(make_env("Pixelis-v0", asked))
    assert episode.play("<answer>red</answer>")["text"] == "The episode is over."
    episode.start()
    episode.call("zoom", {"box": [0, 0, 500, 500], "time": None})
    episode.call("zoom", {"box": [0, 0, 500, 5000]})
    assert (episode.steps, episode.invalid, episode.over) == (2, 1, False)
    episode.play("<answer>red</answer>")
    assert (episode.steps, episode.score, episode.over) == (3, 1.0, True)
    assert episode.reward == pytest.approx(1.0 - 0.01 * 3 - 0.05)
    assert episode.call("zoom", {"box": [0, 0, 500, 500]})["text"] == "The episode is over."
    assert episode.steps == 3
    episode.start()
    assert (episode.steps, episode.score, episode.reward) == (0, None, 0.0)


def test_a_desk_opens_files_of_its_folder_and_no_others(folder: Path) -> None:
    desk = Desk(media=folder)
    opened, parts = desk.start(file="a.png", question="Why?")
    assert parts[0].startswith("Why?")
    assert desk.find(None) is desk.find(opened.name) is opened
    for name in ("../out.png", str(folder.parent / "out.png"), "link.png", "", "b.png", None):
        with pytest.raises(InvalidCall, match=r"the files are a\.png"):
            desk.start(file=name)
    with pytest.raises(InvalidCall, match="no image or video"):
        desk.start(file="rows.jsonl")
    with pytest.raises(InvalidCall, match="file and question"):
        desk.start(seed=1)
    with pytest.raises(InvalidCall, match="takes no file"):
        Desk(media=folder / "a.png").start(file="a.png")
    with pytest.raises(InvalidCall, match="seed and index"):
        Desk().start(file="a.png")


def test_a_full_desk_closes_what_was_unused_for_longest(folder: Path) -> None:
    desk = Desk(media=folder / "a.png", limit=2)
    first, second = desk.start()[0], desk.start()[0]
    desk.find(first.name)
    third = desk.start()[0]
    assert (first.episode.over, second.episode.over, third.episode.over) == (False, True, False)
    with pytest.raises(InvalidCall, match="is open: call start"):
        desk.find(second.name)
    with pytest.raises(InvalidCall, match="give the argument episode"):
        desk.find(None)
    desk.close()
    with pytest.raises(InvalidCall, match="no episode is open"):
        desk.find(None)


@pytest.mark.parametrize(
    ("env_id", "kwargs", "words"),
    [
        ("Pixelis-Sound-v0", {}, "choose from Pixelis-v0"),
        ("CartPole-v1", {}, "not CartPoleEnv"),
        ("Pixelis-v0", {"levle": 2}, "levle"),
        ("Pixelis-v0", {"source": "nowhere.mp4"}, "no source 'nowhere.mp4'"),
    ],
)
def test_an_environment_that_cannot_be_made_says_why(
    env_id: str, kwargs: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        make_env(env_id, kwargs)


def test_an_open_address_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        warn_if_open(host)
    assert not capsys.readouterr().err
    for host in ("0.0.0.0", "example.org"):
        warn_if_open(host)
        assert f"whoever reaches {host}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["openenv", "mcp", "verifiers"])
def test_an_adapter_without_its_package_names_the_extra(name: str) -> None:
    package = {"mcp": "mcp_types"}.get(name, name)
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    with pytest.raises(MissingExtra, match=rf"pixelis\[{name}\]"):
        importlib.import_module(f"pixelis_env.serve.{name}")
