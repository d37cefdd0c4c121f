"""Writes the generated pages and pictures: `python docs/make_docs.py`.

`docs/environments/` and `docs/operations.md` come from the docstrings, the laws and the code's own
tables, and so do the settings between their markers in the other pages; `docs/images/` from seeds
and results. Nothing in them is written by hand. `--pages` leaves the pictures as they are.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser
import gymnasium as gym
from docstring_parser import DocstringStyle

import pixelis_env
from pixelis_agent.cli import COMMANDS
from pixelis_env.actions import ACTION_TYPES, ToolCallCodec
from pixelis_env.env import PixelisEnv
from pixelis_env.rooms.questions import TYPES
from pixelis_env.tasks.rooms import RoomsSource
from pixelis_env.tools.registry import BACKENDS, DEFAULTS

DOCS = Path(__file__).resolve().parent
GENERATED = "<!-- written by docs/make_docs.py -->\n\n"
RESULTS = DOCS.parent / "benchmarks" / "results"
FIGURES = re.compile(r"(<!-- figures -->\n).*?(<!-- end -->)", re.DOTALL)
SETTINGS = re.compile(r"(<!-- settings: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
COMMON = "every operation"


def environment(env_id: str) -> str:
    """The page of one registered id: what it asks, and what every id shares."""
    family = gym.spec(env_id).kwargs["family"]
    described = docstring_parser.parse(inspect.getdoc(PixelisEnv) or "", DocstringStyle.GOOGLE)
    lines = [GENERATED + f"# {env_id}\n", f"{described.short_description}\n"]
    lines.append(
        "```python\nimport gymnasium as gym\n\nimport pixelis_env\n\n"
        f'env = gym.make("{env_id}")\n```\n'
    )
    lines.append(f"![An episode of {env_id}](../images/{env_id}.jpg)\n")
    lines.append("What the oracle did, with the default backends: the medium, then what each call")
    lines.append("returned.\n\n## Question types\n\n| type | metric | for example |\n|---|---|---|")
    for kind in (k for k in TYPES.values() if family in (k.family, "all")):
        lines.append(f"| `{kind.name}` | {kind.metric} | {asked(kind.name)} |")
    if family == "all":
        lines.append("\nEach type is asked equally often.")
    lines += ["", described.long_description or "", "\n## Arguments\n"]
    lines.append("| argument | default | meaning |\n|---|---|---|")
    defaults = inspect.signature(PixelisEnv).parameters
    for argument in described.params:
        default = json.dumps(defaults[argument.arg_name].default)
        meaning = (argument.description or "").replace("\n", " ")
        lines.append(f"| `{argument.arg_name}` | `{default}` | {meaning} |")
    return "\n".join([*lines, ""])


@cache
def asked(name: str) -> str:
    """A question of this type with its options."""
    task = RoomsSource(TYPES[name].family, types=[name]).task(0)
    options = "" if task.options is None else f" ({' / '.join(task.options)})"
    return task.question.replace("\n", " ") + options


def operations() -> str:
    """The page of the operations: what each takes, its laws, its schema and its backends."""
    laws = laws_by_operation()
    lines = [GENERATED + "# Operations\n"]
    lines.append(
        "A law is a property that holds for whatever is drawn: any picture or clip, any box,"
    )
    lines.append(
        "point, span. Each is a test by its name in `tests/laws`; a test of the tests plants a"
    )
    lines.append(
        "fault for each law and checks that the law finds it (`test_laws_can_fail.py`). Which"
    )
    lines.append("backends keep which: [backends](backends.md).\n")
    lines += ["## What every operation keeps\n", *law_table(laws[COMMON])]
    schemas = {t["name"]: t["input_schema"] for t in ToolCallCodec().schemas("anthropic")}
    for name, model in ACTION_TYPES.items():
        lines.append(f"## {name}\n\n{inspect.getdoc(model)}\n")
        lines.append("| argument | required | meaning |\n|---|---|---|")
        schema = schemas[name]
        for argument, field in schema["properties"].items():
            required = "yes" if argument in schema.get("required", ()) else ""
            lines.append(f"| `{argument}` | {required} | {field.get('description', '')} |")
        lines.append("")
        lines += law_table(laws.get(name, []))
        if name in BACKENDS:
            named = ", ".join(f"`{b}`" for b in BACKENDS[name])
            lines.append(f"Backends: {named}; default `{DEFAULTS[name]}`.\n")
        lines.append(f"Schema:\n\n```json\n{json.dumps(schema)}\n```\n")
    return "\n".join(lines)


def laws_by_operation() -> dict[str, list[tuple[str, str]]]:
    """The laws' names and what they say, by operation."""
    sys.path.insert(0, str(DOCS.parent))  # they are tests
    from tests.laws.test_laws import LAWS

    laws: dict[str, list[tuple[str, str]]] = {COMMON: []}
    for name, law in LAWS.items():
        operation = next((op for op in ACTION_TYPES if name.startswith(f"{op}_")), COMMON)
        said = " ".join((inspect.getdoc(law.check) or "").split("\n\n")[0].split())
        laws.setdefault(operation, []).append((name, said))
    return laws


def law_table(laws: list[tuple[str, str]]) -> list[str]:
    """Lines of Markdown; none where there are no laws."""
    if not laws:
        return []
    rows = [f"| `{name}` | {said or name.replace('_', ' ')} |" for name, said in laws]
    return ["| law | says |\n|---|---|", *rows, ""]


def settings(command: str) -> str:
    """The table of a command's options, from its settings' docstring and defaults."""
    module, _, name = COMMANDS[command].config.partition(":")
    rows = options(getattr(importlib.import_module(module), name))
    return "\n".join(["\n| option | default | meaning |\n|---|---|---|", *rows, "\n"])


def options(config: Any, prefix: str = "") -> Iterator[str]:
    """A row for each field of a dataclass; those of a field that is a dataclass follow it.

    Raises:
        ValueError: A field has no line under Attributes.
    """
    kinds = [kind for kind in config.__mro__ if dataclasses.is_dataclass(kind)]
    meanings = {
        parameter.arg_name: " ".join((parameter.description or "").split())
        for kind in kinds
        for parameter in docstring_parser.parse(kind.__doc__ or "", DocstringStyle.GOOGLE).params
    }
    hints = get_type_hints(config, include_extras=True)
    # Its own come first, then what it shares with others.
    own = config.__annotations__
    for field in sorted(dataclasses.fields(config), key=lambda field: field.name not in own):
        if not meanings.get(field.name):
            raise ValueError(f"{config.__name__}.{field.name} has no line under Attributes")
        kind, meaning = hints[field.name], meanings[field.name]
        if dataclasses.is_dataclass(kind):
            yield from options(kind, f"{prefix}{field.name}.")
            continue
        kind, positional = _unmarked(kind)
        dashed = (prefix + field.name).replace("_", "-")
        option = dashed.upper() if positional else f"--{dashed}"
        if get_origin(kind) is Literal:
            meaning += f" One of {', '.join(f'`{value}`' for value in get_args(kind))}."
        yield f"| `{option}` | {_default(field)} | {meaning} |"


def _unmarked(kind: Any) -> tuple[Any, bool]:
    """A type without tyro's marks, and whether it is given by its place."""
    marked = hasattr(kind, "__metadata__")
    return (get_args(kind)[0], True) if marked else (kind, False)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "needed"
    if field.default is None or field.default in ((), ""):
        return "–"
    if isinstance(field.default, bool):
        return "yes" if field.default else "no"
    if isinstance(field.default, tuple):
        return f"`{' '.join(map(str, field.default))}`"
    return f"`{field.default}`"


def figures() -> str:
    """The table of every results file: what made it, and the pages that show it."""
    rows = ["\n| result | shown in | command | took |\n|---|---|---|---|"]
    for file in sorted(RESULTS.glob("*.json")):
        result = json.loads(file.read_text())
        shown = [p for p in sorted(DOCS.rglob("*.md")) if f"results: {file.stem} " in p.read_text()]
        links = [f"[{page.stem}]({page.relative_to(DOCS).as_posix()})" for page in shown]
        minutes = f"{result['seconds'] / 60:.1f} min" if "seconds" in result else "–"
        where = ", ".join(links) or "README"
        rows.append(f"| `{file.name}` | {where} | `{result['command']}` | {minutes} |")
    for script in sorted(RESULTS.parent.glob("*.py")):
        for name in re.findall(r'\bsave\(\s*"(\w+)"', script.read_text()):
            if not (RESULTS / f"{name}.json").exists():
                command = f"`python benchmarks/{script.name}`"
                rows.append(f"| `{name}.json` | – | {command} | not run yet |")
    return "\n".join([*rows, "\n"])


def pages() -> dict[Path, str]:
    """The generated text of every page that has any."""
    made = {DOCS / "environments" / f"{i}.md": environment(i) for i in pixelis_env.ENV_IDS}
    made[DOCS / "operations.md"] = operations()
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text()
        if page not in made and (SETTINGS.search(text) or FIGURES.search(text)):
            text = SETTINGS.sub(lambda m: m.group(1) + settings(m.group(2)) + m.group(3), text)
            made[page] = FIGURES.sub(lambda m: m.group(1) + figures() + m.group(2), text)
    return made


def main() -> None:
    """Writes everything."""
    for page, text in pages().items():
        page.parent.mkdir(exist_ok=True)
        page.write_text(text)
    if "--pages" not in sys.argv[1:]:
        import charts
        import pictures

        pictures.draw(DOCS / "images")
        charts.draw(DOCS / "images")


if __name__ == "__main__":
    main()
