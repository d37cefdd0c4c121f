"""The command itself: version, completion, and what it says in an install without the agent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pixelis_agent import doctor
from pixelis_agent.cli import COMMANDS, main
from pixelis_env import __version__

COMPLETE = """
source {script}
complete_as=$(complete -p pixelis | sed 's/.*-F \\([^ ]*\\).*/\\1/')
ask() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); $complete_as; echo "${{COMPREPLY[@]}}"; }}
ask pixelis ""
ask pixelis re
ask pixelis eval --ep
"""


def test_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pixelis {__version__}\n"


def test_bash_completes_commands_and_their_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--tyro-print-completion", "bash"]) == 0
    script = tmp_path / "pixelis.bash"
    script.write_text(capsys.readouterr().out)
    done = subprocess.run(
        ["bash", "-c", COMPLETE.format(script=script)], capture_output=True, text=True
    )
    every, some, option = (line.split() for line in done.stdout.splitlines())
    assert set(COMMANDS) <= set(every)
    assert set(some) == {name for name in COMMANDS if name.startswith("re")}
    assert option == ["--episodes"]


def test_zsh_gets_a_completion_of_its_own(tmp_path: Path) -> None:
    script = tmp_path / "_pixelis"
    assert main(["--tyro-write-completion", "zsh", str(script)]) == 0
    assert script.read_text().startswith("#compdef pixelis\n")


@pytest.mark.parametrize(
    "words",
    [
        ["--tyro-print-completion"],
        ["--tyro-print-completion", "cmd"],
        ["--tyro-write-completion", "zsh"],
    ],
)
def test_a_wrong_shell_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "one of bash, zsh, tcsh" in capsys.readouterr().err


def run_with_broken(folder: Path, packages: tuple[str, ...], *words: str) -> Any:
    """The command where these packages cannot be imported."""
    for package in packages:
        (folder / f"{package}.py").write_text(f"raise ImportError('no {package}')")
    return subprocess.run(
        [sys.executable, "-m", "pixelis_agent.cli", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )


def test_an_environment_that_is_not_there_is_an_error_in_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["eval", "--policy", "oracle", "--env", "Nothing-v0", "--workers", "0"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: no environment is called 'Nothing-v0': choose from Pixelis-v0, ")
    assert said.count("\n") == 1


def test_it_starts_without_the_agent(tmp_path: Path) -> None:
    """The base install has the command: what needs no agent runs, the rest names the extra."""
    without = ("tyro", "torch", "transformers")
    refused = run_with_broken(tmp_path, without, "eval", "--policy", "random")
    assert refused.returncode == 2
    assert 'pip install "pixelis[agent]"' in refused.stderr
    assert "Traceback" not in refused.stderr
    seen = run_with_broken(tmp_path, without, "doctor", "localize")
    assert seen.returncode == 0, seen.stderr
    assert "what is needed works (1 ok)" in seen.stdout


def test_a_broken_base_is_named(tmp_path: Path) -> None:
    done = run_with_broken(tmp_path, ("gymnasium",), "doctor")
    assert done.returncode == 1
    assert "no gymnasium\nThe base install is broken: pip install" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_lets_the_shipped_agent_play() -> None:
    torch.set_num_threads(1)
    outcome = doctor.play()
    assert outcome.status == "ok"
    assert "score 1" in outcome.detail
