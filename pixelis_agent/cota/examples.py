"""Episodes of corpora as training examples: tokens, labels, and what the heads should say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelis_agent.cota.record import AssistantTurn, Corpus, Record
from pixelis_agent.cota.tokens import to_rollout
from pixelis_agent.dialogue import Dialogue
from pixelis_agent.learning.heads import Sight, TurnTarget, turn_target
from pixelis_agent.models.processor import Processor
from pixelis_agent.rollout import Rollout
from pixelis_env.actions import ToolCallCodec
from pixelis_env.coordinates import Region


@dataclass
class Example:
    """One episode, ready for the model.

    Attributes:
        rollout: Its tokens.
        targets: One a turn of the agent.
    """

    rollout: Rollout
    targets: list[TurnTarget]


class Examples(Sequence[Example]):
    """Episodes as examples, made when first asked for and then kept; images stay on disk.

    Args:
        folders: Corpora, joined in this order.
        processor: The model's.
        direct: The questions and right answers alone (`Record.direct`).
    """

    def __init__(
        self, folders: Sequence[Path], processor: Processor, *, direct: bool = False
    ) -> None:
        self._corpora = [Corpus(folder, direct=direct) for folder in folders]
        self._where = [(c, k) for c, corpus in enumerate(self._corpora) for k in range(len(corpus))]
        self._processor = processor
        self._dialogue = Dialogue(processor, [])
        self._codec = ToolCallCodec()
        self._made: dict[int, Example] = {}

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        if index not in self._made:
            self._made[index] = self._make(self.record(index))
        return self._made[index]

    def record(self, index: int) -> Record:
        """The episode as it is stored."""
        corpus, k = self._where[index]
        record: Record = self._corpora[corpus][k]
        return record

    def levels(self) -> list[int]:
        """The level of each episode."""
        return [record.level for corpus in self._corpora for record in corpus]

    def played(self) -> tuple[str, dict[str, Any]]:
        """The environment that the episodes were played in: its id and keyword arguments.

        Raises:
            ValueError: None of them was: they are converted ones, or on media of their own.
        """
        records = [r for c in self._corpora for r in c if r.env_id and r.medium is None]
        if not records:
            raise ValueError("no episode of the corpora was played in an environment")
        types = sorted({record.task_type for record in records})
        return records[0].env_id, {**records[0].env_kwargs, "types": types}

    def _make(self, record: Record) -> Example:
        rollout = to_rollout(record, self._dialogue)
        merge = self._processor.image_processor.merge_size
        pictures = iter(rollout.images)
        shown: list[Sight] = []
        targets: list[TurnTarget] = []
        last = 0.0  # of the frames shown, s: the medium is about as long
        for turn in record.turns:
            if isinstance(turn, AssistantTurn):
                target = turn_target(
                    turn.text, last, codec=self._codec, sights=shown, boxes=turn.pointing
                )
                targets.append(target)
                continue
            for image in turn.images:
                rows, columns = self._processor.image_grid(next(pictures))
                shown.append(Sight(Region(*image.region), rows // merge, columns // merge))
                last = max(last, image.time)
        return Example(rollout, targets)
