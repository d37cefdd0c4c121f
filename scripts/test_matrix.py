"""Installs the wheel in clean environments, for each Python and each extra, and looks what works.

`python scripts/test_matrix.py [--python 3.12 ...] [--extra base agent ...] [--wheel FILE]`, or
`make test-matrix`. Each cell is a new virtual environment, deleted afterwards: the wheel with one
extra (`base`: with none) under constraints.txt, then `pixelis doctor --extra NAME` in it, far from
the repository. It says ok, failed, or why it was skipped: there is no such Python here, a package
has no release for it, pip finds torch only as a build for CUDA of several GB (`--cuda` installs
it), or torchvision or torchcodec only for another build of torch. The exit status is 1 where a cell
failed. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from email import message_from_string
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
BASE = "base"
LIMIT_S = 3600
INSTALL = ("install", "-q", "-c", str(ROOT / "constraints.txt"))
NO_RELEASE = re.compile("No matching distribution found|requires a different Python")
"""What pip says where a package is not to be had for this Python."""
OTHER_TORCH = re.compile(r"operator torchvision::nms does not exist|libtorchcodec\w*\.so")
"""What torchvision and torchcodec say that are built for another torch (or FFmpeg): pip cannot tell
their builds apart."""


@dataclass(frozen=True)
class Cell:
    """One environment.

    Attributes:
        python: Version, "3.12".
        extra: Extra, or "base".
        status: "ok", "skipped" or "failed".
        seconds: What the installation took.
        megabytes: Of disk that the environment takes.
        seen: What works, or why not.
    """

    python: str
    extra: str
    status: str
    seconds: float = 0.0
    megabytes: int = 0
    seen: str = ""

    def __str__(self) -> str:
        """A row of a table in Markdown."""
        took = f"{self.seconds:.0f} | {self.megabytes}" if self.megabytes else "|"
        return f"| {self.python} | {self.extra} | {self.status} | {took} | {self.seen} |"


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="VERSION")
    parser.add_argument("--extra", nargs="+", metavar="NAME", help="default: base and every extra")
    parser.add_argument("--wheel", type=Path, help="default: built from this repository")
    parser.add_argument("--cuda", action="store_true", help="install a CUDA build of torch as well")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pixelis-matrix-") as folder:
        wheel = (args.wheel or build(Path(folder))).resolve()
        known = [BASE, *extras(wheel)]
        unknown = [extra for extra in args.extra or () if extra not in known]
        if unknown:
            parser.error(f"no extra {unknown[0]!r}: there are {', '.join(known)}")
        failed = False
        print("| Python | extra | result | install, s | on disk, MB | what worked, or why not |")
        print("|---|---|---|---|---|---|", flush=True)
        for python in args.python:
            interpreter = find(python)
            for extra in args.extra or known:
                if interpreter is None:
                    cell = Cell(python, extra, "skipped", seen=f"no Python {python} is found here")
                else:
                    cell = fill(interpreter, python, extra, wheel, Path(folder), args.cuda)
                failed |= cell.status == "failed"
                print(cell, flush=True)
    return 1 if failed else 0


def build(folder: Path) -> Path:
    """The wheel of this repository."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def extras(wheel: Path) -> list[str]:
    """The extras that the wheel offers its users; `dev` is for work on the repository."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        said = message_from_string(archive.read(name).decode())
    return [extra for extra in said.get_all("Provides-Extra", []) if extra != "dev"]


def find(python: str) -> str | None:
    """An interpreter of that version that runs: pyenv's, one on the PATH, or one that uv knows."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [str(folder / "bin" / "python") for folder in sorted(pyenv.glob(f"{python}.*"))]
    found += [path for path in [shutil.which(f"python{python}")] if path is not None]
    if shutil.which("uv") is not None:
        done = subprocess.run(["uv", "python", "find", python], capture_output=True, text=True)
        found += [done.stdout.strip()] if done.returncode == 0 else []
    code = "import sys; print('{}.{}'.format(*sys.version_info))"
    for path in found:
        done = subprocess.run([path, "-c", code], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip() == python:
            return path
    return None


def fill(interpreter: str, python: str, extra: str, wheel: Path, folder: Path, cuda: bool) -> Cell:
    """Makes the environment of one cell, looks, and deletes it."""
    venv, work = folder / "venv", folder / "work"
    work.mkdir(exist_ok=True)
    subprocess.run([interpreter, "-m", "venv", str(venv)], check=True)
    bin_ = venv / ("Scripts" if os.name == "nt" else "bin")
    wanted = str(wheel) if extra == BASE else f"{wheel}[{extra}]"
    pip = [str(bin_ / "python"), "-m", "pip", *INSTALL]
    try:
        # The second question takes pip long, so it is asked only where the first says that it may.
        asked = () if cuda or extra == BASE else ("torch", wanted)
        if asked and all(is_for_cuda(interpreter, each) for each in asked):
            return Cell(python, extra, "skipped", seen="pip finds torch for CUDA only (--cuda)")
        started = time.monotonic()
        done = subprocess.run([*pip, wanted], capture_output=True, text=True, timeout=LIMIT_S)
        if done.returncode:
            return Cell(python, extra, *refusal(done.stderr))
        seconds = round(time.monotonic() - started, 1)
        size = sum(file.lstat().st_size for file in venv.rglob("*") if not file.is_dir())
        status, seen = look(bin_, extra, work)
        return Cell(python, extra, status, seconds, round(size / 1e6), seen)
    except subprocess.TimeoutExpired:
        return Cell(python, extra, "failed", seen=f"pip took more than {LIMIT_S} s")
    finally:
        shutil.rmtree(venv)


@cache
def is_for_cuda(interpreter: str, wanted: str) -> bool:
    """Whether pip would install a build of torch for CUDA; nothing is installed."""
    dry = ["--dry-run", "--ignore-installed", "--report", "-", wanted]
    command = [interpreter, "-m", "pip", *INSTALL, *dry]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode:
        return False  # the installation will say what is wrong
    packages = (each["metadata"]["name"] for each in json.loads(done.stdout)["install"])
    return any(name.startswith("nvidia-") for name in packages)


def refusal(said: str) -> tuple[str, float, int, str]:
    """Why pip did not install: skipped where there is no release, else failed."""
    errors = [line for line in said.splitlines() if line.startswith("ERROR:")] or [said.strip()]
    none = NO_RELEASE.search(said)
    return ("skipped" if none else "failed", 0.0, 0, errors[-1][:200])


def look(bin_: Path, extra: str, work: Path) -> tuple[str, str]:
    """What the doctor finds in an environment: status, and what works or does not."""
    needed = [] if extra == BASE else ["--extra", extra]
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [str(bin_ / "pixelis"), "doctor", "--json", *needed]
    done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        return "failed", done.stderr.strip()[-300:]
    return verdict(json.loads(done.stdout), extra)


def verdict(said: dict[str, Any], extra: str) -> tuple[str, str]:
    """A cell's status and what was seen, by what the doctor said as JSON."""
    findings = said["findings"]
    if not said["ok"]:
        wrong = [f for f in findings if f["needed"] and f["status"] in ("missing", "failed")]
        if wrong and all(OTHER_TORCH.search(finding["detail"]) for finding in wrong):
            return "skipped", "what pip finds is built for another torch, or FFmpeg"
        return "failed", "; ".join(f"{f['subject']} {f['name']}: {f['detail']}" for f in wrong)
    mine = None if extra == BASE else extra
    worked = [f for f in findings if f["needed"] and f["status"] == "ok" and f["extra"] == mine]
    if mine is None:
        return "ok", f"all {len(worked)} checks of the base"
    return "ok", ", ".join(f"{f['subject']} {f['name']}" for f in worked)


if __name__ == "__main__":
    sys.exit(main())
