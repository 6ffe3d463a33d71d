"""Placing calls from another process over HTTP."""

import base64
import json

import pytest
import requests
from twilio_customer import CALLER, NUMBER, response, say, voice

CALL = {"to": NUMBER, "from": CALLER, "speech": []}


def turn(text):
    return {"text": text, "ulaw": base64.b64encode(voice(text)).decode()}


def test_a_call_is_placed_and_watched_line_by_line(site, real):
    site.pages["/start"] = response(
        say("ご用件をどうぞ"), '<Pause length="2"/>', say("承知しました"), '<Pause length="9"/>'
    )
    wish = CALL | {"speech": [turn("予約です")], "hang_up_after": True, "max_seconds": 20}
    with requests.post(f"{real.url}/emulator/calls", json=wish, stream=True, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("application/x-ndjson")
        events = [json.loads(line) for line in answer.iter_lines()]
    assert [events[0]["event"], events[-1]["event"]] == ["CallStarted", "CallEnded"]
    assert events[0]["from"] == CALLER
    spoken = [(each["event"], each["text"]) for each in events if each["event"] in ("BotSpeaks", "CallerSpeaks")]
    assert spoken == [("BotSpeaks", "ご用件をどうぞ"), ("CallerSpeaks", "予約です"), ("BotSpeaks", "承知しました")]
    report = events[-1]["report"]
    assert (report["ended_by"], report["from"], report["turns"][0]["said"]) == ("caller", CALLER, "予約です")
    listed = requests.get(f"{real.url}/emulator/calls", timeout=5).json()["calls"]
    assert [call["status"] for call in listed] == ["completed"]


def test_a_turn_can_interrupt(site, real):
    real.say_rate = 1.0
    site.pages["/start"] = response(say("とても長い挨拶です" * 10))
    wish = CALL | {"speech": [turn("待って")], "interrupt_turn": 0, "hang_up_after": False, "max_seconds": 3}
    lines = requests.post(f"{real.url}/emulator/calls", json=wish, timeout=30).text.splitlines()
    report = json.loads(lines[-1])["report"]
    assert report["said"][0]["start"] < report["heard"][0]["end"]
    assert "max_seconds" in report["notes"][-1]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"to": "+819000000000"}, "to is not a number"),
        ({"to": None}, "to must be a string"),
        ({"from": "withheld"}, "E.164"),
        ({"speech": "hello"}, "speech must be a list"),
        ({"speech": ["hello"]}, "speech[0] must be an object"),
        ({"speech": [{"text": 1, "ulaw": ""}]}, "speech[0].text"),
        ({"speech": [{"text": "a", "ulaw": "***"}]}, "speech[0].ulaw is not base64"),
        ({"speech": [{"text": "a", "ulaw": ""}]}, "speech[0].ulaw is empty"),
        ({"interrupt_turn": 0}, "interrupt_turn"),
        ({"interrupt_turn": True}, "interrupt_turn"),
        ({"hang_up_after": "no"}, "hang_up_after"),
        ({"max_seconds": 0}, "max_seconds"),
        ({"max_seconds": True}, "max_seconds"),
        ({"engine": "x"}, "unknown field 'engine'"),
    ],
)
def test_a_wrong_wish_is_refused_by_name(real, change, problem):
    answer = requests.post(f"{real.url}/emulator/calls", json=CALL | change, timeout=5)
    assert answer.status_code == 400
    assert problem in answer.json()["message"]
    assert real.calls == {}


@pytest.mark.parametrize("body", ["", "[]", "{", "null"])
def test_a_body_that_is_no_object_is_refused(real, body):
    assert requests.post(f"{real.url}/emulator/calls", data=body, timeout=5).status_code == 400


def test_recordings_are_handed_to_who_wants_them(real):
    learned = []
    address = f"{real.url}/emulator/recordings"
    assert requests.post(address, json=turn("予約です"), timeout=5).status_code == 501
    real.on_recording = lambda text, ulaw: learned.append((text, ulaw))
    assert requests.post(address, json=turn("予約です"), timeout=5).status_code == 200
    assert learned == [("予約です", voice("予約です"))]
    assert requests.post(address, json={"text": "x"}, timeout=5).status_code == 400


def test_whoever_stops_watching_has_hung_up(site, real):
    site.pages["/start"] = response(*[say("はい")] * 20, '<Pause length="30"/>')
    with requests.post(f"{real.url}/emulator/calls", json=CALL, stream=True, timeout=30) as answer:
        next(answer.iter_lines())
    (call,) = real.calls.values()
    assert call.wait(20).ended_by == "caller"
