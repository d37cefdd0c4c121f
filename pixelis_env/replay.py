"""Plays a trace again and says whether everything came out the same.

`python -m pixelis_env.replay trace.json` exits with 0 when it did, 1 when a step diverged, 2 when
the trace cannot be read or played.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym

from pixelis_env.env import PixelisEnv
from pixelis_env.evidence import canonical_json
from pixelis_env.media.base import MediaError
from pixelis_env.tasks import BENCHMARKS
from pixelis_env.tools.cache import RESULTS
from pixelis_env.trace import Step, Trace, TraceError


@dataclass(frozen=True)
class ReplayReport:
    """What came of a replay.

    Attributes:
        ok: Whether every step, and the task itself, came out the same.
        diverged_at: The first step that did not, from 1; 0 = the task; None = none.
        detail: What differed, old and new.
    """

    ok: bool
    diverged_at: int | None
    detail: str

    def __str__(self) -> str:
        if self.ok:
            return f"replayed: {self.detail}"
        where = f"step {self.diverged_at}" if self.diverged_at else "the task"
        return f"diverged at {where}: {self.detail}"


def replay(
    trace: Trace,
    *,
    media: str | Path | None = None,
    root: str | Path | None = None,
    env: gym.Env[Any, Any] | None = None,
) -> ReplayReport:
    """Executes a trace's actions again and compares what comes back, step by step.

    Args:
        trace: The trace.
        media: The file to play on, for a trace of a media file or a manifest.
        root: The folder of the benchmark, for a trace of one.
        env: The environment to play on, wrapped or not, for a trace of one that was given objects.

    Raises:
        TraceError: The trace does not say enough to be played: `media`, `root` or `env` is needed.
    """
    RESULTS.clear()  # what was computed once must not be compared with itself
    if env is not None:
        return _compare(trace, env.unwrapped)
    own = rebuild(trace, media, root)
    try:
        return _compare(trace, own)
    finally:
        own.close()


def replay_file(
    path: str | Path, media: str | Path | None = None, root: str | Path | None = None
) -> tuple[ReplayReport, PixelisEnv]:
    """Replays a trace's file.

    Args:
        path: The trace.
        media: The file that it was played on, for a trace of a media file or manifest; default:
            the file of that name beside the trace.
        root: The folder that holds the files, for a trace of a benchmark.

    Returns:
        What came of it, and the environment as the replay left it: its workspace holds what the
        replay found.

    Raises:
        TraceError: The trace cannot be read or played.
    """
    trace = Trace.load(path)
    if media is None and trace.header.media_file is not None:
        media = Path(path).parent / trace.header.media_file
    env = rebuild(trace, media, root)
    try:
        return replay(trace, env=env), env
    finally:
        env.close()


def rebuild(
    trace: Trace, media: str | Path | None = None, root: str | Path | None = None
) -> PixelisEnv:
    """The environment that a trace was played in.

    Args:
        trace: The trace.
        media: The file, for a trace of a media file or manifest.
        root: The folder that holds the files, for a trace of a benchmark.

    Raises:
        TraceError: The trace does not say enough, or what it says cannot be built.
    """
    if not trace.header.portable:
        raise TraceError("the trace's environment was given objects: pass it as env=")
    kwargs: dict[str, Any] = dict(trace.header.kwargs)
    if trace.header.media_file is not None:
        if media is None:
            raise TraceError(f"the trace was played on {trace.header.media_file!r}: pass media=")
        kwargs["source"] = media
    if kwargs.get("source") in BENCHMARKS:
        if root is None:
            raise TraceError(f"the trace was played on {kwargs['source']}: pass root=, its folder")
        kwargs["root"] = root
    try:
        return PixelisEnv(**kwargs)
    except (TypeError, ValueError, MediaError, ImportError) as error:
        raise TraceError(f"the trace's environment cannot be built: {error}") from None


def _compare(trace: Trace, env: Any) -> ReplayReport:
    if not isinstance(env, PixelisEnv):
        raise TypeError(f"env must be a Pixelis environment, not {type(env).__name__}")
    try:
        env.reset(options={"index": trace.header.index})
    except (ValueError, RuntimeError, MediaError) as error:
        raise TraceError(f"the trace's task cannot be played: {error}") from None
    found = env.trace().header
    for name in ("task_id", "question", "media_digest", "tools"):
        old, new = getattr(trace.header, name), getattr(found, name)
        if old != new:
            return ReplayReport(False, 0, f"{name} was {_short(old)}, is {_short(new)}")
    for number, recorded in enumerate(trace.steps, start=1):
        try:
            env.step(recorded.action)
        except gym.error.ResetNeeded:
            return ReplayReport(False, number, "the episode was over before this step")
        difference = _difference(recorded, env.steps[-1])
        if difference is not None:
            return ReplayReport(False, number, difference)
    again = env.trace()
    for name in ("answer", "score"):
        old, new = getattr(trace, name), getattr(again, name)
        if old != new:
            return ReplayReport(False, len(trace.steps), f"the {name} was {old!r}, is {new!r}")
    return ReplayReport(True, None, f"{len(trace.steps)} steps, score {trace.score}")


def _difference(old: Step, new: Step) -> str | None:
    """The first field in which two steps differ, or None."""
    was, now = old.model_dump(mode="json"), new.model_dump(mode="json")
    if canonical_json(was) == canonical_json(now):
        return None
    for part in ("evidence", "reward_terms"):
        if was[part] == now[part]:
            continue
        if not (isinstance(was[part], dict) and isinstance(now[part], dict)):
            return f"{part} was {_short(was[part])}, is {_short(now[part])}"
        for key in sorted({*was[part], *now[part]}):
            a, b = was[part].get(key), now[part].get(key)
            if a != b:
                return f"{part}.{key} was {_short(a)}, is {_short(b)}"
    return "the action was read differently"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "..."


def main(argv: list[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(prog="python -m pixelis_env.replay", description=__doc__)
    parser.add_argument("trace", type=Path, help="a trace's JSON file")
    parser.add_argument(
        "--media",
        type=Path,
        help="the image, video or manifest, for a trace of one; "
        "default: the file of that name beside the trace",
    )
    parser.add_argument("--root", type=Path, help="the folder, for a trace of a benchmark")
    args = parser.parse_args(argv)
    try:
        report, _ = replay_file(args.trace, args.media, args.root)
    except TraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
