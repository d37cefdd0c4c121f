"""Puts the tables of `benchmarks/results/*.json` into the pages, between their markers.

`python benchmarks/tables.py` writes; `--check` only says whether the pages are up to date.
"""

from __future__ import annotations

import json
import re
import sys

from common import RESULTS, ROOT, Table, markdown

BRIEF = (
    (
        "– in the larger rooms of level 2, of which it saw none: score",
        "tiny_agent",
        "pixelis-tiny|200",
        2,
    ),
    (
        "– its answers that differ where one result is blanked, swapped or taken away",
        "tiny_agent",
        "pixelis-tiny|all",
        7,
    ),
    ("segment, by a tight box: mask IoU", "tool_quality", "segment|grabcut|tight box|mask IoU", 5),
    (
        "read_text, letters of 16 px and more: character errors",
        "tool_quality",
        "read_text|rapidocr|letters ≥ 16 px",
        5,
    ),
    ("track, a moving object: HOTA", "tool_quality", "track|flow|moving object", 5),
    (
        "localize, an object by a view of it: temporal IoU",
        "tool_quality",
        "localize|scan|object by a view of it",
        5,
    ),
    ("environment steps, times MiniGrid's", "env_throughput", "Pixelis ÷ MiniGrid", 2),
    ("rollouts with one thread, times TRL's", "rollout_throughput", "TRL", 1),
    ("update step, times TRL's", "update_throughput", "ours ÷ TRL", 1),
    (
        "a vote over trajectories in three shifts: score",
        "voting",
        "trajectories, with neighbours",
        1,
    ),
    ("– one rollout of the same", "voting", "one rollout", 1),
    (
        "– error among the surest half of its answers",
        "voting",
        "trajectories, with neighbours",
        3,
    ),
    ("CC-RFT of `pixelis-tiny`: relative gain, greedy", "ccrft_ablation", "level 1|full", 2),
    ("– sampled, as it was trained", "ccrft_ablation", "level 1, sampled|full", 2),
    (
        "– with the default tools, not the oracle's: score",
        "tiny_agent",
        "pixelis-tiny-ccrft|500",
        2,
    ),
    ("adapting to other looks without labels: relative gain, greedy", "ttrl", "whole|greedy", 3),
    ("– sampled, as it adapts", "ttrl", "whole|sampled", 3),
    ("– the same by TTRL's majority of answers", "ttrl", "majority of answers (TTRL)|sampled", 3),
    ("– change of the score without the shift, greedy", "ttrl", "whole|greedy", 4),
    (
        "– the same where 30 % of what it met was made to agree on a wrong answer",
        "ttrl_poisoned",
        "30 % planted|greedy",
        4,
    ),
    (
        "adapting, its processes killed 200 times: answers lost",
        "kills",
        "the one that answers, or both",
        2,
    ),
)
"""What the README shows: in words, the result, how its row begins, and which cell."""

CARD = ROOT / "pixelis_agent" / "tiny" / "weights" / "card.json"
MARKED_BRIEF = re.compile(r"(<!-- results in brief -->\n).*?(<!-- end -->)", re.DOTALL)
MARKED = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def block(name: str) -> str:
    """The Markdown of one benchmark's results."""
    file = RESULTS / f"{name}.json"
    if not file.exists():
        return f"Not measured yet: `python benchmarks/{name}.py`.\n"
    result = json.loads(file.read_text())
    machine = result["machine"]
    tables = "\n\n".join(markdown(_brief(Table(**table))) for table in result["tables"])
    return (
        f"{tables}\n\n`{result['command']}` at {result['commit']}, {machine['cores']} cores "
        f"({machine['cpu']}), Python {machine['python']}{_spans(result['seeds'])}.\n"
    )


def brief() -> str:
    """The README's table: the shipped agent, then the last row that fits each line of `BRIEF`."""
    card = json.loads(CARD.read_text())
    shown = Table("", ["what", "figure [95 % interval, or range]", "command"])
    played = card["evaluation"]
    command = (
        f"`pixelis eval --policy pixelis-tiny --seed {played['seed']} --episodes {played['n']} "
        f"--types {' '.join(played['env_kwargs']['types'])}`"
    )
    for what, found, how in (
        ("`pixelis-tiny`, unseen tasks of six types, default tools: score", played, command),
        ("– of its size, trained to answer without tools", card["direct"], "in its card"),
    ):
        low, high = found["score_ci95"]
        shown.rows.append([what, f"{found['score']:.3f} [{low:.3f}, {high:.3f}]", how])
    for what, name, start, cell in BRIEF:
        file = RESULTS / f"{name}.json"
        if not file.exists():  # not measured yet
            continue
        result = json.loads(file.read_text())
        rows = [row for table in result["tables"] for row in table["rows"]]
        begins = start.split("|")
        (*_, row) = [row for row in rows if row[: len(begins)] == begins]
        shown.rows.append([what, row[cell], f"`{result['command']}`"])
    return "\n".join(markdown(shown).splitlines()[2:]) + "\n"


def _brief(table: Table) -> Table:
    """Without the oracle's rows and the reading without spaces, which stay in the JSON."""
    if table.columns[:2] != ["operation", "backend"]:
        return table
    rows = [r for r in table.rows if "oracle" not in r[1] and "without spaces" not in r[3]]
    return Table(table.title, table.columns, rows)


def _spans(seeds: list[int]) -> str:
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f", seeds {seeds[0]}–{seeds[-1]}"
    return ", seeds " + ", ".join(map(str, seeds)) if seeds else ""


PAGES = ("README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")))


def main() -> int:
    """The command; see the module."""
    stale = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        fresh = MARKED.sub(lambda m: m.group(1) + block(m.group(2)) + m.group(3), text)
        fresh = MARKED_BRIEF.sub(lambda m: m.group(1) + brief() + m.group(2), fresh)
        if fresh != text:
            stale.append(page)
            if "--check" not in sys.argv[1:]:
                (ROOT / page).write_text(fresh)
    if "--check" in sys.argv[1:]:
        print(f"stale: {', '.join(stale)}: run this script" if stale else "all up to date")
        return int(bool(stale))
    return 0


if __name__ == "__main__":
    sys.exit(main())
