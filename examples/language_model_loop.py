"""The loop around a language model: text in, text and images out.

`reply` stands where your model goes; here it is the oracle, writing what a model would write.
"""

import json

import gymnasium as gym

import pixelis_env  # noqa: F401 - registers the ids
from pixelis_env.wrappers import ToolCall

env = ToolCall(gym.make("Pixelis-Search-v0"))
tools = env.tools("openai")  # hand these to your model; "anthropic" gives the other form
observation, _ = env.reset(seed=0)
oracle = iter(env.unwrapped.oracle())


def reply(text: str, images: list) -> str:
    """A model's turn."""
    call = env.unwrapped.tool_calls.encode(next(oracle))
    return f"I look closer. <tool_call>{json.dumps(call)}</tool_call>"


done = False
while not done:
    turn = reply(observation["text"], observation["images"])
    print(observation["text"], f"[{len(observation['images'])} images]", turn, sep="\n", end="\n\n")
    observation, reward, terminated, truncated, info = env.step(turn)
    done = terminated or truncated
print("score", info["score"])
