"""Updates of test-time learning from what its memory holds, each of them written down."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pixelis_agent.config import TTRLConfig
from pixelis_agent.learning.training import Checkpoints
from pixelis_agent.memory import Entry, Memory
from pixelis_agent.ttrl.apart import LEAKS, leaks_among
from pixelis_agent.ttrl.exams import Exams
from pixelis_agent.ttrl.learner import Decision, Learner
from pixelis_agent.ttrl.ledger import STOP
from pixelis_env.trace import final_answer


@dataclass
class Progress:
    """How far a run has come; saved with every checkpoint.

    Attributes:
        step: Updates.
        remembered: The newest entry of the memory that they were made of.
        stopped: Why it learns no more; "" while it does.
    """

    step: int = 0
    remembered: int = 0
    stopped: str = ""


class Updater:
    """A learner that goes on from its last checkpoint, bit for bit.

    Args:
        config: Of the run.

    Attributes:
        learner: The policy.
        progress: How far it has come.
    """

    def __init__(self, config: TTRLConfig) -> None:
        self._every, self._capacity = config.checkpoint_every, config.capacity
        out = Path(config.out)
        self.learner, self.progress = Learner(config), Progress()
        self._exams = Exams(config, self.learner)
        parts = {**self.learner.parts, "exams": self._exams}
        self._checkpoints = Checkpoints(out, parts)
        self._checkpoints.load(self.progress)
        self._exams.begin(self.progress.step)

    def begin(self, memory: Memory) -> None:
        """Brings a memory's ledger and its room to where the last checkpoint stands."""
        memory.ledger.forget_after(self.progress.step)
        self.tidy(memory)

    def update(self, numbers: Sequence[int], memory: Memory) -> Decision:
        """One update from the entries of a memory, and an exam where one is due.

        A failed exam is the last: `progress.stopped` says why, here and in the ledger.
        """
        if self.progress.step == 0 and self._exams.due(0):
            self._exams.take(0)
        entries = [memory.get(number) for number in numbers]
        leaks = {LEAKS: self._leaks(entries)} if self._exams.tasks else {}
        made = learn_from(self.learner, entries, self.progress.step)
        self.progress.step += 1
        self.progress.remembered = max(numbers, default=self.progress.remembered)
        memory.ledger.write(
            self.progress.step,
            {
                "update": self.progress.step,
                "queries": [_said(n, e) for n, e in zip(numbers, entries, strict=True)],
                "decision": made.decision,
                "kl_before": made.kl_before,
                "kl_after": made.kl_after,
                "beta": made.beta,
                "adapter": self.learner.digest,
                **leaks,
            },
        )
        if self._exams.due(self.progress.step):
            self._examine(memory)
        if self.progress.step % self._every == 0 or self.progress.stopped:
            self.save(memory)
        return made

    def exam(self, step: int) -> dict[str, float]:
        """What the exam after this many updates came to; nothing where none was taken."""
        return self._exams.scores(step)

    def _leaks(self, entries: Sequence[Entry]) -> list[str]:
        found = leaks_among(entries, self._exams.tasks)
        for leak in found:
            warnings.warn(f"what is learned from judges too: {leak} of the exams", stacklevel=4)
        return found

    def _examine(self, memory: Memory) -> None:
        self.progress.stopped = why = self._exams.take(self.progress.step)
        if why:
            adapter = self.learner.digest
            stop = {"update": self.progress.step, "decision": STOP, "why": why, "adapter": adapter}
            memory.ledger.write(self.progress.step, stop)
            warnings.warn(f"learning has stopped itself: {why}", stacklevel=3)

    def save(self, memory: Memory) -> None:
        """Writes a checkpoint; the memory forgets what it has no room for."""
        self._checkpoints.save(self.progress)
        self.tidy(memory)

    def tidy(self, memory: Memory) -> None:
        """The memory forgets what it has no room for, of what was learned from.

        At checkpoints, and at the start of a run that goes on from one: so what an interrupted run
        remembers is what it would have remembered.
        """
        memory.prune(self._capacity, self.progress.remembered)


def learn_from(learner: Learner, entries: Sequence[Entry], step: int) -> Decision:
    """An update by the rollouts that entries hold to be learned from."""
    voted = [one for entry in entries for one in entry.rollouts if one.rollout is not None]
    gains = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(one.gains) for one in voted] or [torch.zeros(0)], batch_first=True
    )
    return learner.learn([one.rollout for one in voted if one.rollout], gains, step)


def _said(number: int, entry: Entry) -> dict[str, Any]:
    """A query's part of the ledger."""
    return {
        "entry": number,
        "place": entry.place,
        "task_id": entry.task_id,
        "neighbours": entry.neighbours,
        "answers": [final_answer(one.trace.steps) for one in entry.rollouts],
        "fidelity": [one.fidelity for one in entry.rollouts],
        "weights": [one.weight for one in entry.rollouts],
        "gains": [one.gains for one in entry.rollouts],
        "answer": entry.answer,
        "confidence": entry.confidence,
        "margin": entry.margin,
        "exemplar": entry.exemplar,
        "learned": entry.learned,
    }
