"""The arguments of commands that start a server, and a warning about one that is open."""

from __future__ import annotations

import argparse
import ipaddress
import json
import sys
from typing import Any


def add_server_arguments(parser: argparse.ArgumentParser, port: int) -> None:
    """What every server's command takes."""
    parser.add_argument("--env", default="Pixelis-v0", help="the environment's id")
    parser.add_argument(
        "--env-kwargs",
        type=_mapping,
        default={},
        metavar="JSON",
        help="its keyword arguments, such as '{\"level\": 2}'",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=port, help="the port to listen on")


def warn_if_open(host: str) -> None:
    """Says that a server which others can reach asks nobody who they are."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        print(
            f"warning: whoever reaches {host} can use this server, which has no passwords; "
            "listen on 127.0.0.1 and put a proxy with access control in front of it",
            file=sys.stderr,
        )


def _mapping(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"a JSON object is needed, not {text}")
    return value
