"""`/call-events`: answering machines, recordings, and telling how a call went."""

import json
import threading

import pytest
from flask import Flask, request
from werkzeug.serving import make_server

from callbot.agents import Agents
from callbot.calls import Status
from tests.functions.scenes import CALL_SID, CALLER, OUR_NUMBER, a_call
from tests.functions.test_call_events import report, tell
from tests.functions.test_call_flow import on_line

PARTIES = {"From": CALLER, "To": OUR_NUMBER, "Direction": "inbound"}


# -- answering machines and recordings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", ["machine_start", "fax"])
def test_an_answering_machine_is_left_a_message(functions, store, twilio, verdict):
    on_line(store, direction="outbound")
    tell(functions, AnsweredBy=verdict, MachineDetectionDuration="2300")
    ((sid, form),) = twilio.updates
    assert sid == CALL_SID
    assert Agents.load().default.voicemail in form["Twiml"][0]
    assert "<Hangup" in form["Twiml"][0]
    call = store.get(CALL_SID)
    assert (call.answered_by, call.end_reason, call.flow.step) == (verdict, "answering machine", "hangup")


def test_the_verdict_told_twice_leaves_one_message(functions, store, twilio):
    on_line(store, direction="outbound")
    for _ in range(2):
        tell(functions, AnsweredBy="machine_start")
    assert len(twilio.updates) == 1


@pytest.mark.parametrize("verdict", ["human", "unknown"])
def test_a_human_is_left_alone(functions, store, twilio, verdict):
    on_line(store, direction="outbound")
    tell(functions, AnsweredBy=verdict)
    assert twilio.updates == []
    assert store.get(CALL_SID).answered_by == verdict


def test_the_verdict_in_a_final_status_changes_nothing(functions, store, twilio):
    on_line(store, direction="outbound")
    report(functions, "completed", AnsweredBy="machine_start")
    assert twilio.updates == []


def test_a_recording_is_kept_with_the_call(functions, store):
    on_line(store)
    url = "https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1"
    tell(functions, RecordingSid="RE1", RecordingStatus="completed", RecordingUrl=url)
    assert store.get(CALL_SID).recording_url == url


# -- the result --------------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver(environment):
    """Somebody who asked to be told how a call went."""
    told = []
    app = Flask("receiver")

    @app.post("/done")
    def done():
        told.append(json.loads(request.data))
        return "", 200

    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    told_url = f"http://127.0.0.1:{server.server_port}/done"
    yield told_url, told
    server.shutdown()
    thread.join(5)
    server.server_close()


def test_the_result_is_posted_once_to_a_trusted_host(functions, store, environment, receiver):
    url, told = receiver
    environment.setenv("CALLBACK_HOSTS", "127.0.0.1")
    on_line(store, callback_url=url)
    for _ in range(2):
        report(functions, "completed", CallDuration="42")
    assert [(one["callSid"], one["duration"], one["endReason"]) for one in told] == [(CALL_SID, 42, "caller hung up")]
    assert told[0]["turns"] == []


def test_the_result_is_not_posted_to_a_private_address(functions, store, receiver):
    url, told = receiver
    on_line(store, callback_url=url.replace("http://", "https://"))
    report(functions, "completed")
    assert told == []


def test_a_call_of_the_past_is_found_by_its_sid(functions, store):
    store.begin(a_call(status=Status.COMPLETED))
    report(functions, "ringing")
    assert store.get(CALL_SID).status is Status.COMPLETED
