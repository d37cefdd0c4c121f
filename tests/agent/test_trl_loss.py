"""Our policy loss beside TRL's GRPO loss, on the same tensors: same value, same gradient."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from pixelis_agent.learning.losses import k3, policy_loss
from pixelis_agent.models.processor import Processor

pytest.importorskip("trl", reason="needs the extra trl")
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from pixelis_agent.trl_env import trl_processor


class OnTensors(GRPOTrainer):
    """TRL's loss of given log-probabilities instead of a model's."""

    given: torch.Tensor

    def _get_per_token_logps_and_entropies(self, *_: Any, **__: Any) -> Any:
        return self.given, torch.zeros_like(self.given), None


@pytest.fixture
def trainer(
    tiny: Any, processor: Processor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> OnTensors:
    monkeypatch.setenv("CI", "1")  # no telemetry
    made = OnTensors(
        copy.deepcopy(tiny),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        train_dataset=Dataset.from_list([{"prompt": "-"}]),
        processing_class=trl_processor(processor),
        args=GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=2,
            num_generations=2,
            epsilon=0.2,
            epsilon_high=0.28,
            loss_type="dapo",
            use_bias_correction_kl=False,
            report_to="none",
            use_cpu=True,
            bf16=False,
        ),
    )
    made.model.eval()  # no share of an accumulation window
    return made


@pytest.mark.parametrize("dual", [None, 1.5])
@pytest.mark.parametrize("beta", [0.0, 0.07])
def test_our_loss_is_theirs(trainer: OnTensors, beta: float, dual: float | None) -> None:
    generator = torch.Generator().manual_seed(3)

    def drawn(scale: float) -> torch.Tensor:
        return torch.randn(4, 9, generator=generator) * scale

    old = -drawn(1.0).abs()
    new, reference, advantages = old + drawn(0.4), old + drawn(0.5), drawn(1.0)
    if dual is not None:
        # TRL bounds the ratio of all tokens, we only those with A < 0, as the dual clip does; its
        # bound on the others is never above clip_high.
        trainer.args.delta = dual
    written = torch.rand(4, 9, generator=generator) < 0.7
    trainer.beta = beta
    trainer.given = new.clone().requires_grad_()
    ones = torch.ones(4, 9, dtype=torch.long)
    theirs = trainer._compute_loss(
        trainer.model,
        {
            "prompt_ids": ones[:, :1],
            "prompt_mask": ones[:, :1],
            "completion_ids": ones,
            "completion_mask": ones,
            "tool_mask": written.long(),
            "advantages": advantages,
            "old_per_token_logps": old,
            "ref_per_token_logps": reference,
            "num_items_in_batch": written.sum(),
        },
    )
    (their_gradient,) = torch.autograd.grad(theirs, trainer.given)

    log_probs = new.clone().requires_grad_()
    own, _ = policy_loss(log_probs[written], old[written], advantages[written], dual_clip=dual)
    ours = own + beta * k3(log_probs[written], reference[written]).mean()
    (our_gradient,) = torch.autograd.grad(ours, log_probs)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradient, their_gradient)
