"""How answers were reached: whether operations on pixels stand behind them.

An answer is *backed* by the valid operations whose evidence it cites and by those that this
evidence was made from. An answer that cites nothing is backed by the largest group of valid
operations that work on each other's evidence.

- RaPR: the share of answers backed by at least one operation;
- RaCPR: the share backed by two or more distinct ones (the same call repeated counts once).
"""

from __future__ import annotations

from collections.abc import Sequence

from pixelis_env.evidence import ToolError
from pixelis_env.metrics.figures import Figures, Ratios
from pixelis_env.trace import Step, final_answer


def backing(steps: Sequence[Step]) -> set[int]:
    """The numbers (from 1, as in `e1`) of the valid operations that back the last step's answer.

    Empty where the episode has no answer.
    """
    if final_answer(steps) is None:
        return set()
    inputs = {
        number: {name for name in named_evidence(step) if name > 0}
        for number, step in enumerate(steps, start=1)
        if step.valid
    }
    cited = {int(name[1:]) for name in steps[-1].action.evidence}  # type: ignore[union-attr]
    if cited - {0}:
        return _closure(cited, inputs)
    linked = {number: set(sources) for number, sources in inputs.items()}
    for number, sources in inputs.items():
        for source in sources & linked.keys():
            linked[source].add(number)
    groups = [_closure({number}, linked) for number in linked]
    return max(groups, key=len, default=set())


def is_backed(steps: Sequence[Step]) -> bool:
    """Whether at least one operation on pixels backs the answer."""
    return bool(backing(steps))


def is_composed(steps: Sequence[Step]) -> bool:
    """Whether two or more distinct, evidence-linked operations back the answer."""
    return len({steps[number - 1].action for number in backing(steps)}) >= 2


def chain_match(steps: Sequence[Step], chain: Sequence[str]) -> float:
    """The share of a chain of operations that an episode went through in this order, 0..1.

    The length of the longest common subsequence of the episode's valid operations and the chain,
    by the chain's length.

    Args:
        steps: The episode's steps.
        chain: Names of operations, without the answer.

    Raises:
        ValueError: The chain is empty.
    """
    if not chain:
        raise ValueError("the chain has no operation to be matched")
    row = [0] * (len(chain) + 1)
    for op in (step.action.op for step in steps if step.valid):
        above = row[:]
        for column, wanted in enumerate(chain, start=1):
            row[column] = (
                above[column - 1] + 1 if op == wanted else max(above[column], row[column - 1])
            )
    return row[-1] / len(chain)


class ProcessMetrics:
    """Process measures over episodes."""

    def __init__(self) -> None:
        self._ratios = Ratios(
            "process", ("rapr", "racpr", "chain_length", "invalid_rate", "answer_rate")
        )

    def update(self, steps: Sequence[Step]) -> None:
        """Adds one episode."""
        answered = final_answer(steps) is not None
        invalid = sum(isinstance(step.evidence, ToolError) for step in steps)
        self._ratios.add(
            rapr=(answered and is_backed(steps), answered),
            racpr=(answered and is_composed(steps), answered),
            chain_length=(sum(step.valid for step in steps), 1),
            invalid_rate=(invalid, len(steps)),
            answer_rate=(answered, 1),
        )

    def compute(self) -> Figures:
        """The measures so far; a share of nothing is 0.

        Returns:
            `rapr`, `racpr` (shares of answers), `chain_length` (valid operations an episode),
            `invalid_rate` (share of steps), `answer_rate` (share of episodes).
        """
        return self._ratios.figures()


def named_evidence(step: Step) -> set[int]:
    """The numbers of the evidence that a step's action works on."""
    action = step.action
    names = [getattr(action, "source", None), getattr(action, "target", None)]
    return {int(name[1:]) for name in (*names, *getattr(action, "targets", ())) if name}


def _closure(start: set[int], edges: dict[int, set[int]]) -> set[int]:
    """What can be reached from `start`, itself included, among the keys of `edges`."""
    reached: set[int] = set()
    frontier = [number for number in start if number in edges]
    while frontier:
        number = frontier.pop()
        if number not in reached:
            reached.add(number)
            frontier += [name for name in edges[number] if name in edges]
    return reached
