"""A process that remembers one thing after another, says so each time, and is killed."""

from __future__ import annotations

import sys

from pixelis_agent.memory import Memory
from tests.agent.test_memory import SIZE, entry_of, trace_of, vector_of


def main() -> None:
    trace = trace_of(0)
    # Few entries are searched exactly, so that graphs are made and saved too.
    with Memory(sys.argv[1], "e", SIZE, exact=20) as memory:
        print("ready", flush=True)
        for k in range(10**6):
            print(memory.add(entry_of(k, [trace, trace]), vector_of(k)), flush=True)
            if k % 10 == 9:
                memory.prune(60)


if __name__ == "__main__":
    main()
