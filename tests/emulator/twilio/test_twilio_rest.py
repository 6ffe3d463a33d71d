"""The REST API through the twilio package's own client."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
import requests
from twilio_customer import ACCOUNT, CALLER, NUMBER, TOKEN, client, refused, response, say
from werkzeug.wrappers import Response

from emulator.twilio import Caller, HangUp, Wait

PERSON = "+819012345678"
START = "https://callbot.test/start"


def running(carrier, site, *verbs):
    """A call in progress."""
    site.pages["/start"] = response(*(verbs or ('<Pause length="30"/>',)))
    call = carrier.dial(to=NUMBER, from_=CALLER, caller=Caller(ring_seconds=0))
    site.wait_for("/start")
    answered = threading.Event()
    call.subscribe(lambda event: answered.set() if type(event).__name__ == "Answered" else None)
    assert answered.wait(5)
    return call


def test_a_call_is_created_and_lives(site, real):
    site.pages["/start"] = response(say("はい"))
    created = client(real).calls.create(
        to=PERSON,
        from_=NUMBER,
        url=START,
        status_callback="https://callbot.test/events",
        status_callback_event=["initiated", "ringing", "answered", "completed"],
        timeout=20,
        time_limit=60,
    )
    assert (created.status, created.direction, created.to) == ("queued", "outbound-api", PERSON)
    report = real.wait_for_call(to=PERSON).wait(10)
    assert report.sid == created.sid
    assert [form["CallStatus"] for form in site.posted("/events")] == [
        "initiated",
        "ringing",
        "in-progress",
        "completed",
    ]
    fetched = client(real).calls(created.sid).fetch()
    assert (fetched.status, fetched.from_formatted) == ("completed", NUMBER)
    assert fetched.end_time is not None


def test_a_call_can_bring_its_document_along(real):
    client(real).calls.create(to=PERSON, from_=NUMBER, twiml=response(say("はい")))
    assert [heard.text for heard in real.wait_for_call().wait(10).heard] == ["はい"]


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"to": ""}, 21201),
        ({"to": "090-1234-5678"}, 21211),
        ({"to": "+0123456789"}, 21211),
        ({"to": "+8１9012345678"}, 21211),
        ({"from_": ""}, 21213),
        ({"from_": "withheld"}, 21212),
        ({"from_": "+815099999999"}, 21210),
        ({"url": "callbot.test/start"}, 21205),
        ({"url": "https://[bad/"}, 21205),
        ({"url": None}, 21205),
        ({"url": None, "twiml": "<Response>" + "x" * 4000}, 20001),
        ({"status_callback": "https://call_bot.test/events"}, 21609),
        ({"status_callback": "https://a.test/", "status_callback_event": ["ringing answered"]}, 21626),
        ({"machine_detection": "yes"}, 20001),
        ({"timeout": 900}, 20001),
        ({"time_limit": 0}, 20001),
        ({"method": "PUT"}, 20001),
    ],
)
def test_a_wrong_creation_is_refused_with_its_code(real, wish, code):
    whole = {"to": PERSON, "from_": NUMBER, "url": START} | wish
    arguments = {name: value for name, value in whole.items() if value is not None}
    assert refused(lambda: client(real).calls.create(**arguments)) == (400, code)
    assert real.calls == {}


def test_a_wrong_token_another_account_and_an_unknown_call(real):
    assert refused(client(real, "wrong").calls("CA" + "0" * 32).fetch) == (401, 20003)
    assert refused(client(real).calls("CA" + "0" * 32).fetch) == (404, 20404)
    assert refused(lambda: client(real).calls("CA" + "0" * 32).update(status="completed")) == (404, 20404)
    answer = requests.get(f"{real.url}/2010-04-01/Accounts/AC1/Calls.json", auth=(ACCOUNT, TOKEN), timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (404, 20404)
    answer = requests.get(f"{real.url}/2010-04-01/Nothing", auth=(ACCOUNT, TOKEN), timeout=5)
    assert answer.json()["status"] == 404
    assert requests.get(f"{real.url}/2010-04-01/Accounts/{ACCOUNT}/Calls.json", timeout=5).status_code == 401


def test_too_many_requests_for_a_while(real):
    real.faults.rest_429_times = 2
    for _ in range(2):
        assert refused(client(real).calls("CA" + "0" * 32).fetch) == (429, 20429)
    assert client(real).calls.list() == []


def test_an_answer_lost_after_the_call_was_accepted(site, real):
    site.pages["/start"] = response(say("はい"))
    real.faults.create_timeout_after_accept = 1
    with pytest.raises(requests.ConnectionError):
        client(real).calls.create(to=PERSON, from_=NUMBER, url=START)
    call = real.wait_for_call()
    found = client(real).calls.list(to=PERSON, start_time_after=datetime.now(UTC) - timedelta(minutes=1))
    assert [each.sid for each in found] == [call.sid]


def test_calls_are_listed_by_what_is_asked(site, real):
    site.pages["/start"] = response(say("はい"))
    for number in (PERSON, PERSON, "+819087654321"):
        client(real).calls.create(to=number, from_=NUMBER, url=START)
    for _ in range(3):
        real.wait_for_call().wait(10)
    api = client(real).calls
    assert len(api.list()) == 3
    assert len(api.list(to=PERSON)) == 2
    assert len(api.list(from_=NUMBER, status="completed")) == 3
    assert api.list(status="busy") == []
    assert api.list(start_time_before=datetime.now(UTC) - timedelta(hours=1)) == []
    assert len(api.list(page_size=1)) == 3
    assert len(api.list(limit=2)) == 2


def test_an_update_cuts_the_running_verb_at_once(site, real):
    call = running(real, site, say("長い話" * 100))
    client(real).calls(call.sid).update(twiml=response(say("変わりました")))
    report = call.wait(10)
    assert [heard.complete for heard in report.heard][-1]
    assert report.heard[-1].text == "変わりました"
    assert report.ended_by == "bot"


def test_an_update_by_url_is_fetched_and_signed(site, real):
    call = running(real, site)
    site.pages["/next"] = response(say("次です"))
    client(real).calls(call.sid).update(url="https://callbot.test/next?step=1", method="POST")
    assert call.wait(10).heard[-1].text == "次です"
    assert site.posted("/next")[0]["CallStatus"] == "in-progress"


def test_a_call_is_completed_by_status(site, real):
    call = running(real, site)
    client(real).calls(call.sid).update(status="completed")
    report = call.wait(10)
    assert (report.status, report.ended_by) == ("completed", "bot")


def test_what_cannot_be_updated(site, real):
    call = running(real, site)
    api = client(real).calls(call.sid)
    assert refused(lambda: api.update(status="canceled")) == (400, 21220)
    assert refused(lambda: api.update(status="busy")) == (400, 20001)
    assert refused(lambda: api.update(twiml="x" * 4001)) == (400, 20001)
    assert refused(lambda: api.update(url=START, twiml="<Response/>")) == (400, 20001)
    call.hang_up()
    assert refused(lambda: api.update(twiml="<Response/>")) == (400, 21220)
    assert refused(lambda: api.update(status="completed")) == (400, 21220)


def test_a_ringing_call_can_be_canceled_but_not_redirected(real):
    real.callees[PERSON] = Caller(ring_seconds=30)
    created = client(real).calls.create(to=PERSON, from_=NUMBER, url=START)
    assert refused(lambda: client(real).calls(created.sid).update(twiml="<Response/>")) == (400, 21220)
    client(real).calls(created.sid).update(status="canceled")
    assert real.wait_for_call().wait(10).status == "canceled"


def test_the_time_limit_can_be_changed_in_mid_call(site, real):
    call = running(real, site)
    client(real).calls(call.sid).update(time_limit=1)
    assert call.wait(10).ended_by == "time-limit"


def test_a_number_is_pointed_elsewhere(site, real):
    (number,) = client(real).incoming_phone_numbers.list(phone_number=NUMBER)
    assert number.voice_url == START
    number.update(
        voice_url="https://callbot.test/other",
        voice_method="POST",
        voice_fallback_url="https://callbot.test/fallback",
        status_callback="https://callbot.test/ended",
    )
    assert client(real).incoming_phone_numbers(number.sid).fetch().voice_url == "https://callbot.test/other"
    site.pages |= {"/other": response(say("こちらです")), "/ended": Response(status=204)}
    real.dial(to=NUMBER, from_=CALLER, caller=Caller([Wait(0.5), HangUp()])).wait(10)
    assert len(site.posted("/ended")) == 1
    assert client(real).incoming_phone_numbers.list(phone_number="+815099999999") == []
    assert refused(lambda: number.update(voice_url="no url")) == (400, 21502)
    assert refused(lambda: client(real).incoming_phone_numbers("PN0").fetch()) == (404, 20404)


def test_a_call_is_recorded_on_request(site, real):
    call = running(real, site)
    site.pages["/recorded"] = Response(status=204)
    recording = (
        client(real)
        .calls(call.sid)
        .recordings.create(recording_status_callback="https://callbot.test/recorded", recording_channels="dual")
    )
    assert (recording.status, recording.channels) == ("in-progress", 2)
    call.hang_up()
    call.wait(10)
    (form,) = site.posted("/recorded")
    assert (form["RecordingSid"], form["RecordingStatus"]) == (recording.sid, "completed")


def test_a_caller_may_give_up_while_it_rings(site, real):
    site.pages["/start"] = response(say("はい"))
    call = real.dial(to=NUMBER, from_=CALLER, caller=Caller(ring_seconds=30))
    call.hang_up()
    report = call.wait(10)
    assert (report.status, report.ended_by, report.duration) == ("canceled", "caller", 0)


def test_a_document_on_its_way_does_not_hold_a_call_that_ends(site, real):
    release = threading.Event()

    def slow(_):
        release.wait(10)
        return response(say("遅れました"))

    site.pages["/start"] = slow
    call = real.dial(to=NUMBER, from_=CALLER, caller=Caller(ring_seconds=0))
    site.wait_for("/start")
    call.hang_up()
    try:
        assert call.wait(5).status == "canceled"
    finally:
        release.set()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:1/start", 11205),
        ("https://nowhere.test/start", 11210),
        ("https://callbot.test/missing", 11200),
    ],
)
def test_a_site_that_is_not_there(real, url, code):
    real.numbers[NUMBER].voice_url = url
    report = real.dial(to=NUMBER, from_=CALLER, caller=Caller(ring_seconds=0)).wait(10)
    assert report.errors[0][0] == code
    assert report.ended_by == "carrier"
