"""The default tools keep every law of the operations."""

from __future__ import annotations

import pytest

from pixelis_env.tools import Toolbox
from tests.laws import (  # noqa: F401  (importing a file of laws enters them in LAWS)
    laws_common,
    laws_localize,
    laws_properties,
    laws_read_text,
    laws_segment,
    laws_track,
    laws_zoom,
)
from tests.laws.law import LAWS


@pytest.fixture(scope="module")
def toolbox() -> Toolbox:
    return Toolbox()


@pytest.mark.parametrize("name", sorted(LAWS))
def test_default_tools_keep(name: str, toolbox: Toolbox) -> None:
    LAWS[name].put_to(toolbox)
