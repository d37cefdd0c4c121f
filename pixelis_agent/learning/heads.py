"""Auxiliary heads: what a tool call's arguments should be, read where the arguments begin.

They are used in training only. Their gradients teach the hidden states where things are, long
before the digits of a box are written well; the language model remains what acts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pixelis_agent.learning.losses import box_loss, pointing_loss
from pixelis_agent.models.batch import Batch
from pixelis_agent.spans import Label
from pixelis_env.actions import ToolCallCodec
from pixelis_env.coordinates import Box, Region, limits
from pixelis_env.errors import InvalidCall

Tensor = torch.Tensor

MAX_REFERENCE = 32
"""Evidence ids that the reference head tells apart: e0..e31."""

LOSS_WEIGHTS = {"box": 1.0, "point": 1.0, "time": 1.0, "reference": 0.5, "pointing": 1.0}
"""How much each head's loss counts beside the imitation loss."""


@dataclass(frozen=True)
class Sight:
    """An image among the tokens: which source pixels it shows, and its grid of tokens."""

    region: Region
    rows: int
    columns: int


@dataclass(frozen=True)
class TurnTarget:
    """What the heads should say at one turn; None: nothing to learn.

    Attributes:
        box: The box written, xyxy in 0..1 of the view.
        point: The point written, xy in 0..1 of the view.
        times: The time or the span written, as (start, end) in 0..1 of the medium.
        reference: The number of the evidence that the call works on.
        coverage: For every image token so far, the share of its cell that the target covers.
    """

    box: tuple[float, ...] | None = None
    point: tuple[float, ...] | None = None
    times: tuple[float, ...] | None = None
    reference: int | None = None
    coverage: NDArray[np.float32] | None = None


def cell_coverage(box: Box | None, sight: Sight) -> NDArray[np.float32]:
    """The share of each token's cell of an image that a box covers, float32 (rows * columns,).

    Computed in source pixels, so that no resizing on the way matters.

    Args:
        box: xyxy in source pixels; None: not in the image.
        sight: The image.
    """
    if box is None:
        return np.zeros(sight.rows * sight.columns, np.float32)
    region = sight.region

    def shares(low: float, high: float, start: int, size: int, cells: int) -> NDArray[np.float64]:
        edges = start + np.arange(cells + 1) * (size / cells)
        inside = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
        share: NDArray[np.float64] = np.maximum(inside, 0) / (size / cells)
        return share

    down = shares(box[1], box[3], region.y0, region.height, sight.rows)
    across = shares(box[0], box[2], region.x0, region.width, sight.columns)
    return np.outer(down, across).ravel().astype(np.float32)


def turn_target(
    text: str,
    duration: float,
    *,
    codec: ToolCallCodec,
    sights: Sequence[Sight] = (),
    boxes: Sequence[Box | None] | None = None,
) -> TurnTarget:
    """What the heads should say, read from a turn's own tool call.

    Args:
        text: The turn.
        duration: Of the medium, s; 0 for an image.
        codec: That of the environment, which knows the frame of coordinates.
        sights: The images shown so far.
        boxes: Where each of them shows the object that the call is about, source pixels; None:
            not known, so the pointing head learns nothing.

    Returns:
        An empty target for an answer or a call that cannot be read.
    """
    body = text.partition("<tool_call>")[2].partition("</tool_call>")[0]
    try:
        action = codec.decode(body)
    except InvalidCall:
        return TurnTarget()
    # In these frames coordinates are shares of the view, whatever the view.
    scale = limits(codec.frame, Region(0, 0, 1, 1))[0] if codec.frame != "px" else None
    box, point = getattr(action, "box", None), getattr(action, "point", None)
    span = getattr(action, "span", None)
    time = getattr(action, "time", None)
    times = span if span is not None else (time, time) if time is not None else None
    named = [getattr(action, "source", None), getattr(action, "target", None)]
    named += list(getattr(action, "targets", ()))
    references = [int(name[1:]) for name in named if name is not None]
    coverage = None
    if boxes is not None and sights:
        pairs = zip(boxes, sights, strict=True)
        coverage = np.concatenate([cell_coverage(b, sight) for b, sight in pairs])
    return TurnTarget(
        box=None if box is None or scale is None else tuple(v / scale for v in box),
        point=None if point is None or scale is None else tuple(v / scale for v in point),
        times=None if times is None or not duration else tuple(min(t / duration, 1) for t in times),
        reference=references[0] if references and references[0] < MAX_REFERENCE else None,
        coverage=coverage,
    )


@dataclass
class HeadTargets:
    """The targets of a batch, each with the (row, token) at which it is read.

    Attributes:
        at: For each head, int64 (N, 2).
        value: For each head, its N targets; for "pointing" the coverage of all pairs, with
            `pairs` int64 (M, 3): query, row and token of the image token.
    """

    at: dict[str, Tensor] = field(default_factory=dict)
    value: dict[str, Tensor] = field(default_factory=dict)
    pairs: Tensor | None = None

    def count(self, name: str) -> int:
        """How many targets a head has."""
        return len(self.at[name]) if name in self.at else 0


def gather_targets(
    batch: Batch, targets: Sequence[Sequence[TurnTarget]], image_id: int
) -> HeadTargets:
    """Finds where in a batch each turn's arguments begin, and lines the targets up with it.

    Args:
        batch: The rollouts.
        targets: For each rollout, one target a turn.
        image_id: The id of image tokens.

    Raises:
        ValueError: A coverage has another length than there are image tokens before its turn.
    """
    at: dict[str, list[tuple[int, int]]] = {name: [] for name in LOSS_WEIGHTS}
    value: dict[str, list[object]] = {name: [] for name in LOSS_WEIGHTS}
    pairs: list[NDArray[np.int64]] = []
    labels, turns = batch.labels.cpu().numpy(), batch.turns.cpu().numpy()
    learn, ids = batch.learn.cpu().numpy(), batch.input_ids.cpu().numpy()
    for row, row_targets in enumerate(targets):
        opens = (labels[row] == int(Label.ARGUMENT)) & learn[row]
        for turn, target in enumerate(row_targets):
            tokens = np.flatnonzero(opens & (turns[row] == turn))
            if not len(tokens):
                continue
            where = (row, int(tokens[0]))
            for name in ("box", "point", "times", "reference"):
                said = getattr(target, name)
                if said is not None:
                    key = "time" if name == "times" else name
                    at[key].append(where)
                    value[key].append(said)
            if target.coverage is None:
                continue
            cells = np.flatnonzero(ids[row, : where[1]] == image_id)
            if len(cells) != len(target.coverage):
                raise ValueError(
                    f"turn {turn} points at {len(target.coverage)} image tokens, but {len(cells)} "
                    "stand before it"
                )
            query = np.full(len(cells), len(at["pointing"]))
            pairs.append(np.stack([query, np.full(len(cells), row), cells], 1))
            at["pointing"].append(where)
            value["pointing"].append(target.coverage)
    device = batch.input_ids.device
    result = HeadTargets()
    for name, places in at.items():
        if not places:
            continue
        result.at[name] = torch.tensor(places, device=device)
        if name == "pointing":
            joined: NDArray[np.float32] = np.concatenate(value[name])  # type: ignore[arg-type]
            result.value[name] = torch.from_numpy(joined).to(device)
            result.pairs = torch.from_numpy(np.concatenate(pairs)).to(device)
        else:
            kind = torch.int64 if name == "reference" else torch.float32
            result.value[name] = torch.tensor(value[name], dtype=kind, device=device)
    return result


class Heads(nn.Module):
    """The auxiliary heads.

    Args:
        hidden: Size of the model's hidden states.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()

        def head(size: int) -> nn.Module:
            return nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, size))

        self.box, self.point, self.time = head(4), head(2), head(2)
        self.reference = head(MAX_REFERENCE)
        self.query, self.key = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        # Where a question stands before the images, an image token alone can tell that it is
        # meant; this shorter way is learned first.
        self.meant = nn.Linear(hidden, 1)

    def boxes(self, hidden: Tensor) -> Tensor:
        """Boxes xyxy in 0..1 of the view, float32 (N, 4), from hidden states (N, hidden)."""
        centre_x, centre_y, width, height = self.box(hidden).float().sigmoid().unbind(-1)
        low_x, high_x = centre_x - width / 2, centre_x + width / 2
        low_y, high_y = centre_y - height / 2, centre_y + height / 2
        return torch.stack([low_x, low_y, high_x, high_y], -1)

    def point_at(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Logits of a dense pointing map, float32 (M,), from M pairs of states (M, hidden)."""
        scale = queries.shape[-1] ** -0.5
        match = (self.query(queries).float() * self.key(keys).float()).sum(-1) * scale
        return match + self.meant(keys)[:, 0].float()

    def losses(self, hidden: Tensor, targets: HeadTargets) -> dict[str, Tensor]:
        """The loss of each head that has something to learn in this batch.

        Args:
            hidden: The model's last hidden states, (B, T, hidden).
            targets: Of the batch.
        """
        losses: dict[str, Tensor] = {}
        # float32, but where an engine keeps weights for itself and computes in less (DeepSpeed).
        hidden = hidden.to(self.meant.weight.dtype)
        for name, where in targets.at.items():
            states = hidden[where[:, 0], where[:, 1]]
            value = targets.value[name]
            if name == "box":
                losses[name] = box_loss(self.boxes(states), value)
            elif name in ("point", "time"):
                head = self.point if name == "point" else self.time
                said = head(states).float().sigmoid()
                losses[name] = nn.functional.smooth_l1_loss(said, value, beta=0.1)
            elif name == "reference":
                losses[name] = nn.functional.cross_entropy(self.reference(states).float(), value)
            else:
                assert targets.pairs is not None
                query, row, token = targets.pairs.unbind(1)
                logits = self.point_at(states[query], hidden[row, token])
                losses[name] = pointing_loss(logits, value, query)
        return losses
