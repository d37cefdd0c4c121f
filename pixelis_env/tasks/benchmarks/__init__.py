"""Public benchmarks, read from a local folder in the layout they are published in."""
