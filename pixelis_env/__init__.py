"""Pixelis: pixel-space operations on images and videos as a Gymnasium environment.

    import gymnasium as gym
    import pixelis_env

    env = gym.make("Pixelis-VSI-v0")

`gym.make("pixelis_env:Pixelis-VSI-v0")` works without the second import.
"""

from __future__ import annotations

from gymnasium.envs.registration import register

__all__ = ["ENV_IDS", "__version__"]
__version__ = "0.1.0"

_FAMILIES = {
    "Pixelis-v0": "all",
    "Pixelis-VSI-v0": "vsi",
    "Pixelis-Search-v0": "search",
    "Pixelis-Text-v0": "text",
    "Pixelis-Motion-v0": "motion",
    "Pixelis-Time-v0": "time",
}
ENV_IDS = tuple(_FAMILIES)
"""The registered environments."""

for _env_id, _family in _FAMILIES.items():
    register(_env_id, entry_point="pixelis_env.env:PixelisEnv", kwargs={"family": _family})
