"""The stream service is woken as soon as a call is known of, and no webhook waits for it."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functions.conftest import Functions
from tests.functions.fake_twilio import FakeTwilio
from tests.functions.scenes import CALLER, OUR_NUMBER


@pytest.fixture
def starting() -> Iterator[socket.socket]:
    """A stream service that takes connections, as Cloud Run does for it, and does not answer yet."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        yield listener


@pytest.mark.parametrize("path", ["/twiml", "/incoming-call", "/outgoing-call"])
def test_the_stream_service_has_been_asked_when_the_webhook_answers(
    functions: Functions, environment: pytest.MonkeyPatch, starting: socket.socket, path: str
) -> None:
    environment.setenv("STREAM_URL", f"ws://127.0.0.1:{starting.getsockname()[1]}/ws")
    if path == "/outgoing-call":
        response = functions.trigger({"phoneNumber": CALLER})
        assert response.status_code == 201
    else:
        response = functions.incoming(path)
        assert response.status_code == 200
        assert b"<Stream" in response.data
    # It had the answer although nobody has answered it; now the request is looked at.
    peer, _ = starting.accept()
    with peer:
        peer.settimeout(5)
        assert peer.recv(4096).startswith(b"GET /health ")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/twiml", {}),
        ("/incoming-call", {}),
        ("/call-flow", {"step": "idle", "prompts": 0}),
        ("/call-flow", {"step": "words", "turn": 1, "sentence": 0}),
        ("/call-flow", {"step": "resume", "generation": 1}),
    ],
)
def test_no_vendor_is_asked_while_a_caller_waits_for_a_document(
    functions: Functions, environment: pytest.MonkeyPatch, twilio: FakeTwilio, path: str, query: dict[str, str | int]
) -> None:
    environment.setenv("STREAM_URL", "ws://127.0.0.1:1/ws")
    assert functions.post(path, {"From": CALLER, "To": OUR_NUMBER, "CallStatus": "ringing"}, query).status_code == 200
    assert twilio.asked == []
    # Twilio is the only vendor that the functions know: the models' packages are no part of what is deployed.
    deployed = (Path(__file__).parents[2] / "functions" / "requirements.txt").read_text()
    assert not re.search("^(openai|websocket-client)==", deployed, re.MULTILINE)


def test_a_call_is_answered_whether_or_not_the_stream_service_can_be_asked(
    functions: Functions, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("STREAM_URL", "ws://127.0.0.1:1/ws")
    assert b"<Stream" in functions.incoming("/twiml").data


def test_only_a_new_call_wakes_it(
    functions: Functions, environment: pytest.MonkeyPatch, starting: socket.socket
) -> None:
    environment.setenv("STREAM_URL", f"ws://127.0.0.1:{starting.getsockname()[1]}/ws")
    functions.post("/call-flow", query={"step": "idle", "prompts": 0})
    functions.post("/call-events", {"CallStatus": "completed"})
    starting.settimeout(0.1)
    with pytest.raises(TimeoutError):
        starting.accept()
