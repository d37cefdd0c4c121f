"""Episodes, many at once: in this process, in worker processes, on Ray actors."""

from pixelis_agent.collect.cluster import RayCollector
from pixelis_agent.collect.collector import AsyncPolicy, Collector, collect
from pixelis_agent.collect.collectors import AnyCollector, collector_for
from pixelis_agent.collect.finished import Finished, RolloutError

__all__ = [
    "AnyCollector",
    "AsyncPolicy",
    "Collector",
    "Finished",
    "RayCollector",
    "RolloutError",
    "collect",
    "collector_for",
]
