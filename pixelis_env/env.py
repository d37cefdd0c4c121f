"""The environment: reset, step, render; everything else lives beside it."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelis_env.actions import Action, Answer, Malformed, ToolCallCodec
from pixelis_env.codec import DictCodec
from pixelis_env.coordinates import Frame
from pixelis_env.errors import InvalidCall
from pixelis_env.evidence import Evidence, ToolError
from pixelis_env.inputs import printable, read_action
from pixelis_env.media import Decoder, MediaError
from pixelis_env.observation import observation_space
from pixelis_env.prefetch import Prefetcher, make_episode
from pixelis_env.scoring import score
from pixelis_env.tasks import TaskSource, make_source
from pixelis_env.tools import Toolbox
from pixelis_env.trace import Header, Step, Trace, portable_kwargs, versions
from pixelis_env.workspace import Workspace

# Index of a task in an endless source: fits every integer type on the way.
_ENDLESS = 2**62


@dataclass(frozen=True)
class EnvState:
    """An episode to come back to; plain data, picklable. See `PixelisEnv.get_state`."""

    index: int
    steps: tuple[Step, ...]
    done: bool
    score: float | None
    next_index: int
    rng: dict[str, Any]
    source: str
    media_digest: str


class PixelisEnv(gym.Env[dict[str, Any], Any]):
    """Answer a question about an image or a video by acting on its pixels.

    ## Description
    An episode is one question about one medium. The agent gathers evidence with six operations
    and then answers. Evidence has ids: `e0` is the medium, step k yields `ek`; an operation names
    the evidence that it works on.

    ## Action space
    `Dict` (see `pixelis_env.codec`). `step` also takes a typed action (`pixelis_env.actions`), its
    plain-dict form (`{"op": "zoom", ...}`) and a tool call (`{"name": "zoom", "arguments": ...}`,
    as a dict or as JSON), whose coordinates are in `frame`. `FlatAction` makes it `MultiDiscrete`.

    | op | does | evidence |
    |---|---|---|
    | zoom | crops a box out of a view | View |
    | segment | outlines the object in a box or at a point | Mask |
    | track | follows a mask or view through a span | Tracklet |
    | read_text | reads the text in a view or box | TextLines |
    | localize | finds when evidence or a text is visible, or the scenes | Intervals |
    | properties | measures evidence | Measurement |
    | answer | ends the episode | - |

    ## Observation space
    `Dict`: `view` uint8 (224, 224, 3), the current view, letterboxed; `overview` uint8
    (8, 112, 112, 3), frames spread over the medium, and `overview_mask` (8,), which of them are
    there; `text` uint8 (1024,), UTF-8 of the question and the last result; `state` float32
    (`observation.STATE` names its entries). `info` carries the same as objects.

    ## Reward
    At the answer, the task's own metric in 0..1 (`info["score"]`); `-step_cost` a step and
    `-invalid_cost` for a call that could not be carried out. `info["reward_terms"]` names each.

    ## Episode end
    Terminated by an answer, truncated (score 0) after `max_steps` steps.

    Args:
        source: `"rooms"`; a public benchmark (`"vsi-bench"`, `"v-star"`, `"infovqa"`, `"mvbench"`,
            `"mmbench"`, `"video-mmmu"`, with `root`); the path of a manifest (`.jsonl`); an image
            or video file (with `question`); or a `TaskSource`. See docs/sources.md.
        family: Rooms: `"vsi"`, `"search"`, `"text"`, `"motion"`, `"time"` or `"all"`.
        types: Rooms, a benchmark or manifest: only these question types.
        level: Rooms: difficulty, 1..3.
        shift: Rooms: `"none"`, or a change of looks: `"lighting"`, `"texture"`, `"camera"`,
            `"clutter"`, `"blur"`, `"fonts"`.
        root: A benchmark: the folder that holds its files.
        split: A benchmark: which part of it; default: the usual one.
        scorer: A benchmark or manifest: by which protocol answers are read and scored.
        where: A benchmark or manifest: only rows whose columns have these values, e.g.
            `{"dataset": "scannet"}`.
        shuffle: A benchmark or manifest: the seed of a random order of rows; default: the files'.
        shuffle_options: A benchmark or manifest: the seed of a random order of each row's options.
        limit: A benchmark or manifest: at the most so many rows.
        strict: A benchmark or manifest: raise where rows cannot be asked; False leaves them out,
            names them, and counts them 0.
        question: A media file: what is asked.
        options: A media file: the options' texts.
        answer: A media file: the right answer; without it episodes have no score.
        decoder: All but rooms: the video decoder.
        tools: The backends: None for the defaults, one name for all, or a mapping from operation
            to a name, `{"name": ..., option: ...}`, or a backend object.
        max_steps: The longest episode, 1..9999.
        step_cost: Taken from every step's reward, >= 0.
        invalid_cost: Taken as well where a call could not be carried out, >= 0.
        frame: The frame of reference of coordinates in tool calls, and in plain-dict actions that
            state none.
        prefetch: Make the next episode's task in a thread while this one is played.
        render_mode: `"rgb_array"` or `"human"` (a window; needs the extra `human`).
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 2}  # noqa: RUF012

    def __init__(
        self,
        source: str | Path | TaskSource = "rooms",
        *,
        family: str = "all",
        types: Sequence[str] | None = None,
        level: int = 1,
        shift: str = "none",
        root: str | Path | None = None,
        split: str | None = None,
        scorer: str | None = None,
        where: Mapping[str, str | Sequence[str]] | None = None,
        shuffle: int | None = None,
        shuffle_options: int | None = None,
        limit: int | None = None,
        strict: bool = True,
        question: str | None = None,
        options: Sequence[str] | None = None,
        answer: str | None = None,
        decoder: Decoder = "pyav",
        tools: str | Mapping[str, Any] | None = None,
        max_steps: int = 16,
        step_cost: float = 0.01,
        invalid_cost: float = 0.05,
        frame: Frame = "rel1000",
        prefetch: bool = False,
        render_mode: str | None = None,
    ) -> None:
        # Plain Python values, whatever number type was given: they go into traces.
        max_steps = operator.index(max_steps)
        step_cost, invalid_cost = float(step_cost), float(invalid_cost)
        types = None if types is None else [str(name) for name in types]
        options = None if options is None else [str(text) for text in options]
        root = None if root is None else str(root)
        given = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        _check(max_steps, step_cost, invalid_cost, frame, render_mode, self.metadata)
        self.kwargs: dict[str, Any] = {
            k: v for k, v in given.items() if v is not _DEFAULTS[k] and v != _DEFAULTS[k]
        }
        self._portable = portable_kwargs(self.kwargs)
        own = {k: v for k, v in self.kwargs.items() if k not in _OWN}
        self.source = make_source(source, family=family, **own)
        self.toolbox = Toolbox(tools)
        self.max_steps = max_steps
        self.step_cost = step_cost
        self.invalid_cost = invalid_cost
        self.render_mode = render_mode
        self.tool_calls = ToolCallCodec(frame)
        self.codec = DictCodec()
        self.action_space = self.codec.space
        self.observation_space = observation_space()
        self._prefetcher = Prefetcher(self.source) if prefetch else None
        self._window: Any = None
        self._next_index: int | None = None
        self._steps: list[Step] = []
        self._done = True
        self._score: float | None = None

    # ---- the Gymnasium interface ----

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: Seeds the order of tasks; the same seed starts with the same task.
            options: `{"index": i}` picks row i of the source.

        Raises:
            ValueError: An option that is not known, or an index outside the source.
        """
        super().reset(seed=seed)
        if seed is not None or self._next_index is None:
            self._next_index = self._draw_index()
        unknown = set(options or ()) - {"index"}
        if unknown:
            raise ValueError(f"reset knows the option 'index', not {sorted(unknown)}")
        if options and "index" in options:
            index = self._check_index(options["index"])
        else:
            index, self._next_index = self._next_index, self._draw_index()
        self._begin(index)
        if self._prefetcher is not None:
            self._prefetcher.start(self._next_index)
        observation = self._observer.observe(self.workspace, 0.0)
        info = {
            "index": index,
            "task_id": self.task.id,
            "task_type": self.task.type,
            "prompt": self.task.prompt,
            "question": self.task.question,
            "options": self.task.options,
            "evidence_id": "e0",
            "evidence": self.workspace.last,
            "view": self.view(),
        }
        self._show()
        return observation, info

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Carries out one action; see the class for its forms. Never raises on any action.

        Raises:
            gymnasium.error.ResetNeeded: The episode is over, or none was started.
            ValueError: A backend of the caller's own broke its protocol.
        """
        if self._done:
            raise gym.error.ResetNeeded("the episode is over: call reset() before step()")
        typed = read_action(action, self.tool_calls, self.codec, self.workspace)
        evidence = self._carry_out(typed)
        terms = {"step": -self.step_cost}
        info: dict[str, Any] = {"op": typed.op, "invalid": isinstance(evidence, ToolError)}
        if info["invalid"]:
            terms["invalid"] = -self.invalid_cost
        if evidence is not None:
            info["evidence_id"] = self.workspace.add(evidence)
            info["evidence"] = evidence
        terminated = evidence is None
        truncated = not terminated and len(self._steps) + 1 >= self.max_steps
        if terminated or truncated:
            self._done = True
            text = typed.text if terminated and isinstance(typed, Answer) else ""
            self._score = self._rate(text)
            if self._score is not None:
                info["score"] = self._score
                if terminated:
                    terms["task"] = self._score
        self._steps.append(Step(action=typed, evidence=evidence, reward_terms=terms))
        info["reward_terms"] = terms
        info["view"] = self.view()
        observation = self._observer.observe(self.workspace, len(self._steps) / self.max_steps)
        self._show()
        return observation, sum(terms.values()), terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """The current view with its evidence drawn on it, uint8 (H, W, 3), for "rgb_array"."""
        if self.render_mode is None:
            gym.logger.warn("render() needs render_mode='rgb_array' or 'human' in gym.make")
            return None
        self._need_episode()
        if self.render_mode == "human":
            self._show()
            return None
        return self._draw()

    def close(self) -> None:
        """Stops the prefetching thread and closes the window."""
        if self._prefetcher is not None:
            self._prefetcher.close()
        if self._window is not None:
            self._window.close()
            self._window = None

    # ---- beyond Gymnasium ----

    def view(self) -> Image.Image:
        """The current view at its native resolution; copy it before you draw on it."""
        self._need_episode()
        return self._observer.show(self.workspace)

    def oracle(
        self, rng: np.random.Generator | None = None, frames: Sequence[int] | None = None
    ) -> list[Action]:
        """A correct action sequence from the episode's start, for procedural tasks.

        Args:
            rng: Makes the choices that are free; default: they are always the same.
            frames: Look at these frames only, and search times without knowing them, as an agent
                does that saw these frames (`observation.overview_indices`) and no more.

        Raises:
            LookupError: `frames` do not show what the question needs.
            ValueError: The task's source knows no such sequence; or `frames` is empty, or one of
                them is outside the medium.
        """
        self._need_episode()
        if self.task.oracle is None:
            raise ValueError(
                f"{self.source.name} gives no oracle; procedural sources such as rooms do"
            )
        return list(self.task.oracle(rng, frames))

    def trace(self) -> Trace:
        """The record of the episode so far."""
        self._need_episode()
        kwargs, media_file, portable = self._portable
        header = Header(
            env_id="" if self.spec is None else self.spec.id,
            kwargs=kwargs,
            media_file=media_file,
            portable=portable,
            index=self._index,
            task_id=self.task.id,
            task_type=self.task.type,
            question=self.task.question,
            media_digest=self.task.media.digest,
            tools=dict(self.toolbox.names),
            versions=versions(),
        )
        return Trace.build(header, self._steps, self._score)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the episode so far."""
        return tuple(self._steps)

    def get_state(self) -> EnvState:
        """The episode as plain data, for branching search; `set_state` comes back to it."""
        self._need_episode()
        assert self._next_index is not None
        return EnvState(
            index=self._index,
            steps=self.steps,
            done=self._done,
            score=self._score,
            next_index=self._next_index,
            rng=dict(self.np_random.bit_generator.state),
            source=self.source.name,
            media_digest=self.task.media.digest,
        )

    def set_state(self, state: EnvState) -> dict[str, Any]:
        """Comes back to an episode of this source; returns its observation.

        Raises:
            ValueError: The state is of another source, or its medium has changed since.
        """
        if state.source != self.source.name:
            raise ValueError(f"a state of {state.source} does not fit {self.source.name}")
        self._begin(state.index)
        if state.media_digest != self.task.media.digest:
            raise ValueError(f"the medium of task {state.index} is not the one of the state")
        self._steps = list(state.steps)
        for step in self._steps:
            if step.evidence is not None:
                self.workspace.add(step.evidence)
        self._done, self._score = state.done, state.score
        self._next_index = state.next_index
        self.np_random.bit_generator.state = state.rng
        return self._observer.observe(self.workspace, len(self._steps) / self.max_steps)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "kwargs": self.kwargs,
            "spec": self.spec,
            "action_space": self.action_space,
            "seed": self._np_random_seed,
            "state": None if self._next_index is None else self.get_state(),
        }

    def __setstate__(self, data: dict[str, Any]) -> None:
        self.__init__(**data["kwargs"])  # type: ignore[misc]
        self.spec = data["spec"]
        self.action_space = data["action_space"]
        self._np_random_seed = data["seed"]
        if data["state"] is not None:
            self.set_state(data["state"])

    # ---- inside ----

    def _need_episode(self) -> None:
        if not hasattr(self, "workspace") or self._next_index is None:
            raise gym.error.ResetNeeded("there is no episode yet: call reset() first")

    def _draw_index(self) -> int:
        size = self.source.size
        return int(self.np_random.integers(_ENDLESS if size is None else size))

    def _check_index(self, index: Any) -> int:
        size = _ENDLESS if self.source.size is None else self.source.size
        if not isinstance(index, (int, np.integer)) or not 0 <= index < size:
            raise ValueError(
                f"no task {index!r} in {self.source.name}: give an index in 0..{size - 1}"
            )
        return int(index)

    def _begin(self, index: int) -> None:
        """Makes the task at `index` the episode, with an empty workspace."""
        same = getattr(self, "_index", None) == index
        if not same:
            made = None if self._prefetcher is None else self._prefetcher.take(index)
            self.task, self._observer = made or make_episode(self.source, index)
            self._index = index
        self.workspace = Workspace(self.task.media)
        self._steps = []
        self._done, self._score = False, None

    def _carry_out(self, action: Action | Malformed) -> Evidence | None:
        """The evidence of an action; None for an answer that stands."""
        try:
            if isinstance(action, Malformed):
                raise InvalidCall(action.reason)
            if isinstance(action, Answer):
                for evidence_id in action.evidence:
                    self.workspace.get(evidence_id)
                return None
            return self.toolbox.run(action, self.workspace)
        except InvalidCall as error:
            return ToolError(message=printable(str(error)))
        except MediaError:
            # Its own words may hold a path, which has no place in a trace.
            return ToolError(message=f"{self.task.media.name} cannot be read there")

    def _rate(self, text: str) -> float | None:
        return None if self.task.answer is None else score(self.task.metric, text, self.task)

    def _draw(self) -> NDArray[np.uint8]:
        from pixelis_env.draw import draw_workspace

        return draw_workspace(self.workspace, self.task.question)

    def _show(self) -> None:
        if self.render_mode != "human":
            return
        if self._window is None:
            from pixelis_env.draw import Window

            self._window = Window(self.metadata["render_fps"])
        self._window.show(self._draw())


# The arguments that are the environment's own; a source knows which of the others are its.
_OWN = {"source", "family", "tools", "max_steps", "step_cost", "invalid_cost"}
_OWN |= {"frame", "prefetch", "render_mode"}

_DEFAULTS: dict[str, Any] = {"source": "rooms", **(PixelisEnv.__init__.__kwdefaults__ or {})}


def _check(
    max_steps: int,
    step_cost: float,
    invalid_cost: float,
    frame: str,
    render_mode: str | None,
    metadata: Mapping[str, Any],
) -> None:
    if not 1 <= max_steps <= 9999:
        raise ValueError(f"max_steps must be in 1..9999, not {max_steps}")
    for name, cost in (("step_cost", step_cost), ("invalid_cost", invalid_cost)):
        if not 0 <= cost < float("inf"):
            raise ValueError(f"{name} must be a number >= 0, not {cost}")
    if frame not in ("rel1000", "unit", "px"):
        raise ValueError(f"frame must be 'rel1000', 'unit' or 'px', not {frame!r}")
    if render_mode is not None and render_mode not in metadata["render_modes"]:
        raise ValueError(
            f"render_mode must be one of {metadata['render_modes']}, not {render_mode!r}"
        )
