"""The report: runs as one HTML file that opens without a network.

`runs` reads folders, `episodes` replays traces and draws them, `tables` and `figures` say what the
numbers are and look like, `page` puts it all into the templates.
"""
