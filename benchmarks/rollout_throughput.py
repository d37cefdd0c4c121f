"""Rollouts a second: ours, a plain loop that encodes every turn anew, and TRL's tool loop.

All three play the same tasks (rooms with exact tools, rendered before the clock starts) with the
same model in one process, with as many episodes in flight. A model that has learned nothing calls
no tool, and a trained one would say other things in each loop; so in each loop only the next token
of the oracle's turn may be written. All else is as ever: every forward pass and its images, the
sampling, the parsing, the tools and the images that they return. Before anything is timed, a first
round checks that all three were fed and wrote the same tokens.

- ours: `Collector` with `VLMPolicy`, the environments in this process too. Log-probabilities are
  recorded, as learning needs them; the other two record none.
- encoding anew: in each turn the chat so far is rendered and tokenised, all its images are
  processed, and `model.generate` begins from nothing; batched, padded on the left.
- TRL: resets, generation and tool loop of `GRPOTrainer` with `PixelisToolEnv`, in evaluation mode;
  what follows in a training step is left out. Its limit of tokens is one for a whole rollout.

`python benchmarks/rollout_throughput.py [--model PATH] [--quick]`
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # before TRL is imported
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import gymnasium as gym
import numpy as np
import torch
from common import Table, save, with_interval
from datasets import Dataset
from numpy.typing import NDArray
from transformers import LogitsProcessor, LogitsProcessorList
from trl import GRPOConfig, GRPOTrainer

from pixelis_agent.collect import Collector
from pixelis_agent.dialogue import SYSTEM
from pixelis_agent.models.load import load_model
from pixelis_agent.models.processor import Processor
from pixelis_agent.policies.base import Episode
from pixelis_agent.policies.scripted import OraclePolicy
from pixelis_agent.policies.vlm import VLMPolicy
from pixelis_agent.tiny.config import IMAGE, build_tiny
from pixelis_agent.tiny.tokenizer import token_ids, train_tokenizer
from pixelis_agent.trl_env import PixelisToolEnv, dataset_rows, episode_reward, trl_processor
from pixelis_env.tasks.pool import Pool
from pixelis_env.tasks.rooms import RoomsSource
from pixelis_env.wrappers import ToolCall

torch.set_num_threads(1)
ENV = "Pixelis-v0"
MAX_NEW_TOKENS = 256

Lines = dict[int, list[list[int]]]
"""For each task the tokens of each turn, the end of the turn among them."""


@dataclass
class Round:
    """What a loop did in a round.

    Attributes:
        wall_s: Seconds on the clock.
        cpu_s: Seconds of this process on any core.
        tokens: For each task all tokens of its episode, fed and written.
    """

    wall_s: float
    cpu_s: float
    tokens: dict[int, list[int]]


class Stopwatch:
    """Wall and processor time since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self, tokens: dict[int, list[int]]) -> Round:
        """The round that ends now."""
        return Round(time.perf_counter() - self._wall, time.process_time() - self._cpu, tokens)


def oracle_turns(env_kwargs: dict[str, Any], count: int) -> tuple[list[list[str]], list[str]]:
    """The oracle's turns for each task, and everything that was said; renders all on the way."""
    env = ToolCall(gym.make(ENV, disable_env_checker=True, **env_kwargs))
    oracle, turns, said = OraclePolicy(), [], []
    for index in range(count):
        episode = Episode(index, 0, env.tools(), [env.reset(options={"index": index})[0]])
        inner: Any = env.unwrapped
        episode.oracle = [inner.tool_calls.encode(action) for action in inner.oracle()]
        while len(episode.turns) < len(episode.oracle):
            episode.turns += oracle.act([episode])
            episode.observations.append(env.step(episode.turns[-1].text)[0])
        turns.append([turn.text for turn in episode.turns])
        said += [*turns[-1], *(observation["text"] for observation in episode.observations)]
    return turns, said


def fresh_model(texts: Sequence[str]) -> tuple[Any, Processor]:
    """A `pixelis-tiny` with random weights and a tokenizer that knows these texts."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer = train_tokenizer(texts)
    model = build_tiny(len(tokenizer), token_ids(tokenizer), seed=0).eval()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, Processor(tokenizer, Qwen2VLImageProcessorPil(**IMAGE))


class OneLine:
    """In place of a grammar's state: a turn of which every token is settled."""

    def __init__(self, line: Sequence[int]) -> None:
        self._left = list(line)

    def allowed(self, size: int) -> NDArray[np.bool_]:
        """Only the next token, bool (size,)."""
        return np.arange(size) == self._left[0]

    def take(self, token: int) -> None:
        """Goes on by a token."""
        assert token == self._left.pop(0)


class Ours(VLMPolicy):
    """Our policy, with the oracle's turns for a grammar."""

    def __init__(self, model: Any, processor: Processor, lines: Lines) -> None:
        super().__init__(model, processor, temperature=1.0, max_new_tokens=MAX_NEW_TOKENS)
        self._lines = lines

    def _begin_turns(self, episodes: Sequence[Episode]) -> list[Any]:
        return [OneLine(self._lines[e.index][len(e.turns)]) for e in episodes]


def play_ours(policy: Ours, collector: Collector, indices: Sequence[int], flight: int) -> Round:
    """A round of our rollouts."""
    watch, tokens = Stopwatch(), {}
    for finished in collector.run(policy, indices, batch=flight):
        assert finished.episode.rollout is not None
        tokens[finished.episode.index] = finished.episode.rollout.tokens
    return watch.stop(tokens)


class Forced(LogitsProcessor):
    """Lets `model.generate` write only given lines, one line a row."""

    def __init__(self, lines: Sequence[Sequence[int]]) -> None:
        self._lines, self._step = lines, 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (rows, vocabulary) with all but one at -inf; a row that ended is left alone."""
        rows = [row for row, line in enumerate(self._lines) if self._step < len(line)]
        tokens = [self._lines[row][self._step] for row in rows]
        forced = scores.clone()
        forced[rows] = -torch.inf
        forced[rows, tokens] = scores[rows, tokens]
        self._step += 1
        return forced


class Anew:
    """The plain loop: batches of episodes from start to end, every turn from scratch."""

    def __init__(
        self,
        model: Any,
        processor: Processor,
        lines: Lines,
        env_kwargs: dict[str, Any],
        flight: int,
    ) -> None:
        self._model, self._processor, self._lines = model, processor, lines
        self._envs = [PixelisToolEnv(ENV, **env_kwargs) for _ in range(flight)]
        self._tools = ToolCall(gym.make(ENV, disable_env_checker=True, **env_kwargs)).tools()

    def play(self, indices: Sequence[int]) -> Round:
        """A round."""
        watch, tokens = Stopwatch(), {}
        for start in range(0, len(indices), len(self._envs)):
            tokens |= self._play_batch(indices[start : start + len(self._envs)])
        return watch.stop(tokens)

    def _play_batch(self, indices: Sequence[int]) -> dict[int, list[int]]:
        tokens: dict[int, list[int]] = {}
        chats: dict[int, list[dict[str, Any]]] = {}
        envs = dict(zip(indices, self._envs, strict=False))
        for index, env in envs.items():
            question = {"role": "user", "content": env.reset(index=index)}
            chats[index] = [{"role": "system", "content": SYSTEM}, question]
        turn = 0
        while open_ones := [index for index in indices if turn < len(self._lines[index])]:
            fed, written = self._write([chats[i] for i in open_ones], open_ones, turn)
            for index, ids, new in zip(open_ones, fed, written, strict=True):
                tokens[index] = ids + new
                text = self._processor.tokenizer.decode(new[:-1])
                result = envs[index]._step(text)
                chats[index] += [
                    {"role": "assistant", "content": text},
                    {"role": "tool", "content": result},
                ]
            turn += 1
        return tokens

    def _write(
        self, chats: Sequence[list[dict[str, Any]]], indices: Sequence[int], turn: int
    ) -> tuple[list[list[int]], list[list[int]]]:
        """What each chat is as tokens, and the turn that the model adds to it."""
        own = self._processor
        feds = [own.feed(own.render(chat, self._tools), _images(chat)) for chat in chats]
        length = max(len(fed.tokens) for fed in feds)
        ids = torch.full((len(feds), length), own.pad_id)
        mask = torch.zeros_like(ids)
        for row, fed in enumerate(feds):
            ids[row, length - len(fed.tokens) :] = torch.tensor(fed.tokens)
            mask[row, length - len(fed.tokens) :] = 1
        forced = Forced([self._lines[index][turn] for index in indices])
        out = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            mm_token_type_ids=(ids == own.image_id).int(),
            **own.pixels([image for fed in feds for image in fed.images]),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=MAX_NEW_TOKENS,
            logits_processor=LogitsProcessorList([forced]),
        )
        written = []
        for row in out[:, length:].tolist():
            ends = [k for k, token in enumerate(row) if token in own.end_ids]
            written.append(row[: ends[0] + 1])
        return [fed.tokens for fed in feds], written


def _images(chat: Sequence[dict[str, Any]]) -> list[Any]:
    parts = [part for message in chat for part in message["content"] if isinstance(part, dict)]
    return [part["image"] for part in parts if part["type"] == "image"]


class Generated(Exception):
    """Ends a step of TRL's trainer once its rollouts are there."""


class TrlLoop(GRPOTrainer):
    """TRL's trainer, used up to the end of generation."""

    def play(self, indices: Sequence[int], flight: int, lines: Lines) -> Round:
        """A round."""
        rows = dataset_rows(indices)
        watch, tokens = Stopwatch(), {}
        for start in range(0, len(indices), flight):
            batch = rows[start : start + flight]
            self._rest = [lines[row["index"]] for row in batch]
            self._turn = 0
            try:
                self._generate_and_score_completions(batch)
            except Generated as done:
                prompts, completions = done.args
                for row, prompt, completion in zip(batch, prompts, completions, strict=True):
                    tokens[row["index"]] = prompt + completion
        return watch.stop(tokens)

    def _generate(self, prompts: list[Any]) -> Any:
        prompt_ids, completion_ids, *_ = super()._generate(prompts)
        raise Generated(prompt_ids, completion_ids)

    def _generate_single_turn(self, *arguments: Any, **named: Any) -> Any:
        # An episode goes on exactly as long as its script does, so these are the rows at hand.
        forced = Forced([turns[self._turn] for turns in self._rest if self._turn < len(turns)])
        self._turn += 1
        generate = self.model.generate
        self.model.generate = partial(generate, logits_processor=LogitsProcessorList([forced]))
        try:
            return super()._generate_single_turn(*arguments, **named)
        finally:
            del self.model.generate  # the method is behind it again


def trl_loop(
    model: Any, processor: Processor, env_kwargs: dict[str, Any], folder: str, flight: int
) -> TrlLoop:
    """TRL's trainer for these environments."""
    return TrlLoop(
        model,
        reward_funcs=episode_reward,
        environment_factory=partial(PixelisToolEnv, ENV, **env_kwargs),
        train_dataset=Dataset.from_list(dataset_rows(range(flight))),
        processing_class=trl_processor(processor),
        args=GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=flight,
            num_generations=2,
            max_completion_length=2048,
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
        ),
    )


def main() -> None:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", help="a pixelis-tiny; default: one with random weights")
    parser.add_argument("--quick", action="store_true", help="a few episodes, to try it")
    given = parser.parse_args()
    episodes, flight, rounds = (8, 4, 3) if given.quick else (48, 16, 5)

    indices = range(episodes)
    env_kwargs = {"source": Pool(RoomsSource(), indices, keep=episodes), "tools": "oracle"}
    turns, said = oracle_turns(env_kwargs, episodes)
    if given.model:
        loaded = load_model(given.model, dtype="float32")
        model, processor = loaded.model.eval(), loaded.processor
    else:
        model, processor = fresh_model(said)
    encode = partial(processor.tokenizer.encode, add_special_tokens=False)
    lines = {k: [[*encode(text), processor.end_id] for text in turns[k]] for k in indices}

    with tempfile.TemporaryDirectory() as folder:
        policy = Ours(model, processor, lines)
        collector = Collector(ENV, env_kwargs, workers=0, envs_per_worker=flight)
        anew = Anew(model, processor, lines, env_kwargs, flight)
        # A copy: TRL changes the model that it is given.
        trainer = trl_loop(copy.deepcopy(model), processor, env_kwargs, folder, flight)
        trainer.model.eval()
        loops = {
            "ours": lambda: play_ours(policy, collector, indices, flight),
            "encoding anew": lambda: anew.play(indices),
            "TRL": lambda: trainer.play(indices, flight, lines),
        }
        first = {name: play() for name, play in loops.items()}
        for name, played in first.items():
            if played.tokens != first["ours"].tokens:
                raise SystemExit(f"{name} was fed or wrote other tokens than ours: not comparable")
        played_rounds = [{name: play() for name, play in loops.items()} for _ in range(rounds)]
        collector.close()

    written = sum(len(line) for own in lines.values() for line in own)
    report(played_rounds, episodes, flight, written, [len(own) for own in lines.values()])


def report(
    rounds: Sequence[dict[str, Round]],
    episodes: int,
    flight: int,
    written: int,
    lengths: Sequence[int],
) -> None:
    """Writes the tables."""
    rates = Table(
        f"Rollouts with one thread: {episodes} episodes of {np.mean(lengths):.1f} turns and "
        f"{written / episodes:.0f} written tokens, {flight} in flight; mean of {len(rounds)} "
        "interleaved rounds [95 % interval]",
        ["loop", "episodes/s", "written tokens/s", "CPU ms an episode"],
    )
    ratios = Table("How many times faster ours is", ["than", "by the clock", "in processor time"])
    for name in rounds[0]:
        walls = [played[name].wall_s for played in rounds]
        cpus = [played[name].cpu_s for played in rounds]
        rates.rows.append(
            [
                name,
                with_interval([episodes / wall for wall in walls], 2),
                with_interval([written / wall for wall in walls], 0),
                with_interval([1e3 * cpu / episodes for cpu in cpus], 0),
            ]
        )
        if name != "ours":
            by_wall = [
                wall / played["ours"].wall_s for wall, played in zip(walls, rounds, strict=True)
            ]
            by_cpu = [cpu / played["ours"].cpu_s for cpu, played in zip(cpus, rounds, strict=True)]
            ratios.rows.append([name, with_interval(by_wall, 2), with_interval(by_cpu, 2)])
    raw = {
        "episodes": episodes,
        "in_flight": flight,
        "written_tokens": written,
        "all_tokens": sum(len(ids) for ids in rounds[0]["ours"].tokens.values()),
        "turns": list(lengths),
        "seconds": [
            {name: {"wall": r.wall_s, "cpu": r.cpu_s} for name, r in played.items()}
            for played in rounds
        ],
    }
    save("rollout_throughput", [0], [rates, ratios], raw)


if __name__ == "__main__":
    main()
