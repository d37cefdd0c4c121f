"""The machine: system, processors, threads, memory, disk, GPU."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

from pixelis_env.doctor.check import Check
from pixelis_env.doctor.outcome import Outcome

THREADS = "OMP_NUM_THREADS"
_TESTED = ((3, 10), (3, 13))  # minor versions of Python that scripts/test_matrix.py knows
_LEAST_FREE = 2 * 1024**3  # bytes: traces, pictures and a few checkpoints of the small agent
_GIB = 1024**3


def checks() -> list[Check]:
    """What is looked at."""
    names = ("system", "python", "processors", "threads", "memory", "disk")
    looks = [Check("machine", name, f"{__name__}:{name}") for name in names]
    # The driver may take its time when it wakes a GPU up.
    return [*looks, Check("machine", "gpu", f"{__name__}:gpu", packages=("torch",), timeout_s=180)]


def system() -> Outcome:
    """Operating system and processor type."""
    return Outcome("ok", f"{platform.platform()}, {platform.machine()}")


def python() -> Outcome:
    """The interpreter."""
    own = "an environment of its own" if sys.prefix != sys.base_prefix else "the system's"
    seen = f"{platform.python_implementation()} {platform.python_version()}, {sys.prefix} ({own})"
    if not _TESTED[0] <= sys.version_info[:2] <= _TESTED[1]:
        low, high = (".".join(map(str, each)) for each in _TESTED)
        return Outcome("note", seen, f"tested with Python {low} to {high}")
    return Outcome("ok", seen)


def processors() -> Outcome:
    """How many there are, and how busy."""
    mine, busy = _mine(), ""
    if hasattr(os, "getloadavg"):
        busy = f", load {os.getloadavg()[0]:.1f}"
    return Outcome("ok", f"{mine} of {os.cpu_count()} for this process{busy}")


def threads() -> Outcome:
    """On how many threads torch and the other libraries compute."""
    said = os.environ.get(THREADS)
    seen = f"{THREADS}={said}" if said else f"{THREADS} is not set"
    if importlib.util.find_spec("torch") is not None:
        import torch

        seen += f", torch takes {torch.get_num_threads()}"
        if torch.get_num_threads() > 1:
            return Outcome(
                "note",
                f"{seen}: beside other work threads wait for each other, and a step on two was 25 "
                "times as slow as on one; training here sets one, code of yours may not",
                f"export {THREADS}=1, and take more processes (workers=) for more cores",
            )
    return Outcome("ok", seen)


def memory() -> Outcome:
    """RAM, in GiB."""
    total, free = _memory()
    if total is None:
        return Outcome("ok", "not told by this system")
    spare = "" if free is None else f", {free / _GIB:.1f} free"
    return Outcome("ok", f"{total / _GIB:.1f} GiB{spare}")


def disk() -> Outcome:
    """Space in the working folder, where runs go, and in the one for temporary files."""
    free = {
        name: shutil.disk_usage(folder).free
        for name, folder in (("here", Path.cwd()), (tempfile.gettempdir(), tempfile.gettempdir()))
    }
    seen = ", ".join(f"{size / _GIB:.1f} GiB free {name}" for name, size in free.items())
    if min(free.values()) < _LEAST_FREE:
        return Outcome("note", seen, f"runs and installations want {_LEAST_FREE / _GIB:.0f} GiB")
    return Outcome("ok", seen)


def gpu() -> Outcome:
    """What torch can compute on beside the processor; a product of matrices is really computed."""
    if importlib.util.find_spec("torch") is None:
        return Outcome("ok", "none needed: torch is not installed")
    import torch

    devices = [f"cuda:{k}" for k in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    build = f"torch {torch.__version__}"
    if not devices and torch.version.cuda is not None:
        return Outcome(
            "note",
            f"{build} is built for CUDA {torch.version.cuda}, and no GPU is found",
            "look at nvidia-smi; without a GPU the CPU build of torch is smaller",
        )
    if not devices:
        return Outcome("ok", f"none: {build} computes on the processor")
    return Outcome("ok", f"{build}: {'; '.join(map(_device, devices))}")


def _device(device: str) -> str:
    """A GPU's name, memory, whether it has bfloat16, and the time of a product."""
    import torch

    square = torch.ones(512, 512, device=device)
    started = time.perf_counter()
    total = float((square @ square).sum())  # on the way back to the CPU it waits for the GPU
    if total != 512.0**3:
        raise ArithmeticError(f"{device}: a product of matrices of ones sums up to {total:g}")
    took = f"{1e3 * (time.perf_counter() - started):.0f} ms for a product"
    if device == "mps":
        return f"mps, {took}"
    about = torch.cuda.get_device_properties(device)
    free = torch.cuda.mem_get_info(device)[0]
    half = "with" if torch.cuda.is_bf16_supported() else "without"
    return (
        f"{device} {about.name}, {free / _GIB:.1f} of {about.total_memory / _GIB:.1f} GiB free, "
        f"{half} bfloat16, {took}"
    )


def _mine() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> tuple[int | None, int | None]:
    """Bytes in all and free, where the system tells."""
    table = Path("/proc/meminfo")
    if table.is_file():
        rows = dict(line.split(":", 1) for line in table.read_text().splitlines() if ":" in line)
        total, free = (int(rows[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
        return total, free
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
    except (AttributeError, ValueError, OSError):
        return None, None
