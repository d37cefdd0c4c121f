"""Pixelis in OpenEnv: a server of episodes, and its client.

    python -m pixelis_env.serve.openenv --env Pixelis-VSI-v0 --port 8000

    with PixelisClient(base_url="http://127.0.0.1:8000").sync() as env:
        result = env.reset(seed=0)
        result = env.step(PixelisAction.call("zoom", box=[0, 0, 500, 500]))
        pictures = result.observation.pictures()

Each connection has an environment of its own, which is closed with it. A call that cannot be
carried out is a step that returns a `tool_error`, as in the environment itself; a message that is
no action at all, a step before the reset or after the end is an error of the protocol, which
changes nothing.

OpenEnv has one flag for the end, `done`; which end it was is in `metadata`, with all else that
`info` holds in the environment.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import gymnasium as gym
from PIL import Image
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pixelis_env import __version__
from pixelis_env.errors import MissingExtra
from pixelis_env.making import make_env
from pixelis_env.serve.arguments import add_server_arguments, warn_if_open
from pixelis_env.serve.pictures import data_url, read_picture
from pixelis_env.wrappers import unwrap

try:
    from openenv.core import EnvClient
    from openenv.core.client_types import StepResult
    from openenv.core.env_server import (
        Action,
        ConcurrencyConfig,
        Environment,
        Observation,
        State,
        create_app,
    )
    from openenv.core.env_server.types import EnvironmentMetadata
    from starlette.requests import Request
    from starlette.responses import JSONResponse
except ImportError as error:
    raise MissingExtra("the OpenEnv adapter", "openenv") from error

if TYPE_CHECKING:
    from fastapi import FastAPI


class PixelisAction(Action):
    """One operation by name, or a language model's whole turn. Give exactly one of the two.

    Attributes:
        name: The operation: zoom, segment, track, read_text, localize, properties or answer.
        arguments: Its arguments, as the tool's schema says them.
        turn: What a model wrote: a thought and `<tool_call>...</tool_call>` or
            `<answer>...</answer>` (`pixelis_env.wrappers.ToolCall`).
    """

    name: str | None = Field(
        default=None,
        description="zoom, segment, track, read_text, localize, properties or answer",
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="The operation's arguments, by its tool schema"
    )
    turn: str | None = Field(
        default=None, description="A model's whole turn, with its tool call or answer in tags"
    )

    @model_validator(mode="after")
    def _one_form(self) -> PixelisAction:
        # Not a ValueError: the server could not write that into its reply, and would hang up.
        if (self.name is None) == (self.turn is None):
            raise PydanticCustomError("form", "give exactly one of name (with arguments) and turn")
        if self.turn is not None and self.arguments:
            raise PydanticCustomError("form", "a turn holds its own arguments")
        return self

    @classmethod
    def call(cls, operation: str, /, **arguments: Any) -> PixelisAction:
        """An operation with its arguments: `PixelisAction.call("zoom", box=[0, 0, 500, 500])`."""
        return cls(name=operation, arguments=arguments)

    def text(self) -> str:
        """The turn that it stands for."""
        if self.turn is not None:
            return self.turn
        return json.dumps({"name": self.name, "arguments": self.arguments})


class PixelisObservation(Observation):
    """What the agent sees after a reset or a step.

    Attributes:
        text: At the reset the prompt and a line about e0; afterwards a line about the evidence.
        images: PNG data URLs: at the reset frames spread over the medium, afterwards the pixels of
            evidence that has a place.
        times: For each image, when its frame appears, in seconds.
        regions: For each image, (x0, y0, x1, y1), which whole pixels of the source it shows, half
            open.
        evidence_id: The new evidence's id; None after the answer.
        evidence: The new evidence as data; None after the answer.
        metadata: At the reset `index`, `task_id`, `task_type`, `question`, `options`, and `tools`,
            the operations' schemas; after a step `op`, `invalid`, `reward_terms`, `terminated`,
            `truncated`, and at the end `score` (None where the right answer is unknown). Always
            `digest`: SHA-256 of the evidence, None after the answer.
    """

    text: str
    images: list[str] = Field(default_factory=list)
    times: list[float] = Field(default_factory=list)
    regions: list[tuple[int, int, int, int]] = Field(default_factory=list)
    evidence_id: str | None = None
    evidence: dict[str, Any] | None = None

    def pictures(self) -> list[Image.Image]:
        """The images, decoded."""
        return [read_picture(url) for url in self.images]


class PixelisState(State):
    """Where the episode is.

    Attributes:
        trace: The record so far (`pixelis_env.trace.Trace` as data): saved as JSON it replays with
            `python -m pixelis_env.replay`. None before the first reset.
    """

    trace: dict[str, Any] | None = None


class PixelisEnvironment(Environment[PixelisAction, PixelisObservation, PixelisState]):
    """A Pixelis environment as OpenEnv's server plays it.

    Args:
        env_id: A registered environment.
        env_kwargs: Its keyword arguments.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(
        self, env_id: str = "Pixelis-v0", env_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self._env = make_env(env_id, env_kwargs)
        self._env_id = env_id
        self._episode_id: str | None = None

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        *,
        index: int | None = None,
        **unknown: Any,
    ) -> PixelisObservation:
        """Starts an episode.

        Args:
            seed: Seeds the order of tasks; the same seed starts with the same task.
            episode_id: What `state` calls the episode; default: a new name.
            index: Which task of the source; default: the next in the order.
            unknown: Refused.

        Raises:
            ValueError: Something else was given, or no task has this index.
        """
        if unknown:
            raise ValueError(
                f"reset knows seed, episode_id and index, not {', '.join(sorted(unknown))}"
            )
        options = None if index is None else {"index": index}
        seen, info = self._env.reset(seed=seed, options=options)
        self._episode_id = episode_id or uuid4().hex
        metadata = {
            key: info[key] for key in ("index", "task_id", "task_type", "question", "options")
        }
        metadata["tools"] = self._env.tools()
        return self._observation(seen, info, metadata)

    def step(
        self, action: PixelisAction, timeout_s: float | None = None, **_: Any
    ) -> PixelisObservation:
        """Carries out one action. `timeout_s` is not looked at: operations are bounded.

        Raises:
            gymnasium.error.ResetNeeded: The episode is over, or none was started.
        """
        seen, reward, terminated, truncated, info = self._env.step(action.text())
        metadata = {key: info[key] for key in ("op", "invalid", "reward_terms")}
        metadata |= {"terminated": terminated, "truncated": truncated}
        if terminated or truncated:
            metadata["score"] = info.get("score")
        return self._observation(seen, info, metadata, done=terminated or truncated, reward=reward)

    @property
    def state(self) -> PixelisState:
        """The episode's id, its number of steps and its trace."""
        env = unwrap(self._env)
        try:
            steps, trace = len(env.steps), env.trace().model_dump(mode="json")
        except gym.error.ResetNeeded:
            steps, trace = 0, None
        return PixelisState(episode_id=self._episode_id, step_count=steps, trace=trace)

    def get_metadata(self) -> EnvironmentMetadata:
        """What OpenEnv's `/metadata` says."""
        return EnvironmentMetadata(
            name=self._env_id,
            description=(type(unwrap(self._env)).__doc__ or "").partition("\n")[0],
            version=__version__,
        )

    def close(self) -> None:
        """Closes the environment."""
        self._env.close()

    def _observation(
        self, seen: dict[str, Any], info: dict[str, Any], metadata: dict[str, Any], **end: Any
    ) -> PixelisObservation:
        evidence = info.get("evidence")
        metadata["digest"] = None if evidence is None else evidence.digest
        return PixelisObservation(
            text=seen["text"],
            images=[data_url(image) for image in seen["images"]],
            times=seen["times"],
            regions=seen["regions"],
            evidence_id=info.get("evidence_id"),
            evidence=None if evidence is None else evidence.model_dump(mode="json"),
            metadata=metadata,
            **end,
        )


class PixelisClient(EnvClient[PixelisAction, PixelisObservation, PixelisState]):
    """A session on a server of this module; asynchronous, or with `.sync()` not.

    `reset` takes `seed`, `episode_id` and `index`. Arguments as of `EnvClient`.
    """

    def _step_payload(self, action: PixelisAction) -> dict[str, Any]:
        return action.model_dump(exclude_defaults=True)

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[PixelisObservation]:
        end = {"reward": payload.get("reward"), "done": payload.get("done", False)}
        observation = PixelisObservation(**payload["observation"], **end)
        return StepResult(observation=observation, metadata=observation.metadata, **end)

    def _parse_state(self, payload: dict[str, Any]) -> PixelisState:
        return PixelisState(**payload)


def make_app(
    env_id: str = "Pixelis-v0",
    env_kwargs: Mapping[str, Any] | None = None,
    *,
    max_sessions: int = 8,
    session_timeout: float | None = None,
) -> FastAPI:
    """The server as an ASGI application.

    Args:
        env_id: A registered environment.
        env_kwargs: Its keyword arguments.
        max_sessions: Sessions at one time, >= 1; one more is told that the server is full.
        session_timeout: A session that no connection holds is closed after so many idle seconds;
            default: never.

    Raises:
        ValueError: The environment cannot be made, or a number is out of range.
    """
    if max_sessions < 1:
        raise ValueError(f"max_sessions must be at least 1, not {max_sessions}")
    make = partial(PixelisEnvironment, env_id, env_kwargs)
    make().close()  # here its errors can be read; in a session they cannot
    app = create_app(
        make,
        PixelisAction,
        PixelisObservation,
        env_name="pixelis",
        concurrency_config=ConcurrencyConfig(
            max_concurrent_envs=max_sessions, session_timeout=session_timeout
        ),
        state_cls=PixelisState,
    )

    async def refuse(_: Request, error: Exception) -> JSONResponse:
        stateless = isinstance(error, gym.error.ResetNeeded)
        words = "each HTTP request has an environment of its own: step by the WebSocket /ws"
        return JSONResponse(
            {"detail": words if stateless else str(error)}, 409 if stateless else 422
        )

    app.add_exception_handler(gym.error.ResetNeeded, refuse)
    app.add_exception_handler(ValueError, refuse)
    return app


def main(argv: list[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m pixelis_env.serve.openenv", description="Serve an environment by OpenEnv."
    )
    add_server_arguments(parser, port=8000)
    parser.add_argument("--max-sessions", type=int, default=8, help="sessions at one time")
    args = parser.parse_args(argv)
    import uvicorn

    try:
        app = make_app(args.env, args.env_kwargs, max_sessions=args.max_sessions)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    warn_if_open(args.host)
    # Pictures are compressed already: compressing each message again only takes time.
    uvicorn.run(app, host=args.host, port=args.port, ws_per_message_deflate=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
