"""`/call-events`: what Twilio's callbacks change, in whatever order and however often they come."""

import itertools
import logging
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest

from callbot.calls import Status, StreamState
from callbot.errors import StoreError
from callbot.store import Writer
from callbot.store_sqlite import SqliteCallStore
from tests.functions.scenes import CALL_SID, CALLER, OUR_NUMBER
from tests.functions.test_answering import reserved
from tests.functions.test_call_flow import lose_stream, now, on_line

PARTIES = {"From": CALLER, "To": OUR_NUMBER, "Direction": "inbound"}


def report(functions, status, sequence=0, query=None, **form):
    fields = {
        "CallStatus": status,
        "CallbackSource": "call-progress-events",
        "SequenceNumber": str(sequence),
        "Timestamp": "Sat, 21 Nov 2026 10:05:30 +0000",
    }
    response = functions.post("/call-events", PARTIES | fields | form, query)
    assert response.status_code == 204
    assert response.data == b""


def tell(functions, query=None, **form):
    assert functions.post("/call-events", form, query).status_code == 204


def logged(caplog):
    return [record for record in caplog.records if getattr(record, "event", "") == "call ended"]


@pytest.fixture
def caplog_of_functions(functions, caplog):
    """The framework's start sets the log up anew, so capturing begins after it."""
    functions.app("call_events")
    logging.getLogger().addHandler(caplog.handler)
    return caplog


# -- status ------------------------------------------------------------------------------------------------------------


def test_a_call_ends_with_its_duration_and_reason(functions, store, caplog_of_functions):
    on_line(store)
    report(functions, "completed", 3, CallDuration="42")
    call = store.get(CALL_SID)
    assert (call.status, call.duration, call.end_reason) == (Status.COMPLETED, 42, "caller hung up")
    assert call.ended_at == datetime(2026, 11, 21, 10, 5, 30, tzinfo=UTC)
    (line,) = logged(caplog_of_functions)
    assert (line.engine, line.endReason, line.durationSeconds) == ("amivoice", "caller hung up", 42)


def test_the_end_is_logged_once_however_often_it_is_told(functions, store, caplog_of_functions):
    on_line(store)
    for _ in range(3):
        report(functions, "completed", 3, CallDuration="42")
    assert len(logged(caplog_of_functions)) == 1


STATUSES = ("initiated", "ringing", "in-progress", "completed")


@pytest.mark.parametrize("order", list(itertools.permutations(STATUSES))[::5])
def test_the_order_of_callbacks_does_not_matter(functions, store, order):
    on_line(store, status=Status.QUEUED)
    for status in (*order, *order):
        report(functions, status, STATUSES.index(status), CallDuration="42")
    assert (store.get(CALL_SID).status, store.get(CALL_SID).duration) == (Status.COMPLETED, 42)


def test_a_call_nobody_has_recorded_is_not_lost(functions, store):
    report(functions, "completed", CallDuration="7")
    call = store.get(CALL_SID)
    assert (call.status, call.from_, call.duration) == (Status.COMPLETED, CALLER, 7)


def test_a_dialled_call_is_found_by_its_reservation(functions, store):
    id_ = reserved(store, agent="support")
    report(functions, "initiated", 0, {"reservation": id_}, From=OUR_NUMBER, To=CALLER, Direction="outbound-api")
    assert (store.get(CALL_SID).agent, store.get(CALL_SID).status) == ("support", Status.INITIATED)
    assert (store.reservation(id_).state, store.reservation(id_).call_sid) == ("dialled", CALL_SID)


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
def test_a_call_that_is_not_answered_ends_too(functions, store, status):
    id_ = reserved(store)
    report(functions, status, 2, {"reservation": id_})
    assert store.get(CALL_SID).status == status
    assert store.get(CALL_SID).end_reason == status.replace("-", " ")


@pytest.mark.parametrize(
    "form",
    [
        {"CallStatus": "exploded"},
        {"CallStatus": ""},
        {},
        {"CallStatus": "completed", "CallDuration": "many", "SequenceNumber": "-1", "Timestamp": "yesterday"},
        {"CallStatus": "completed", "Timestamp": "Sat, 99 Foo 2026 10:05:30"},
        {"StreamEvent": "stream-danced"},
        {"StreamEvent": "stream-stopped"},
        {"StreamEvent": "stream-stopped", "StreamName": "g²"},
        {"AnsweredBy": ""},
        {"RecordingUrl": "javascript:alert(1)"},
    ],
)
def test_an_odd_callback_harms_nothing(functions, store, form):
    on_line(store)
    tell(functions, **form)
    assert store.get(CALL_SID).recording_url == ""


@pytest.mark.parametrize("error", [StoreError("down"), RuntimeError("a mistake")])
def test_twilio_never_hears_of_our_troubles(functions, store, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(SqliteCallStore, "report_status", fail)
    report(functions, "completed")


# -- streams -----------------------------------------------------------------------------------------------------------


def stopped(functions, name="g1", event="stream-stopped", query=None):
    tell(functions, query, StreamEvent=event, StreamName=name, StreamSid="MZ" + "1" * 32)


def redirect(twilio):
    ((sid, form),) = twilio.updates
    assert sid == CALL_SID
    return dict(parse_qsl(urlsplit(form["Url"][0]).query))


@pytest.mark.parametrize("event", ["stream-stopped", "stream-error"])
def test_a_forked_call_that_has_gone_deaf_is_resumed(functions, store, twilio, event):
    lose_stream(store, on_line(store))
    stopped(functions, event=event)
    assert redirect(twilio) == {"step": "resume", "generation": "1", "failures": "0", "engine": "amivoice"}


def test_how_many_streams_failed_before_travels_along(functions, store, twilio):
    on_line(store)
    stopped(functions, query={"failures": "2"})
    assert redirect(twilio)["failures"] == "2"


def test_the_same_news_twice_opens_one_stream(functions, store, twilio):
    on_line(store)
    for event in ("stream-error", "stream-stopped", "stream-stopped"):
        stopped(functions, event=event)
    assert len(twilio.updates) == 1


@pytest.mark.parametrize("step", ["hangup", "transfer"])
def test_a_stream_that_was_meant_to_end_is_not_missed(functions, store, twilio, step):
    call = on_line(store)
    flow = call.flow.__class__(step=step)
    store.update(CALL_SID, Writer.FUNCTIONS, {"flow": flow})
    stopped(functions)
    assert twilio.updates == []


def test_a_call_that_the_stream_service_ended_is_not_resumed(functions, store, twilio):
    on_line(store)
    store.update(CALL_SID, Writer.STREAM, {"stream": StreamState(1, now(), now(), ending="caller said goodbye")})
    stopped(functions)
    assert twilio.updates == []


def test_an_older_stream_is_not_missed(functions, store, twilio):
    on_line(store)
    store.open_stream(CALL_SID, 2, now())
    stopped(functions, "g1")
    assert twilio.updates == []


def test_a_two_way_stream_is_followed_by_its_own_next_verb(functions, store, twilio):
    on_line(store, engine="realtime")
    stopped(functions)
    assert twilio.updates == []


def test_a_call_that_is_over_is_not_resumed(functions, store, twilio):
    on_line(store)
    report(functions, "completed")
    stopped(functions)
    assert twilio.updates == []


@pytest.mark.parametrize("refusal", [(400, 21220), (404, 20404), (500, 20500), (401, 20003)])
def test_twilios_refusal_to_resume_is_not_our_error(functions, store, twilio, refusal):
    on_line(store)
    twilio.refuse.append(refusal)
    stopped(functions)
    assert len(twilio.updates) == 1


@pytest.mark.parametrize(("refusal", "warnings"), [((400, 21220), 0), ((404, 20404), 0), ((500, 20500), 1)])
def test_a_caller_who_hung_up_meanwhile_is_nothing_to_warn_of(
    functions, store, twilio, caplog_of_functions, refusal, warnings
):
    on_line(store)
    twilio.refuse.append(refusal)
    stopped(functions)
    raised = [line for line in caplog_of_functions.records if line.levelno >= logging.WARNING]
    assert len(raised) == warnings
