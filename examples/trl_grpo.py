"""The shipped agent under TRL's GRPO, its operations as tools: python examples/trl_grpo.py [steps]

Needs `pip install "pixelis[agent,trl]"`. Each step plays one question eight times and pays right
answers; the log shows rewards, tool calls and lengths. Put your own model in `load_model`.
"""

import sys
import tempfile
from functools import partial

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from pixelis_agent.models.load import load_model
from pixelis_agent.splits import TRAIN
from pixelis_agent.trl_env import PixelisToolEnv, dataset_rows, episode_reward, trl_processor

loaded = load_model("pixelis-tiny")
trainer = GRPOTrainer(
    loaded.model,
    reward_funcs=episode_reward,
    environment_factory=partial(PixelisToolEnv, "Pixelis-v0", types=["text_read"]),
    train_dataset=Dataset.from_list(dataset_rows(TRAIN[:1000])),
    processing_class=trl_processor(loaded.processor),
    args=GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        max_steps=int(sys.argv[1]) if len(sys.argv) > 1 else 4,
        per_device_train_batch_size=8,
        num_generations=8,
        max_completion_length=1024,
        learning_rate=1e-5,
        beta=0.02,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        disable_tqdm=True,
    ),
)
trainer.train()
for row in trainer.state.log_history[:-1]:
    print(f"step {row['step']}: reward {row['reward']:.2f}, {row['num_tokens']:.0f} tokens so far")
