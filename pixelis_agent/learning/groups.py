"""Groups of episodes, each on one task, played to learn from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from pixelis_agent.collect import AnyCollector, Finished
from pixelis_agent.config import CCRFTConfig
from pixelis_agent.policies.base import Policy
from pixelis_agent.rewards.credit import silent_groups
from pixelis_agent.rewards.encode import ObservationEncoder
from pixelis_agent.rollout import Rollout
from pixelis_agent.splits import REWARDED, training_index
from pixelis_env.metrics.process import ProcessMetrics
from pixelis_env.trace import Step

Tensor = torch.Tensor


class Stream(Protocol):
    """Where a run stands in the stream of training tasks. `task`: the next one."""

    task: int


@dataclass
class Lived:
    """What is learned from an episode; it travels between processes.

    Attributes:
        group: The number of its task in the run: a task that comes again makes another group.
        place: Of the episode among all of the run, by which they are ordered.
        score: Of its answer.
        steps: What was done and what came of it.
        encodings: float32 (S + 1, D), of what was observed at the start and after each step.
        rollout: Its tokens.
    """

    group: int
    place: int
    score: float
    steps: tuple[Step, ...]
    encodings: Tensor
    rollout: Rollout


def sample_groups(
    collector: AnyCollector,
    player: Policy,
    encoder: ObservationEncoder,
    stream: Stream,
    config: CCRFTConfig,
    accelerator: Any,
) -> tuple[list[Lived], dict[str, float]]:
    """Plays `tasks` groups, shared among the processes.

    Groups whose episodes all score the same are replaced by new tasks, up to `redraws` times.

    Returns:
        The episodes to learn from, those of all processes in every one; and what was played for
        them: the mean score and the number of groups that were replaced.
    """
    from accelerate.utils import gather_object

    kept: list[Lived] = []
    scores: list[float] = []
    unreadable: dict[int, str] = {}
    for draw in range(config.redraws + 1):
        missing = config.tasks - len(kept) // config.group
        numbers = range(stream.task, stream.task + missing)
        stream.task += missing
        own = numbers[accelerator.process_index :: accelerator.num_processes]
        tasks = [_task(collector, config.seed, number) for number in own]
        wanted = [index for index in tasks for _ in range(config.group)]
        played: list[Lived] = []
        # A finite source's tasks come again: other draws, so that other episodes.
        seed = config.seed + 100_003 * numbers.start
        for finished in collector.run(
            player,
            wanted,
            batch=config.batch,
            seed=seed,
            lockstep=config.lockstep and not config.ray,
            unreadable=None if config.strict else unreadable,
        ):
            task, repeat = divmod(finished.position, config.group)
            played.append(_lived(finished, own[task], repeat, config.group, encoder))
        every = sorted(gather_object(played), key=lambda episode: episode.place)
        silent = silent_groups(
            torch.tensor([episode.score for episode in every]),
            torch.tensor([episode.group for episode in every]),
        ).tolist()
        last = draw == config.redraws
        scores += [episode.score for episode in every]
        kept += [episode for episode in every if last or episode.group not in silent]
        if len(kept) == config.tasks * config.group:
            break
    for index, why in unreadable.items():
        warnings.warn(f"row {index} of {config.source} is left out: {why}", stacklevel=2)
    if not kept:
        raise ValueError(f"none of the media of {config.tasks} tasks can be read")
    replaced = max(0, len(scores) // config.group - config.tasks)
    return kept, {"score": float(np.mean(scores)), "replaced_groups": float(replaced)}


def _task(collector: AnyCollector, seed: int, number: int) -> int:
    """The index of training task `number`; a finite source begins anew after its last."""
    if collector.size is None:
        return training_index(REWARDED, seed, number)
    return number % collector.size


def _lived(
    finished: Finished, group: int, repeat: int, size: int, encoder: ObservationEncoder
) -> Lived:
    if finished.score is None:
        raise ValueError(
            f"the right answer to task {finished.task_id} is unknown: CC-RFT pays right answers"
        )
    episode = finished.episode
    assert episode.rollout is not None
    seen = torch.stack([encoder(observation) for observation in episode.observations])
    place = group * size + repeat
    return Lived(group, place, finished.score, finished.steps, seen, episode.rollout)


def figures(lived: Sequence[Lived], components: Mapping[str, Tensor]) -> dict[str, float]:
    """The episodes that an iteration learns from, in figures."""
    process = ProcessMetrics()
    for episode in lived:
        process.update(episode.steps)
    sampled = [np.array(e.rollout.log_probs)[e.rollout.label_array() >= 2] for e in lived]
    paid = {f"reward_{name}": float(r.nanmean()) for name, r in components.items()}
    return {
        "silent_groups": float(
            len(silent_groups(components["task"], torch.tensor([e.group for e in lived])))
        ),
        # The mean surprisal of what was sampled estimates the entropy.
        "entropy": float(-np.concatenate(sampled).mean()),
        "tokens": float(np.mean([len(part) for part in sampled])),
        **paid,
        **process.compute(),
    }
