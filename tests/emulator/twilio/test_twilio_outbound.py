"""Calls made through the API, their callbacks, machines, limits, and what the faults do to callbacks."""

import pytest
from twilio_customer import NUMBER, response, say
from werkzeug.wrappers import Response

from emulator.twilio import Caller, HangUp, StayUntilEnd, Wait
from emulator.twilio.plan import Callback, CallPlan, Detection, RecordingWish, Source

PERSON = "+819012345678"
ALL = frozenset({"initiated", "ringing", "answered", "completed"})


def call_out(carrier, callee=None, **more):
    plan = {
        "to": PERSON,
        "from_": NUMBER,
        "direction": "outbound-api",
        "source": Source("https://callbot.test/start"),
        "status_callback": Callback("https://callbot.test/events", events=ALL),
    }
    return carrier.place(CallPlan(**(plan | more)), callee or Caller())


def statuses(site):
    return [form["CallStatus"] for form in site.posted("/events")]


def test_an_answered_call_tells_every_step_in_order(site, still):
    site.pages["/start"] = response(say("お電話しました"), '<Pause length="70"/>')
    report = call_out(still).wait(10)
    assert statuses(site) == ["initiated", "ringing", "in-progress", "completed"]
    events = site.posted("/events")
    assert [form["SequenceNumber"] for form in events] == ["0", "1", "2", "3"]
    assert {form["CallbackSource"] for form in events} == {"call-progress-events"}
    assert (events[-1]["CallDuration"], events[-1]["Duration"]) == (str(round(report.duration)), "2")
    assert site.posted("/start")[0]["CallStatus"] == "in-progress"
    assert site.posted("/start")[0]["Direction"] == "outbound-api"


@pytest.mark.parametrize(
    ("callee", "status"),
    [
        (Caller(busy=True), "busy"),
        (Caller(answers=False), "no-answer"),
        (Caller(ring_seconds=61), "no-answer"),
        (Caller(reachable=False), "failed"),
    ],
)
def test_an_unanswered_call_runs_no_twiml(site, still, callee, status):
    site.pages["/start"] = response(say("はい"))
    report = call_out(still, callee).wait(10)
    assert (report.status, report.duration) == (status, 0)
    assert statuses(site)[-1] == status
    assert "in-progress" not in statuses(site)
    assert site.posted("/start") == []


def test_only_subscribed_events_are_posted(site, still):
    site.pages["/start"] = response(say("はい"))
    call_out(still, status_callback=Callback("https://callbot.test/events", events=frozenset({"answered"}))).wait(10)
    assert statuses(site) == ["in-progress"]


def test_the_time_limit_ends_the_call(site, still):
    site.pages["/start"] = response('<Pause length="600"/>')
    report = call_out(still, time_limit=45.0).wait(10)
    assert (report.ended_by, report.duration, report.status) == ("time-limit", pytest.approx(45), "completed")


@pytest.mark.parametrize(
    ("machine", "mode", "verdict"),
    [
        (None, "Enable", "human"),
        ("machine", "Enable", "machine_start"),
        ("machine", "DetectMessageEnd", "machine_end_beep"),
        ("machine_end_silence", "DetectMessageEnd", "machine_end_silence"),
        ("fax", "Enable", "fax"),
    ],
)
def test_detection_delays_the_document_and_tells_who_answered(site, still, machine, mode, verdict):
    site.pages["/start"] = response(say("はい"))
    still.detection_seconds = 4.0
    report = call_out(still, Caller(machine=machine), detection=Detection(mode)).wait(10)
    assert site.posted("/start")[0]["AnsweredBy"] == verdict
    assert report.heard[0].start == pytest.approx(4.0)
    assert report.silences[0].after == "answer"
    assert report.answered_by == verdict


def test_detection_in_the_background_does_not_delay(site, still):
    site.pages |= {"/start": response(say("はい"), '<Pause length="9"/>'), "/amd": Response(status=204)}
    wish = Detection("Enable", asynchronous=True, callback=Callback("https://callbot.test/amd"))
    report = call_out(still, Caller(machine="machine"), detection=wish).wait(10)
    assert report.heard[0].start == 0
    (form,) = site.posted("/amd")
    assert (form["AnsweredBy"], form["MachineDetectionDuration"]) == ("machine_start", "4000")
    assert "AnsweredBy" not in site.posted("/start")[0]


def test_an_update_during_detection_replaces_the_document(site, still):
    site.pages["/start"] = response(say("届かない"))
    site.pages["/events"] = lambda form: (
        (still.calls[form["CallSid"]].update(Source(twiml=response(say("更新です")))) and Response(status=204))
        or Response(status=204)
    )
    report = call_out(still, detection=Detection("Enable")).wait(10)
    assert [heard.text for heard in report.heard] == ["更新です"]


def test_a_recording_of_the_call_is_reported_when_it_ends(site, still):
    site.pages |= {"/start": response('<Pause length="20"/>'), "/recorded": Response(status=204)}
    wish = RecordingWish(callback=Callback("https://callbot.test/recorded", events=frozenset({"completed"})))
    call_out(still, recording=wish).wait(10)
    (form,) = site.posted("/recorded")
    assert (form["RecordingStatus"], form["RecordingDuration"]) == ("completed", "20")
    assert site.posted("/events")[-1]["RecordingSid"] == form["RecordingSid"]


def test_callbacks_can_be_repeated(site, still):
    still.faults.repeat_callbacks = 1
    site.pages["/start"] = response(say("はい"))
    call_out(still).wait(10)
    assert statuses(site) == [
        status for status in ("initiated", "ringing", "in-progress", "completed") for _ in range(2)
    ]


def test_callbacks_can_change_places(site, still):
    still.faults.reorder_callbacks = True
    site.pages["/start"] = response(say("はい"))
    call_out(still).wait(10)
    assert statuses(site) == ["ringing", "initiated", "completed", "in-progress"]


def test_callbacks_can_be_lost(site, still):
    site.pages["/start"] = response(say("はい"))
    still.faults.lose_callbacks = {"ringing"}
    call_out(still).wait(10)
    still.faults.lose_callbacks = lambda params: params["CallStatus"] != "completed"
    call_out(still).wait(10)
    assert statuses(site) == ["initiated", "in-progress", "completed", "completed"]


def test_a_callback_that_fails_is_an_error_and_nothing_else(site, still):
    site.pages |= {"/start": response(say("はい")), "/events": Response(status=500)}
    report = call_out(still).wait(10)
    assert [code for code, _ in report.errors] == [11200] * 4
    assert report.status == "completed"


@pytest.mark.parametrize("kind", ["wrong", "missing"])
def test_a_request_can_carry_a_wrong_signature_or_none(site, still, kind):
    still.faults.signature = kind
    site.pages["/start"] = response(say("はい"))
    call_out(still).wait(10)
    assert site.posted("/start") == []


def test_parameters_can_be_sent_twice_and_are_signed(site, still):
    still.faults.duplicate_parameters = True
    site.pages["/start"] = response(say("はい"))
    call = call_out(still)
    call.wait(10)
    (form,) = site.posted("/start")
    assert form.getlist("CallSid") == [call.sid, call.sid + "-again"]


def test_an_update_replaces_what_is_running(site, still):
    def change(form):
        (call,) = still.calls.values()
        call.update(Source(twiml=response(say("変わりました"))))
        return Response(status=204)

    site.pages["/beep"] = change
    site.pages["/start"] = response(say("待って"), "<Play>/beep</Play>", say("続き" * 100))
    report = call_out(still).wait(10)
    assert [heard.text for heard in report.heard if heard.kind == "say"] == ["待って", "変わりました"]


def test_the_callee_may_hang_up(site, still):
    site.pages["/start"] = response('<Pause length="60"/>')
    report = call_out(still, Caller([Wait(7), HangUp(), StayUntilEnd()])).wait(10)
    assert (report.ended_by, report.duration) == ("caller", pytest.approx(7))


def test_the_next_outbound_call_can_be_waited_for(site, still):
    site.pages["/start"] = response(say("はい"))
    first, second = call_out(still), call_out(still)
    assert still.wait_for_call(to=PERSON, timeout=5) is first
    assert still.wait_for_call(timeout=5) is second
    with pytest.raises(TimeoutError):
        still.wait_for_call(timeout=0.01)
