"""The policy that a name stands for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixelis_agent.collect import AsyncPolicy
    from pixelis_agent.config import EvalConfig
    from pixelis_agent.policies.base import Policy

API_KEY = "PIXELIS_API_KEY"
"""The environment variable that holds the key of a server that asks for one."""


def make_policy(config: EvalConfig) -> Policy | AsyncPolicy:
    """The policy that `config.policy` names.

    Raises:
        ValueError: It names none.
        OSError: No model is found under that name, or no server answers there.
    """
    name = config.policy
    if name in ("random", "oracle"):
        from pixelis_agent.policies.scripted import OraclePolicy, RandomPolicy

        return RandomPolicy() if name == "random" else OraclePolicy()
    if name.startswith(("http://", "https://")):
        from pixelis_agent.policies.server import ServerPolicy

        servers = [
            ServerPolicy(
                address,
                config.model,
                api_key=os.environ.get(API_KEY),
                tools="native" if config.native_tools else "text",
                concurrency=config.batch,
                temperature=config.temperature,
                max_tokens=config.max_tokens,
            )
            for address in name.split(",")
        ]
        if len(servers) == 1:
            return servers[0]
        from pixelis_agent.policies.servers import ServersPolicy

        return ServersPolicy(servers)
    from pixelis_agent.models.load import SHIPPED, load_model

    if name not in SHIPPED and "/" not in name and not Path(name).exists():
        raise ValueError(
            f"there is no policy {name!r}: give random, oracle, {', '.join(SHIPPED)}, a model's "
            "folder, a hub id with a slash, or the http address of a server"
        )
    from pixelis_agent.learning.training import one_thread
    from pixelis_agent.policies.vlm import VLMPolicy

    if config.device in (None, "cpu"):
        one_thread()
    loaded = load_model(name, dtype=config.dtype, device_map=config.device)
    return VLMPolicy(
        loaded.model,
        loaded.processor,
        temperature=config.temperature,
        max_new_tokens=config.max_tokens,
        grammar=config.grammar,
        name=name,
    )
