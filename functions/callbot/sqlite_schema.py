"""The tables of the SQLite call store: how a new file gets them, and which files are refused.

What is written to them and read is `store_sqlite.py`'s.
"""

import sqlite3
import time

from callbot.errors import ConfigError

SCHEMA_VERSION = 1
BUSY_SECONDS = 2.0  # how long an operation waits for the writes of others

_SCHEMA = """
CREATE TABLE calls (
    sid TEXT PRIMARY KEY, created_at INTEGER NOT NULL, expire_at INTEGER NOT NULL, document TEXT NOT NULL
);
CREATE TABLE turns (
    sid TEXT NOT NULL, n TEXT NOT NULL, expire_at INTEGER NOT NULL, document TEXT NOT NULL, PRIMARY KEY (sid, n)
);
CREATE TABLE outbound (id TEXT PRIMARY KEY, expire_at INTEGER NOT NULL, document TEXT NOT NULL);
CREATE TABLE limits (key TEXT PRIMARY KEY, expire_at INTEGER NOT NULL, count INTEGER NOT NULL);
CREATE INDEX calls_by_creation ON calls (created_at);
CREATE INDEX calls_by_expiry ON calls (expire_at);
CREATE INDEX turns_by_expiry ON turns (expire_at);
CREATE INDEX outbound_by_expiry ON outbound (expire_at);
CREATE INDEX limits_by_expiry ON limits (expire_at)
"""


def prepare(connection: sqlite3.Connection) -> None:
    """Give a new file its tables. ConfigError: the file is of another schema."""
    version = _version(connection)
    if version == 0:
        _use_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        if (version := _version(connection)) == 0:  # or another process has done it meanwhile
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            version = SCHEMA_VERSION
        connection.commit()
    if version != SCHEMA_VERSION:
        raise ConfigError(f"the call store has schema {version}; this callbot knows {SCHEMA_VERSION}")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work at once. SQLite does not wait by itself for this change of mode."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
