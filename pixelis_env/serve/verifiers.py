"""Pixelis for verifiers v1: a taskset, and the operations as its toolset.

    vf-eval pixelis-v1 -n 10 --env.taskset.env Pixelis-VSI-v0 --model ... --client.base-url ...

Every rollout has a tool server of its own, a process that plays the task's episode. The model is
shown the question with frames spread over the medium, calls operations, and answers by the tool
`answer`, which ends the rollout, or in its last reply. The reward is the task's own score.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pixelis_env.errors import MissingExtra
from pixelis_env.making import make_env
from pixelis_env.serve.episode import Episode, captioned, conventions
from pixelis_env.serve.pictures import data_url
from pixelis_env.wrappers import unwrap

try:
    import mcp_types as types
    import verifiers.v1 as vf
    from verifiers.v1.harnesses.null import NullHarness

    from pixelis_env.serve.mcp import in_blocks, operation_tools
except ImportError as error:
    raise MissingExtra("the verifiers taskset", "verifiers") from error

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

__all__ = ["NullHarness", "PixelisTaskset", "PixelisToolset"]


class PixelisData(vf.TaskData):
    """A task: which row of which environment's source.

    Attributes:
        env: The environment's id.
        env_kwargs: Its keyword arguments.
        index: The row.
    """

    env: str
    env_kwargs: dict[str, Any]
    index: int


class PixelisState(vf.State):
    """What has come of the episode; attributes as `pixelis_env.serve.episode.Episode`'s."""

    reward: float = 0.0
    score: float | None = None
    over: bool = False
    steps: int = 0
    invalid: int = 0


class PixelisToolset(vf.Toolset[vf.ToolsetConfig, PixelisState]):
    """The operations on one rollout's episode."""

    TOOL_PREFIX = None  # the tools keep the names that the prompt and the schemas use

    async def setup_task(self, task: PixelisData) -> None:
        """Starts the task's episode."""
        self._episode = Episode(make_env(task.env, task.env_kwargs))
        self._exit_stack.callback(self._episode.env.close)
        await asyncio.to_thread(self._episode.start, index=task.index)

    def register(self, mcp: MCPServer) -> None:
        """Registers the operations with the environment's own schemas.

        Not by `vf.tool`: there a function's signature is the schema, and arguments that do not fit
        it never reach the environment, where a wrong call is a step.
        """
        call = self._with_state(self._call)

        async def list_tools(*_: Any) -> types.ListToolsResult:
            return types.ListToolsResult(tools=operation_tools(self._episode.env))

        async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
            result: types.CallToolResult = await call(params.name, dict(params.arguments or {}))
            return result

        # MCPServer takes schemas from functions only; the server inside it takes them as they are.
        server = mcp._lowlevel_server
        server.add_request_handler("tools/list", types.PaginatedRequestParams, list_tools)
        server.add_request_handler("tools/call", types.CallToolRequestParams, call_tool)

    async def _call(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        episode = self._episode
        observation = await asyncio.to_thread(episode.call, name, arguments)
        for field in ("reward", "score", "over", "steps", "invalid"):
            setattr(self.state, field, getattr(episode, field))
        invalid = bool(episode.info.get("invalid"))
        return types.CallToolResult(content=in_blocks(captioned(observation)), is_error=invalid)


class PixelisTaskConfig(vf.TaskConfig):
    """Settings of a rollout.

    Attributes:
        tools: Where the tool server runs.
    """

    tools: vf.ToolsetConfig = vf.ToolsetConfig()


class PixelisTask(vf.Task[PixelisData, PixelisState, PixelisTaskConfig]):
    """Ends with the episode, and is rewarded by its score."""

    @property
    def key(self) -> str:
        """The task's id."""
        return str(self.data.id)

    @classmethod
    def toolsets(cls, config: PixelisTaskConfig) -> list[vf.Toolset]:
        """The operations."""
        return [PixelisToolset(config.tools)]

    @vf.stop
    async def episode_over(self, trace: vf.Trace) -> bool:
        """Whether the episode has ended, by an answer or by its limit of steps."""
        return bool(trace.state.over)

    @vf.reward
    async def task_score(self, trace: vf.Trace) -> float:
        """The score of the answer, 0..1; an answer that no tool was told is the last reply."""
        if trace.state.over:
            return float(trace.state.score or 0.0)
        return await asyncio.to_thread(self._score_reply, trace.last_reply)

    @vf.metric
    async def episode(self, trace: vf.Trace) -> dict[str, float]:
        """The calls made, those that could not be carried out, and the environment's reward."""
        state = trace.state
        return {
            "calls": float(state.steps),
            "invalid_calls": float(state.invalid),
            "environment_reward": state.reward,
        }

    async def validate(self, runtime: vf.Runtime) -> bool | None:
        """Whether the oracle scores 1; None where the source knows no oracle."""
        return await asyncio.to_thread(self._oracle_scores)

    def _started(self) -> Episode:
        episode = Episode(make_env(self.data.env, self.data.env_kwargs))
        episode.start(index=self.data.index)
        return episode

    def _score_reply(self, reply: str) -> float:
        episode = self._started()
        try:
            if "<answer>" in reply:
                episode.play(reply)
            else:
                episode.call("answer", {"text": reply.strip()})
            return episode.score or 0.0
        finally:
            episode.env.close()

    def _oracle_scores(self) -> bool | None:
        episode = self._started()
        env = unwrap(episode.env)
        try:
            if env.task.oracle is None:
                return None
            for action in env.oracle():
                info = env.step(action)[4]
            return bool(info["score"] == 1.0)
        finally:
            episode.env.close()


class PixelisConfig(vf.TasksetConfig):
    """Which tasks there are.

    Attributes:
        env: The environment's id.
        env_kwargs: Its keyword arguments, plain values.
        seed: Of the order of tasks, where there is no end of them; otherwise they come in their
            source's order.
        task: Settings of a rollout.
    """

    env: str = "Pixelis-v0"
    env_kwargs: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    task: PixelisTaskConfig = PixelisTaskConfig()


class PixelisTaskset(vf.Taskset[PixelisTask, PixelisConfig]):
    """The tasks of an environment, in order."""

    def __init__(self, config: PixelisConfig) -> None:
        super().__init__(config)
        self._env = make_env(config.env, config.env_kwargs)
        self.INFINITE = unwrap(self._env).source.size is None

    def load(self) -> Iterator[PixelisTask]:
        """Makes each task when it is asked for: its frames are rendered or read then.

        Raises:
            ValueError: A task whose right answer is unknown, which nothing can be rewarded by.
        """
        env, episode = unwrap(self._env), Episode(self._env)
        seed: int | None = self.config.seed
        for index in self._indices():
            observation = episode.start(seed=seed, index=index)
            seed = None
            if env.task.answer is None:
                raise ValueError(f"task {env.task.id} has no known answer, so nothing to reward by")
            parts = [
                vf.TextContentPart(text=part)
                if isinstance(part, str)
                else vf.ImageUrlContentPart(image_url=vf.ImageUrlSource(url=data_url(part)))
                for part in captioned(observation)
            ]
            data = PixelisData(
                id=env.task.id,
                name=env.task.type,
                prompt=[vf.UserMessage(content=parts)],
                system_prompt="Answer the question by acting on the pixels: think briefly, call "
                f"one tool at a time, and answer last. {conventions(env.tool_calls.frame)}",
                env=self.config.env,
                env_kwargs=self.config.env_kwargs,
                index=episode.info["index"],
            )
            yield PixelisTask(data, self.config.task)

    def _indices(self) -> Iterator[int | None]:
        size = unwrap(self._env).source.size
        return repeat(None) if size is None else iter(range(size))


if __name__ == "__main__":
    PixelisToolset.run()
