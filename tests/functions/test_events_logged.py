"""What the functions tell the log, one line an event: dashboards and alerts are made of these lines."""

import json

import pytest

from callbot.calls import Status
from callbot.errors import StoreError
from callbot.store_sqlite import SqliteCallStore
from tests.functions.scenes import CALL_SID, CALLER, KEY, OUR_NUMBER
from tests.functions.test_answering import dialled, reserved
from tests.functions.test_call_events import report
from tests.functions.test_call_flow import lose_stream, on_line

EVERYWHERE = {"message", "time", "logger"}


@pytest.fixture
def told(capfd):
    """The events logged since it was last asked, as `(severity, event, everything else)`."""

    def read():
        lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
        events = [{name: line[name] for name in line.keys() - EVERYWHERE} for line in lines if "event" in line]
        return [(event.pop("severity"), event.pop("event"), event) for event in events]

    return read


def only(events):
    (event,) = events
    return event


def down(*_: object, **__: object) -> None:
    raise StoreError("unavailable")


@pytest.mark.parametrize(("path", "engine"), [("/twiml", "amivoice"), ("/incoming-call", "realtime")])
def test_a_call_that_comes_in(functions, told, path, engine):
    functions.incoming(path)
    started = {"callSid": CALL_SID, "engine": engine, "direction": "inbound", "agent": "takumi"}
    assert told() == [("INFO", "call started", started)]


def test_a_call_that_was_dialled_and_picked_up(functions, store, told):
    dialled(functions, reserved(store))
    started = {"callSid": CALL_SID, "engine": "amivoice", "direction": "outbound", "agent": "takumi"}
    assert told() == [("INFO", "call started", started)]


def test_a_call_that_ends(functions, store, told):
    on_line(store)
    for _ in range(2):
        report(functions, "completed", 3, CallDuration="42")
    ended = {"engine": "amivoice", "direction": "inbound", "agent": "takumi", "status": "completed"}
    ended |= {"callSid": CALL_SID, "endReason": "caller hung up", "durationSeconds": 42}
    assert told() == [("INFO", "call ended", ended)]


def test_a_call_that_nobody_picked_up(functions, store, told):
    on_line(store, status=Status.RINGING, direction="outbound", end_reason="", engine="realtime")
    report(functions, "no-answer", 3)
    severity, event, fields = only(told())
    assert (severity, event) == ("INFO", "call ended")
    assert (fields["status"], fields["endReason"], fields["direction"]) == ("no-answer", "no answer", "outbound")


def test_a_webhook_without_twilios_signature(functions, told):
    form = {"CallSid": CALL_SID, "From": CALLER}
    for sent, reason in (("", "not one signature"), ("AAAA", "wrong signature")):
        functions.client("call_flow").post("/", data=form, headers={"X-Twilio-Signature": sent})
        assert only(told()) == ("WARNING", "webhook refused", {"path": "/call-flow", "reason": reason})


def test_a_mistake_of_ours_behind_a_webhook(functions, monkeypatch, told):
    def fail(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(SqliteCallStore, "begin", fail)
    functions.incoming("/twiml")
    severity, event, fields = only(told())
    assert (severity, event) == ("ERROR", "webhook failed")
    assert (fields["callSid"], fields["path"], fields["step"]) == (CALL_SID, "/twiml", "act")
    assert "RuntimeError: a mistake" in fields["stack_trace"]


def test_an_outbound_call(functions, twilio, told):
    sid = functions.trigger({"phoneNumber": CALLER, "engine": "amivoice"}).json["callSid"]
    assert told() == [("INFO", "dialled", {"callSid": sid, "engine": "amivoice", "agent": "takumi"})]


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_request_by_a_stranger(functions, told, key):
    functions.trigger({"phoneNumber": CALLER}, key=key)
    functions.operator("/calls", key=key)
    reason = "no key" if key is None else "wrong key"
    assert told() == [
        ("WARNING", "trigger refused", {"path": path, "httpStatus": 401, "reason": reason})
        for path in ("/outgoing-call", "/calls")
    ]


def test_a_request_for_a_number_that_is_not_dialled(functions, told):
    functions.trigger({"phoneNumber": "+12025550123"})
    refused = {"path": "/outgoing-call", "httpStatus": 403, "reason": "forbidden number"}
    assert told() == [("WARNING", "trigger refused", refused)]


@pytest.mark.parametrize(
    ("setting", "limit"),
    [("OUTBOUND_PER_MINUTE", "minute"), ("OUTBOUND_PER_DAY", "day"), ("OUTBOUND_PER_NUMBER_PER_DAY", "number")],
)
def test_a_request_over_a_limit(functions, environment, twilio, told, setting, limit):
    environment.setenv(setting, "0")
    functions.trigger({"phoneNumber": CALLER})
    refused = {"path": "/outgoing-call", "httpStatus": 429, "reason": limit}
    assert told() == [("WARNING", "trigger refused", refused)]


def test_a_request_that_twilio_refuses(functions, twilio, told):
    twilio.refuse.append((400, 21211))
    functions.trigger({"phoneNumber": CALLER})
    failed = {"service": "twilio", "what": "call", "code": "21211", "retryable": False}
    assert told() == [("ERROR", "vendor failed", failed)]


def test_a_refusal_that_cannot_be_written_down(functions, twilio, monkeypatch, told):
    monkeypatch.setattr(SqliteCallStore, "settle", down)
    twilio.refuse.append((400, 21211))
    functions.trigger({"phoneNumber": CALLER})
    assert [(severity, event) for severity, event, _ in told()] == [("ERROR", "vendor failed"), ("ERROR", "store down")]


def test_a_live_call_that_twilio_does_not_change(functions, store, twilio, told):
    on_line(store)
    twilio.refuse.append((500, 20500))
    functions.post("/call-events", {"StreamEvent": "stream-stopped", "StreamName": "g1"})
    failed = {"service": "twilio", "what": "update", "code": "20500", "retryable": True}
    assert told() == [("ERROR", "vendor failed", {"callSid": CALL_SID, **failed})]


def test_a_mistake_of_ours_behind_an_operators_request(functions, monkeypatch, told):
    def fail(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(SqliteCallStore, "reserve", fail)
    monkeypatch.setattr(SqliteCallStore, "recent", fail)
    assert functions.trigger({"phoneNumber": CALLER}).status_code == 500
    assert functions.operator("/calls").status_code == 500
    events = told()
    assert [(severity, event, fields["path"]) for severity, event, fields in events] == [
        ("ERROR", "request failed", "/outgoing-call"),
        ("ERROR", "request failed", "/calls"),
    ]
    assert all("RuntimeError: a mistake" in fields["stack_trace"] for _, _, fields in events)


@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("begin", lambda functions: functions.incoming("/twiml")),
        ("get", lambda functions: functions.post("/call-flow", query={"step": "idle"})),
        ("reserve", lambda functions: functions.trigger({"phoneNumber": CALLER})),
        ("recent", lambda functions: functions.operator("/calls")),
    ],
    ids=["a call", "a step", "a request", "the list"],
)
def test_what_goes_on_or_is_given_up_without_the_store(functions, monkeypatch, told, method, ask):
    monkeypatch.setattr(SqliteCallStore, method, down)
    ask(functions)
    ((severity, fields),) = [(severity, fields) for severity, event, fields in told() if event == "store down"]
    assert (severity, fields["reason"]) == ("ERROR", "store: unavailable")
    assert "StoreError" in fields["stack_trace"]


def test_what_is_never_written_down(functions, store, monkeypatch, told):
    call = on_line(store)
    lose_stream(store, call)
    monkeypatch.setattr(SqliteCallStore, "update", down)
    functions.post("/call-flow", query={"step": "resume", "generation": 1})
    monkeypatch.setattr(SqliteCallStore, "report_status", down)
    functions.post("/call-events", {"CallStatus": "completed", "From": CALLER, "To": OUR_NUMBER})
    lost = [(severity, fields["what"]) for severity, event, fields in told() if event == "store write lost"]
    assert lost == [("ERROR", "step"), ("ERROR", "callback")]


def test_a_result_that_is_not_taken(functions, store, environment, told):
    environment.setenv("CALLBACK_HOSTS", "127.0.0.1")
    on_line(store, callback_url="http://127.0.0.1:1/done")
    report(functions, "completed", 3)
    (event,) = [(severity, fields) for severity, event, fields in told() if event == "result not delivered"]
    assert event == ("WARNING", {"callSid": CALL_SID, "reason": "ConnectionRefusedError"})


def test_no_line_names_a_number_or_a_key(functions, store, capfd):
    functions.incoming("/twiml")
    functions.trigger({"phoneNumber": CALLER})
    functions.trigger({"phoneNumber": CALLER}, key=KEY + "x")
    report(functions, "completed", 3)
    logged = "".join(capfd.readouterr())
    assert '"call ended"' in logged
    for private in (CALLER[1:], OUR_NUMBER[1:], KEY):
        assert private not in logged
