"""What an agent met before: see `Memory`."""

from pixelis_agent.memory.entries import Entry, Neighbour, Voted
from pixelis_agent.memory.schema import InvalidMemory
from pixelis_agent.memory.store import Memory
from pixelis_agent.memory.upkeep import export, stats, verify
from pixelis_agent.memory.vectors import Encoder, HybridEncoder, WordLlamaWords

__all__ = [
    "Encoder",
    "Entry",
    "HybridEncoder",
    "InvalidMemory",
    "Memory",
    "Neighbour",
    "Voted",
    "WordLlamaWords",
    "export",
    "stats",
    "verify",
]
