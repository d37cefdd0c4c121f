"""Phase 3: test-time reinforcement learning on pixels, without labels.

What a place shows is aligned with what the agent knows (`pixelis_agent.models.align`). Then, for
each query of a stream: sample a group of rollouts, recall how similar queries were solved, vote
over whole trajectories, abstain where the vote is close, take a short and trustworthy winner as the
exemplar, move the policy towards agreement with the vote and behaviour like the exemplar's while it
is held near its own moving average, and remember (Pixelis, arXiv 2603.25091, phase 3). No right
answer takes part in any of this; where one is known, it is only used to log how good the votes are.
Read `train` from top to bottom.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pixelis_agent.config import TTRLConfig
from pixelis_agent.learning.sharding import check_alone
from pixelis_agent.learning.training import one_thread, save_model
from pixelis_agent.log import Log, write_settings
from pixelis_agent.ttrl.actor import Actor
from pixelis_agent.ttrl.apart import apart
from pixelis_agent.ttrl.beside import serve
from pixelis_agent.ttrl.judging import figures
from pixelis_agent.ttrl.ledger import check_ledger, read_ledger
from pixelis_agent.ttrl.updater import Updater


def train(config: TTRLConfig) -> dict[str, Any]:
    """Adapts; a run that was stopped continues from its last checkpoint, bit for bit.

    Writes to `config.out`: `config.json`, `metrics.jsonl`, TensorBoard events, checkpoints,
    `memory/` (what was met, and the ledger, a row an update: queries, votes, exemplars, divergence,
    beta, the decision and the adapter's digest), `exams.jsonl` where exams are taken, and `model/`,
    the adapter.

    Raises:
        ValueError: A setting is out of range, or it was launched as several processes.
    """
    check_alone("pixelis ttrl")
    one_thread()
    _check(config)
    out = Path(config.out)
    check_ledger(out)
    # With other micro-batches sums differ, and the ledger could not be made again.
    free = {"updates", "batch", "capacity", "largest_loss"}
    write_settings(config, out, free, begun_by="memory/*.sqlite")
    if config.beside:
        return serve(config)
    updater = Updater(config)
    learner, progress = updater.learner, updater.progress
    log = Log(out, config.updates, progress.step)
    with Actor(learner.model, learner.processor, learner.vision, config) as actor:
        actor.memory.forget_after(progress.remembered)
        updater.begin(actor.memory)
        while progress.step < config.updates and not progress.stopped:
            started = time.perf_counter()
            # 1.-5., 7. Rollouts on the next queries; recall, vote, abstain or choose; remember.
            judged, entries = actor.meet(progress.step * config.queries)
            # 6. The update: towards the votes, held near the moving average, which follows.
            made = updater.update(entries, actor.memory)

            logged = made.figures | figures(judged, config)
            logged |= {"kl": made.kl_before, "kl_after": made.kl_after, "beta": made.beta}
            logged |= {"kept": float(made.decision == "keep")}
            logged |= {"remembered": float(len(actor.memory))}
            if progress.step == 1 and (first := updater.exam(0)):
                log.write(0, first)
            logged |= updater.exam(progress.step)
            logged["seconds"] = time.perf_counter() - started
            log.write(progress.step, logged, ("vote_score", "confidence", "kl"))
        updater.save(actor.memory)
    save_model(learner.model, learner.processor, out / "model")
    log.close()
    done = {"updates": progress.step, "adapter": learner.digest}
    done |= apart(config, read_ledger(out))
    return done | ({"stopped": progress.stopped} if progress.stopped else {})


def _check(config: TTRLConfig) -> None:
    rules = {
        "group >= 2 (one rollout is no vote)": config.group >= 2,
        "queries >= 1": config.queries >= 1,
        "temperature > 0 (greedy rollouts on a task are all the same)": config.temperature > 0,
        "neighbours >= 0": config.neighbours >= 0,
        "0 <= least_margin <= 1": 0 <= config.least_margin <= 1,
        "0 <= align <= 1": 0 <= config.align <= 1,
        "teacher_temperature > 0": config.teacher_temperature > 0,
        "0 <= decay < 1": 0 <= config.decay < 1,
        "minibatches >= 1 and micro_batch >= 1": min(config.minibatches, config.micro_batch) >= 1,
        "capacity >= queries": config.capacity >= config.queries,
        "evaluate_every 0 with another source than rooms, all of which it meets": (
            config.source == "rooms" or config.evaluate_every == 0
        ),
        "poison none elsewhere than in the rooms of Pixelis-v0": (
            config.poison == "none" or (config.env, config.source) == ("Pixelis-v0", "rooms")
        ),
        "evaluate_episodes >= 2": config.evaluate_episodes >= 2 or not config.evaluate_every,
    }
    for rule, holds in rules.items():
        if not holds:
            raise ValueError(f"test-time learning needs {rule}")
