"""What a check found, and how one is carried out in this process."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pixelis_env.errors import MissingExtra, one_line

Status = Literal["ok", "note", "missing", "failed"]
"""Works; works, but see what it says; is not installed; is there and does not work."""


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        status: See `Status`.
        detail: What was seen, in a line.
        mend: What to do about it; empty where nothing is to be done.
    """

    status: Status
    detail: str
    mend: str = ""


def carry_out(run: str, arguments: Sequence[str]) -> Outcome:
    """What the function "module:function" finds, in this process."""
    module, _, function = run.partition(":")
    try:
        outcome = getattr(importlib.import_module(module), function)(*arguments)
    except MissingExtra as error:
        return Outcome("missing", str(error).partition(":")[0])
    except Exception as error:  # whatever libraries raise is what is to be told
        return Outcome("failed", one_line(error))
    assert isinstance(outcome, Outcome)
    return outcome
