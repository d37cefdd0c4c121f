"""What the place looked like that an agent comes from: the same environment without its shift."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gymnasium as gym

from pixelis_agent.config import TTRLConfig
from pixelis_agent.files import whole
from pixelis_agent.images import Picture
from pixelis_agent.models.align import ALIGNMENT, Alignment, alignment_of, measured
from pixelis_agent.models.load import Loaded
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.splits import DEMONSTRATED
from pixelis_agent.task_settings import env_arguments
from pixelis_env.wrappers import ToolCall

TASKS = 32
"""Of the old place, whose images are looked at; nobody asks for their answers."""


def align(loaded: Loaded, config: TTRLConfig) -> None:
    """Aligns a model that adapts to a shift; it stays so in all that is saved of it.

    What the old place looked like is measured once in a run. A model that is aligned already, as
    one that adapted before, is left as it is.

    Raises:
        ValueError: The run was begun with another strength.
    """
    if config.source != "rooms" or config.shift == "none" or alignment_of(loaded.model) is not None:
        return
    out = Path(config.out)
    found = Alignment.load(out)
    if found is not None and found.strength != config.align:
        raise ValueError(
            f"the run in {out} was begun with align {found.strength:g}, not {config.align:g}: go "
            "on with that, or take another folder"
        )
    if not config.align:
        return
    if found is None:
        vision = VisionCache(loaded.model, loaded.processor, capacity=0)
        found = measured(vision.features, _images(config), config.align)
        with whole(out / ALIGNMENT) as file:
            found.save(file)
    found.attach(loaded.model)


def _images(config: TTRLConfig) -> Iterator[Picture]:
    """What tasks without the shift show first."""
    env = ToolCall(gym.make(config.env, **env_arguments(replace(config, shift="none"))))
    for index in DEMONSTRATED[:TASKS]:
        yield from env.reset(options={"index": index})[0]["images"]
    env.close()
