"""Firestore when it is down, slow, or its answer is lost; and what it costs a process that does not use it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from google.api_core import exceptions

from callbot import store_firestore
from callbot.calls import Status, StatusReport, StreamState
from callbot.errors import StoreError
from callbot.store import OverLimitError, PutTurn, Update, Writer
from callbot.store_firestore import FirestoreCallStore
from tests.callbot.store.conftest import NOW, a_call, a_reservation, a_turn

SID = a_call().sid


@pytest.fixture
def firestore(
    firestore_address: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> FirestoreCallStore:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_address)
    monkeypatch.setattr(store_firestore, "OPERATION_SECONDS", 15.0)
    return FirestoreCallStore(f"callbot-{abs(hash(request.node.nodeid)):x}-{time.time_ns():x}")


@pytest.fixture(params=["refuses", "never answers"])
def down(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FirestoreCallStore]:
    """A store whose Firestore refuses connections, or takes them and says nothing."""
    monkeypatch.setattr(store_firestore, "OPERATION_SECONDS", 0.2)
    monkeypatch.setattr(store_firestore, "RESERVE_SECONDS", 0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "never answers":
            listener.listen()
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{listener.getsockname()[1]}")
        store = FirestoreCallStore("callbot-down")
        yield store
        store.close()


def test_a_store_that_is_down_is_a_store_error_in_time(down: FirestoreCallStore) -> None:
    report = StatusReport(Status.RINGING, NOW)
    for operation in (
        lambda: down.begin(a_call()),
        lambda: down.get(SID),
        lambda: down.recent(10),
        lambda: down.report_status(SID, report),
        lambda: down.open_stream(SID, 1, NOW),
        lambda: down.write_all([PutTurn(SID, a_turn(1))]),
        lambda: down.turns(SID),
        lambda: down.turn(SID, 1),
        lambda: down.reserve(a_reservation(), {"day:1": 1}),
        lambda: down.reservation("a" * 64),
        lambda: down.settle("a" * 64, "unknown"),
    ):
        began = time.monotonic()
        with pytest.raises(StoreError) as failure:
            operation()
        assert failure.value.retryable
        assert time.monotonic() - began < 5


def test_a_closed_store_is_a_store_error() -> None:
    store = FirestoreCallStore("callbot-closed")
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.get(SID)


def lose_one_answer(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the next commit take effect, and its answer get lost on the way back."""
    commit = store_firestore.Rpc.commit
    lost: list[str] = []

    def commit_and_lose(self: store_firestore.Rpc, *writes: object, **named: object) -> None:
        commit(self, *writes, **named)  # type: ignore[arg-type]  # handed on as it came
        if not lost:
            lost.append("answer")
            raise exceptions.ServiceUnavailable("gone")  # type: ignore[no-untyped-call]  # the library's own gap

    monkeypatch.setattr(store_firestore.Rpc, "commit", commit_and_lose)
    return lost


@pytest.mark.firestore
def test_a_call_begins_though_the_answer_is_lost(
    firestore: FirestoreCallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lose_one_answer(monkeypatch) == []
    assert firestore.begin(a_call()).sid == SID


@pytest.mark.firestore
def test_a_move_whose_answer_is_lost_is_still_ours(
    firestore: FirestoreCallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = firestore.begin(a_call())
    lost = lose_one_answer(monkeypatch)
    moved = firestore.report_status(SID, StatusReport(Status.RINGING, NOW, 1))
    assert moved == (replace(call, status=Status.RINGING, status_sequence=1), True)
    lost.clear()
    assert firestore.open_stream(SID, 1, NOW).stream.generation == 1
    assert lost == ["answer"]


@pytest.mark.firestore
def test_a_reservation_whose_answer_is_lost_is_still_ours(
    firestore: FirestoreCallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_one_answer(monkeypatch)
    assert firestore.reserve(a_reservation(), {"day:1": 1})[1]
    assert not firestore.reserve(a_reservation(), {"day:1": 1})[1]
    with pytest.raises(OverLimitError):
        firestore.reserve(a_reservation("b"), {"day:1": 1})


@pytest.mark.firestore
def test_a_record_too_big_is_an_error_that_trying_again_does_not_help(firestore: FirestoreCallStore) -> None:
    with pytest.raises(StoreError) as failure:
        firestore.write_all([PutTurn(SID, a_turn(1, text="あ" * 400_000))])
    assert not failure.value.retryable


@pytest.mark.firestore
def test_one_record_too_big_keeps_out_all_that_goes_with_it(firestore: FirestoreCallStore) -> None:
    with pytest.raises(StoreError) as failure:
        firestore.write_all([PutTurn(SID, a_turn(1)), PutTurn(SID, a_turn(2, text="あ" * 400_000))])
    assert not failure.value.retryable
    assert firestore.turns(SID) == []


@pytest.mark.firestore
def test_what_goes_in_one_go_is_written_though_the_answer_is_lost(
    firestore: FirestoreCallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = firestore.begin(a_call())
    lost = lose_one_answer(monkeypatch)
    firestore.write_all([PutTurn(SID, a_turn(1)), Update(SID, Writer.STREAM, {"stream": StreamState(seen_at=NOW)})])
    assert lost == ["answer"]
    assert firestore.turns(SID) == [a_turn(1)]
    assert firestore.get(SID) == replace(call, stream=StreamState(seen_at=NOW))


@pytest.mark.firestore
def test_every_document_says_when_it_may_be_deleted(firestore: FirestoreCallStore) -> None:
    firestore.begin(a_call())
    firestore.write_all([PutTurn(SID, a_turn(1))])
    firestore.reserve(a_reservation(), {"day:1": 1})
    client = firestore._connected()
    names = ["calls/" + SID, f"calls/{SID}/turns/000001", "outbound/" + "a" * 64, "limits/day:1"]
    lives = [(client.document(name).get().to_dict() or {})["expire_at"] - NOW for name in names]
    assert [round(life.total_seconds() / 86_400) for life in lives] == [30, 30, 30, 2]


def test_googles_library_is_not_loaded_before_it_is_used() -> None:
    script = "import sys, callbot.store_firestore as s; s.FirestoreCallStore('p'); print('grpc' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True)
    assert ran.stdout.strip() == "False"


KEY_FILE = """
import json, pathlib, sys
from callbot.firestore_rpc import connected, load
load()
print("cryptography" in sys.modules)
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
key = rsa.generate_private_key(65537, 2048).private_bytes(pem, pkcs8, plain).decode()
account = {"type": "service_account", "client_email": "a@b.test", "token_uri": "https://t.test", "private_key": key}
pathlib.Path(sys.argv[1]).write_text(json.dumps(account))
credentials = connected("p", "(default)")._credentials.with_always_use_jwt_access(True)
credentials._create_self_signed_jwt("https://firestore.googleapis.com/")
credentials.refresh(None)
print(credentials.token.count("."))
"""


def test_cryptography_is_loaded_for_none_but_who_has_a_key_file(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    environment = {name: value for name, value in os.environ.items() if name != "FIRESTORE_EMULATOR_HOST"}
    environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(file)
    command = [sys.executable, "-c", KEY_FILE, str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True, env=environment)
    assert ran.stdout.split() == ["False", "2"]
