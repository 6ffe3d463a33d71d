"""Twilio's REST API through its own package, at an address of ours."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from callbot import twilio_rest
from callbot.errors import RefusedError, RemoteError
from callbot.twilio_rest import CallGoneError, TwilioRest
from tests.functions import fake_twilio
from tests.functions.fake_twilio import FakeTwilio
from tests.functions.scenes import CALL_SID, CALLER, OUR_NUMBER, settings


@pytest.fixture
def twilio() -> Iterator[FakeTwilio]:
    with fake_twilio.serving() as twilio:
        yield twilio


@pytest.fixture
def rest(twilio: FakeTwilio) -> TwilioRest:
    return TwilioRest(settings(TWILIO_API_URL=twilio.url))


def test_a_call_is_created(rest, twilio):
    sid = rest.create_call(to=CALLER, from_=OUR_NUMBER, url="https://callbot.test/incoming-call", time_limit=960)
    assert sid.startswith("CA")
    assert twilio.created[0]["TimeLimit"] == ["960"]


def test_loading_connects_to_nobody():
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        nobody.settimeout(0.1)
        rest = TwilioRest(settings(TWILIO_API_URL=f"http://127.0.0.1:{nobody.getsockname()[1]}"))
        rest.load()
        with pytest.raises(TimeoutError):
            nobody.accept()
    assert rest.is_cold


def test_a_live_call_is_changed(rest, twilio):
    rest.update_twiml(CALL_SID, "<Response/>")
    rest.redirect(CALL_SID, "https://callbot.test/call-flow?step=idle")
    rest.complete(CALL_SID)
    assert twilio.updates == [
        (CALL_SID, {"Twiml": ["<Response/>"]}),
        (CALL_SID, {"Url": ["https://callbot.test/call-flow?step=idle"], "Method": ["POST"]}),
        (CALL_SID, {"Status": ["completed"]}),
    ]


@pytest.mark.parametrize("refusal", [(400, 21220), (404, 20404)])
@pytest.mark.parametrize("change", ["update_twiml", "redirect", "complete"])
def test_a_call_that_is_over_is_gone(rest, twilio, refusal, change):
    twilio.refuse.append(refusal)
    arguments = [] if change == "complete" else ["https://callbot.test/"]
    with pytest.raises(CallGoneError) as caught:
        getattr(rest, change)(CALL_SID, *arguments)
    assert (caught.value.code, caught.value.retryable) == (str(refusal[1]), False)


@pytest.mark.parametrize(
    ("refusal", "code", "retryable"),
    [((400, 21211), "21211", False), ((401, 20003), "20003", False), ((500, 20500), "20500", True)],
)
def test_a_refusal_has_twilios_code_and_not_the_number(rest, twilio, refusal, code, retryable):
    twilio.refuse.append(refusal)
    with pytest.raises(RemoteError) as caught:
        rest.create_call(to=CALLER, from_=OUR_NUMBER, url="https://callbot.test/")
    assert (caught.value.service, caught.value.code, caught.value.retryable) == ("twilio", code, retryable)
    assert CALLER not in str(caught.value)
    assert len(twilio.asked) == 1


def test_too_many_requests_are_tried_a_second_time_and_no_more(rest, twilio):
    twilio.refuse += [(429, 20429)]
    rest.complete(CALL_SID)
    assert len(twilio.asked) == 2
    twilio.refuse += [(429, 20429)] * 3
    with pytest.raises(RemoteError) as caught:
        rest.complete(CALL_SID)
    assert (caught.value.code, caught.value.retryable) == ("20429", True)
    assert len(twilio.asked) == 4


def test_an_answer_that_does_not_come_may_have_been_carried_out(rest, twilio, monkeypatch):
    monkeypatch.setattr(twilio_rest, "TIMEOUT_SECONDS", 0.2)
    hold = threading.Event()
    twilio.before_answer = lambda: hold.wait(5)
    with pytest.raises(RemoteError) as caught:
        rest.create_call(to=CALLER, from_=OUR_NUMBER, url="https://callbot.test/")
    hold.set()
    assert (caught.value.code, caught.value.retryable) == ("timeout", False)
    assert len(twilio.created) == 1


def test_a_connection_that_is_cut_may_have_been_carried_out():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.recv(1000)
            connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        rest = TwilioRest(settings(TWILIO_API_URL=f"http://127.0.0.1:{server.getsockname()[1]}"))
        with pytest.raises(RemoteError) as caught:
            rest.complete(CALL_SID)
        thread.join(5)
    assert caught.value.code == "timeout"


def test_a_request_that_never_left_was_not_carried_out():
    rest = TwilioRest(settings(TWILIO_API_URL="http://127.0.0.1:1"))
    with pytest.raises(RemoteError) as caught:
        rest.complete(CALL_SID)
    assert (caught.value.code, caught.value.retryable) == ("unreachable", True)


def test_an_answer_that_is_no_json_is_an_error_of_ours():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            connection, _ = server.accept()
            connection.recv(4000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n<htm>")
            connection.close()

        thread = threading.Thread(target=babble, daemon=True)
        thread.start()
        rest = TwilioRest(settings(TWILIO_API_URL=f"http://127.0.0.1:{server.getsockname()[1]}"))
        with pytest.raises(RemoteError):
            rest.complete(CALL_SID)
        thread.join(5)


def test_calls_to_a_number_since_a_moment(rest, twilio):
    since = datetime(2026, 11, 21, 10, 5, 30, tzinfo=UTC)
    twilio.listed += [("CA1", since), ("CA2", since - timedelta(seconds=1)), ("CA3", None), ("CA4", since)]
    assert rest.calls_to(CALLER, OUR_NUMBER, since) == [("CA1", since), ("CA4", since)]
    ((_, _, asked),) = twilio.asked
    assert (asked["To"], asked["From"]) == ([CALLER], [OUR_NUMBER])


def test_a_number_is_pointed_at_us(rest, twilio):
    twilio.numbers.append(OUR_NUMBER)
    rest.set_webhooks(
        OUR_NUMBER, voice_url="https://callbot.test/twiml", status_callback="https://callbot.test/call-events"
    )
    (_, path, form) = twilio.asked[-1]
    assert "/IncomingPhoneNumbers/PN" in path
    assert (form["VoiceUrl"], form["VoiceMethod"]) == (["https://callbot.test/twiml"], ["POST"])
    assert form["StatusCallback"] == ["https://callbot.test/call-events"]


def test_a_number_that_is_not_ours_is_refused(rest):
    with pytest.raises(RefusedError):
        rest.set_webhooks(OUR_NUMBER, voice_url="https://callbot.test/", status_callback="https://callbot.test/")


def test_the_library_is_imported_with_the_first_request_only():
    code = (
        "import sys; from callbot.twilio_rest import TwilioRest; from tests.functions.scenes import settings;"
        "TwilioRest(settings()); print('twilio.rest' in sys.modules, 'requests' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["False", "False"]


class _Counting(BaseHTTPRequestHandler):
    """Answers whatever is asked and counts connections; its server has the list of both."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
        body = b"{}" if self.command == "POST" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_POST = _answer  # noqa: N815  # the base class's names

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_connection_is_open_when_the_first_words_are_to_be_spoken():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Counting)
    server.connections, server.asked = 0, []
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        rest = TwilioRest(settings(TWILIO_API_URL=f"http://127.0.0.1:{server.server_port}"))
        assert rest.is_cold
        rest.warm_up()
        assert not rest.is_cold
        rest.update_twiml(CALL_SID, "<Response/>")
    finally:
        server.shutdown()
        server.server_close()
    (method, path, key), (update, _, _) = server.asked
    assert (method, path, key, update) == ("HEAD", "/", "", "POST")  # nobody signs in only to open a connection
    assert server.connections == 1


def test_a_way_that_cannot_be_opened_is_found_out_by_the_first_words():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    rest = TwilioRest(settings(TWILIO_API_URL=f"http://127.0.0.1:{port}"))
    rest.warm_up()
    with pytest.raises(RemoteError):
        rest.update_twiml(CALL_SID, "<Response/>")


def test_a_connection_that_was_not_used_for_long_is_opened_anew(monkeypatch, rest):
    rest.update_twiml(CALL_SID, "<Response/>")
    assert not rest.is_cold
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + twilio_rest._COLD_SECONDS + 1)
    assert rest.is_cold
