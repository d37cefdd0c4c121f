"""Stable-Baselines3's PPO on the easiest id: python examples/sb3_ppo.py [steps]

It learns to answer, and what: on sixteen rooms it comes to know, from the text and the state, a
random agent scores near zero. The same wrapper takes a CNN over `view` and `overview`.
"""

import sys

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import FilterObservation, FlattenObservation, RescaleObservation
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from pixelis_env.env import PixelisEnv
from pixelis_env.tasks.pool import Pool
from pixelis_env.tasks.rooms import RoomsSource
from pixelis_env.wrappers import FlatAction

ROOMS = Pool(RoomsSource("search"), range(16))  # one pool: its rooms are rendered once


def make_env() -> gym.Env:
    """Text and state only, scaled to 0..1, so that a small network learns in a minute."""
    env = FlatAction(PixelisEnv(ROOMS, tools="oracle", max_steps=8))
    env = FlattenObservation(FilterObservation(env, ["text", "state"]))
    low, high = np.float32(0), np.float32(1)
    return Monitor(RescaleObservation(env, low, high))


def train(steps: int, seed: int) -> tuple[float, float]:
    """The mean return over 64 episodes, before and after training."""
    model = PPO(
        "MlpPolicy",
        make_env(),
        n_steps=512,
        batch_size=128,
        learning_rate=1e-3,
        ent_coef=0.01,
        seed=seed,
        device="cpu",
    )
    before, _ = evaluate_policy(model, make_env(), n_eval_episodes=64, deterministic=False)
    model.learn(steps)
    after, _ = evaluate_policy(model, make_env(), n_eval_episodes=64, deterministic=False)
    return float(before), float(after)


if __name__ == "__main__":
    before, after = train(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, seed=0)
    print(f"mean return {before:+.2f} before, {after:+.2f} after")
