"""Realtime as it fails: handshakes that are refused, responses that are spoilt, lines that drop or freeze."""

import time

import openai
import pytest
from realtime_caller import MODEL, Caller
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from emulator.audio import silence
from emulator.openai import OpenAI
from emulator.openai.faults import (
    DropConnection,
    DropResponse,
    ErrorOnOpen,
    ExpireSession,
    FailResponse,
    FreezeConnection,
    IncompleteResponse,
    MissingResponse,
    RefuseHandshake,
    SlowResponse,
)

pytestmark = pytest.mark.timeout(20)  # the vendor's client waits for ever for an event that does not come


def test_handshakes_that_are_refused(server: OpenAI, client: openai.OpenAI) -> None:
    url, key = server.realtime_url, {"Authorization": "Bearer sk-right"}
    server.faults.next(RefuseHandshake(503))
    for path, headers, status in (
        (url + "?model=m", key, 503),
        (url + "?model=m", {}, 401),
        (url + "?model=m", {"Authorization": "Bearer wrong"}, 401),
        (url, key, 400),
        (url + "/x?model=m", key, 404),
    ):
        with pytest.raises(InvalidStatus) as refused:
            connect(path, additional_headers=headers)
        assert refused.value.response.status_code == status


def test_the_beta_header_closes_the_socket(server: OpenAI) -> None:
    headers = {"Authorization": "Bearer sk-right", "OpenAI-Beta": "realtime=v1"}
    with connect(server.realtime_url + "?model=m", additional_headers=headers) as beta:
        with pytest.raises(ConnectionClosedError) as closed:  # noqa: PT012 - an error event may come first
            while True:
                beta.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "beta_api_shape_disabled")


def test_an_error_instead_of_a_session(server: OpenAI, client: openai.OpenAI) -> None:
    server.faults.next(ErrorOnOpen())
    with client.realtime.connect(model=MODEL) as connection:
        assert Caller(connection).next().error.code == "insufficient_quota"
        with pytest.raises(ConnectionClosed):
            connection.recv()


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "insufficient_quota"])
def test_a_failed_response_is_no_error_event(caller: Caller, server: OpenAI, code: str) -> None:
    server.faults.next(FailResponse(code))
    caller.configure()
    caller.connection.response.create()
    done = caller.until("response.done").response
    assert (done.status, done.status_details.error.code, done.output) == ("failed", code, [])
    caller.connection.response.create()
    assert caller.until("response.done").response.status == "completed"


def test_responses_that_are_spoilt(caller: Caller, server: OpenAI) -> None:
    server.faults.next(IncompleteResponse(3, "content_filter"), SlowResponse(0.3), MissingResponse())
    caller.configure()
    caller.connection.response.create()
    done = caller.until("response.done").response
    assert (done.status, done.status_details.reason, caller.heard()) == ("incomplete", "content_filter", "お電話")
    asked = time.monotonic()
    caller.connection.response.create()
    caller.until("response.created")
    assert time.monotonic() - asked >= 0.3
    caller.until("response.done")
    caller.connection.response.create()  # never comes
    caller.connection.response.cancel()
    caller.connection.response.create()
    caller.until("response.done")
    assert [r.status for r in server.sessions[0].responses] == ["incomplete", "completed", "cancelled", "completed"]


def test_the_line_drops(server: OpenAI, client: openai.OpenAI) -> None:
    server.faults.next(DropConnection(at_audio_ms=1000), DropConnection(after_seconds=0.1), DropResponse(300))
    for number in range(3):
        with client.realtime.connect(model=MODEL) as connection:
            caller = Caller(connection)
            caller.configure()
            if number == 0:
                caller.say(silence(1000))
            if number == 2:
                caller.connection.response.create()
            with pytest.raises(ConnectionClosedError) as lost:
                caller.until("no such event")
            assert lost.value.rcvd is None
        assert server.sessions[number].closed == "dropped"
    assert server.sessions[2].responses[0].audio_ms >= 300


def test_the_line_freezes(server: OpenAI) -> None:
    server.faults.next(FreezeConnection(after_seconds=0.05))
    headers = {"Authorization": "Bearer sk-right"}
    socket = connect(server.realtime_url + "?model=m", additional_headers=headers, close_timeout=0.1)
    assert "session.created" in str(socket.recv(timeout=5))
    deadline = time.monotonic() + 5
    while socket.ping().wait(0.2):
        assert time.monotonic() < deadline
    with pytest.raises(TimeoutError):
        socket.recv(timeout=0.1)
    socket.close()


def test_a_session_expires(server: OpenAI, client: openai.OpenAI) -> None:
    server.faults.next(ExpireSession(0.1))
    with client.realtime.connect(model=MODEL) as connection:
        caller = Caller(connection)
        assert caller.until("error").error.code == "session_expired"
        with pytest.raises(ConnectionClosed):
            connection.recv()
