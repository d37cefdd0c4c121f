"""The command `pixelis`: one subcommand a phase, each with the fields of its settings as options.

Only what a subcommand needs is imported, so that help is quick.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        help: One line about it.
        config: "module:dataclass" of its settings; None: `run` reads the arguments by itself, and
            returns the exit status.
        run: "module:function" that takes the settings and returns a JSON-able mapping; where that
            says `"ok": False`, what was to be checked does not hold.
    """

    help: str
    config: str | None
    run: str


COMMANDS = {
    "cota": Command(
        "write chain-of-thought-action traces from the oracle",
        "pixelis_agent.cota.generate:CotaConfig",
        "pixelis_agent.cota.generate:run",
    ),
    "sft": Command(
        "phase 1: fine-tune a model on traces",
        "pixelis_agent.config:SFTConfig",
        "pixelis_agent.sft:train",
    ),
    "ccrft": Command(
        "phase 2: learn from what the operations return",
        "pixelis_agent.config:CCRFTConfig",
        "pixelis_agent.ccrft:train",
    ),
    "ttrl": Command(
        "phase 3: adapt to a new place, without labels",
        "pixelis_agent.config:TTRLConfig",
        "pixelis_agent.ttrl.train:train",
    ),
    "eval": Command(
        "play held-out tasks and score a policy",
        "pixelis_agent.config:EvalConfig",
        "pixelis_agent.evaluate:run",
    ),
    "demo": Command(
        "watch the shipped agent play unseen rooms, and learn",
        "pixelis_agent.demo:DemoConfig",
        "pixelis_agent.demo:run",
    ),
    "audit": Command(
        "change what operations return and see whether the answers change",
        "pixelis_agent.config:AuditConfig",
        "pixelis_agent.audit:run",
    ),
    "replay": Command(
        "play a trace again and compare it step by step",
        "pixelis_agent.replaying:ReplayConfig",
        "pixelis_agent.replaying:run",
    ),
    "report": Command(
        "make a page of runs: tables, curves, and their episodes step by step",
        "pixelis_agent.report.command:ReportConfig",
        "pixelis_agent.report.command:run",
    ),
    "play": Command(
        "be the agent in the browser, and keep what you do as demonstrations",
        "pixelis_agent.play.command:PlayConfig",
        "pixelis_agent.play.command:run",
    ),
    "serve": Command(
        "serve the environment by OpenEnv or MCP",
        "pixelis_agent.serving:ServeConfig",
        "pixelis_agent.serving:run",
    ),
    "memory": Command(
        "look after what an agent remembers",
        "pixelis_agent.memory.command:MemoryConfig",
        "pixelis_agent.memory.command:run",
    ),
    "doctor": Command(
        "see what works here, and what to do about the rest",
        None,
        "pixelis_agent.doctor:main",
    ),
}

# tyro's own options, here of the whole command, and what each takes.
_COMPLETION = {"--tyro-print-completion": 1, "--tyro-write-completion": 2}
_SHELLS = ("bash", "zsh", "tcsh")

# What a user can mend: input, a missing file or package.
_THEIRS = (ValueError, OSError, ImportError)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand.

    Args:
        argv: Without the program's name; default: the command line's.

    Returns:
        0 = done, 1 = failed, 2 = bad usage or input.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"pixelis {version('pixelis')}")
        return 0
    if arguments[0] in _COMPLETION:
        return _complete(arguments)
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"error: there is no command {name!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    _quiet()
    as_json = "--json" in rest
    command = COMMANDS[name]
    try:
        if command.config is None:
            return int(_load(command.run)(rest))
        config = parse([name, *(word for word in rest if word != "--json")])
    except SystemExit as stop:  # tyro has said what is wrong, or printed help
        return 0 if stop.code in (0, None) else 2
    except ImportError as error:
        return _say(error)
    try:
        result = _load(command.run)(config)
    except _THEIRS as error:
        return _say(error)
    except KeyboardInterrupt:
        print("stopped; run it again to continue", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps(result))
    return 1 if result.get("ok") is False else 0


def parse(words: Sequence[str]) -> Any:
    """The settings that a command line stands for.

    Args:
        words: The name of a subcommand that has settings, and its options.

    Raises:
        SystemExit: Something is wrong with the options, or help was asked for; tyro has said so.
    """
    import tyro

    name, *rest = words
    command = COMMANDS[name]
    assert command.config is not None
    return tyro.cli(
        _load(command.config),
        args=rest,
        prog=f"pixelis {name}",
        description=f"{command.help.capitalize()}. With --json the result is the last line.",
    )


def _quiet() -> None:
    """Keeps out of the output what libraries say to nobody: of a command, not of a program's."""
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers' bars too
    # peft asks transformers by a name that is on its way out.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    # peft imports bitsandbytes where it is installed, which would like a package more for CPUs.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def _complete(arguments: list[str]) -> int:
    """Prints or writes a shell's completion of all subcommands, which tyro makes.

    Args:
        arguments: `--tyro-print-completion SHELL` or `--tyro-write-completion SHELL FILE`.
    """
    option, *given = arguments
    if len(given) != _COMPLETION[option] or given[0] not in _SHELLS:
        wanted = " ".join(["SHELL", "FILE"][: _COMPLETION[option]])
        shells = ", ".join(_SHELLS)
        print(f"error: give {option} {wanted}, where SHELL is one of {shells}", file=sys.stderr)
        return 2

    def alone() -> None:
        """A subcommand that reads its arguments by itself."""

    try:
        from tyro.extras import subcommand_cli_from_dict

        known = {
            name: alone if command.config is None else _load(command.config)
            for name, command in COMMANDS.items()
        }
        subcommand_cli_from_dict(known, args=arguments, prog="pixelis")
    except SystemExit as stop:  # tyro is done, or has said what is wrong
        return 0 if stop.code in (0, None) else 2
    except ImportError as error:
        return _say(error)
    return 0


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _say(error: BaseException) -> int:
    try:
        from pixelis_env.errors import MissingExtra
    except ImportError:  # the environment itself cannot be imported, whatever `error` was
        mend = "pip install --force-reinstall pixelis"
        print(f"error: {error}\nThe base install is broken: {mend}", file=sys.stderr)
        return 1
    hint = ""
    if isinstance(error, ImportError) and not isinstance(error, MissingExtra):
        hint = '\nThe agent needs its extra: pip install "pixelis[agent]"'
    print(f"error: {error}{hint}", file=sys.stderr)
    return 2


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    own = ("COMMAND --help", "--version", "--tyro-print-completion SHELL")
    more = [f"pixelis {each}" for each in own]
    return "\n".join(["usage: pixelis COMMAND [options]", "", *lines, "", *more])


if __name__ == "__main__":
    raise SystemExit(main())
