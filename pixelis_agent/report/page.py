"""The page: what there is to show of some runs, put into the templates."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pixelis_agent.report import figures, tables
from pixelis_agent.report.episodes import VERDICTS, Album, Shown
from pixelis_agent.report.runs import Run
from pixelis_agent.tally import SOLVED
from pixelis_env import __version__
from pixelis_env.errors import MissingExtra

if TYPE_CHECKING:
    from jinja2 import Environment

_LINE = 110
"""Characters of a question in the list of episodes."""

# What a metric belongs to; those that are nowhere here are the optimizer's and the clock's.
_LEARNING = ("score", "held_out_score", "vote_score", "confidence", "margin", "abstained")
_LOSSES = ("imitation", "number", "box", "point", "time", "reference", "pointing")
_PROCESS = ("rapr", "racpr", "chain_length", "invalid_rate", "answer_rate")
_HELD = ("kl", "kl_after", "beta", "kept")


@dataclass(frozen=True)
class Chart:
    """A figure of the page. `runs`: the places of those in it; `svg`: safe to stand in a page."""

    title: str
    svg: str
    runs: Sequence[int]


def render(runs: Sequence[Run], episodes: Mapping[int, Sequence[Shown]], album: Album) -> str:
    """The page, whole.

    Args:
        runs: In the order in which they are shown.
        episodes: Of the evaluations, by the run's place.
        album: Their pictures.

    Raises:
        MissingExtra: Jinja or Matplotlib is not installed.
    """
    environment = templates()
    loader = environment.loader
    assert loader is not None
    sources = [loader.get_source(environment, name)[0] for name in ("page.js", "report.js")]
    script = "\n".join(sources)
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    names = [run.name for run in runs]
    risks = {k: curve for k, run in enumerate(runs) if (curve := tables.selective(run))}
    shown = [(place, n, one) for place, own in episodes.items() for n, one in enumerate(own)]
    return environment.get_template("report.html").render(
        version=__version__,
        script=script,
        script_hash=base64.b64encode(digest).decode("ascii"),
        names=names,
        series=figures.SERIES,
        summary=tables.summary(runs),
        paired=tables.paired(runs),
        per_type=tables.per_type(runs),
        calls=tables.CALLS,
        mix={k: parts for k, own in episodes.items() if (parts := tables.tool_mix(own))},
        episode_rewards=tables.episode_rewards(names, episodes),
        training=tables.training(runs),
        learning=_metrics(runs, lambda name: name in (*_LEARNING, *_LOSSES)),
        rewards=_metrics(runs, lambda name: name.startswith("reward_")),
        process=_metrics(runs, lambda name: name in _PROCESS),
        rest=_metrics(runs, _is_rest),
        numbers=[
            (run.name, tables.curves(run.training, run.training.names))
            for run in runs
            if run.training is not None and run.training.rows
        ],
        corridors=_corridors(runs),
        risk=Chart("", figures.risk_coverage(risks), list(risks)) if risks else None,
        risk_table=tables.risk(names, risks),
        audits=list(tables.audits(runs)),
        index=[_line(*one) for one in shown],
        details=[(f"e-{place}-{n}", asdict(one)) for place, n, one in shown],
        drawn=sum(any(m.shots for m in one.moments) for _, _, one in shown),
        pictures=album.pictures,
        verdicts=VERDICTS,
        settings=[(run.name, json.dumps(_settings(run), indent=1)) for run in runs],
    )


@cache
def templates() -> Environment:
    """The templates; what they are given is escaped.

    Raises:
        MissingExtra: Jinja is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise MissingExtra("the report", "report") from None
    environment = Environment(
        loader=PackageLoader("pixelis_agent.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment


def _line(place: int, number: int, shown: Shown) -> dict[str, Any]:
    """An episode in the list; short names, since there may be thousands."""
    return {
        "r": place,
        "n": number,
        "i": shown.name,
        "task": shown.task_id,
        "t": shown.task_type,
        "s": shown.score,
        "c": 2 if (shown.score or 0) >= SOLVED else int(bool(shown.score)),
        "o": sorted(shown.ops),
        "v": shown.verdict,
        "q": shown.question[:_LINE],
        "p": int(any(moment.shots for moment in shown.moments)),
    }


def _metrics(runs: Sequence[Run], wanted: Callable[[str], bool]) -> list[Chart]:
    """A chart of each metric that is wanted, with all runs that logged it."""
    of_runs: dict[str, dict[int, figures.Curve]] = {}
    for place, run in enumerate(runs):
        if run.training is not None:
            for name in filter(wanted, run.training.names):
                of_runs.setdefault(name, {})[place] = run.training.curve(name)
    return [Chart(name, figures.metric(name, own), list(own)) for name, own in of_runs.items()]


def _is_rest(name: str) -> bool:
    return not name.startswith("reward_") and name not in (
        *_LEARNING,
        *_LOSSES,
        *_PROCESS,
        *_HELD,
    )


def _corridors(runs: Sequence[Run]) -> list[Chart]:
    charts = []
    for place, run in enumerate(runs):
        if run.training is not None and (bounds := tables.corridor(run.training)) is not None:
            kl, beta, kept = (run.training.curve(name) for name in ("kl", "beta", "kept"))
            svg = figures.divergence(place, kl, beta, kept, bounds)
            charts.append(Chart("", svg, [place]))
    return charts


def _settings(run: Run) -> dict[str, Any]:
    """What a run was made with."""
    said: dict[str, Any] = {}
    if run.training is not None:
        said[run.training.phase] = run.training.settings
    if (played := run.evaluation) is not None:
        said["eval"] = {
            name: getattr(played, name)
            for name in ("policy", "played_with", "env", "env_kwargs", "seed", "versions")
        }
    return said
