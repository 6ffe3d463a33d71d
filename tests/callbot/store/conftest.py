"""Both call stores, each new and empty, and the records that the scenes begin with."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from callbot import store_firestore
from callbot.calls import Call, Reservation, Turn
from callbot.store import CallStore
from callbot.store_firestore import FirestoreCallStore
from callbot.store_sqlite import SqliteCallStore

T = TypeVar("T")
NOW = datetime.now(UTC).replace(microsecond=123_456)


@pytest.fixture(params=["sqlite", pytest.param("firestore", marks=pytest.mark.firestore)])
def open_another(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], CallStore]]:
    """Opens the test's store once more, as another process or instance would."""
    opened: list[CallStore] = []
    if request.param == "firestore":
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", request.getfixturevalue("firestore_address"))
        # What is promised here is the outcome; the deadlines, for which a busy machine is too slow, have tests alone.
        monkeypatch.setattr(store_firestore, "OPERATION_SECONDS", 15.0)
        monkeypatch.setattr(store_firestore, "RESERVE_SECONDS", 30.0)
    project = f"callbot-{uuid.uuid4().hex[:12]}"

    def open_() -> CallStore:
        firestore = request.param == "firestore"
        store: CallStore = FirestoreCallStore(project) if firestore else SqliteCallStore(tmp_path / "calls.db")
        opened.append(store)
        return store

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(open_another: Callable[[], CallStore]) -> CallStore:
    return open_another()


def a_call(sid: str = "CA" + "1" * 32, **fields: object) -> Call:
    given = {"direction": "inbound", "from_": "+819012345678", "to": "+815012345678", "agent": "takumi"}
    return Call(**{"sid": sid, "engine": "amivoice", "created_at": NOW, **given, **fields})  # type: ignore[arg-type]  # a test's shorthand


def a_turn(n: int, **fields: object) -> Turn:
    given = {"role": "agent", "text": "はい。", "engine": "amivoice", "generation": 1, "at": NOW}
    return Turn(**{"n": n, **given, **fields})  # type: ignore[arg-type]  # a test's shorthand


def a_reservation(id_: str = "a" * 64, **fields: object) -> Reservation:
    given = {"fingerprint": "f", "request": {"phoneNumber": "+819012345678"}, "created_at": NOW}
    return Reservation(**{"id": id_, **given, **fields})  # type: ignore[arg-type]  # a test's shorthand


def all_at_once(times: int, do: Callable[[int], T]) -> list[T]:
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(do, range(times)))
