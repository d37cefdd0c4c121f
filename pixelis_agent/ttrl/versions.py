"""Versions of an adapter on the disk: published whole, found by their number, never half-read."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pixelis_agent.files import whole

KEPT = 3
"""Versions that stay: a reader may still be at one that has just been followed."""


class Versions:
    """A folder of versions and the name of the newest.

    Args:
        folder: Where they are; made by the first that is published.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._newest = folder, folder / "newest.json"

    @property
    def newest(self) -> int:
        """The number of the newest version; -1 before there is any."""
        try:
            return int(json.loads(self._newest.read_text())["version"])
        except FileNotFoundError:
            return -1

    def publish(self, model: Any, version: int) -> None:
        """Writes a model's adapter as a version and names it the newest.

        One that is not newer is there already, or was followed: who makes updates again after a
        crash makes the same. At any moment either it is there, whole and named, or the one before
        is.
        """
        from peft import get_peft_model_state_dict
        from safetensors.torch import save

        if version <= self.newest:
            return
        data = save(
            {
                name: weight.detach().cpu().contiguous()
                for name, weight in get_peft_model_state_dict(model, adapter_name="default").items()
            }
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write(self._file(version), data)
        named = {"version": version, "sha256": hashlib.sha256(data).hexdigest()}
        self._write(self._newest, json.dumps(named).encode())
        for old in sorted(self._folder.glob("*.safetensors")):
            if int(old.stem) <= version - KEPT:
                old.unlink()

    def load(self, model: Any) -> int:
        """Puts the newest version into a model's adapter.

        Returns:
            Its number.

        Raises:
            ValueError: There is none, or its file is not what was published; the model is as it
                was.
        """
        from peft import set_peft_model_state_dict
        from safetensors.torch import load

        try:
            named = json.loads(self._newest.read_text())
            data = self._file(named["version"]).read_bytes()
        except FileNotFoundError as error:
            raise ValueError(f"no version of an adapter is in {self._folder}: {error}") from None
        if hashlib.sha256(data).hexdigest() != named["sha256"]:
            raise ValueError(f"version {named['version']} in {self._folder} was changed")
        set_peft_model_state_dict(model, load(data), adapter_name="default")
        return int(named["version"])

    def _file(self, version: int) -> Path:
        return self._folder / f"{version:08d}.safetensors"

    def _write(self, path: Path, data: bytes) -> None:
        with whole(path) as unfinished, unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
