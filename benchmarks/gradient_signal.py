"""How much of an update's direction is signal, by what it is an update for.

``python benchmarks/gradient_signal.py`` lets an agent that is aligned and does not learn meet
queries under a shift, a group of rollouts each, and takes the gradient of each group: of the
policy gradient with the true scores as pay, the same with what votes pay, and of the teacher that
votes trust.

- signal: the squared length of the mean gradient, without the bias of its noise: the mean product
  of the gradients of two different groups.
- noise: the mean squared length of a group's gradient, less the signal.
- groups for half: noise / signal, of which a mean gradient is half signal; where none was found,
  more than the upper end of its interval says.
- cosine: between the mean gradients of two random halves of the groups, the mean of 50 splits.

Intervals are normal ones over pairs of groups.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from common import Table, save

from pixelis_agent.config import TTRLConfig
from pixelis_agent.demo import trained_types
from pixelis_agent.learning.aims import Aim, Gradient, Stage, Teacher
from pixelis_agent.learning.parts import Part, TokenScorer, score
from pixelis_agent.learning.training import one_thread
from pixelis_agent.models.load import CCRFT
from pixelis_agent.rollout import Rollout
from pixelis_agent.ttrl.actor import Actor
from pixelis_agent.ttrl.judging import Judged, gains
from pixelis_agent.ttrl.learner import Learner

Tensor = torch.Tensor
SPLITS = 50


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=CCRFT)
    parser.add_argument("--types", nargs="+", default=trained_types())
    parser.add_argument("--shift", default="texture")
    parser.add_argument("--queries", type=int, default=112)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    one_thread()
    config = TTRLConfig(
        model=args.model,
        out=Path(tempfile.mkdtemp()),
        shift=args.shift,
        types=tuple(args.types),
        tools="oracle",
        max_steps=8,
        queries=8,
        group=args.group,
        workers=0,
        batch=8 * args.group,
        micro_batch=args.group,
        seed=args.seed,
    )
    learner = Learner(config)
    policy = TokenScorer(learner.model, learner.processor, config.temperature)
    found: dict[str, list[Tensor]] = {}
    with Actor(learner.model, learner.processor, learner.vision, config) as actor:
        for first in range(0, args.queries, config.queries):
            judged, _ = actor.meet(first)
            for one in judged:
                rollouts = [f.episode.rollout for f in one.finished]
                for name, aim in aims(one, learner, config).items():
                    gradient = gradient_of(aim, policy, rollouts, learner, config)
                    found.setdefault(name, []).append(gradient)
            print(f"{first + len(judged)} of {args.queries}", file=sys.stderr)
    title = f"The gradient of a group of {args.group}, {args.shift}"
    made = Table(title, ["update", "groups", "signal", "noise", "groups for half", "cosine"])
    made.rows = [[name, *row_of(torch.stack(rows))] for name, rows in found.items()]
    save("gradient_signal", [args.seed], [made], {})
    return 0


def aims(one: Judged, learner: Learner, config: TTRLConfig) -> dict[str, Aim]:
    """What an update by a query could be for; by votes only where they are learned from."""
    scores = torch.tensor([finished.score for finished in one.finished])
    steps = max(len(finished.steps) for finished in one.finished)
    made: dict[str, Aim] = {
        "policy gradient, true scores": Gradient(
            (scores - scores.mean())[:, None].expand(-1, steps), config
        )
    }
    if one.learned_from(config):
        paid, trusted = (gains(one, replace(config, learn=how)) for how in ("gradient", "teacher"))
        made["policy gradient, votes"] = Gradient(paid, config)
        teacher = Teacher(trusted, learner.average, config.teacher_temperature)
        made["teacher, votes"] = teacher
    return made


def gradient_of(
    aim: Aim, policy: TokenScorer, rollouts: list[Rollout], learner: Learner, config: TTRLConfig
) -> Tensor:
    """The gradient of a group as an update takes it, one after another in a vector."""
    share = [list(range(len(rollouts)))]
    own = score(policy, rollouts, [share], learner.vision, config)[0]
    part = Part(policy, rollouts, share, learner.vision, config)
    total = float(sum(map(len, own)))
    for loss, _ in aim.losses(Stage(policy, part, own, own, 0.0, total)):
        loss.backward()
    part.beginnings.backward(part.reader(policy), contextlib.nullcontext)
    trained = [p for p in policy.parameters() if p.requires_grad]
    gradient = torch.cat([p.grad.flatten().cpu() for p in trained if p.grad is not None])
    policy.zero_grad()
    return gradient


def row_of(gradients: Tensor) -> list[str]:
    """A line of the table, of float32 (groups, weights)."""
    n = len(gradients)
    products = (gradients @ gradients.T).double()
    pairs = products[~torch.eye(n, dtype=torch.bool)]
    signal, reach = float(pairs.mean()), 1.96 * float(pairs.std()) / (n * (n - 1) / 2) ** 0.5
    noise = float(products.diagonal().mean()) - signal
    needed = f"{noise / signal:,.0f}" if signal > reach else f"> {noise / (signal + reach):,.0f}"
    cosines = []
    for split in range(SPLITS):
        order = torch.randperm(n, generator=torch.Generator().manual_seed(split))
        one, other = (gradients[half].mean(0) for half in order.tensor_split(2))
        cosines.append(float(torch.cosine_similarity(one, other, dim=0)))
    low, high = signal - reach, signal + reach
    said = f"{signal:.1e} [{low:.1e}, {high:.1e}]"
    return [str(n), said, f"{noise:.1e}", needed, f"{sum(cosines) / SPLITS:.3f}"]


if __name__ == "__main__":
    sys.exit(main())
