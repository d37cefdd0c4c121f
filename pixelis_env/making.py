"""The environment by its id, as whatever talks to a language model makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

import pixelis_env  # registers the ids
from pixelis_env.media import MediaError
from pixelis_env.wrappers import ToolCall


def make_env(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> ToolCall:
    """A registered environment, text in and text with images out.

    Raises:
        ValueError: There is no such environment, or an argument is wrong.
    """
    try:
        return ToolCall(gym.make(env_id, disable_env_checker=True, **dict(env_kwargs or {})))
    except gym.error.UnregisteredEnv:
        raise ValueError(
            f"no environment is called {env_id!r}: choose from {', '.join(pixelis_env.ENV_IDS)}"
        ) from None
    except gym.error.Error as error:  # what else gymnasium refuses says why
        raise ValueError(f"{env_id}: {error}") from error
    except TypeError as error:  # an argument that the environment does not have
        raise ValueError(f"{env_id}: {error}") from None
    except MediaError as error:
        raise ValueError(str(error)) from None
