"""How fast the environment is: steps, resets, operations, hashing, vectors.

Steps are compared with MiniGrid's RGB observation at 224 px, resets with MiniWorld's at 224 px
(where it installs and finds an OpenGL), each interleaved with ours in this one run, so that the
ratio holds on a busy machine.

`python benchmarks/env_throughput.py [--quick]`
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
from common import Table, median_range, save
from gymnasium import spaces
from gymnasium.utils.performance import benchmark_step, benchmark_vector_step
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

import pixelis_env.tools.zoom as zoom_module
from pixelis_env.actions import Action, Answer, Localize, Properties, ReadText, Segment, Track, Zoom
from pixelis_env.env import PixelisEnv
from pixelis_env.evidence import pixel_digest
from pixelis_env.observation import make_overview
from pixelis_env.rooms import RoomVideo, make_scene
from pixelis_env.tasks.pool import Pool
from pixelis_env.tasks.rooms import RoomsSource
from pixelis_env.tools.cache import RESULTS as TOOL_RESULTS

cv2.setNumThreads(1)
POOL = 8


class Mix(spaces.Space[Action]):
    """Samples zoom, properties, localize, answer in turn, each round with a random box.

    The zoom's time is one of eight: their frames stay in a room's cache, so that what is timed is
    the environment and not the renderer.
    """

    def __init__(self, duration: float) -> None:
        super().__init__()
        self._duration = duration
        self._turn = cycle(range(4))

    def sample(self, mask: Any = None, probability: Any = None) -> Action:
        """The next action of the round."""
        turn = next(self._turn)
        if turn == 0:
            x0, y0 = self.np_random.uniform(0, 600, 2)
            side = self.np_random.uniform(100, 400)
            time_s = self._duration * int(self.np_random.integers(8)) / 8
            return Zoom(box=(x0, y0, x0 + side, y0 + side), time=time_s)
        if turn == 1:
            return Properties(targets=("e1",))
        if turn == 2:
            return Localize(target="e1")
        return Answer(text="A", evidence=("e1", "e2"))

    def contains(self, x: Any) -> bool:
        """Every action is one."""
        return True


def mixed() -> gym.Env[Any, Any]:
    """Eight rooms held in memory with the frames that are zoomed into, and exact backends."""
    pool = Pool(RoomsSource("vsi"), range(POOL))
    duration = min(pool.task(index).media.duration for index in range(POOL))
    for index in range(POOL):
        media = pool.task(index).media
        for eighth in range(8):
            media.frame(media.index_at(duration * eighth / 8))
    env = PixelisEnv(pool, tools="oracle")
    env.action_space = Mix(duration)  # type: ignore[assignment]
    return env


def steps_against_minigrid(seconds: int, repeats: int) -> tuple[Table, dict[str, Any]]:
    """Interleaved A/B/A."""
    import minigrid  # noqa: F401 - registers its ids
    from minigrid.wrappers import RGBImgObsWrapper

    grid = RGBImgObsWrapper(gym.make("MiniGrid-LavaGapS7-v0"), tile_size=32)
    assert grid.reset(seed=0)[0]["image"].shape == (224, 224, 3)
    ours = mixed()
    rates: dict[str, list[float]] = {"Pixelis": [], "MiniGrid": []}
    ratios = []
    benchmark_step(ours, 1, seed=0)
    for repeat in range(repeats):
        before = benchmark_step(grid, seconds, seed=repeat)
        mine = benchmark_step(ours, seconds, seed=repeat)
        after = benchmark_step(grid, seconds, seed=repeat)
        rates["MiniGrid"] += [before, after]
        rates["Pixelis"].append(mine)
        ratios.append(mine / ((before + after) / 2))
    table = Table("Steps a second, one process", ["environment", "median (range)", "ratio"])
    table.rows = [
        [
            "Pixelis, zoom/properties/localize/answer (eight rendered rooms, oracle backends)",
            median_range(rates["Pixelis"]),
            "",
        ],
        ["MiniGrid LavaGapS7, RGB 224×224", median_range(rates["MiniGrid"]), ""],
        ["Pixelis ÷ MiniGrid", "", median_range(ratios, 2)],
    ]
    return table, {"rates": rates, "ratios": ratios}


def resets(count: int) -> tuple[Table, dict[str, Any]]:
    """Ours with and without prefetching, MiniWorld's, and where the time goes."""
    samples: dict[str, list[float]] = {}
    ahead = PixelisEnv(family="vsi", prefetch=True)
    plain = PixelisEnv(family="vsi")
    peer = _miniworld()
    ahead.reset(seed=0)
    plain.reset(seed=0)
    for _ in range(count):
        assert ahead._prefetcher is not None
        ahead._prefetcher._pending[1].result()  # type: ignore[index]
        _sample(samples, "Pixelis, next episode prefetched", ahead.reset)
        _sample(samples, "Pixelis, made at the reset", plain.reset)
        if peer is not None:
            _sample(samples, "MiniWorld Hallway, 224×224", peer.reset)
    for seed in range(count):
        _reset_parts(samples, seed)
    ahead.close()
    table = Table("Reset, ms", ["what", "p50", "p95"])
    table.rows = [[name, *_quantiles(values)] for name, values in samples.items()]
    if peer is None:
        table.rows.append(["MiniWorld Hallway, 224×224", "not installed here", ""])
    return table, samples


def _miniworld() -> gym.Env[Any, Any] | None:
    try:
        import pyglet

        pyglet.options["headless"] = True
        import miniworld  # noqa: F401 - registers its ids

        env = gym.make("MiniWorld-Hallway-v0", obs_width=224, obs_height=224)
        env.reset(seed=0)
        return env
    except Exception as error:
        print(f"MiniWorld does not run here: {error!r}")
        return None


def _reset_parts(samples: dict[str, list[float]], seed: int) -> None:
    scene = _sample(samples, "– layout and camera", lambda: make_scene(seed))
    video = RoomVideo(scene)
    _sample(samples, "– BVH and first id image", lambda: video.ids(0))
    _sample(samples, "– id images of the walk (low resolution)", lambda: video.visible(stride=5))
    _sample(samples, "– overview, 8 frames of 112 px", lambda: make_overview(video))
    _sample(samples, "– first frame, 320×240", lambda: video.frame(0))


def operations(count: int) -> tuple[Table, dict[str, Any]]:
    """Latency of each operation and backend on rooms whose frames are rendered already."""
    samples: dict[str, list[float]] = {}
    for tools in (None, "oracle"):
        env = PixelisEnv(Pool(RoomsSource("vsi"), range(POOL)), tools=tools, max_steps=64)
        rng = np.random.default_rng(0)
        for number in range(count):
            env.reset(options={"index": number % POOL})
            media = env.task.media
            time_s = float(rng.uniform(0, media.duration - 1.2))
            start = media.index_at(time_s)
            for frame in range(start, start + 11):
                media.frame(frame)
            x0, y0 = rng.uniform(50, 500, 2)
            box = (x0, y0, x0 + 350, y0 + 350)
            names = env.toolbox.names
            TOOL_RESULTS.clear()
            calls: list[Action] = [
                Zoom(box=box, time=time_s),
                Segment(box=box, time=time_s),
                Properties(targets=("e1",)),
                ReadText(source="e1"),
                Track(target="e1", span=(time_s, time_s + 0.9)),
                Localize(target="e1", span=(time_s, time_s + 0.9)),
            ]
            for call in calls:
                if tools == "oracle" and names[call.op].startswith("native"):
                    env.step(call)  # timed above already; later calls name its evidence
                    continue
                _sample(samples, f"{call.op}: {names[call.op]}", lambda c=call, e=env: e.step(c))
    table = Table(
        "A step of each operation, ms (track and localize over 0.9 s, 10 frames)",
        ["operation: backend", "p50", "p95"],
    )
    table.rows = [[name, *_quantiles(values)] for name, values in sorted(samples.items())]
    return table, samples


def hashing(rounds: int) -> tuple[Table, dict[str, Any]]:
    """Episodes with digests and chain against the same episodes without either."""
    env = mixed()
    space = env.action_space

    def play(hashed: bool) -> float:
        zoom_module.pixel_digest = pixel_digest if hashed else (lambda pixels: "0" * 32)
        start = time.process_time()  # a few percent drown in a busy machine's wall time
        for _ in range(10):
            env.reset()
            for _ in range(4):
                env.step(space.sample())
            if hashed:
                env.unwrapped.trace()  # type: ignore[attr-defined]
        return (time.process_time() - start) * 1e3 / 10

    play(True)
    pairs = [(play(False), play(True)) for _ in range(rounds)]
    zoom_module.pixel_digest = pixel_digest
    bare, hashed = (float(np.median(column)) for column in zip(*pairs, strict=True))
    table = Table(
        f"Hashing: CPU ms of a four-step episode, median of {rounds} interleaved rounds",
        ["without digests and chain", "with", "added"],
    )
    table.rows = [[f"{bare:.2f}", f"{hashed:.2f}", f"{100 * (hashed / bare - 1):.1f} %"]]
    return table, {"pairs_ms": pairs}


def vectors(seconds: int) -> tuple[Table, dict[str, Any]]:
    """Steps a second of 1 to 4 environments."""
    rates: dict[str, list[float]] = {}
    for name, cls in (("SyncVectorEnv", SyncVectorEnv), ("AsyncVectorEnv", AsyncVectorEnv)):
        for count in (1, 2, 3, 4):
            env = cls([_vector_env] * count)
            benchmark_vector_step(env, seconds, seed=0)  # renders the rooms of every copy
            rates.setdefault(name, []).append(benchmark_vector_step(env, seconds, seed=0))
            env.close()
    table = Table(
        "Vector environments of two rendered rooms, steps a second (zooms, resets included)",
        ["wrapper", "1", "2", "3", "4"],
    )
    table.rows = [[name, *(f"{rate:,.0f}" for rate in row)] for name, row in rates.items()]
    return table, rates


class _Zooms(gym.ActionWrapper[Any, Any, Any]):
    """Random boxes to zoom into: a Box action that always is a valid call."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.action_space = spaces.Box(0.0, 1.0, (4,), np.float32)

    def action(self, action: np.ndarray) -> Action:
        """Two opposite corners as a zoom."""
        x0, x1 = sorted(map(float, action[[0, 2]]))
        y0, y1 = sorted(map(float, action[[1, 3]]))
        return Zoom(box=(x0, y0, min(1.0, x1 + 1e-3), min(1.0, y1 + 1e-3)), frame="unit")


def _vector_env() -> gym.Env[Any, Any]:
    return _Zooms(PixelisEnv(Pool(RoomsSource("vsi"), range(2)), tools="oracle"))


def _sample(samples: dict[str, list[float]], name: str, work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = work()
    samples.setdefault(name, []).append(1e3 * (time.perf_counter() - start))
    return result


def _quantiles(values: list[float]) -> Iterator[str]:
    for share in (50, 95):
        yield f"{np.percentile(values, share):.2f}"


def main() -> None:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to try it")
    quick = parser.parse_args().quick
    parts = [
        steps_against_minigrid(1 if quick else 5, 1 if quick else 5),
        resets(5 if quick else 25),
        operations(4 if quick else 16),
        hashing(10 if quick else 150),
        vectors(1 if quick else 4),
    ]
    names = ("steps", "reset_ms", "operations_ms", "hashing", "vectors")
    raw = {name: part[1] for name, part in zip(names, parts, strict=True)}
    save("env_throughput", [0], [part[0] for part in parts], raw)


if __name__ == "__main__":
    main()
