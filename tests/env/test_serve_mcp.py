"""The MCP server, by the official client over stdio and HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelis_env.actions import OPS
from pixelis_env.evidence import pixel_digest
from pixelis_env.making import make_env
from pixelis_env.serve.episode import Episode, captioned
from pixelis_env.serve.pictures import read_picture
from tests.env.serving import serving

pytest.importorskip("mcp.server.mcpserver", reason="needs the extra mcp: make test-adapters")
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

MODULE = "pixelis_env.serve.mcp"
KWARGS = {"tools": "oracle", "max_steps": 6}
PLAYED = ("--env-kwargs", json.dumps(KWARGS))
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("zoom", {"box": [100, 100, 700, 700]}),
    ("read_text", {"source": "e1"}),
    ("zoom", {"box": [0, 0, 5000, 700]}),
    ("segment", {"point": [500, 500], "box": None}),
    ("properties", {"targets": ["e1"]}),
]
DOCS = Path(__file__).parents[2] / "docs" / "adapters.md"


def by_stdio(work: Callable[[Client], Awaitable[None]], *arguments: str) -> None:
    """Runs `work` with a client of a server that it starts."""
    command = StdioServerParameters(command=sys.executable, args=["-m", MODULE, *arguments])

    async def run() -> None:
        async with Client(stdio_client(command)) as client:
            await work(client)

    asyncio.run(run())


def by_http(url: str, work: Callable[[Client], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Client(f"{url}/mcp") as client:
            await work(client)

    asyncio.run(run())


def shown(result: Any) -> list[str]:
    """The texts and, as digests, the images of a result or of a prompt's messages."""
    blocks = getattr(result, "content", None) or [m.content for m in result.messages]
    return [block.text if block.type == "text" else of_png(block.data) for block in blocks]


def of_png(data: str) -> str:
    return pixel_digest(np.asarray(read_picture("data:image/png;base64," + data)))


def plain(parts: list[Any]) -> list[str]:
    return [part if isinstance(part, str) else pixel_digest(np.asarray(part)) for part in parts]


async def play_beside(client: Client) -> None:
    """Every call must show what the environment itself shows."""
    episode = Episode(make_env("Pixelis-v0", KWARGS))
    parts = captioned(episode.start(seed=4))
    result = await client.call_tool("start", {"seed": 4})
    name = result.meta["pixelis/step"]["episode"]
    first, *rest = shown(result)
    assert [first.removeprefix(f"Episode {name}.\n"), *rest] == plain(parts)
    images = 0
    for operation, arguments in CALLS:
        parts = captioned(episode.call(operation, arguments))
        result = await client.call_tool(operation, {**arguments, "episode": name})
        assert shown(result) == plain(parts)
        assert result.is_error == episode.info["invalid"]
        facts = result.meta["pixelis/step"]
        assert facts["digest"] == episode.info["evidence"].digest
        assert (facts["reward"], facts["over"]) == (episode.reward, episode.over)
        images += len(parts) - 1
    assert images >= 2
    result = await client.call_tool("answer", {"text": "?", "episode": name})
    assert shown(result) == ["The episode is over. Score 0."]
    result = await client.call_tool("zoom", {"box": [0, 0, 1, 1], "episode": name})
    assert result.is_error
    assert "over: call start" in result.content[0].text


def test_over_stdio_the_episode_is_the_environments() -> None:
    by_stdio(play_beside, *PLAYED)


def test_over_http_episodes_of_several_clients_stay_apart() -> None:
    async def together(client: Client) -> None:
        await asyncio.gather(play_beside(client), play_beside(client))
        result = await client.call_tool("zoom", {"box": [0, 0, 100, 100]})
        assert "give the argument episode" in result.content[0].text
        for _ in range(3):  # the server keeps three: the oldest are closed
            await client.call_tool("start", {})
        result = await client.call_tool("zoom", {"box": [0, 0, 1, 1], "episode": "nobody"})
        assert "no episode 'nobody' is open: call start" in result.content[0].text

    with serving(MODULE, "--http", "--max-episodes", "3", *PLAYED) as url:
        by_http(url, together)


def test_the_tools_are_the_operations_with_their_schemas() -> None:
    async def look(client: Client) -> None:
        start, *tools = (await client.list_tools()).tools
        assert start.name == "start"
        assert list(start.input_schema["properties"]) == ["seed", "index"]
        assert [tool.name for tool in tools] == list(OPS)
        for tool, schema in zip(tools, make_env("Pixelis-v0").tools("anthropic"), strict=True):
            properties = dict(tool.input_schema["properties"])
            assert properties.pop("episode")["type"] == "string"
            assert properties == schema["input_schema"]["properties"]
            assert tool.input_schema.get("required") == schema["input_schema"].get("required")
        for wrong in ({"seed": "one"}, {"seed": -1}, {"file": "a.png"}):
            assert (await client.call_tool("start", wrong)).is_error
        result = await client.call_tool("zoom", {"box": [0, 0, 1, 1]})
        assert result.content[0].text == "no episode is open: call start"

    by_stdio(look)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    inner = tmp_path / "media"
    inner.mkdir()
    for path in (inner / "a.png", inner / "b.png", tmp_path / "secret.png"):
        pixels = rng.integers(0, 256, (60, 80, 3), np.uint8)
        Image.fromarray(pixels).resize((320, 240)).save(path)
    (inner / "rows.jsonl").write_text('{"media": "../secret.png", "question": "?"}\n')
    (inner / "link.png").symlink_to(tmp_path / "secret.png")
    return inner


def test_ones_own_file_without_a_score(folder: Path) -> None:
    async def ask(client: Client) -> None:
        result = await client.call_tool("start", {})
        assert "Who is there?" in result.content[0].text
        result = await client.call_tool("start", {"question": "What colour?"})
        assert "What colour?" in result.content[0].text
        facts = result.meta["pixelis/step"]
        said = await client.call_tool("answer", {"text": "red", "episode": facts["episode"]})
        assert said.content[0].text == "The episode is over."

    by_stdio(ask, "--media", str(folder / "a.png"), "--question", "Who is there?")


def test_a_folder_is_served_and_nothing_beside_it(folder: Path) -> None:
    async def open_all(client: Client) -> None:
        result = await client.call_tool("start", {"file": "b.png"})
        assert not result.is_error
        assert result.content[1].type == "image"
        for name in ("../secret.png", str(folder.parent / "secret.png"), "link.png", "c.png"):
            result = await client.call_tool("start", {"file": name})
            assert result.is_error
            assert "the files are a.png, b.png" in result.content[0].text
        result = await client.call_tool("start", {"file": "rows.jsonl"})
        assert "rows.jsonl is no image or video" in result.content[0].text
        result = await client.call_tool("start", {})
        assert "file: Field required" in result.content[0].text

    by_stdio(open_all, "--media", str(folder))


def test_images_can_come_again_as_a_user_turn(folder: Path) -> None:
    async def look_again(client: Client) -> None:
        direct = captioned(
            Episode(
                make_env("Pixelis-v0", {"source": folder / "a.png", "question": "What is shown?"})
            ).start()
        )
        result = await client.call_tool("start", {})
        name = result.meta["pixelis/step"]["episode"]
        kinds = [block.type for block in result.content]
        assert kinds == ["text", "resource_link", "text"]
        assert "not in this result" in result.content[2].text
        await client.call_tool("zoom", {"box": [0, 0, 500, 500]})
        measured = await client.call_tool("properties", {"targets": ["e1"]})
        assert [block.type for block in measured.content] == ["text"]

        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["view"]
        turn = await client.get_prompt("view", {"episode": name, "evidence": "e0"})
        assert {message.role for message in turn.messages} == {"user"}
        assert shown(turn) == plain(direct)
        blob = (await client.read_resource(result.content[1].uri)).contents[0]
        assert (blob.mime_type, of_png(blob.blob)) == ("image/png", plain(direct)[1])
        for wrong in ({"evidence": "e9"}, {"episode": "nobody"}):
            with pytest.raises(MCPError, match=r"no call showed|no episode"):
                await client.get_prompt("view", wrong)
        with pytest.raises(MCPError, match="has no picture 7"):
            await client.read_resource(f"pixelis://{name}/e0/7.png")

    by_stdio(look_again, "--media", str(folder / "a.png"), "--reemit-images")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--media", "nowhere.mp4"), "no file or folder nowhere.mp4"),
        (("--env-kwargs", '{"level": 9}'), "level"),
        (("--max-episodes", "0"), "at least 1"),
    ],
)
def test_a_wrong_option_stops_the_command(arguments: tuple[str, ...], words: str) -> None:
    command = [sys.executable, "-m", MODULE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert words in done.stderr


def test_the_example_in_the_docs_runs(folder: Path) -> None:
    block = re.findall(r"```python\n(import asyncio.*?)```", DOCS.read_text(), re.DOTALL)[0]
    script = folder / "example.py"
    script.write_text(block.replace('"python"', repr(sys.executable)).replace("clip.mp4", "a.png"))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert "e1 view" in done.stdout
