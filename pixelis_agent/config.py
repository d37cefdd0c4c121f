"""Settings of training and evaluation: plain dataclasses, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pixelis_agent.learning.corridor import Corridor
from pixelis_agent.spans import LABEL_WEIGHTS, Label
from pixelis_agent.task_settings import TaskSettings

Dtype = Literal["auto", "float32", "bfloat16", "float16", "nf4"]
"""Of weights: as they were saved, a type of torch's, or 4 bits."""


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
        dtype: Of the weights. "nf4": those of the language model, frozen, in 4 bits (QLoRA; extra
            `quantized`).
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
    dtype: Dtype = "auto"
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_checkpointing: bool = False
    seed: int = 0
    checkpoint_every: int = 100
    evaluate_every: int = 0
    evaluate_episodes: int = 0
    patience: int = 5


@dataclass(frozen=True)
class RewardConfig:
    """Weights of the rewards, each normalised within its group first, and the efficiency prior.

    Attributes:
        task: Weight of the task's own metric at the answer.
        curiosity: Of the surprise of a step's result.
        coherence: Of adjacent steps that fit.
        efficiency: Of short and valid chains.
        free_steps: Operations that cost nothing.
        step_cost: Of each operation beyond them, over `free_steps`.
        invalid_cost: Of a step that could not be carried out.
        patience: Iterations in a row in which a component may be constant before a warning.
    """

    task: float = 1.0
    curiosity: float = 0.1
    coherence: float = 0.1
    efficiency: float = 0.1
    free_steps: int = 4
    step_cost: float = 1.0
    invalid_cost: float = 1.0
    patience: int = 10


@dataclass(frozen=True)
class CuriosityConfig:
    """Settings of the curiosity.

    Attributes:
        hidden: Width of the dynamics model.
        learning_rate: Of its own optimizer.
        passes: Optimizer steps an iteration.
        discount: Of the returns whose spread scales the rewards, 0 up to 1.
        most: Rewards are clipped here after scaling.
        warm_up: Iterations before curiosity pays; the dynamics model learns already.
    """

    hidden: int = 256
    learning_rate: float = 1e-3
    passes: int = 4
    discount: float = 0.99
    most: float = 5.0
    warm_up: int = 5


@dataclass(frozen=True)
class CCRFTConfig(TaskSettings):
    """Settings of curiosity-coherence reward fine-tuning.

    Attributes:
        model: Where it starts, which is also its anchor: "pixelis-tiny", a run of `pixelis sft`,
            a folder or a hub id.
        out: The run's folder; a run that is there already is continued.
        max_steps: The longest episode that is played to learn from, steps; default: the
            environment's own limit. Most of what is longer went wrong, and it takes longest.
        iterations: Of sampling and updating.
        tasks: Tasks an iteration, over all processes.
        group: Episodes on each task, >= 2.
        redraws: How often tasks on which all episodes score the same are replaced by others, at
            the most, an iteration.
        minibatches: Optimizer steps an iteration.
        micro_batch: Episodes in memory at a time, a process.
        learning_rate: The highest; warmed up over 5 % of the iterations, then a cosine to 0.
        weight_decay: Of matrices.
        max_grad_norm: Longer gradients are shortened to this.
        clip_low: How far a token's probability may fall before its gradient stops, as a share.
        clip_high: How far it may rise.
        temperature: Of sampling, > 0.
        max_tokens: The longest turn, tokens.
        lora_rank: Of the adapter that is trained, where the model is not one already.
        rewards: What pays how much.
        curiosity: Of the dynamics model.
        anchor: Keep near the start; False leaves the divergence free (for comparisons).
        corridor: In which the divergence per token from the start is held.
        dtype: Of the weights. "nf4": those of the language model, frozen, in 4 bits (QLoRA; extra
            `quantized`).
        mixed_precision: Of the computation.
        gradient_checkpointing: Trade time for memory.
        workers: Processes that hold environments, for each training process.
        ray: Ray actors that hold environments and copies of the policy, in place of `workers`,
            for each training process; 0 = without Ray. Which episodes meet in an actor is a matter
            of timing, so a run is not the same to the last bit.
        ray_gpus: GPUs that each actor's copy of the policy computes on, e.g. 1 or 0.5; 0 = its CPU.
        cluster: Address of the Ray cluster, e.g. "auto"; default: a Ray of its own here.
        batch: Episodes that the policy is asked about at once.
        lockstep: Ask about the same episodes together in every run, so that a stopped run goes on
            bit for bit. False is quicker where environments are slow, and always so with `ray`.
        seed: Of tasks (of rooms each seed has its own), sampling and first weights.
        checkpoint_every: Iterations between checkpoints.
        evaluate_every: Iterations between evaluations on held-out tasks; 0 = only at the end.
        evaluate_episodes: Held-out tasks played each time; 0 = none.
    """

    model: str
    out: Path
    max_steps: int | None = None
    iterations: int = 100
    tasks: int = 8
    group: int = 8
    redraws: int = 2
    minibatches: int = 2
    micro_batch: int = 4
    learning_rate: float = 3e-4
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    clip_low: float = 0.2
    clip_high: float = 0.28
    temperature: float = 1.0
    max_tokens: int = 128
    lora_rank: int = 16
    rewards: RewardConfig = field(default_factory=RewardConfig)
    curiosity: CuriosityConfig = field(default_factory=CuriosityConfig)
    anchor: bool = True
    corridor: Corridor = field(default_factory=Corridor)
    dtype: Dtype = "auto"
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_checkpointing: bool = False
    workers: int = 2
    ray: int = 0
    ray_gpus: float = 0.0
    cluster: str | None = None
    batch: int = 16
    lockstep: bool = True
    seed: int = 0
    checkpoint_every: int = 5
    evaluate_every: int = 0
    evaluate_episodes: int = 0


@dataclass(frozen=True)
class TTRLConfig(TaskSettings):
    """Settings of test-time reinforcement learning, which needs no answers.

    Attributes:
        model: What adapts: "pixelis-tiny", a run (whose adapter is trained on), a folder or a hub
            id.
        out: The run's folder; a run that is there already is continued.
        max_steps: The longest rollout, steps; default: the environment's own limit.
        updates: How many.
        queries: Tasks an update.
        group: Rollouts on each task, >= 2.
        neighbours: Remembered queries that a vote regards; 0 = the memory is not asked.
        least_similarity: Of a neighbour, -1..1.
        words: Share of the words in that similarity, 0..1; the rest is the pixels'.
        vote: "trajectories" votes over whole trajectories; "majority" over the answers alone, and
            regards nothing but agreement (TTRL, arXiv 2504.16084); "entropy" asks nobody: every
            rollout is trusted, or is paid its own certainty (as TENT, arXiv 2006.10726).
        learn: By "teacher" the policy becomes, along the rollouts that the vote trusts, what its
            moving average would be at a lower temperature; by "gradient" it makes what was paid
            more than the rest of its group likelier, as in CC-RFT.
        align: How far images under the shift are made to look, to the language model, like those
            without it (`pixelis_agent.models.align`), 0..1; 0 = as they are. A model that is
            aligned already stays as it is. Of rooms only: where an agent comes from that meets
            another source, nobody knows.
        teacher_temperature: Of the teacher, > 0; below 1 it is surer than the average.
        by_behaviour: Let behaviour count in the vote.
        by_fidelity: Let the fidelity of pixels count in the vote.
        by_certainty: Let the policy's certainty of what it wrote count in the vote.
        repeats: How often the same question about the same medium is learned from, at the most.
        least_margin: A vote that is won by less is not learned from, 0..1; 0 = all are.
        behaviour: Weight of the likeness to the exemplar, beside 1 for agreement with the vote.
        efficiency: Weight of what long chains and steps that could not be carried out cost, by
            gradient; the teacher trusts no such step, and each rollout alike however long it is.
        decay: Share of the moving average that an update leaves, 0..1.
        anchor: Hold the policy near its average; False leaves the divergence to what it learns
            (for comparisons).
        corridor: In which the divergence per token from the average is held.
        capacity: Entries that the memory keeps.
        learning_rate: Of every update after a short warm-up: there is no end that a schedule
            could lead to.
        minibatches: Optimizer steps an update.
        micro_batch: Episodes in memory at a time.
        weight_decay: Of matrices.
        max_grad_norm: Longer gradients are shortened to this.
        clip_low: By gradient, how far a token's probability may fall before its gradient stops,
            as a share.
        clip_high: How far it may rise.
        temperature: Of sampling, > 0.
        max_tokens: The longest turn, tokens.
        lora_rank: Of the adapter that is trained, where the model is not one already.
        dtype: Of the weights. "nf4": those of the language model, frozen, in 4 bits (QLoRA; extra
            `quantized`).
        gradient_checkpointing: Trade time for memory.
        workers: Processes that hold environments.
        batch: Episodes that the policy is asked about at once.
        seed: Of the stream, of sampling and of first weights.
        checkpoint_every: Updates between checkpoints.
        poison: Bad tasks among those of the rooms, to see what they do: "duplicate", "corrupt",
            "unanswerable", "lopsided" or "planted", see `pixelis_agent.ttrl.poison`.
        poison_share: How many, 0..1.
        beside: Learn in a process of its own, while this one goes on answering.
        evaluate_every: Updates between exams (`pixelis_agent.ttrl.exams`), the first before any;
            0 = none.
        evaluate_episodes: Tasks of each, once with the shift and once without, >= 2.
        largest_loss: Where an exam's score without the shift has fallen by more than this and its
            standard error, learning ends and goes back to the last exam that was passed.
    """

    model: str
    out: Path
    max_steps: int | None = None
    updates: int = 50
    queries: int = 4
    group: int = 8
    neighbours: int = 4
    least_similarity: float = 0.5
    words: float = 0.5
    vote: Literal["trajectories", "majority", "entropy"] = "trajectories"
    learn: Literal["teacher", "gradient"] = "teacher"
    align: float = 0.5
    teacher_temperature: float = 0.6
    by_behaviour: bool = True
    by_fidelity: bool = True
    by_certainty: bool = True
    repeats: int = 1
    least_margin: float = 0.2
    behaviour: float = 0.3
    efficiency: float = 0.3
    decay: float = 0.99
    anchor: bool = True
    corridor: Corridor = field(default_factory=Corridor)
    capacity: int = 10_000
    learning_rate: float = 1e-4
    minibatches: int = 1
    micro_batch: int = 4
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    clip_low: float = 0.2
    clip_high: float = 0.28
    temperature: float = 1.0
    max_tokens: int = 128
    lora_rank: int = 16
    dtype: Dtype = "auto"
    gradient_checkpointing: bool = False
    workers: int = 2
    batch: int = 16
    seed: int = 0
    checkpoint_every: int = 5
    poison: Literal["none", "duplicate", "corrupt", "unanswerable", "lopsided", "planted"] = "none"
    poison_share: float = 0.3
    beside: bool = False
    evaluate_every: int = 0
    evaluate_episodes: int = 50
    largest_loss: float = 0.02


@dataclass(frozen=True)
class EvalConfig(TaskSettings):
    """Settings of an evaluation.

    Attributes:
        policy: "random", "oracle", "pixelis-tiny", a run's or model's folder, a hub id such as
            "Qwen/Qwen3-VL-8B-Instruct", or the address of an OpenAI-compatible server,
            "http://host:8000/v1" (its key, if any, in the variable PIXELIS_API_KEY), or of several
            servers of the same model with commas between.
        episodes: Tasks that are played, 1..1,000,000, of a finite source its first; default: all
            of a finite source, 500 of rooms.
        samples: Times that each task is played, each with another seed; needs a temperature.
        seed: Evaluations of different seeds share no task in rooms.
        out: Folder for results.json (figures, episodes, versions, a digest of the weights),
            the traces and what was said; default: none are written.
        workers: Processes that hold environments; 0 = in this one.
        ray: Ray actors that hold environments and copies of the policy, in place of `workers`;
            0 = without Ray.
        cluster: Address of the Ray cluster, e.g. "auto"; default: a Ray of its own here.
        batch: Episodes that the policy is asked about at once; for a server: requests at a time.
        lockstep: Ask about the same episodes together in every run, so that a local model's
            results are the same to the last bit. False is quicker where environments are slow,
            and always so with `ray`.
        model: Of a server: the model's name; default: the only one that it lists.
        native_tools: Of a server: hand it the tools in the request, not in the prompt.
        temperature: Of sampling; 0 takes the likeliest token.
        max_tokens: The longest turn, tokens.
        grammar: Of a local model: let only turns be written that parse.
        device: Of a local model, as transformers' device_map, e.g. "auto"; default: the CPU.
        dtype: Of a local model's weights, as of `pixelis sft`.
    """

    policy: str
    episodes: int | None = None
    samples: int = 1
    seed: int = 0
    out: Path | None = None
    workers: int = 2
    ray: int = 0
    cluster: str | None = None
    batch: int = 16
    lockstep: bool = True
    model: str | None = None
    native_tools: bool = False
    temperature: float = 0.0
    max_tokens: int = 256
    grammar: bool = False
    device: str | None = None
    dtype: Dtype = "auto"


@dataclass(frozen=True)
class AuditConfig(TaskSettings):
    """Settings of a causal audit.

    Attributes:
        policy: "pixelis-tiny", a run's or model's folder, a hub id, or a server's http address.
        model: Of a server, the model's name; default: the only one that it lists.
        played: Folder of an evaluation (`pixelis eval --out`): its episodes are audited, in its
            environment, instead of new ones.
        ledger: Instead of playing, make the updates of a run of `pixelis ttrl` again from its
            ledger and memory, and check that each comes out the same.
        out: Folder of `audit.json`; default: none is written.
        episodes: Episodes that are audited, each once for each of its operations and each change.
        seed: Of the tasks, as of `pixelis eval`.
        max_tokens: The longest turn, tokens.
        workers: Processes that hold environments; 0 = in this one.
        batch: Episodes that the policy is asked about at once.
    """

    policy: str
    model: str | None = None
    played: Path | None = None
    ledger: bool = False
    out: Path | None = None
    episodes: int = 50
    seed: int = 0
    max_tokens: int = 256
    workers: int = 2
    batch: int = 16
