"""Measures of fidelity and process: overlap, text, tracking, and how answers were reached.

`overlap`, `text` and `tracking` have the measures of one pair, `fidelity`, `tracking` and `process`
classes that add many up: `update(...)`, then `compute()`, whose figures print and plot.
"""
