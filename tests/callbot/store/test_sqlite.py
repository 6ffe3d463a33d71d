"""The SQLite store as a file among processes: shared, restarted, locked, damaged, or made by somebody else."""

import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from callbot import sqlite_schema
from callbot.calls import Status, StatusReport
from callbot.errors import ConfigError, StoreError
from callbot.store import CallStore, PutTurn, Writer, open_store
from callbot.store_firestore import FirestoreCallStore
from callbot.store_sqlite import SqliteCallStore
from tests.callbot.store.conftest import NOW, a_call, a_reservation, a_turn, all_at_once

SID = a_call().sid

# One of several processes that open the same new file and want the same things.
RIVAL = """
import sys
from tests.callbot.store.conftest import *
from callbot.store import OverLimitError, PutTurn, TicketUsedError
store = SqliteCallStore(sys.argv[1])
store.begin(a_call())
try:
    store.open_stream(a_call().sid, 1, NOW)
    print("claimed")
except TicketUsedError:
    pass
for n in range(10):
    store.write_all([PutTurn(a_call().sid, a_turn(int(sys.argv[2]) * 10 + n + 1))])
    try:
        print("reserved", store.reserve(a_reservation(f"{sys.argv[2]}-{n}"), {"day:1": 15})[1])
    except OverLimitError:
        pass
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


def test_processes_share_one_new_file(path: Path) -> None:
    root = Path(__file__).parents[3]
    rivals = [
        subprocess.Popen([sys.executable, "-c", RIVAL, str(path), str(n)], cwd=root, stdout=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    said = "".join(rival.communicate(timeout=50)[0] for rival in rivals)
    assert [rival.returncode for rival in rivals] == [0] * 4
    assert said.count("claimed") == 1
    assert said.count("reserved True") == 15
    assert [turn.n for turn in SqliteCallStore(path).turns(SID)] == list(range(1, 41))


def test_a_killed_process_loses_nothing(path: Path) -> None:
    dies = "import os, signal, sys\nfrom tests.callbot.store.conftest import *\n"
    dies += "SqliteCallStore(sys.argv[1]).begin(a_call())\nos.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", dies, str(path)], cwd=Path(__file__).parents[3], timeout=50, check=False)
    assert SqliteCallStore(path).get(SID) is not None


def test_many_threads_of_one_process_get_their_turn(path: Path) -> None:
    store = SqliteCallStore(path)
    all_at_once(100, lambda n: store.begin(a_call(f"CA{n:032}")))
    assert len(store.recent(1000)) == 100
    assert len(store._spare) <= 8
    store.close()


@pytest.fixture
def locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> CallStore:
    """A store whose file another process is writing to, and goes on doing so."""
    store = SqliteCallStore(path)
    store.begin(a_call())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("callbot.store_sqlite.BUSY_SECONDS", 0.3)
    store.__dict__["_other"] = other  # kept open as long as the store
    return store


def test_a_locked_file_is_a_store_error_in_time(locked: CallStore) -> None:
    began = time.monotonic()
    with pytest.raises(StoreError, match="locked") as failure:
        locked.report_status(SID, StatusReport(Status.RINGING, NOW))
    assert 0.2 < time.monotonic() - began < 5
    assert failure.value.retryable


def test_a_locked_file_can_still_be_read(locked: CallStore) -> None:
    call = locked.get(SID)
    assert call is not None
    assert call.status is Status.QUEUED


def test_all_who_wait_for_a_locked_file_give_up_in_time(locked: CallStore) -> None:
    began = time.monotonic()

    def write(_: int) -> bool:
        with pytest.raises(StoreError):
            locked.write_all([PutTurn(SID, a_turn(1))])
        return True

    assert all(all_at_once(10, write))
    assert time.monotonic() - began < 5


def test_a_newer_schema_is_refused(path: Path) -> None:
    SqliteCallStore(path).close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {sqlite_schema.SCHEMA_VERSION + 1}")
    with pytest.raises(ConfigError, match=r"schema 2; this callbot knows 1"):
        SqliteCallStore(path)


def test_a_file_of_another_kind_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("my letters" * 1000)
    with pytest.raises(ConfigError, match="not an SQLite database"):
        SqliteCallStore(path)
    assert path.read_text() == "my letters" * 1000


def test_a_folder_that_is_not_there_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        SqliteCallStore(tmp_path / "nowhere" / "calls.db")


def test_a_damaged_file_is_a_store_error(path: Path) -> None:
    store = SqliteCallStore(path)
    store.begin(a_call())
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE calls SET document = '{\"sid\": 1'")
    with pytest.raises(StoreError, match="cannot be read"):
        store.get(SID)
    with pytest.raises(StoreError) as failure:
        store.update(SID, Writer.FUNCTIONS, {"end_reason": "busy"})
    assert not failure.value.retryable
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DROP TABLE turns")
    with pytest.raises(StoreError, match="no such table"):
        store.turns(SID)


def test_a_closed_store_is_a_store_error(path: Path) -> None:
    store = SqliteCallStore(path)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.get(SID)


def test_what_has_expired_is_swept_out_of_the_file(path: Path) -> None:
    store = SqliteCallStore(path)
    old = NOW - timedelta(days=40)
    for n in range(3):
        store.begin(a_call(f"CA{n:032}", created_at=old))
        store.write_all([PutTurn(SID, a_turn(n + 1, at=old))])
        store.reserve(a_reservation(f"r{n}", created_at=old), {f"day:{n}": 1})
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE limits SET expire_at = 0")
    store.reserve(a_reservation("new"), {"day:0": 1})  # the counter of an old day counts no more
    with closing(sqlite3.connect(path)) as other:
        left = {
            table: other.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 -- our own names
            for table in ("calls", "turns", "outbound", "limits")
        }
    assert left == {"calls": 0, "turns": 0, "outbound": 1, "limits": 1}


def test_a_store_in_memory_is_refused() -> None:
    with pytest.raises(ConfigError):
        SqliteCallStore(":memory:")


def test_the_address_chooses_the_store(path: Path) -> None:
    assert isinstance(open_store(f"sqlite:{path}"), SqliteCallStore)
    store = open_store("firestore:my-project/calls")
    assert isinstance(store, FirestoreCallStore)
    assert (store._project, store._database) == ("my-project", "calls")
    for address in ("", "sqlite:", "firestore:", "redis:x", "calls.db"):
        with pytest.raises(ConfigError, match=re.escape(repr(address))):
            open_store(address)
