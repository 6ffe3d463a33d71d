"""Whom the functions connect to while Twilio waits for a document: the stream service, to wake it, and nobody else.

The store is SQLite here, which needs no connection, so whoever is connected to is somebody a caller would wait for.
"""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest

from callbot.calls import NextStep
from callbot.store import CallStore, PutTurn, Writer
from tests.functions.conftest import Functions
from tests.functions.scenes import CALL_SID, CALLER, OUR_NUMBER, a_call, a_turn

STREAM_SERVICE = ("127.0.0.1", 1)
RINGING = {"From": CALLER, "To": OUR_NUMBER, "CallStatus": "ringing", "Direction": "inbound"}


@dataclass
class Guard:
    """Lets no connection be made and no name be looked up, and keeps who was asked for."""

    asked_for: set[Any] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self, address: Any) -> NoReturn:
        with self.lock:
            self.asked_for.add(address)
        raise ConnectionRefusedError(f"nobody may be connected to here: {address}")

    def look_up(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        if host == STREAM_SERVICE[0]:  # no name: what is connected to next is seen there
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        return self.connect((host, port))


@pytest.fixture
def guard(functions: Functions, environment: pytest.MonkeyPatch) -> Iterator[Guard]:
    guard = Guard()
    environment.setenv("STREAM_URL", f"ws://{STREAM_SERVICE[0]}:{STREAM_SERVICE[1]}/ws")
    with pytest.MonkeyPatch.context() as sockets:
        sockets.setattr(socket.socket, "connect", lambda _socket, address: guard.connect(address))
        sockets.setattr(socket.socket, "connect_ex", lambda _socket, address: guard.connect(address))
        sockets.setattr(socket, "getaddrinfo", guard.look_up)
        yield guard


def test_the_guard_sees_a_vendor(guard: Guard) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("api.openai.com", 443), timeout=1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    assert guard.asked_for == {("api.openai.com", 443), ("127.0.0.1", 9)}


@pytest.mark.parametrize("path", ["/twiml", "/incoming-call"])
@pytest.mark.parametrize("form", [{}, {"AnsweredBy": "machine_start"}], ids=["a human", "a machine"])
def test_a_call_is_answered_without_any_vendor(
    functions: Functions, guard: Guard, path: str, form: dict[str, str]
) -> None:
    answer = functions.post(path, RINGING | form)
    assert answer.status_code == 200
    assert b"<Response>" in answer.data
    assert guard.asked_for <= {STREAM_SERVICE}


@pytest.mark.parametrize("engine", ["amivoice", "realtime"])
@pytest.mark.parametrize(
    "query",
    [
        {"step": "idle", "prompts": 0},
        {"step": "idle", "prompts": 9},
        {"step": "words", "turn": 3, "sentence": 0},
        {"step": "words", "turn": 3, "sentence": 1},
        {"step": "resume", "generation": 1},
        {"step": "resume", "generation": 1, "failures": 9},
        {"step": "transfer", "target": "operator"},
        {"step": "transferred", "target": "operator", "generation": 1},
        {"step": "no such step"},
    ],
    ids=lambda query: "-".join(str(value) for value in query.values()),
)
@pytest.mark.parametrize("next_step", [None, "resume", "goodbye", "transfer"])
def test_a_call_goes_on_without_any_vendor(
    functions: Functions, store: CallStore, guard: Guard, engine: Any, query: dict[str, str | int], next_step: Any
) -> None:
    store.begin(a_call(engine=engine))
    store.write_all([PutTurn(CALL_SID, a_turn(complete=True))])
    if next_step:
        store.update(CALL_SID, Writer.STREAM, {"next_step": NextStep(1, next_step, "では。", "operator")})
    answer = functions.post("/call-flow", {"CallStatus": "in-progress", "DialCallStatus": "busy"}, query)
    assert answer.status_code == 200
    assert b"<Response>" in answer.data
    assert guard.asked_for == set()


@pytest.mark.parametrize(
    "form",
    [
        {"CallStatus": "ringing", "SequenceNumber": "1"},
        {"CallStatus": "in-progress", "SequenceNumber": "2"},
        {"CallStatus": "completed", "SequenceNumber": "3", "CallDuration": "60"},
        {"StreamEvent": "stream-started", "StreamName": "g1"},
        {"StreamEvent": "stream-error", "StreamName": "g0"},
        {"AnsweredBy": "human"},
        {"RecordingUrl": "https://api.twilio.com/recording", "CallStatus": "in-progress"},
    ],
    ids=lambda form: "-".join(form.values()),
)
def test_news_of_a_call_is_taken_in_without_any_vendor(
    functions: Functions, store: CallStore, guard: Guard, form: dict[str, str]
) -> None:
    store.begin(a_call())
    assert functions.post("/call-events", form).status_code == 204
    assert guard.asked_for == set()
