"""The record of a memory: its tables, and how a file of them is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

RECORD = "memory.sqlite"
"""The file of a memory's folder."""
VERSION = 3
FLOATS = np.dtype("<f4")
"""Of the vectors, on every machine."""

_SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE queries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    created REAL NOT NULL,
    place INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    task_type TEXT NOT NULL,
    question TEXT NOT NULL,
    media_digest TEXT NOT NULL,
    vector BLOB NOT NULL
);
CREATE INDEX queries_by_medium ON queries (media_digest);
CREATE TABLE images (digest TEXT PRIMARY KEY, webp BLOB NOT NULL);
CREATE TABLE query_images (
    query INTEGER NOT NULL REFERENCES queries ON DELETE CASCADE,
    rollout INTEGER NOT NULL,
    place INTEGER NOT NULL,
    image TEXT NOT NULL REFERENCES images,
    PRIMARY KEY (query, rollout, place)
);
CREATE INDEX query_images_by_image ON query_images (image);
CREATE TABLE traces (
    query INTEGER NOT NULL REFERENCES queries ON DELETE CASCADE,
    place INTEGER NOT NULL,
    trace BLOB NOT NULL,
    tokens BLOB,
    gains BLOB NOT NULL,
    fidelity REAL NOT NULL,
    weight REAL NOT NULL,
    PRIMARY KEY (query, place)
);
CREATE TABLE votes (
    query INTEGER PRIMARY KEY REFERENCES queries ON DELETE CASCADE,
    answer TEXT,
    confidence REAL NOT NULL,
    margin REAL NOT NULL,
    exemplar INTEGER,
    ops TEXT NOT NULL,
    neighbours TEXT NOT NULL,
    learned INTEGER NOT NULL
);
"""

_UPDATES = """
CREATE TABLE updates (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    step INTEGER NOT NULL,
    said TEXT NOT NULL
);
"""

_MIGRATIONS = {
    # What was not learned from had been written without its exemplar.
    1: """
ALTER TABLE votes ADD COLUMN learned INTEGER NOT NULL DEFAULT 0;
UPDATE votes SET learned = exemplar IS NOT NULL;
""",
    2: _UPDATES,
}
"""By version: what makes the next one of it."""


class InvalidMemory(ValueError):
    """A memory that cannot be opened or does not hold together; the message says what is wrong."""


def open_record(path: Path) -> sqlite3.Connection:
    """The database, with the newest schema; begun where there is none.

    Raises:
        InvalidMemory: The file is no memory, one of a newer version, or locked.
    """
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    try:
        for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            db.execute(f"PRAGMA {setting}")
        if _version(db, path) < VERSION:
            db.execute("BEGIN IMMEDIATE")
            version = _version(db, path)  # another process may have been quicker
            steps = (
                [_SCHEMA, _UPDATES]
                if version == 0
                else [_MIGRATIONS[v] for v in range(version, VERSION)]
            )
            for statement in filter(str.strip, "".join(steps).split(";")):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        db.close()
        locked = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
        what = "is held by another process" if locked else "is no memory"
        raise InvalidMemory(f"{path} {what}: {error}") from None
    except InvalidMemory:
        db.close()
        raise
    return db


def _version(db: sqlite3.Connection, path: Path) -> int:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise InvalidMemory(
            f"{path} was written by a newer Pixelis (schema {version}; this one knows {VERSION}): "
            "update it"
        )
    return version
