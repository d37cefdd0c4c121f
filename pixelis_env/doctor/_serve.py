"""What runs in the process that checks are carried out in.

Run by `pixelis_env._worker_main`. `start` is given where modules are imported from, as JSON; each
request is ["module:function", argument, ...], each answer an `Outcome`, both as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable


def start(path: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    """Makes imports find what the asking process would find."""
    sys.path[:] = json.loads(path)
    from dataclasses import asdict

    from pixelis_env.doctor.outcome import carry_out

    def answer(request: bytes) -> bytes:
        run, *arguments = json.loads(request)
        return json.dumps(asdict(carry_out(run, arguments))).encode()

    return b"", answer
