"""Settings of the training phases: plain dataclasses, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pixelis_agent.spans import LABEL_WEIGHTS, Label


@dataclass(frozen=True)
class SFTConfig:
    """Settings of supervised fine-tuning.

    Attributes:
        data: Corpora that `pixelis cota` wrote; several are joined.
        out: The run's folder; a run that is there already is continued.
        model: "pixelis-tiny", a run, a folder or a hub id.
        direct: Train on the questions and right answers alone, without tools.
        epochs: Times that each episode is seen.
        batch: Episodes a step, over all processes.
        micro_batch: Episodes in memory at a time, a process.
        optimizer: "muon" trains the matrices of hidden layers with Muon, the rest with AdamW: for
            small models trained from nothing.
        learning_rate: The highest; warmed up over 5 % of the steps, then a cosine to 0.
        weight_decay: Of matrices.
        max_grad_norm: Longer gradients are shortened to this.
        op_weight: Weight of operation tokens in the loss; thoughts and answers have 1.
        argument_weight: Weight of argument tokens.
        number_weight: Weight of the loss of how far the arguments' numbers are from the right
            ones; 0 = without it.
        heads: Train with the auxiliary heads.
        curriculum: Begin with the lowest level of the corpus, add the higher ones by epochs.
        freeze_vision: Keep the vision tower as it is; its features are then computed once.
        lora_rank: Train a low-rank adapter of this rank instead of the model; 0 = the model.
        dtype: Of the weights.
        mixed_precision: Of the computation.
        gradient_checkpointing: Trade time for memory.
        seed: Of the order of episodes and the heads' first weights.
        checkpoint_every: Steps between checkpoints.
        evaluate_every: Steps between evaluations on held-out tasks; 0 = only at the end.
        evaluate_episodes: Held-out tasks played each time; 0 = none.
        patience: Evaluations without a better score after which training ends early.
    """

    data: tuple[Path, ...]
    out: Path
    model: str = "pixelis-tiny"
    direct: bool = False
    epochs: int = 3
    batch: int = 16
    micro_batch: int = 4
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    op_weight: float = LABEL_WEIGHTS[Label.OP]
    argument_weight: float = LABEL_WEIGHTS[Label.ARGUMENT]
    number_weight: float = 0.0
    heads: bool = True
    curriculum: bool = True
    freeze_vision: bool = True
    lora_rank: int = 0
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_checkpointing: bool = False
    seed: int = 0
    checkpoint_every: int = 100
    evaluate_every: int = 0
    evaluate_episodes: int = 0
    patience: int = 5
