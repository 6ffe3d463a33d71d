"""How often Firestore is asked for what a caller waits for: each time is milliseconds of silence, and money."""

import time

import pytest

from callbot import firestore_rpc
from callbot.calls import Flow, StreamState
from callbot.store import PutTurn, Update, Writer
from callbot.store_firestore import FirestoreCallStore
from tests.callbot.store.conftest import NOW, a_call, a_turn

pytestmark = pytest.mark.firestore
SID = a_call().sid


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls to Firestore, by their names."""
    names: list[str] = []

    def counted(name: str) -> None:
        asks = getattr(firestore_rpc.Rpc, name)

        def ask(self: firestore_rpc.Rpc, *given: object, **named: object) -> object:
            names.append(name)
            return asks(self, *given, **named)

        monkeypatch.setattr(firestore_rpc.Rpc, name, ask)

    for name in ("get", "get_all", "query", "create", "update", "commit"):
        counted(name)
    return names


@pytest.fixture
def firestore(firestore_address: str, monkeypatch: pytest.MonkeyPatch) -> FirestoreCallStore:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_address)
    return FirestoreCallStore(f"callbot-cost-{time.time_ns():x}")


def test_a_new_call_is_begun_without_looking_first(firestore: FirestoreCallStore, asked: list[str]) -> None:
    assert firestore.begin(a_call()) == firestore.get(SID)
    assert asked == ["create", "get"]


def test_a_call_that_is_there_is_returned_and_left_alone(firestore: FirestoreCallStore, asked: list[str]) -> None:
    first = firestore.begin(a_call())
    assert firestore.begin(a_call(agent="another")) == first == firestore.get(SID)
    assert asked == ["create", "create", "get", "get"]


def test_the_functions_fields_are_written_without_looking(firestore: FirestoreCallStore, asked: list[str]) -> None:
    firestore.begin(a_call())
    flow = Flow(turn=1, sentence=2, step="words", at=NOW)
    firestore.update(SID, Writer.FUNCTIONS, {"flow": flow, "end_reason": "goodbye"})
    assert asked == ["create", "update"]
    stored = firestore.get(SID)
    assert stored is not None
    assert (stored.flow, stored.end_reason, stored.agent) == (flow, "goodbye", a_call().agent)


def test_a_call_that_is_not_there_stays_absent(firestore: FirestoreCallStore, asked: list[str]) -> None:
    firestore.update(SID, Writer.FUNCTIONS, {"end_reason": "goodbye"})
    assert asked == ["update"]
    assert firestore.get(SID) is None


def test_what_may_be_stale_is_compared_first(firestore: FirestoreCallStore, asked: list[str]) -> None:
    firestore.begin(a_call())
    firestore.open_stream(SID, 2, NOW)
    asked.clear()
    firestore.update(SID, Writer.STREAM, {"stream": StreamState(generation=1)})
    assert asked == ["get_all"]


def test_turns_are_written_without_looking(firestore: FirestoreCallStore, asked: list[str]) -> None:
    firestore.write_all([PutTurn(SID, a_turn(1))])
    firestore.write_all([PutTurn(SID, a_turn(n)) for n in range(1, 101)])
    assert asked == ["commit", "commit"]
    assert len(firestore.turns(SID)) == 100


def test_what_is_written_of_many_calls_in_one_go_is_one_look_and_one_commit(
    firestore: FirestoreCallStore, asked: list[str]
) -> None:
    calls = [firestore.open_stream(firestore.begin(a_call(f"CA{n:032}")).sid, 1, NOW) for n in range(20)]
    asked.clear()
    turns = [PutTurn(call.sid, a_turn(1)) for call in calls]
    firestore.write_all([*turns, *(Update(call.sid, Writer.STREAM, {"stream": call.stream}) for call in calls)])
    assert asked == ["get_all", "commit"]
