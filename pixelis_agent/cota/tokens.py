"""A record as the tokens that a model is trained on."""

from __future__ import annotations

from pixelis_agent.cota.record import AssistantTurn, Record
from pixelis_agent.dialogue import Dialogue
from pixelis_agent.rollout import Rollout


def to_rollout(record: Record, dialogue: Dialogue) -> Rollout:
    """The token record of an episode that was written and not sampled.

    Args:
        record: One that was read from a corpus: its images are needed.
        dialogue: Of the model's processor.

    Raises:
        ValueError: The record does not begin with a question.
    """
    if not record.turns or record.turns[0].role != "user":
        raise ValueError(f"record {record.id} does not begin with a question")
    rollout = Rollout()
    for number, turn in enumerate(record.turns):
        if isinstance(turn, AssistantTurn):
            rollout.write(*dialogue.written(turn.text), learn=turn.learn)
        elif number == 0:
            rollout.feed(dialogue.open(record.observation(0)))
        else:
            rollout.feed(dialogue.reply(record.observation(number), ended=True))
    return rollout
