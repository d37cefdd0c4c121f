"""Exams of a policy that adapts: did it help in the new place, and was anything lost in the old?

Every so many updates it plays tasks that it does not learn from: some as the stream's, some without
its shift, whose right answers a user has from before. What was lost without the shift is compared
task by task with what the policy could do before its first update.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pixelis_agent.collect import collector_for
from pixelis_agent.config import TTRLConfig
from pixelis_agent.files import replace_file
from pixelis_agent.log import read_metrics
from pixelis_agent.policies.vlm import VLMPolicy
from pixelis_agent.splits import VALIDATION
from pixelis_agent.task_settings import env_arguments
from pixelis_agent.ttrl.apart import packed, unpacked
from pixelis_agent.ttrl.learner import Learner
from pixelis_env.leakage import Fingerprint

EXAMS = "exams.jsonl"


class Exams:
    """The exams of a run, in `exams.jsonl`.

    Each line holds the `step` after which it was taken, the mean scores `held_out` (with the shift)
    and `guard` (without; missing where the run has no shift), and `guard_scores`, those of each
    task; the first also the fingerprints of the tasks, `shown`.

    Args:
        config: Of the run.
        learner: Who is examined.
    """

    def __init__(self, config: TTRLConfig, learner: Learner) -> None:
        self._config, self._learner = config, learner
        self._path = Path(config.out) / EXAMS
        self._passed, self._good = 0, learner.last_good()
        self._rows: list[dict[str, Any]] = []

    def begin(self, step: int) -> None:
        """Goes on with a run that stands here; what an earlier try wrote after it is dropped."""
        self._rows = [row for row in read_metrics(self._path) if row["step"] <= step]

    def due(self, step: int) -> bool:
        """Whether one is to be taken after this many updates, the first before any."""
        every = self._config.evaluate_every
        taken = any(row["step"] == step for row in self._rows)
        return bool(every) and step % every == 0 and not taken

    def scores(self, step: int) -> dict[str, float]:
        """What the exam after this many updates came to, for a log; nothing without one."""
        names = {"held_out_score": "held_out", "guard_score": "guard"}
        taken = [row for row in self._rows if row["step"] == step]
        return {name: row[key] for row in taken for name, key in names.items() if key in row}

    @property
    def tasks(self) -> list[Fingerprint]:
        """What the tasks of the exams show, once the first was taken."""
        return [unpacked(one) for one in self._rows[0]["shown"]] if self._rows else []

    def take(self, step: int) -> str:
        """Plays, and goes back to the last exam that was passed if this one is failed.

        Returns:
            Why it is failed; "" where it is passed.
        """
        shifted = self._config.shift != "none"
        held_out, shown = self._play(self._config.shift)
        row: dict[str, Any] = {"step": step, "held_out": float(np.mean(held_out))}
        guard = held_out
        if shifted:
            guard, plain = self._play("none")
            row["guard"] = float(np.mean(guard))
            shown += plain
        if not self._rows:
            row["shown"] = [packed(one) for one in shown]
        self._rows.append(row | {"guard_scores": guard})
        text = "".join(json.dumps(row) + "\n" for row in self._rows)
        replace_file(self._path, text.encode())
        loss, doubt = loss_of(self._rows[0]["guard_scores"], guard)
        if loss - doubt <= self._config.largest_loss:
            self._passed = step
            self._good.take()
            return ""
        self._good.restore()
        return (
            f"after update {step} the policy scores {loss:.3f} less (standard error {doubt:.3f}) "
            f"on {len(guard)} tasks without the shift than before the first, more than the "
            f"{self._config.largest_loss:g} of `largest_loss`: it is again what it was after "
            f"update {self._passed}"
        )

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: the policy of the last exam that was passed."""
        return {"passed": self._passed, "good": self._good.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._passed = state["passed"]
        self._good.load_state_dict(state["good"])

    def _play(self, shift: str) -> tuple[list[float], list[Fingerprint]]:
        """Greedily: the scores, and what the tasks show."""
        config, learner = self._config, self._learner
        player = VLMPolicy(learner.model, learner.processor, max_new_tokens=config.max_tokens)
        arguments = env_arguments(replace(config, shift=shift))
        with collector_for(
            config.env, arguments, workers=config.workers, batch=config.batch
        ) as collector:
            run = collector.run(
                player, VALIDATION[: config.evaluate_episodes], batch=config.batch, lockstep=True
            )
            played = sorted(run, key=lambda one: one.position)
        shown = [
            Fingerprint.of(
                one.task_id, one.asked.media_digest, one.episode.observations[0]["images"]
            )
            for one in played
        ]
        return [one.score or 0.0 for one in played], shown


def loss_of(before: Sequence[float], now: Sequence[float]) -> tuple[float, float]:
    """How much less the same tasks score now, mean and standard error.

    Args:
        before: 0..1 each, of at least two tasks.
        now: The same tasks'.
    """
    lost = np.array(before) - np.array(now)
    return float(lost.mean()), float(lost.std(ddof=1) / np.sqrt(len(lost)))
