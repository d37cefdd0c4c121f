"""Measures of fidelity and process: overlap, text, tracking, and how answers were reached."""
