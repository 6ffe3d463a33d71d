"""Calls in an SQLite file: the embedded store, for one machine with any number of threads and processes.

Its tables are made in `sqlite_schema.py`; no other file has SQL. What a store promises is said in `store.py`.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from callbot import records
from callbot.calls import Call, Reservation, StatusReport, Turn
from callbot.errors import CallbotError, ConfigError, RefusedError, StoreError
from callbot.sqlite_schema import BUSY_SECONDS, prepare
from callbot.store import (
    GENERATIONAL,
    LIMIT_RETENTION,
    CallUnknownError,
    OverLimitError,
    PutTurn,
    Settlement,
    Update,
    Write,
    Writer,
    claimed,
    settled,
    without_stale,
)

_EPOCH = datetime.fromtimestamp(0, UTC)
_SPARE_CONNECTIONS = 8
_GENERATIONAL = sorted(GENERATIONAL)
_STORED = ", ".join(f"json_extract(document, '$.{name}.generation')" for name in _GENERATIONAL)
_GENERATIONS = f"SELECT {_STORED} FROM calls WHERE sid = ? AND expire_at > ?"  # noqa: S608 - names of ours
# Over the same row: to replace it would be to take it out of two indexes and put it in again.
_PUT_TURN = """INSERT INTO turns VALUES (?, ?, ?, ?)
    ON CONFLICT (sid, n) DO UPDATE SET expire_at = excluded.expire_at, document = excluded.document"""
_SWEPT_AT_ONCE = 50  # expired rows of a table that go with a new record, so that no write takes long


class SqliteCallStore:
    """The call store in the file at `path`, which is created when it is not there; its folder must be.

    Raises ConfigError when the file is no call store or one of a newer callbot, StoreError when it cannot be used now.
    Make one in each process, after any fork.
    """

    def __init__(self, path: str | Path) -> None:
        if str(path) == ":memory:":
            raise ConfigError("a call store in memory would be another one for every thread; name a file")
        self._path = str(path)
        self._writing = threading.Lock()  # threads take turns here; SQLite's own waiting is by naps and unfair
        self._spare: list[sqlite3.Connection] = []
        self._closed = False
        with self._connection() as connection:
            prepare(connection)

    def begin(self, call: Call) -> Call:
        document = records.call_document(call)
        sid = records.key(call.sid)
        with self._transaction() as connection:
            _sweep(connection)
            row = connection.execute("SELECT document FROM calls WHERE sid = ? AND expire_at > ?", (sid, _now()))
            if stored := row.fetchone():
                return records.call_of(records.from_json(stored[0]))
            values = (sid, _micros(call.created_at), _micros(document["expire_at"]), records.to_json(document))
            connection.execute("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?)", values)
        return records.call_of(document)

    def get(self, sid: str) -> Call | None:
        with self._connection() as connection:
            return _call(connection, sid)

    def recent(self, limit: int, before: datetime | None = None) -> list[Call]:
        until = _micros(before) if before else _micros(datetime.max.replace(tzinfo=UTC))
        query = "SELECT document FROM calls WHERE created_at < ? AND expire_at > ? ORDER BY created_at DESC LIMIT ?"
        with self._connection() as connection:
            rows = connection.execute(query, (until, _now(), max(0, limit))).fetchall()
        return [records.call_of(records.from_json(row[0])) for row in rows]

    def report_status(self, sid: str, report: StatusReport) -> tuple[Call, bool] | None:
        with self._transaction() as connection:
            if (call := _call(connection, sid)) is None:
                return None
            after = call.after(report)
            if after != call:
                _save(connection, sid, records.call_document(after))
            return after, after.status is not call.status

    def update(self, sid: str, writer: Writer, changes: Mapping[str, Any]) -> None:
        self.write_all([Update(sid, writer, changes)])

    def open_stream(self, sid: str, generation: int, at: datetime) -> Call:
        with self._transaction() as connection:
            if (call := _call(connection, sid)) is None:
                raise CallUnknownError("there is no such call")
            opened = claimed(call, generation, at)
            _save(connection, sid, records.call_document(opened))
            return opened

    def write_all(self, writes: Sequence[Write]) -> None:
        with self._transaction() as connection:
            for write in writes:
                if isinstance(write, PutTurn):
                    _put_turn(connection, write.sid, write.turn)
                else:
                    _update(connection, write.sid, write.changes)

    def turns(self, sid: str) -> list[Turn]:
        if not records.is_key(sid):
            return []
        query = "SELECT document FROM turns WHERE sid = ? AND expire_at > ? ORDER BY n"
        with self._connection() as connection:
            rows = connection.execute(query, (sid, _now())).fetchall()
        return [records.turn_of(records.from_json(row[0])) for row in rows]

    def turn(self, sid: str, n: int) -> Turn | None:
        query = "SELECT document FROM turns WHERE sid = ? AND n = ? AND expire_at > ?"
        with self._connection() as connection, suppress(RefusedError):  # no turn can have that number
            row = connection.execute(query, (records.key(sid), records.turn_key(n), _now())).fetchone()
            return records.turn_of(records.from_json(row[0])) if row else None
        return None

    def reserve(self, reservation: Reservation, limits: Mapping[str, int]) -> tuple[Reservation, bool]:
        document = records.reservation_document(reservation)
        key = records.key(reservation.id)
        with self._transaction() as connection:
            _sweep(connection)
            if stored := _reservation(connection, key):
                return stored, False
            for counter, highest in limits.items():
                _count(connection, counter, highest)
            values = (key, _micros(document["expire_at"]), records.to_json(document))
            connection.execute("INSERT OR REPLACE INTO outbound VALUES (?, ?, ?)", values)
        return records.reservation_of(document), True

    def reservation(self, id_: str) -> Reservation | None:
        with self._connection() as connection:
            return _reservation(connection, id_)

    def settle(
        self,
        id_: str,
        state: Settlement,
        *,
        call_sid: str = "",
        problem: str = "",
        code: str = "",
        http_status: int = 0,
    ) -> Reservation | None:
        with self._transaction() as connection:
            if (stored := _reservation(connection, id_)) is None:
                return None
            after = settled(stored, state, call_sid, problem, code, http_status)
            document = records.to_json(records.reservation_document(after))
            connection.execute("UPDATE outbound SET document = ? WHERE id = ?", (document, id_))
            return after

    def close(self) -> None:
        self._closed = True
        while self._spare:
            self._spare.pop().close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for one thread's next few statements. Threads come and go with calls; connections stay."""
        if self._closed:
            raise StoreError("the store is closed")
        try:
            connection = self._spare.pop() if self._spare else self._connect()
        except IndexError:  # another thread took the last one
            connection = self._connect()
        try:
            yield connection
        except sqlite3.Error as exc:
            connection.close()
            raise _failure(exc) from exc
        except BaseException:
            self._give_back(connection)
            raise
        self._give_back(connection)

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as exc:
            raise _failure(exc) from exc
        try:
            # With WAL, a killed process loses nothing by this; a power cut may lose the last moments.
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error as exc:
            connection.close()
            raise _failure(exc) from exc
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._closed or len(self._spare) >= _SPARE_CONNECTIONS:
            connection.close()
        else:
            self._spare.append(connection)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection that alone may write, from before its first read. All waiting together: BUSY_SECONDS."""
        deadline = time.monotonic() + BUSY_SECONDS
        if not self._writing.acquire(timeout=BUSY_SECONDS):
            raise StoreError("too many writes are waiting")
        try:
            with self._connection() as connection:
                left = max(0, int((deadline - time.monotonic()) * 1000))
                connection.execute(f"PRAGMA busy_timeout = {left}")
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()
        finally:
            self._writing.release()


def _failure(exc: sqlite3.Error) -> CallbotError:
    if getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
        return ConfigError("the file that CALL_STORE names is not an SQLite database")
    return StoreError(f"SQLite: {exc}", retryable="malformed JSON" not in str(exc))


def _call(connection: sqlite3.Connection, sid: str) -> Call | None:
    document = _document(connection, sid)
    return records.call_of(document) if document else None


def _document(connection: sqlite3.Connection, sid: str) -> records.Document | None:
    if not records.is_key(sid):
        return None
    row = connection.execute("SELECT document FROM calls WHERE sid = ? AND expire_at > ?", (sid, _now())).fetchone()
    return records.from_json(row[0]) if row else None


def _save(connection: sqlite3.Connection, sid: str, document: records.Document) -> None:
    connection.execute("UPDATE calls SET document = ? WHERE sid = ?", (records.to_json(document), sid))


def _update(connection: sqlite3.Connection, sid: str, changes: Mapping[str, Any]) -> None:
    """SQLite takes the document apart and puts it together: half the work, and most of it not under Python's lock."""
    row = connection.execute(_GENERATIONS, (sid, _now())).fetchone() if records.is_key(sid) else None
    if row is None:
        return
    stored = {name: {"generation": n} for name, n in zip(_GENERATIONAL, row, strict=True) if n is not None}
    if fresh := records.changes_document(without_stale(stored, changes)):
        values = ", ".join(f"'$.{name}', json(?)" for name in fresh)
        update = f"UPDATE calls SET document = json_set(document, {values}) WHERE sid = ?"  # noqa: S608 - fields of ours
        connection.execute(update, (*map(records.to_json, fresh.values()), sid))


def _put_turn(connection: sqlite3.Connection, sid: str, turn: Turn) -> None:
    key, document = (records.key(sid), records.turn_key(turn.n)), records.turn_document(turn)
    connection.execute(_PUT_TURN, (*key, _micros(document["expire_at"]), records.to_json(document)))


def _reservation(connection: sqlite3.Connection, id_: str) -> Reservation | None:
    if not records.is_key(id_):
        return None
    row = connection.execute("SELECT document FROM outbound WHERE id = ? AND expire_at > ?", (id_, _now())).fetchone()
    return records.reservation_of(records.from_json(row[0])) if row else None


def _count(connection: sqlite3.Connection, key: str, highest: int) -> None:
    """Raise the counter by one; what follows OverLimitError undoes the others."""
    query = "SELECT count FROM limits WHERE key = ? AND expire_at > ?"
    row = connection.execute(query, (records.key(key), _now())).fetchone()
    count = row[0] if row else 0
    if count >= highest:
        raise OverLimitError(key)
    expire_at = _now() + LIMIT_RETENTION // timedelta(microseconds=1)
    connection.execute("INSERT OR REPLACE INTO limits VALUES (?, ?, ?)", (key, expire_at, count + 1))


def _sweep(connection: sqlite3.Connection) -> None:
    """Remove some of what has expired, so that the file does not grow for ever."""
    for table in ("calls", "turns", "outbound", "limits"):
        connection.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE expire_at <= ? LIMIT ?)",  # noqa: S608
            (_now(), _SWEPT_AT_ONCE),
        )


def _now() -> int:
    return time.time_ns() // 1000


def _micros(time_: datetime) -> int:
    return (time_ - _EPOCH) // timedelta(microseconds=1)
