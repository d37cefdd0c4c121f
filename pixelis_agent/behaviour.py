"""What a rollout did: where and when it looked, and how far its pixels can be trusted.

A *footprint* is the set of cells, of a coarse grid over space and time, that the evidence covers;
evidence without a place of its own (intervals, measurements) covers what it was made from. Two
rollouts behave alike when their operations and their footprints do (Pixelis, arXiv 2603.25091,
phase 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pixelis_env.coordinates import Box
from pixelis_env.evidence import (
    Evidence,
    Intervals,
    Mask,
    Measurement,
    TextLines,
    Tracklet,
    View,
)
from pixelis_env.metrics.overlap import box_iou, interval_iou, mask_iou
from pixelis_env.metrics.process import backing, named_evidence
from pixelis_env.metrics.text import plain
from pixelis_env.trace import Step

SIDE = 24
"""Cells along each side of the frame."""
MOMENTS = 8
"""Cells along time, as many as an overview has frames."""
SAME_PLACE = 0.1
"""From this overlap of footprints on, two pieces of evidence are about the same thing."""
UNCHECKED = 0.5
"""What a cross-check that could not be made counts: between confirmed and contradicted."""

Cells = frozenset[int]


@dataclass(frozen=True)
class Extent:
    """What a medium spans: `width` and `height` in source pixels, `duration` in seconds."""

    width: int
    height: int
    duration: float

    def cells(self, box: Box, time: float) -> Iterator[int]:
        """The cells that a box touches at one time; at least one."""
        moment = min(int(MOMENTS * time / self.duration), MOMENTS - 1) if self.duration > 0 else 0
        columns, rows = (
            range(
                min(max(int(SIDE * low / size), 0), SIDE - 1),
                min(max(int(np.ceil(SIDE * high / size)), int(SIDE * low / size) + 1), SIDE),
            )
            for low, high, size in (
                (box[0], box[2], self.width),
                (box[1], box[3], self.height),
            )
        )
        for row in rows:
            for column in columns:
                yield (moment * SIDE + row) * SIDE + column


@dataclass(frozen=True)
class Finding:
    """What one operation found, and the cells that it covers."""

    evidence: Evidence
    cells: Cells


@dataclass(frozen=True)
class Behaviour:
    """A rollout's.

    Attributes:
        ops: Its valid operations in order.
        cells: Its footprint.
        findings: What they found.
        backing: The places in `findings` that back its answer; empty without an answer.
    """

    ops: tuple[str, ...]
    cells: Cells
    findings: tuple[Finding, ...]
    backing: tuple[int, ...]

    @classmethod
    def of(cls, steps: Sequence[Step], extent: Extent) -> Behaviour:
        """The behaviour of an episode."""
        backs = backing(steps)
        covered: dict[int, Cells] = {}
        findings: list[Finding] = []
        backed: list[int] = []
        for number, step in enumerate(steps, start=1):
            if not step.valid:
                continue
            assert step.evidence is not None
            own = frozenset(_cells(step.evidence, extent))
            if not own:
                own = frozenset().union(
                    *(covered.get(k, frozenset()) for k in named_evidence(step))
                )
            covered[number] = own
            if number in backs:
                backed.append(len(findings))
            findings.append(Finding(step.evidence, own))
        ops = tuple(step.action.op for step in steps if step.valid)
        cells = frozenset().union(*covered.values())
        return cls(ops, cells, tuple(findings), tuple(backed))


def op_similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """Normalised Levenshtein similarity of two sequences of operations, 0..1."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.normalized_similarity(one, other)


def overlap(one: Cells, other: Cells) -> float:
    """Intersection over union of two footprints, 0..1; 1 where both looked nowhere."""
    union = len(one | other)
    return len(one & other) / union if union else 1.0


def similarity(one: Behaviour, other: Behaviour) -> float:
    """How alike two rollouts behaved, 0..1: of their operations, times that of their footprints."""
    return op_similarity(one.ops, other.ops) * overlap(one.cells, other.cells)


def fidelity(mine: Behaviour, others: Iterable[Behaviour]) -> float:
    """How far the pixels behind an answer can be trusted, 0..1; 0 where none are behind it.

    The mean confidence that the backends gave what backs the answer, times the mean agreement with
    what others found at the same place: other rollouts on this medium and remembered ones serve as
    pseudo-references. The same call gives the same result, so that equal evidence confirms nothing
    and is left out; without any cross-check the agreement counts `UNCHECKED`.

    Args:
        mine: The rollout's.
        others: Of other rollouts on the same medium.
    """
    backed = [mine.findings[k] for k in mine.backing]
    if not backed:
        return 0.0
    said = [c for finding in backed if (c := confidence(finding.evidence)) is not None]
    references = [finding for other in others for finding in other.findings]
    agreed = [
        a
        for finding in backed
        for reference in references
        if finding.evidence != reference.evidence
        and (a := agreement(finding, reference)) is not None
    ]
    trust = float(np.mean(said)) if said else 1.0
    return trust * (float(np.mean(agreed)) if agreed else UNCHECKED)


def confidence(evidence: Evidence) -> float | None:
    """The confidence that a backend gave its result, 0..1; None where there is none."""
    scores: Sequence[float] = ()
    if isinstance(evidence, Mask):
        scores = (evidence.score,)
    elif isinstance(evidence, (Tracklet, Intervals)):
        scores = evidence.scores
    elif isinstance(evidence, TextLines):
        scores = [line.confidence for line in evidence.lines]
    return float(np.clip(np.mean(scores), 0, 1)) if len(scores) else None


def agreement(one: Finding, other: Finding) -> float | None:
    """How far two findings say the same, 0..1; None where they are about different things."""
    if overlap(one.cells, other.cells) < SAME_PLACE or not one.cells:
        return None
    a, b = one.evidence, other.evidence
    if isinstance(a, TextLines) and isinstance(b, TextLines):
        from rapidfuzz.distance import Levenshtein

        return Levenshtein.normalized_similarity(plain(a.text), plain(b.text))
    if isinstance(a, Mask) and isinstance(b, Mask):
        same = a.frame_index == b.frame_index and a.rle.size == b.rle.size
        return mask_iou(a.rle.decode(), b.rle.decode()) if same else None
    if isinstance(a, Tracklet) and isinstance(b, Tracklet):
        boxes = dict(zip(b.frame_indices, b.boxes, strict=True))
        shared = [
            box_iou(box, boxes[k])
            for k, box in zip(a.frame_indices, a.boxes, strict=True)
            if k in boxes
        ]
        return float(np.mean(shared)) if shared else None
    if isinstance(a, Intervals) and isinstance(b, Intervals):
        return interval_iou(a.spans, b.spans)
    if isinstance(a, Measurement) and isinstance(b, Measurement):
        return _closeness(a, b)
    return None


def _closeness(a: Measurement, b: Measurement) -> float | None:
    """One minus the relative difference of the numbers that both hold, on average."""
    near = []
    for name, value in a.values.items():
        twin = b.values.get(name)
        if isinstance(value, (int, float)) and isinstance(twin, (int, float)):
            most = max(abs(value), abs(twin))
            near.append(1 - min(abs(value - twin) / most, 1.0) if most else 1.0)
    return float(np.mean(near)) if near else None


def _cells(evidence: Evidence, extent: Extent) -> Iterator[int]:
    if isinstance(evidence, (View, TextLines)):
        yield from extent.cells(evidence.region.box, evidence.time)
    elif isinstance(evidence, Mask):
        yield from extent.cells(evidence.box, evidence.time)
    elif isinstance(evidence, Tracklet):
        for box, time, visible in zip(
            evidence.boxes, evidence.times, evidence.visible, strict=True
        ):
            if visible:
                yield from extent.cells(box, time)
