"""README and docs do what they say: blocks run, commands exist, generated parts are current."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest
import tyro

from pixelis_agent.cli import COMMANDS
from pixelis_env.env import PixelisEnv
from tests.agent.documents import INCLUDED, PAGES, ROOT, Block, blocks, commands
from tests.env.benchmark_samples import vsi_bench

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

BLOCKS = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in BLOCKS if block.language == "sh"]
WEIGHTS = "needs weights that are not shipped"
# Python blocks that do not run here, by a phrase in them; every other one does.
ADAPTER = "runs in its own environment, by `make test-adapters`"
NOT_RUN = {
    "pixelis_env.serve.openenv": ADAPTER,
    "from mcp import": ADAPTER,
    "from verifiers": ADAPTER,
    '"checkpoint": ': WEIGHTS,
    '"name": "mmocr"': "needs MMOCR's own environment",
    '"name": "tesseract"': "needs Tesseract's German data; its backend has tests of its own",
    "pixelis_agent": "runs by itself, below: it starts processes",
}
# Programs that others ship; of those that a shell has, only these are used.
OTHERS = {"mkdir", "ray", "vllm", "sglang.launch_server", "vf-eval"}
README = [block for block in BLOCKS if block.page == "README.md"]


@pytest.mark.parametrize(
    "page", sorted({b.page for b in BLOCKS if b.language == "python"}), ids=str
)
def test_the_python_blocks_of_a_page_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if page == "docs/sources.md":
        vsi_bench(tmp_path / "data" / "VSI-Bench")
    names: dict[str, object] = {"__name__": "__main__"}
    for block in BLOCKS:
        if block.page != page or block.language != "python":
            continue
        if included := INCLUDED.match(block.text):
            assert (ROOT / included.group(1)).is_file(), block.place  # examples have tests
        elif not any(phrase in block.text for phrase in NOT_RUN):
            exec(compile(block.text, block.place, "exec"), names)
            if "tools" in names:
                PixelisEnv(tools=names.pop("tools"))  # type: ignore[arg-type]
    if page == "README.md":
        assert (tmp_path / "crop.png").is_file()
        assert (tmp_path / "trace.json").is_file()


def test_every_reason_not_to_run_is_needed() -> None:
    texts = [block.text for block in BLOCKS if block.language == "python"]
    assert [p for p in NOT_RUN if not any(p in text for text in texts)] == []


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.place)
def test_the_commands_of_a_block_exist(block: Block) -> None:
    parsed = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)
    assert parsed.returncode == 0, parsed.stderr
    for words in commands(block):
        assert check(words), f"{block.place}: {' '.join(words)}"


def check(words: list[str]) -> bool:
    """Whether what a command names is there; `pixelis` commands are parsed by their settings."""
    program, rest = Path(words[0]).name, words[1:]
    if program == "pixelis":
        if rest[0].startswith("--tyro-"):
            return True
        config = COMMANDS[rest[0]].config
        if "--help" in rest or config is None:
            return rest[0] in COMMANDS
        module, _, name = config.partition(":")
        options = [word for word in rest[1:] if word != "--json"]
        tyro.cli(getattr(importlib.import_module(module), name), args=options)
        return True
    if program == "make":
        target = re.escape(next((word for word in rest if "=" not in word), ""))
        return re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE) is not None
    if program in ("python", "python3"):
        if rest[0] == "-m":
            return rest[1] in OTHERS or importlib.util.find_spec(rest[1]) is not None
        return rest[0] == "-c" or (ROOT / rest[0]).is_file()
    if program == "pip":
        extras = re.findall(r"pixelis\[([\w,]+)\]", " ".join(rest))
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        return {e for named in extras for e in named.split(",")} <= set(
            known["optional-dependencies"]
        ) and all((ROOT / rest[k + 1]).is_file() for k, word in enumerate(rest) if word == "-r")
    if program == "accelerate":
        return (ROOT / rest[rest.index("--config_file") + 1]).is_file()
    return program in OTHERS


def test_every_command_has_its_settings_on_a_page() -> None:
    shown = re.findall(r"<!-- settings: (\w+) -->", "".join(page.read_text() for page in PAGES))
    typed = [name for name, command in COMMANDS.items() if command.config is not None]
    assert sorted(shown) == sorted(typed), "docs/commands.md holds a marker for each"


def test_what_is_no_command_says_so() -> None:
    untagged = [block.place for block in BLOCKS if not block.language]
    assert untagged == [], "tag them: sh, python, text, json ..."


def test_the_sdk_block_runs(tmp_path: Path) -> None:
    (block,) = [b.text for b in README if b.language == "python" and "pixelis_agent" in b.text]
    count = "episodes=100"
    assert count in block
    assert run_block(block.replace(count, "episodes=2"), tmp_path)


@pytest.mark.slow
def test_the_sdk_block_runs_as_written(tmp_path: Path) -> None:
    (block,) = [b.text for b in README if b.language == "python" and "pixelis_agent" in b.text]
    assert run_block(block, tmp_path)


def run_block(block: str, folder: Path) -> bool:
    """Whether it prints a score and its interval."""
    (folder / "block.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "block.py"], cwd=folder, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    return re.search(r"^[01]\.\d+ \(", done.stdout, re.MULTILINE) is not None


@pytest.mark.slow
def test_the_shell_blocks_of_the_readme_run_as_written(tmp_path: Path) -> None:
    """All but `make`: its targets are what is run before and around this test."""
    test_the_python_blocks_of_a_page_run("README.md", tmp_path, pytest.MonkeyPatch())
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ran = 0
    for block in README:
        if block.language == "sh" and not block.text.startswith("make "):
            done = subprocess.run(
                ["bash", "-euc", block.text],
                cwd=tmp_path,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                timeout=3000,
            )
            assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"
            ran += 1
    assert ran >= 2
    assert (tmp_path / "report.html").stat().st_size > 100_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith("#"):
            path, _, anchor = target.partition("#")
            there = page.parent / path
            assert there.exists(), f"{page.name}: {target}"
            if anchor:
                assert anchor in anchors(there), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and Python-Markdown both make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_the_generated_parts_are_current() -> None:
    script = load("docs/make_docs.py")
    stale = [page.name for page, text in script.pages().items() if page.read_text() != text]
    assert stale == [], "run `make docs`"


def test_the_tables_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/tables.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name",
    sorted(
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in ("pixelis_env", "pixelis_agent")
        for file in (ROOT / package).rglob("*.py")
        if ">>> " in file.read_text()
    ),
)
def test_the_examples_in_docstrings_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    pages = {file: file.read_text() for file in tmp_path.rglob("*.html")}
    assert len(pages) >= len(PAGES)  # less the README, and one for addresses that are wrong
    for file, text in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=[\"']?(?:https?:)?//[^>]*", text)
        loaded += re.findall(r"<link[^>]+rel=[\"']?stylesheet[^>]+href=[\"']?https?:[^>]*", text)
        assert loaded == [], file
        assert "--8<--" not in text, file
    assert "<math" in pages[tmp_path / "phases" / "ccrft" / "index.html"]
    loop = pages[tmp_path / "own" / "loop" / "index.html"]
    assert "ActorCritic" in loop
    for style in tmp_path.rglob("*.css"):
        assert re.search(r"url\([\"']?https?:|@import", style.read_text()) is None, style


def load(path: str):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_modules_imports_lead_back_to_it() -> None:
    graph = grimp.build_graph("pixelis_env", "pixelis_agent", exclude_type_checking_imports=True)
    needs = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert len(needs) > 100
    TopologicalSorter(needs).prepare()  # a circle is an error
