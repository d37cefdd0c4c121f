"""What is installed, whether it fits together, and what each extra still lacks."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from functools import cache
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pixelis_env import __version__
from pixelis_env.doctor.check import Check, pip_install
from pixelis_env.doctor.outcome import Outcome
from pixelis_env.errors import one_line

DISTRIBUTION = "pixelis"
_OWN = "dev"
"""The extra of those who work on Pixelis: `make` installs what goes with it beside."""

SHARED_MODULES = {
    "cv2": (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
    "decord": ("decord", "eva-decord", "decord2"),
}
"""Distributions that put their files into the same module, where the last one installed wins and
uninstalling any of them breaks the others."""

DOUBTFUL = (
    (
        "decord==0.6.0",
        "gives wrong frames of HEVC and MPEG-TS and opens no AV1: Pixelis refuses it there",
        "use decoder='pyav' for those files",
    ),
)
"""Releases with a known fault: which, the fault, what to do."""


def checks() -> list[Check]:
    """The base's packages, and one check for each extra."""
    where = f"{__name__}:"
    base = [
        Check("packages", "base", f"{where}base", needed=True),
        Check("packages", "conflicts", f"{where}conflicts"),
        Check("packages", "known faults", f"{where}doubtful"),
    ]
    return base + [
        Check("extras", extra, f"{where}look_at_extra", (extra,), extra=extra) for extra in extras()
    ]


def extras() -> list[str]:
    """The extras of the installed distribution for its users, in the order of its metadata."""
    try:
        found = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return []
    return [str(extra) for extra in found if extra != _OWN]


def base() -> Outcome:
    """Whether everything that the base needs is there and can be imported."""
    if not _installed(DISTRIBUTION):
        return Outcome(
            "note",
            f"Pixelis {__version__} is not installed, only imported from its folder: what it needs "
            "cannot be looked up",
            "pip install -e . in that folder",
        )
    return _look(list(_direct("")), "", "")


def look_at_extra(extra: str) -> Outcome:
    """Whether everything that an extra names itself is there and can be imported."""
    return _look(list(_direct(extra)), extra, f"{DISTRIBUTION}[{extra}]")


def conflicts() -> Outcome:
    """Whether packages are as others want them, and no two install the same module."""
    wrong, mend = [], ""
    for module, names in SHARED_MODULES.items():
        there = [name for name in names if _installed(name)]
        if len(there) > 1:
            wrong.append(f"{' and '.join(there)} both are the module {module}")
            mend = f"pip uninstall {' '.join(there)}, then {pip_install(there[0])}"
    for name, requirement in _everything():
        found = _version(requirement.name)
        if found is not None and not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{name} wants {requirement.name}{requirement.specifier}, not {found}")
            mend = mend or pip_install(f"{requirement.name}{requirement.specifier}")
    if wrong:
        return Outcome("note", "; ".join(wrong), mend)
    return Outcome("ok", "what is installed fits together")


def doubtful() -> Outcome:
    """Whether a release with a known fault is installed."""
    for text, fault, mend in DOUBTFUL:
        requirement = Requirement(text)
        found = _version(requirement.name)
        if found is not None and requirement.specifier.contains(found, prereleases=True):
            return Outcome("note", f"{requirement.name} {found} {fault}", mend)
    return Outcome("ok", "no release with a known fault")


def _look(requirements: list[Requirement], extra: str, wanted: str) -> Outcome:
    """Whether requirements are met, and their modules can be imported."""
    lacking = [
        str(requirement)
        if found is None
        else f"{requirement.name}{requirement.specifier} (here {found})"
        for requirement in requirements
        if (found := _version(requirement.name)) is None
        or not requirement.specifier.contains(found, prereleases=True)
    ]
    if lacking:
        plain = [each.partition(";")[0].strip() for each in lacking]
        return Outcome("missing", f"lacks {', '.join(plain)}", pip_install(wanted or DISTRIBUTION))
    os.environ.setdefault("PYGLET_HEADLESS", "True")  # as benchmarks/ use it: without a display
    for requirement in requirements:
        for module in _modules(requirement.name):
            try:
                importlib.import_module(module)
            except Exception as error:  # libraries fail in any way when a part of theirs is missing
                absent = error.name if isinstance(error, ModuleNotFoundError) else None
                mend = pip_install(absent or requirement.name, again=absent is None)
                return Outcome("failed", f"import {module}: {one_line(error)}", mend)
    versions = [f"{each.name} {_version(each.name)}" for each in requirements]
    return Outcome("ok", ", ".join(versions) or "needs no package of its own")


def _direct(extra: str) -> Iterator[Requirement]:
    """What Pixelis itself names for an extra ("" for the base), here, without its other extras."""
    for text in metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if canonicalize_name(requirement.name) == DISTRIBUTION:
            continue
        applies = marker is None or marker.evaluate({"extra": extra})
        # What holds without any extra is the base's.
        if applies and (not extra or (marker is not None and not marker.evaluate({"extra": ""}))):
            yield requirement


def _everything() -> Iterator[tuple[str, Requirement]]:
    """Who wants what, for the base and the extras whose packages are all there."""
    waiting = [DISTRIBUTION] if _installed(DISTRIBUTION) else []
    waiting += [each.name for extra in extras() for each in _direct(extra)]
    seen = set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen or not _installed(name):
            continue
        seen.add(name)
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                yield name, requirement
                waiting.append(requirement.name)


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _installed(name: str) -> bool:
    return _version(name) is not None


@cache
def _tops() -> dict[str, list[str]]:
    """Canonical distribution name -> the modules that it installs."""
    found: dict[str, list[str]] = {}
    for module, names in metadata.packages_distributions().items():
        for name in names:
            found.setdefault(canonicalize_name(name), []).append(module)
    return found


def _modules(name: str) -> list[str]:
    """The modules of a distribution that are its own: some install their tests beside."""
    tops = sorted(set(_tops().get(canonicalize_name(name), [])))
    public = [top for top in tops if re.fullmatch(r"[A-Za-z]\w*", top)]
    return [top for top in public if _plain(top) == _plain(name)] or public


def _plain(name: str) -> str:
    return re.sub(r"[-_.]", "", name).lower()
