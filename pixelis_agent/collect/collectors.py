"""The collector that settings ask for: worker processes of this machine, or Ray actors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Union

from pixelis_agent.collect.cluster import RayCollector
from pixelis_agent.collect.collector import Collector

AnyCollector = Union[Collector, RayCollector]


def collector_for(
    env_id: str,
    env_kwargs: Mapping[str, Any] | None = None,
    *,
    workers: int,
    batch: int,
    ray: int = 0,
    gpus: float = 0.0,
    cluster: str | None = None,
) -> AnyCollector:
    """Environments for episodes of which a policy is asked about `batch` at once.

    Args:
        env_id: A registered environment.
        env_kwargs: Its keyword arguments.
        workers: Worker processes of this machine.
        batch: As of `Collector.run`.
        ray: Ray actors in place of them; 0 = without Ray.
        gpus: As of `RayCollector`.
        cluster: Address of the Ray cluster.

    Raises:
        ValueError: Settings of Ray without `ray`, or as of the collectors.
    """
    if ray < 0:
        raise ValueError(f"ray must be 0 (without Ray) or more, not {ray}")
    if not ray:
        if cluster is not None or gpus:
            name = "cluster" if cluster is not None else "ray_gpus"
            raise ValueError(f"{name} needs ray: say how many actors are to play there")
        each = _envs_for(batch, workers)
        return Collector(env_id, env_kwargs, workers=workers, envs_per_worker=each)
    each = _envs_for(batch, ray)
    return RayCollector(
        env_id, env_kwargs, workers=ray, envs_per_worker=each, gpus=gpus, address=cluster
    )


def _envs_for(batch: int, workers: int) -> int:
    """Environments of each worker for a batch: one more than it needs makes the next task."""
    return math.ceil(batch / max(workers, 1)) + (workers > 0)
