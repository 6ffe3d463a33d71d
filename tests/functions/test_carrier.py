"""The functions in whole calls: the emulated carrier runs their documents and sends their callbacks."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from callbot import agents
from callbot.calls import Call, Status, StreamState
from callbot.store import CallStore
from emulator.twilio import Caller, CallReport, Carrier, Number, StayUntilEnd
from tests.functions.conftest import Functions
from tests.functions.scenes import ACCOUNT, CALLER, FUNCTIONS_URL, OUR_NUMBER, TOKEN

TAKUMI = agents.Agents.load().default
LISTENER = Caller([StayUntilEnd()], ring_seconds=0.05)


@pytest.fixture
def carrier(functions: Functions, environment: pytest.MonkeyPatch, monkeypatch, tmp_path) -> Iterator[Carrier]:
    """Twilio in front of the functions, and nobody behind the stream's address. People speak thirty times as fast."""
    file = tmp_path / "agents.toml"
    file.write_text(agents.DEFAULT_FILE.read_text().replace("idle_seconds = 12", "idle_seconds = 3", 1))
    monkeypatch.setattr(agents, "DEFAULT_FILE", file)

    def fetch(method: str, url: str, headers: Mapping[str, str], form) -> tuple[int, Mapping[str, str], bytes]:
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}" == FUNCTIONS_URL
        client = functions.client(parts.path.strip("/").replace("-", "_"))
        response = client.open("/?" + parts.query if parts.query else "/", method=method, data=form, headers=headers)
        return response.status_code, dict(response.headers), response.data

    with Carrier(
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        numbers={OUR_NUMBER: Number(f"{FUNCTIONS_URL}/twiml")},
        tunnels={"stream.test": "http://127.0.0.1:1"},
        callees=lambda _: LISTENER,
        fetch=fetch,
        say_rate=30,
    ) as carrier:
        environment.setenv("TWILIO_API_URL", carrier.url)
        yield carrier


def ring(carrier: Carrier, path: str) -> CallReport:
    carrier.numbers[OUR_NUMBER] = Number(f"{FUNCTIONS_URL}{path}", status_callback=f"{FUNCTIONS_URL}/call-events")
    return carrier.dial(to=OUR_NUMBER, from_=CALLER, caller=LISTENER).wait(timeout=30)


def words(report: CallReport) -> list[str]:
    return [heard.text for heard in report.heard if heard.complete]


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it comes true: the carrier's last callback follows the end of the call."""
    ends_at = time.monotonic() + 5
    while not holds() and time.monotonic() < ends_at:
        time.sleep(0.01)  # between two looks at another process's work, with a deadline
    return holds()


def refusals(report: CallReport) -> list[tuple[int, str]]:
    """What Twilio's debugger shows, but for the streams that nobody took."""
    return [error for error in report.errors if not 31900 <= error[0] < 32000]


@pytest.mark.parametrize(("path", "engine"), [("/twiml", "amivoice"), ("/incoming-call", "realtime")])
def test_a_call_whose_streams_nobody_takes_ends_with_an_apology(carrier, store: CallStore, path, engine):
    report = ring(carrier, path)
    assert [stream.name for stream in report.streams] == ["g1", "g2", "g3"]
    assert words(report)[-2:] == [TAKUMI.final_apology, TAKUMI.closing]
    assert (report.status, report.ended_by) == ("completed", "bot")
    assert refusals(report) == []
    assert eventually(lambda: store.get(report.sid).status is Status.COMPLETED)
    call = store.get(report.sid)
    assert (call.engine, call.end_reason) == (engine, "stream lost")
    assert {status for _, url, _, status in report.webhooks} <= {200, 204}


def test_a_call_that_nobody_answers_is_told_of(functions, carrier, store):
    carrier.callees = {CALLER: Caller([], answers=False)}
    sid = functions.trigger({"phoneNumber": CALLER}).json["callSid"]
    carrier.calls[sid].hang_up()
    assert eventually(lambda: store.get(sid).is_over)
    assert store.get(sid).end_reason


def test_an_answering_machine_hears_one_message_to_its_end(functions, carrier, store):
    carrier.detection_seconds = 0.3
    carrier.callees = {CALLER: Caller([StayUntilEnd()], ring_seconds=0.05, machine="machine_start")}
    sid = functions.trigger(
        {"phoneNumber": CALLER, "engine": "amivoice", "machineDetection": True, "greeting": "もしもし。" * 50}
    ).json["callSid"]
    report = carrier.calls[sid].wait(timeout=30)
    assert words(report)[-1] == TAKUMI.voicemail
    assert refusals(report) == []
    assert eventually(lambda: store.get(sid).is_over)
    assert (store.get(sid).end_reason, store.get(sid).answered_by) == ("answering machine", "machine_start")


def test_a_dialled_call_greets_with_its_variables(functions, carrier, store):
    wish = {"phoneNumber": CALLER, "engine": "amivoice", "variables": {"name": "佐藤"}, "greeting": "{name}様ですね。"}
    sid = functions.trigger(wish).json["callSid"]
    report = carrier.calls[sid].wait(timeout=30)
    assert report.direction == "outbound-api"
    assert any("佐藤様ですね。".startswith(heard.text) for heard in report.heard)
    assert refusals(report) == []
    assert eventually(lambda: store.get(sid).is_over)


def test_a_silent_caller_is_prompted_and_said_goodbye_to(carrier, store, monkeypatch):
    """With a stream that lives, as far as the records say: the seed's silent end has become a spoken one."""
    get = type(store).get

    def with_a_stream(self: CallStore, sid: str) -> Call | None:
        call, now = get(self, sid), datetime.now(UTC)
        return call and replace(call, stream=StreamState(1, connected_at=now, seen_at=now))

    monkeypatch.setattr(type(store), "get", with_a_stream)
    carrier.faults.lose_callbacks = {"stream-error", "stream-stopped"}
    report = ring(carrier, "/twiml")
    assert words(report) == [TAKUMI.greeting, *TAKUMI.idle_prompts, TAKUMI.closing]
    assert report.ended_by == "bot"
    assert eventually(lambda: store.get(report.sid).is_over)
    assert store.get(report.sid).end_reason == "caller silent"


def test_callbacks_that_come_three_times_open_no_stream_twice(carrier, store):
    carrier.faults.repeat_callbacks = 2
    report = ring(carrier, "/twiml")
    assert [stream.name for stream in report.streams] == ["g1", "g2", "g3"]
    assert words(report)[-2:] == [TAKUMI.final_apology, TAKUMI.closing]
    assert eventually(lambda: store.get(report.sid).is_over)


def test_an_order_whose_answer_is_lost_is_one_call(functions, carrier, store):
    carrier.faults.create_timeout_after_accept = 1
    response = functions.trigger({"phoneNumber": CALLER}, Idempotency_Key="k")
    assert response.status_code == 201
    assert functions.trigger({"phoneNumber": CALLER}, Idempotency_Key="k").json == response.json
    assert list(carrier.calls) == [response.json["callSid"]]
    carrier.calls[response.json["callSid"]].wait(timeout=30)
    assert eventually(lambda: store.get(response.json["callSid"]).is_over)
