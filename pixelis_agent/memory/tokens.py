"""Token records of rollouts as bytes: arrays in NumPy's own format, nothing that could run."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from pixelis_agent.images import Picture
from pixelis_agent.rollout import Rollout
from pixelis_agent.spans import Label


def pack_rollout(rollout: Rollout) -> bytes:
    """All of a rollout but its images."""
    data = io.BytesIO()
    np.savez_compressed(
        data,
        tokens=np.array(rollout.tokens, np.int32),
        labels=rollout.label_array().astype(np.int8),
        turns=np.array(rollout.turns, np.int32),
        log_probs=np.array(rollout.log_probs, np.float64),
        learn=np.array(rollout.learn, bool),
        end=np.array([rollout.n_turns, rollout.truncated], np.int64),
    )
    return data.getvalue()


def unpack_rollout(data: bytes, images: Sequence[Picture]) -> Rollout:
    """The rollout that `pack_rollout` packed, with its images.

    Raises:
        ValueError: These are no such bytes.
    """
    held = np.load(io.BytesIO(data), allow_pickle=False)
    turns, truncated = held["end"].tolist()
    return Rollout(
        tokens=held["tokens"].tolist(),
        labels=[Label(label) for label in held["labels"].tolist()],
        turns=held["turns"].tolist(),
        log_probs=held["log_probs"].tolist(),
        learn=held["learn"].tolist(),
        images=list(images),
        truncated=bool(truncated),
        _turn=turns,
    )
