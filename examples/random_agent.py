"""Ten lines: the environment, a random agent, one episode."""

import gymnasium as gym

import pixelis_env  # noqa: F401 - registers the ids

env = gym.make("Pixelis-VSI-v0", level=1)
observation, info = env.reset(seed=0)
print(info["prompt"])
done = False
while not done:
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    print(f"{info['op']:<12} {reward:+.2f}  {info['reward_terms']}")
    done = terminated or truncated
