"""The operations as an MCP server: a model in any MCP client looks at pixels through them.

    python -m pixelis_env.serve.mcp --media clip.mp4                  (stdio, your own file)
    python -m pixelis_env.serve.mcp --env Pixelis-VSI-v0 --http       (streamable HTTP)

The tool `start` opens an episode and names it; the operations and `answer` work on that episode.
The name travels with each call, because MCP over HTTP has no sessions; where the server holds one
episode only, it may be left out. A call that cannot be carried out is a step of the episode and a
result with `isError`, whose text says what would have been valid.

A result's `_meta` holds, under `pixelis/step`, what a program wants to know and a model need not:
`episode`, `evidence_id`, `digest`, `reward`, `score` and `over`.

Some clients do not show a model the images in tool results. With `--reemit-images` a result holds a
link to them instead and says so, and the client can put them into the conversation as a user turn:
by the prompt `view`, or by reading the linked resource.
"""

from __future__ import annotations

import argparse
import base64
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from pixelis_env import __version__
from pixelis_env.actions import explain, plain_schema
from pixelis_env.errors import BackendError, InvalidCall, MissingExtra
from pixelis_env.serve.arguments import add_server_arguments, warn_if_open
from pixelis_env.serve.desk import Desk
from pixelis_env.serve.episode import conventions
from pixelis_env.serve.pictures import encode_picture
from pixelis_env.wrappers import ToolCall, unwrap

try:
    import mcp_types as types
    from mcp.server.lowlevel import Server
    from mcp.server.stdio import stdio_server
    from mcp.shared.exceptions import MCPError
except ImportError as error:
    raise MissingExtra("the MCP server", "mcp") from error

_META = "pixelis/step"
_SCHEME = "pixelis://"
_PICTURE = re.compile(_SCHEME + r"(\w{1,16})/(e\d{1,5})/(\d{1,3})\.png")
_EPISODE = {"type": "string", "description": "The episode's name, which start returned."}


class _Start(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class StartTask(_Start):
    """Arguments of `start` where the environment asks the questions."""

    seed: NonNegativeInt | None = Field(
        default=None, description="The same seed starts with the same task; default: by chance."
    )
    index: NonNegativeInt | None = Field(default=None, description="Which task of the source.")


class StartMedium(_Start):
    """Arguments of `start` for one image or video."""

    question: str | None = Field(default=None, description="What to find out.")


class StartFile(StartMedium):
    """Arguments of `start` for a folder."""

    file: str = Field(description="Which file of the folder.")


class OperationsServer:
    """Answers MCP's requests out of a desk of episodes.

    Args:
        desk: Where episodes are opened.
        reemit_images: Whether images are linked and offered as user turns, rather than in the
            results of tools.

    Attributes:
        server: The MCP server, to be run over any transport.
    """

    def __init__(self, desk: Desk, *, reemit_images: bool = False) -> None:
        self._desk, self._reemit = desk, reemit_images
        self._start_arguments: type[_Start] = StartTask
        if not desk.own_tasks:
            self._start_arguments = StartMedium if desk.folder is None else StartFile
        again: dict[str, Any] = {}
        if reemit_images:
            again = {
                "on_list_prompts": self._list_prompts,
                "on_get_prompt": self._get_prompt,
                "on_list_resources": self._list_resources,
                "on_list_resource_templates": self._list_templates,
                "on_read_resource": self._read_resource,
            }
        self.server: Server[Any] = Server(
            "pixelis",
            version=__version__,
            instructions=f"Answer questions about images and videos by acting on their pixels. "
            f"{conventions(unwrap(desk.env).tool_calls.frame)} Call start first, answer last.",
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            **again,
        )

    # ---- tools ----

    async def _list_tools(self, *_: Any) -> types.ListToolsResult:
        words = "Start an episode: a question about an image or a video."
        if not self._desk.own_tasks:
            words = "Open the image or video, to act on its pixels."
        start = plain_schema(self._start_arguments.model_json_schema())
        del start["description"]
        operations = operation_tools(self._desk.env)
        for tool in operations:
            tool.input_schema["properties"]["episode"] = _EPISODE
        return types.ListToolsResult(tools=[_tool("start", words, start), *operations])

    async def _call_tool(self, _: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        arguments = dict(params.arguments or {})
        try:
            # In a thread: an operation may take seconds, and other clients are waiting.
            return await anyio.to_thread.run_sync(partial(self._carry_out, params.name, arguments))
        except (InvalidCall, BackendError) as error:
            return types.CallToolResult(content=[_text(str(error))], is_error=True)

    def _carry_out(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        if name == "start":
            try:
                wanted = self._start_arguments.model_validate(arguments)
            except ValidationError as error:
                raise InvalidCall(f"start: {explain(error)}") from None
            opened, parts = self._desk.start(**wanted.model_dump())
            parts = [f"Episode {opened.name}.\n{parts[0]}", *parts[1:]]
        else:
            episode = arguments.pop("episode", None)
            opened = self._desk.find(None if episode is None else str(episode))
            parts = opened.call(name, arguments)
        played = opened.episode
        if played.score is not None:
            parts = [f"{parts[0]} Score {played.score:g}.", *parts[1:]]
        evidence = played.info.get("evidence")
        facts = {
            "episode": opened.name,
            "evidence_id": played.info.get("evidence_id"),
            "digest": None if evidence is None else evidence.digest,
            "reward": played.reward,
            "score": played.score,
            "over": played.over,
        }
        return types.CallToolResult(
            content=self._content(opened.name, played.info.get("evidence_id"), parts),
            is_error=bool(played.info.get("invalid")),
            _meta={_META: facts},
        )

    def _content(
        self, episode: str, evidence: str | None, parts: Sequence[Any]
    ) -> list[types.ContentBlock]:
        if not self._reemit:
            return in_blocks(parts)
        content: list[types.ContentBlock] = []
        for number, part in enumerate(parts):
            if isinstance(part, str):
                content.append(_text(part))
                continue
            name = f"{evidence}-{number}.png"
            uri = f"{_SCHEME}{episode}/{evidence}/{number}.png"
            content.append(types.ResourceLink(name=name, uri=uri, mime_type="image/png"))
        if len(content) > sum(isinstance(part, str) for part in parts):
            content.append(
                _text(
                    "The pictures are not in this result. They follow as a user turn: prompt "
                    f"`view` with episode {episode}, evidence {evidence}; or read the links."
                )
            )
        return content

    # ---- images again, as a user turn ----

    async def _list_prompts(self, *_: Any) -> types.ListPromptsResult:
        arguments = [
            types.PromptArgument(
                name="evidence", description="Which; default: the newest.", required=False
            ),
            types.PromptArgument(name="episode", description=_EPISODE["description"]),
        ]
        words = "What a call showed, with its pictures, as a user turn."
        view = types.Prompt(name="view", description=words, arguments=arguments)
        return types.ListPromptsResult(prompts=[view])

    async def _get_prompt(
        self, _: Any, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        if params.name != "view":
            raise _wrong(f"there is no prompt {params.name[:40]!r}; there is view")
        arguments = params.arguments or {}
        blocks = in_blocks(self._shown(arguments.get("episode"), arguments.get("evidence")))
        messages = [types.PromptMessage(role="user", content=block) for block in blocks]
        return types.GetPromptResult(messages=messages)

    async def _list_resources(self, *_: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[])  # results link to theirs

    async def _list_templates(self, *_: Any) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            name="picture",
            uri_template=_SCHEME + "{episode}/{evidence}/{number}.png",
            description="A picture that the result of a tool links to.",
            mime_type="image/png",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def _read_resource(
        self, _: Any, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        match = _PICTURE.fullmatch(params.uri)
        if match is None:
            raise _wrong(f"a picture is {_SCHEME}EPISODE/EVIDENCE/NUMBER.png, not {params.uri!r}")
        parts = self._shown(match[1], match[2])
        number = int(match[3])
        if number >= len(parts) or isinstance(parts[number], str):
            raise _wrong(f"{match[2]} of episode {match[1]} has no picture {number}")
        blob = types.BlobResourceContents(
            uri=params.uri, mime_type="image/png", blob=_base64(parts[number])
        )
        return types.ReadResourceResult(contents=[blob])

    def _shown(self, episode: str | None, evidence: str | None) -> list[Any]:
        try:
            shown = self._desk.find(episode).shown
        except InvalidCall as error:
            raise _wrong(str(error)) from None
        if evidence is None:
            return list(shown.values())[-1]
        if evidence not in shown:
            raise _wrong(f"no call showed {evidence[:40]!r}; there is {', '.join(shown)}")
        return shown[evidence]


def operation_tools(env: ToolCall) -> list[types.Tool]:
    """The operations as MCP tools, with the schemas that the environment checks calls by."""
    return [
        _tool(schema["name"], schema["description"], schema["input_schema"])
        for schema in env.tools("anthropic")
    ]


def in_blocks(parts: Sequence[Any]) -> list[types.ContentBlock]:
    """Texts and images as MCP's content blocks, in the same order."""
    return [_text(part) if isinstance(part, str) else _image(part) for part in parts]


def _tool(name: str, words: str, schema: dict[str, Any]) -> types.Tool:
    harmless = types.ToolAnnotations(destructive_hint=False, open_world_hint=False)
    return types.Tool(name=name, description=words, input_schema=schema, annotations=harmless)


def _text(text: str) -> types.TextContent:
    return types.TextContent(text=text)


def _base64(image: Image.Image) -> str:
    return base64.b64encode(encode_picture(image)).decode("ascii")


def _image(image: Image.Image) -> types.ImageContent:
    return types.ImageContent(data=_base64(image), mime_type="image/png")


def _wrong(words: str) -> MCPError:
    return MCPError(code=types.INVALID_PARAMS, message=words)


async def _serve_stdio(server: Server[Any]) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def main(argv: list[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m pixelis_env.serve.mcp", description="Serve the operations by MCP."
    )
    add_server_arguments(parser, port=8001)
    parser.add_argument("--http", action="store_true", help="streamable HTTP, instead of stdio")
    parser.add_argument(
        "--media", type=Path, help="an image or video, or a folder of which clients name files"
    )
    parser.add_argument("--question", default="What is shown?", help="about --media")
    parser.add_argument("--max-episodes", type=int, default=16, help="kept at one time")
    parser.add_argument(
        "--reemit-images",
        action="store_true",
        help="for clients that drop images in results: link them, and offer them as user turns",
    )
    args = parser.parse_args(argv)
    try:
        desk = Desk(
            args.env,
            args.env_kwargs,
            media=args.media,
            question=args.question,
            limit=args.max_episodes,
        )
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    server = OperationsServer(desk, reemit_images=args.reemit_images).server
    try:
        if args.http:
            import uvicorn

            warn_if_open(args.host)
            app = server.streamable_http_app(host=args.host)
            uvicorn.run(app, host=args.host, port=args.port)
        else:
            anyio.run(_serve_stdio, server)
    finally:
        desk.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
