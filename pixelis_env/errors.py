"""The errors that cross module borders."""

from __future__ import annotations


class InvalidCall(ValueError):
    """An operation that cannot be carried out as asked.

    Tools and codecs raise it; the environment turns it into `ToolError` evidence, so it never
    leaves `PixelisEnv.step`. The message says what was wrong and what would have been valid.
    """


class MissingExtra(ImportError):
    """A backend's package is not installed; the message holds the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs packages that are not installed: pip install 'pixelis[{extra}]'"
        )
