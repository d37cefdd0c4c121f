"""Tasks: a question about a medium, and where questions come from."""
