"""Runs to report on, as the commands write them, and a reader of the page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from pixelis_agent.audit import Effect, causal_rapr
from pixelis_agent.config import CCRFTConfig, SFTConfig
from pixelis_agent.evaluate import evaluate
from pixelis_agent.log import Log, write_settings
from pixelis_agent.policies.base import Episode
from pixelis_agent.policies.scripted import OraclePolicy, ScriptedPolicy, call_text

INDICES = (0, 1, 2, 3)
KWARGS = {"types": ["text_read", "time_first"], "tools": "oracle"}
PLANTED = "<script>alert(1)</script>"

KL = [0.0, 0.12, 0.18, 0.7]
SCORES = [0.25, 0.5, 0.5, 0.75]


def planted(episode: Episode) -> str:
    """Zooms with a thought that is no thought, calls nothing properly, and answers markup."""
    said = [
        f'{PLANTED} & "quotes" {call_text("zoom", {"box": [0, 0, 500, 500], "time": 1.0})}',
        call_text("zoom", {"box": [0, 0, 5000, 500]}),
        f"<answer>{PLANTED}</answer>",
    ]
    return said[len(episode.turns)]


def write_runs(folder: Path) -> dict[str, Path]:
    """An oracle's and a hostile policy's evaluations, two trainings' logs and an audit."""
    runs = {name: folder / name for name in ("oracle", "planted", "ccrft", "sft", "audit")}
    for name, policy in (
        ("oracle", OraclePolicy()),
        ("planted", ScriptedPolicy(planted, f"<img src=x onerror={PLANTED}>")),
    ):
        evaluate(
            policy, env_kwargs=KWARGS, indices=INDICES, out=runs[name], workers=0, progress=False
        )
    write_settings(CCRFTConfig("pixelis-tiny", runs["ccrft"]), runs["ccrft"])
    log = Log(runs["ccrft"], 4)
    for step, (kl, score) in enumerate(zip(KL, SCORES, strict=True), start=1):
        kept = float(kl < 0.6)
        paid = {"reward_task": score, "reward_curiosity": 0.1 * step}
        log.write(step, {"score": score, "kl": kl, "beta": 0.04, "kept": kept, **paid})
    log.write(4, {"held_out_score": 0.625})
    log.close()
    write_settings(SFTConfig((folder / "demos",), runs["sft"]), runs["sft"])
    log = Log(runs["sft"], 80)
    for step in range(1, 81):
        log.write(step, {"imitation": 1 / step, "box": 2 / step, "grad_norm": 1.0})
    log.close()
    effects = [
        Effect(k, 1, "zoom", how, "A", "B" if how == "blank" else "A", 1.0, 0.0)
        for k in range(4)
        for how in ("blank", "unchanged")
    ]
    parts = {
        how: causal_rapr([e for e in effects if e.how == how]) for how in ("blank", "unchanged")
    }
    runs["audit"].mkdir()
    (runs["audit"] / "audit.json").write_text(json.dumps({"figures": {"zoom": parts}}))
    return runs


_VOID = {"meta", "img", "input", "br", "hr", "link", "use", "path", "rect"}


class Page(HTMLParser):
    """A page's elements; raises where they do not nest.

    Attributes:
        elements: Each one's name and attributes, in order.
        ids: Of the elements.
        data: What each JSON script holds, by its id.
        tables: Of each table, by its region's label, the cells of its rows.
        text: All text outside scripts and styles.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.data: dict[str, Any] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.text = ""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self._table: list[list[str]] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.elements.append((tag, own))
        if own.get("id"):
            self.ids.append(str(own["id"]))
        if tag not in _VOID:
            self._open.append((tag, own))
        if own.get("class") == "wide":
            self._table = self.tables.setdefault(str(own["aria-label"]), [])
        if tag == "tr":
            self._table.append([])
        if tag in ("th", "td"):
            self._table[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.elements.append((tag, own))
        if own.get("id"):
            self.ids.append(str(own["id"]))

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        opened, _ = self._open.pop()
        assert opened == tag, f"<{opened}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        tag, attributes = self._open[-1] if self._open else ("", {})
        if tag == "script":
            if attributes.get("type") == "application/json":
                self.data[str(attributes["id"])] = json.loads(data)
            elif "type" not in attributes:
                self.data["script"] = data
        elif tag != "style":
            self.text += data
            if any(name in ("th", "td") for name, _ in self._open):
                self._table[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a name."""
        return [own for name, own in self.elements if name == tag]
