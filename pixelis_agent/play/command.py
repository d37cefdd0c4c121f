"""`pixelis play`: a server for one's own browser."""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelis_env.errors import require

if TYPE_CHECKING:
    from pixelis_agent.play.table import Table


@dataclass(frozen=True)
class PlayConfig:
    """Settings of the command.

    Attributes:
        out: Folder of the corpus that games are kept in: `traces/` with each one, and a record of
            each that is worth imitating, for `pixelis sft --data`.
        env: A registered environment.
        level: Difficulty of rooms, 1..3.
        shift: Change of the rooms' looks: none, lighting, texture, camera, clutter, blur, fonts.
        types: Question types; default: all of the environment's.
        tools: One backend name for every operation that has it, e.g. "oracle"; default: the
            environment's own.
        seed: Of the order of tasks, which are those that training may use.
        video: An image or video to play on instead; needs `question`.
        question: What is asked about it.
        options: The options' texts, of a question with some.
        answer: The right answer, of options its letter; default: the game has no score.
        host: The address to listen at; anything but this machine's own lets others in who have
            the link.
        port: To listen at; 0 = any free one.
        max_upload_mb: The largest file that the page may hand over, MB, 1..10,000.
        open: Show the page in the browser.
    """

    out: Path = Path("runs/play")
    env: str = "Pixelis-v0"
    level: int = 1
    shift: str = "none"
    types: tuple[str, ...] = ()
    tools: str | None = None
    seed: int = 0
    video: Path | None = None
    question: str | None = None
    options: tuple[str, ...] = ()
    answer: str | None = None
    host: str = "127.0.0.1"
    port: int = 8765
    max_upload_mb: int = 200
    open: bool = False


def run(config: PlayConfig) -> dict[str, Any]:
    """Serves games until it is interrupted; returns where what was kept is.

    Raises:
        MissingExtra: The packages of the extra `play` are not installed.
        ValueError: Tasks that there are not, or a file that cannot be played on.
        OSError: The address cannot be listened at.
    """
    require("pixelis play", "play", "starlette", "uvicorn")
    import uvicorn

    from pixelis_agent.play.server import local_names, make_app, make_token

    with tempfile.TemporaryDirectory(prefix="pixelis-play-") as folder:
        table = make_table(config, Path(folder))
        token = make_token()
        app = make_app(table, config.out, config.max_upload_mb, token, local_names(config.host))
        with _listen(config.host, config.port) as listening:
            address = _address(config.host, listening.getsockname()[1], token)
            print(f"play at {address}\n(whoever has this link can play; Ctrl-C ends it)")
            sys.stdout.flush()
            if config.open:
                webbrowser.open(address)
            # The access log would hold the token.
            server = uvicorn.Server(
                uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
            )
            # Ended as by Ctrl-C, so that the temporary files go.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            with suppress(KeyboardInterrupt):
                server.run(sockets=[listening])
        table.close()
    kept = len(list((config.out / "traces").glob("*.json")))
    print(f"{config.out}: {kept} traces")
    return {"out": str(config.out), "traces": kept}


def make_table(config: PlayConfig, folder: Path) -> Table:
    """The table of the games that `config` asks for.

    An environment is made once here, so that wrong settings are refused before anything is served.

    Args:
        config: The settings.
        folder: For what lasts as long as the games.

    Raises:
        ValueError: A setting does not fit.
    """
    from pixelis_agent.play.keep import check_corpus, shelf_name
    from pixelis_agent.play.table import Table, own_arguments
    from pixelis_agent.task_settings import TaskSettings, env_arguments
    from pixelis_env.making import make_env
    from pixelis_env.media import MediaError

    if not 1 <= config.max_upload_mb <= 10_000:
        raise ValueError(f"max_upload_mb must be in 1..10000, not {config.max_upload_mb}")
    if config.seed < 0:
        raise ValueError(f"seed must be 0 or more, not {config.seed}")
    check_corpus(config.out)
    tasks = TaskSettings(
        level=config.level, shift=config.shift, types=config.types, tools=config.tools
    )
    kwargs = env_arguments(tasks)
    if (config.video is None) != (config.question is None):
        raise ValueError("--video and --question go together: the file, and what is asked about it")
    if config.video is None and (config.options or config.answer):
        raise ValueError("--options and --answer go with --video and --question")
    try:
        if config.video is not None:
            assert config.question is not None
            own = folder / shelf_name(config.video, config.video.name)
            own.symlink_to(config.video.resolve())
            kwargs = own_arguments(own, config.question, config.options, config.answer)
            kwargs |= {} if config.tools is None else {"tools": config.tools}
        make_env(config.env, kwargs).close()
    except MediaError as error:
        raise ValueError(str(error)) from None
    return Table(config.env, kwargs, config.seed, folder)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be in 0..65535, not {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            f"{host}:{port} cannot be listened at ({error.strerror}): give another --port, 0 for "
            "any free one, or another --host"
        ) from None


def _address(host: str, port: int, token: str) -> str:
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/{token}/"
