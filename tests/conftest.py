"""One profile for hypothesis: the same examples on every machine, and no wall-clock deadline."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Windows of render_mode="human" open in memory: a test machine has no screen.
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

settings.register_profile(
    "default",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("default")
