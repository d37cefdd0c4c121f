"""Phase 3: test-time reinforcement learning on pixels, without labels.

For each query of a stream: sample a group of rollouts, recall how similar queries were solved, vote
over whole trajectories, abstain where the vote is close, take a short and trustworthy winner as the
exemplar, move the policy towards agreement with the vote and behaviour like the exemplar's while it
is held near its own moving average, and remember (Pixelis, arXiv 2603.25091, phase 3). No right
answer takes part in any of this; where one is known, it is only used to log how good the votes are.
Read `train` from top to bottom.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pixelis_agent.collect import Collector, Finished, envs_for
from pixelis_agent.config import TTRLConfig
from pixelis_agent.encode import ObservationEncoder
from pixelis_agent.evaluate import env_arguments
from pixelis_agent.judging import Judged, entry_of, figures, judge
from pixelis_agent.memory import HybridEncoder, Memory, WordLlamaWords
from pixelis_agent.models.processor import Processor
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.policies.vlm import VLMPolicy
from pixelis_agent.splits import TRAIN
from pixelis_agent.training import (
    Log,
    one_thread,
    save_model,
)
from pixelis_agent.updater import Updater


class Actor:
    """Meets the queries of a stream, with steps 1 to 5 and 7 for each.

    Args:
        model: Who plays.
        processor: Its processor.
        vision: The features of its frozen tower.
        config: Of the run.
    """

    def __init__(
        self, model: Any, processor: Processor, vision: VisionCache, config: TTRLConfig
    ) -> None:
        self._config, self._vision = config, vision
        self._player = VLMPolicy(
            model,
            processor,
            temperature=config.temperature,
            max_new_tokens=config.max_tokens,
            look=vision.inputs,
        )
        pictures = ObservationEncoder(model, processor, vision).pictures()
        self._encoder = HybridEncoder(WordLlamaWords(), pictures, config.words)
        self._collector = Collector(
            config.env,
            env_arguments(config.level, config.shift, config.types, config.tools),
            workers=config.workers,
            envs_per_worker=envs_for(config.batch, config.workers),
        )
        folder = Path(config.out) / "memory"
        self.memory = Memory(folder, self._encoder.name, self._encoder.size)

    def __enter__(self) -> Actor:
        return self

    def __exit__(self, *_: object) -> None:
        self._collector.close()
        self.memory.close()

    def meet(self, first: int) -> tuple[list[Judged], list[int]]:
        """The next queries of the stream from a place on, and the entries they became."""
        self._vision.clear()
        self._player.model.eval()
        config, memory = self._config, self.memory
        judged = [judge(group, memory, self._encoder, config) for group in self._groups(first)]
        entries = [
            memory.add(entry_of(one, first + k, config), one.vector) for k, one in enumerate(judged)
        ]
        if len(memory) > config.capacity:
            memory.prune(config.capacity)
        return judged, entries

    def _groups(self, first: int) -> list[list[Finished]]:
        """Rollouts on the next queries."""
        config, size = self._config, self._collector.size
        places = range(first, first + config.queries)
        start = config.seed * 10**6  # streams of different seeds share no task
        indices = [TRAIN[start + n] if size is None else n % size for n in places]
        groups: list[list[Finished]] = [[] for _ in places]
        run = self._collector.run(
            self._player,
            [index for index in indices for _ in range(config.group)],
            batch=config.batch,
            seed=config.seed + 100_003 * first,
            traces=True,
            lockstep=True,
        )
        for finished in sorted(run, key=lambda finished: finished.position):
            groups[finished.position // config.group].append(finished)
        return groups


def train(config: TTRLConfig) -> dict[str, Any]:
    """Adapts; a run that was stopped continues from its last checkpoint, bit for bit.

    Writes to `config.out`: `config.json`, `metrics.jsonl`, TensorBoard events, checkpoints,
    `memory/`, `ledger.jsonl` (a line an update: queries, votes, exemplars, divergence, beta, the
    decision and the adapter's digest) and `model/`, the adapter.

    Raises:
        ValueError: A setting is out of range.
    """
    one_thread()
    _check(config)
    if config.beside:
        from pixelis_agent.beside import serve

        return serve(config)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(asdict(config), indent=2, default=str) + "\n")
    updater = Updater(config)
    learner, progress = updater.learner, updater.progress
    log = Log(out, config.updates, progress.step)
    with Actor(learner.model, learner.processor, learner.vision, config) as actor:
        actor.memory.forget_after(progress.remembered)
        while progress.step < config.updates:
            started = time.perf_counter()
            # 1.-5., 7. Rollouts on the next queries; recall, vote, abstain or choose; remember.
            judged, entries = actor.meet(progress.step * config.queries)
            # 6. The update: towards the votes, held near the moving average, which follows.
            made = updater.update(entries, actor.memory)

            logged = made.figures | figures(judged, config)
            logged |= {"kl": made.kl_before, "kl_after": made.kl_after, "beta": made.beta}
            logged |= {"kept": float(made.decision == "keep")}
            logged |= {"remembered": float(len(actor.memory))}
            logged["seconds"] = time.perf_counter() - started
            log.write(progress.step, logged, ("vote_score", "confidence", "kl"))
    updater.save()
    save_model(learner.model, learner.processor, out / "model")
    updater.close()
    log.close()
    return {"updates": progress.step, "adapter": learner.digest}


def _check(config: TTRLConfig) -> None:
    rules = {
        "group >= 2 (one rollout is no vote)": config.group >= 2,
        "queries >= 1": config.queries >= 1,
        "temperature > 0 (greedy rollouts on a task are all the same)": config.temperature > 0,
        "neighbours >= 0": config.neighbours >= 0,
        "0 <= least_margin <= 1": 0 <= config.least_margin <= 1,
        "0 <= decay < 1": 0 <= config.decay < 1,
        "minibatches >= 1 and micro_batch >= 1": min(config.minibatches, config.micro_batch) >= 1,
        "capacity >= 1": config.capacity >= 1,
    }
    for rule, holds in rules.items():
        if not holds:
            raise ValueError(f"test-time learning needs {rule}")
