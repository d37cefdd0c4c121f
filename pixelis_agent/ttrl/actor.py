"""Who meets the queries of a stream: rollouts, the vote, and what is remembered."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from pixelis_agent.collect import Finished, collector_for
from pixelis_agent.config import TTRLConfig
from pixelis_agent.memory import HybridEncoder, Memory, WordLlamaWords
from pixelis_agent.models.processor import Processor
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.policies.vlm import VLMPolicy
from pixelis_agent.rewards.encode import ObservationEncoder
from pixelis_agent.splits import STREAMED, training_index
from pixelis_agent.task_settings import TaskSettings, env_arguments
from pixelis_agent.ttrl.judging import Judged, entry_of, judge
from pixelis_agent.ttrl.poison import Poisoned
from pixelis_env.tasks.rooms import RoomsSource


class Actor:
    """Meets the queries of a stream, with steps 1 to 5 and 7 for each.

    Args:
        model: Who plays.
        processor: Its processor.
        vision: The features of its frozen tower.
        config: Of the run.
    """

    def __init__(
        self, model: Any, processor: Processor, vision: VisionCache, config: TTRLConfig
    ) -> None:
        self._config, self._vision = config, vision
        self._player = VLMPolicy(
            model,
            processor,
            temperature=config.temperature,
            max_new_tokens=config.max_tokens,
            look=vision.inputs,
        )
        pictures = ObservationEncoder(model, processor, vision).pictures()
        self._encoder = HybridEncoder(WordLlamaWords(), pictures, config.words)
        self._collector = collector_for(
            config.env, _arguments(config), workers=config.workers, batch=config.batch
        )
        folder = Path(config.out) / "memory"
        self.memory = Memory(folder, self._encoder.name, self._encoder.size)

    def __enter__(self) -> Actor:
        return self

    def __exit__(self, *_: object) -> None:
        self._collector.close()
        self.memory.close()

    def meet(self, first: int) -> tuple[list[Judged], list[int]]:
        """The next queries of the stream from a place on, and the entries they became.

        As many as there are to the next multiple of `config.queries`: who was killed within them
        goes on with the rest. Of media that cannot be read, where they may be left out
        (`config.strict`), nothing is remembered.
        """
        self._vision.clear()
        self._player.model.eval()
        config, memory = self._config, self.memory
        judged, entries = [], []
        for place, group in enumerate(self._groups(first), start=first):
            if not group:
                memory.pass_over(place)
                continue
            # One after another: a query that comes twice is known the second time.
            one = judge(group, memory, self._encoder, config)
            entries.append(memory.add(entry_of(one, place, config), one.vector))
            judged.append(one)
        return judged, entries

    def _groups(self, first: int) -> list[list[Finished]]:
        """Rollouts on the next queries."""
        config, size = self._config, self._collector.size
        places = range(first, first - first % config.queries + config.queries)
        indices = [
            training_index(STREAMED, config.seed, n) if size is None else n % size for n in places
        ]
        groups: list[list[Finished]] = [[] for _ in places]
        unreadable: dict[int, str] = {}
        run = self._collector.run(
            self._player,
            [index for index in indices for _ in range(config.group)],
            batch=config.batch,
            seed=config.seed + 100_003 * first,
            traces=True,
            lockstep=True,
            unreadable=None if config.strict else unreadable,
        )
        for finished in sorted(run, key=lambda finished: finished.position):
            groups[finished.position // config.group].append(finished)
        for index, why in unreadable.items():
            warnings.warn(f"row {index} of {config.source} is left out: {why}", stacklevel=3)
        return groups


def _arguments(config: TTRLConfig) -> dict[str, Any]:
    """The environment's keyword arguments."""
    if config.poison == "none":
        return env_arguments(config, config.max_steps)
    rooms = RoomsSource("all", config.level, config.shift, config.types or None)
    source = Poisoned(rooms, config.poison, config.poison_share, config.seed)
    others = TaskSettings(tools=config.tools)
    return {"source": source} | env_arguments(others, config.max_steps)
