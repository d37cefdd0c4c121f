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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pixelis_agent.collect import Collector, Finished, envs_for
from pixelis_agent.config import TTRLConfig
from pixelis_agent.encode import ObservationEncoder
from pixelis_agent.evaluate import env_arguments
from pixelis_agent.judging import advantage, entry_of, figures, judge, said
from pixelis_agent.learner import Learner
from pixelis_agent.ledger import LEDGER, Ledger
from pixelis_agent.memory import HybridEncoder, Memory, WordLlamaWords
from pixelis_agent.policies.vlm import VLMPolicy
from pixelis_agent.splits import TRAIN
from pixelis_agent.training import (
    Checkpoints,
    Log,
    one_thread,
    save_model,
)

Tensor = torch.Tensor


@dataclass
class Progress:
    """How far a run has come; saved with every checkpoint.

    Attributes:
        step: Updates.
        query: The next one of the stream.
        remembered: The newest entry of the memory.
    """

    step: int = 0
    query: int = 0
    remembered: int = 0


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
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(asdict(config), indent=2, default=str) + "\n")

    learner = Learner(config)
    checkpoints, progress = Checkpoints(out, learner.parts), Progress()
    checkpoints.load(progress)
    player = VLMPolicy(
        learner.model,
        learner.processor,
        temperature=config.temperature,
        max_new_tokens=config.max_tokens,
        look=learner.vision.inputs,
    )
    pictures = ObservationEncoder(learner.model, learner.processor, learner.vision).pictures()
    encoder = HybridEncoder(WordLlamaWords(), pictures, config.words)
    log = Log(out, config.updates, progress.step)
    ledger = Ledger(out / LEDGER, progress.step)
    env_kwargs = env_arguments(config.level, config.shift, config.types, config.tools)
    each = envs_for(config.batch, config.workers)
    with (
        Collector(
            config.env, env_kwargs, workers=config.workers, envs_per_worker=each
        ) as collector,
        Memory(out / "memory", encoder.name, encoder.size) as memory,
    ):
        memory.forget_after(progress.remembered)
        while progress.step < config.updates:
            started = time.perf_counter()
            learner.vision.clear()
            player.model.eval()

            # 1.-5. Rollouts on the next queries; recall, vote, and who is learned from.
            judged = [
                judge(finished, memory, encoder, config)
                for finished in _groups(collector, player, progress, config)
            ]
            clear = [one for one in judged if one.learned_from(config)]

            # 6. The update: towards the votes, held near the moving average, which follows.
            rollouts = [rollout for one in clear for rollout in one.rollouts]
            gains = advantage(clear, config)
            made = learner.learn(rollouts, gains, progress.step)

            # 7. What was met is remembered, and what was decided written down.
            entries = [memory.add(entry_of(one, config), one.vector) for one in judged]
            if len(memory) > config.capacity:
                memory.prune(config.capacity)
            progress.step += 1
            progress.remembered = entries[-1]
            ledger.write(
                {
                    "update": progress.step,
                    "queries": [
                        said(one, number, config)
                        for one, number in zip(judged, entries, strict=True)
                    ],
                    "gains": gains.tolist(),
                    "decision": made.decision,
                    "kl_before": made.kl_before,
                    "kl_after": made.kl_after,
                    "beta": made.beta,
                    "adapter": learner.digest,
                }
            )
            logged = made.figures | figures(judged, config)
            logged |= {"kl": made.kl_before, "kl_after": made.kl_after, "beta": made.beta}
            logged |= {"kept": float(made.decision == "keep"), "remembered": float(len(memory))}
            logged["seconds"] = time.perf_counter() - started
            log.write(progress.step, logged, ("vote_score", "confidence", "kl"))
            if progress.step == config.updates or progress.step % config.checkpoint_every == 0:
                checkpoints.save(progress)
    save_model(learner.model, learner.processor, out / "model")
    ledger.close()
    log.close()
    return {"updates": progress.step, "adapter": learner.digest}


def _groups(
    collector: Collector, player: VLMPolicy, progress: Progress, config: TTRLConfig
) -> list[list[Finished]]:
    """Rollouts on the next queries of the stream."""
    numbers = range(progress.query, progress.query + config.queries)
    progress.query += config.queries
    size = collector.size
    start = config.seed * 10**6  # streams of different seeds share no task
    indices = [TRAIN[start + n] if size is None else n % size for n in numbers]
    wanted = [index for index in indices for _ in range(config.group)]
    groups: list[list[Finished]] = [[] for _ in numbers]
    run = collector.run(
        player,
        wanted,
        batch=config.batch,
        seed=config.seed + 100_003 * numbers.start,
        traces=True,
        lockstep=True,
    )
    for finished in sorted(run, key=lambda finished: finished.position):
        groups[finished.position // config.group].append(finished)
    return groups


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
