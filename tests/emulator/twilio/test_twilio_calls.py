"""Whole calls on a virtual clock: every verb, minutes of dialogue in milliseconds."""

import time

import pytest
from twilio_customer import CALLER, NUMBER, response, say, voice
from werkzeug.wrappers import Response

from emulator.twilio import (
    Caller,
    Do,
    HangUp,
    Hear,
    Interrupt,
    Listen,
    Number,
    Press,
    Speak,
    StayUntilEnd,
    Wait,
)


def ring(carrier, *steps, **more):
    return carrier.dial(to=NUMBER, from_=CALLER, caller=Caller(steps, **more))


def texts(report, kind="say"):
    return [heard.text for heard in report.heard if heard.kind == kind]


def codes(report):
    return [code for code, _ in report.errors]


def test_an_idle_dialogue_of_minutes_runs_at_once(site, still):
    prompts = iter(range(1, 5))

    def flow(form):
        prompt = next(prompts)
        if prompt == 4:
            return response(say("さようなら"), "<Hangup/>")
        return response(say(f"もしもし{prompt}"), '<Pause length="60"/>', "<Redirect>/flow?n=1</Redirect>")

    site.pages |= {
        "/start": response(say("こんにちは"), '<Pause length="60"/>', "<Redirect>/flow</Redirect>"),
        "/flow": flow,
    }
    began = time.monotonic()
    report = ring(still).wait(10)
    assert time.monotonic() - began < report.duration / 10
    assert texts(report) == ["こんにちは", "もしもし1", "もしもし2", "もしもし3", "さようなら"]
    assert 240 < report.duration < 245
    assert (report.status, report.ended_by, report.errors) == ("completed", "bot", [])
    assert [round(silence.seconds) for silence in report.silences] == [60] * 4
    assert report.longest_unexplained_silence == 0


def test_the_first_request_is_ringing_and_later_ones_in_progress(site, still):
    site.pages |= {"/start": response(say("はい"), "<Redirect>/flow</Redirect>"), "/flow": response()}
    ring(still).wait(10)
    assert site.posted("/start")[0]["CallStatus"] == "ringing"
    assert site.posted("/flow")[0]["CallStatus"] == "in-progress"
    (event,) = site.posted("/events")
    assert (event["CallStatus"], event["Direction"], event["CallDuration"]) == ("completed", "inbound", "0")


def test_a_conversation_has_turns_with_latency(site, still):
    site.pages |= {
        "/start": response(say("ご用件をどうぞ"), '<Pause length="3"/>', say("承知しました"), '<Pause length="30"/>'),
    }
    report = ring(still, Listen(), Speak(voice("予約です"), "予約です"), Hear("承知"), Listen(), HangUp()).wait(10)
    assert (report.ended_by, texts(report)) == ("caller", ["ご用件をどうぞ", "承知しました"])
    (said,), (turn,) = report.said, report.turns
    assert (turn.said, turn.reply) == ("予約です", "承知しました")
    assert turn.latency == pytest.approx(report.heard[1].start - said.end, abs=0.01)
    assert report.longest_unexplained_silence == pytest.approx(turn.latency, abs=0.01)


def test_a_caller_who_interrupts_waits_until_the_bot_speaks(site, still):
    site.pages["/start"] = response('<Pause length="2"/>', say("長い" * 30))
    report = ring(still, Interrupt(voice("待って"), "待って", after=1.5), HangUp()).wait(10)
    assert report.said[0].start == pytest.approx(2 + 1.5, abs=0.05)
    (heard,) = report.heard
    assert not heard.complete
    assert 10 < len(heard.text) < 60
    assert ("長い" * 30).startswith(heard.text)


def test_listening_twice_is_hearing_two_utterances(site, still):
    site.pages["/start"] = response(say("一つ目"), '<Pause length="5"/>', say("二つ目"), '<Pause length="60"/>')
    report = ring(still, Listen(), Listen(), HangUp()).wait(10)
    assert report.heard[1].end < report.duration < 8


def test_connection_overrides_after_a_url_are_neither_sent_nor_signed(site, still):
    site.pages |= {"/start": response("<Redirect>/flow?a=b#rc=2&amp;rp=5xx</Redirect>"), "/flow": response(say("はい"))}
    report = ring(still).wait(10)
    assert report.errors == []
    assert report.webhooks[1][1] == "https://callbot.test/flow?a=b"


def test_a_caller_without_a_script_leaves_after_their_limit(site, still):
    site.pages["/start"] = response('<Pause length="600"/>')
    report = ring(still, max_seconds=30).wait(10)
    assert (report.ended_by, report.duration) == ("caller", pytest.approx(30))
    assert "max_seconds" in report.notes[0]


def test_listening_to_nothing_is_noted_and_goes_on(site, still):
    site.pages["/start"] = response('<Pause length="60"/>')
    report = ring(still, Listen(max_seconds=5), Hear("何か", max_seconds=5), HangUp()).wait(10)
    assert report.duration == pytest.approx(10)
    assert len(report.notes) == 2


@pytest.mark.parametrize(("text", "problem"), [("", "empty"), ("あ" * 4097, "4097"), ("<break time='1s'/>", "empty")])
def test_a_say_of_nothing_or_too_much_is_an_error_and_skipped(site, still, text, problem):
    site.pages["/start"] = response(say(text), say("続き"))
    report = ring(still).wait(10)
    assert codes(report) == [13520]
    assert problem in report.errors[0][1]
    assert texts(report) == ["続き"]


def test_keys_are_gathered_and_cut_the_prompt(site, still):
    site.pages |= {
        "/start": response('<Gather numDigits="2" action="/keys">', say("長い案内" * 20), "</Gather>", say("無言")),
        "/keys": response(say("はい")),
    }
    report = ring(still, Wait(1), Press("12"), StayUntilEnd()).wait(10)
    assert site.posted("/keys")[0]["Digits"] == "12"
    assert not report.heard[0].complete
    report = ring(still).wait(10)
    assert texts(report)[-1] == "無言"


def test_a_recording_ends_with_silence(site, still):
    site.pages |= {
        "/start": response('<Record timeout="3" action="/done" recordingStatusCallback="/recorded"/>'),
        "/done": response(say("録音しました")),
        "/recorded": lambda _: Response(status=200),
    }
    ring(still, Wait(1), Speak(voice("伝言です"), "伝言です")).wait(10)
    (done,) = site.posted("/done")
    assert done["RecordingSid"].startswith("RE")
    assert site.posted("/recorded")[0]["RecordingStatus"] == "completed"


def test_a_transfer_connects_two_humans(site, still):
    still.callees["+81312345678"] = Caller(
        [Speak(voice("はい担当です"), "はい担当です"), Listen(), Wait(2), HangUp()], ring_seconds=3
    )
    site.pages |= {
        "/start": response(
            f'<Dial action="/after" callerId="{NUMBER}"><Number statusCallback="/leg" '
            'statusCallbackEvent="ringing answered completed">+81312345678</Number></Dial>'
        ),
        "/after": response(say("ありがとうございました")),
        "/leg": lambda _: Response(status=204),
    }
    report = ring(still, Hear("担当です"), Wait(1), Speak(voice("助かります"), "助かります")).wait(10)
    (after,) = site.posted("/after")
    assert (after["DialCallStatus"], after["DialBridged"]) == ("completed", "true")
    assert int(after["DialCallDuration"]) > 2
    assert texts(report, "dial") == ["ringing +81312345678", "はい担当です"]
    assert [form["CallStatus"] for form in site.posted("/leg")] == ["ringing", "in-progress", "completed"]
    leg = still.calls[after["DialCallSid"]].wait(5)
    assert texts(leg, "dial") == ["助かります"]
    assert leg.from_ == NUMBER


@pytest.mark.parametrize(
    ("callee", "status"),
    [
        (Caller(busy=True), "busy"),
        (Caller(answers=False), "no-answer"),
        (Caller(ring_seconds=60), "no-answer"),
        (Caller(reachable=False), "failed"),
    ],
)
def test_a_transfer_that_fails_says_why(site, still, callee, status):
    still.callees["+81312345678"] = callee
    site.pages |= {
        "/start": response('<Dial timeout="5" action="/after">+81312345678</Dial>'),
        "/after": response(),
    }
    ring(still).wait(10)
    assert site.posted("/after")[0]["DialCallStatus"] == status


@pytest.mark.parametrize(
    ("dial", "code"), [("<Dial>110</Dial>", 13223), ('<Dial callerId="+815099999999">+81312345678</Dial>', 13214)]
)
def test_a_transfer_to_or_from_a_wrong_number_is_an_error(site, still, dial, code):
    site.pages["/start"] = response(dial, say("続き"))
    report = ring(still).wait(10)
    assert codes(report) == [code]
    assert texts(report) == ["続き"]


def test_a_caller_who_hangs_up_during_a_transfer_ends_both_legs(site, still):
    site.pages["/start"] = response("<Dial>+81312345678</Dial>")
    report = ring(still, Wait(5), HangUp()).wait(10)
    assert report.ended_by == "caller"
    (leg,) = [call for call in still.calls.values() if call.direction == "outbound-dial"]
    assert leg.wait(5).status == "completed"
    assert leg.wait(5).duration < 6


@pytest.mark.parametrize(("reason", "status"), [("busy", "busy"), ("rejected", "no-answer")])
def test_a_rejected_call_is_never_answered(site, still, reason, status):
    site.pages["/start"] = response(f'<Reject reason="{reason}"/>')
    report = ring(still, Do(lambda _: pytest.fail("nobody is connected"))).wait(10)
    assert (report.status, report.duration, report.heard) == (status, 0, [])


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (lambda _: Response("oops", 500), 11200),
        (lambda _: Response("gone", 302, {"Location": "/x"}), 11200),
        (lambda _: Response("<Response/>", content_type="application/json"), 12300),
        (lambda _: Response("<Response/>", content_type="text/html"), 12300),
        (lambda _: "<Response><Say>", 12100),
        (lambda _: "<Response><Shout/></Response>", 12200),
        (lambda _: "<Response><!--" + "x" * 70_000 + "--></Response>", 11750),
        (lambda _: "<Response><Redirect>http://[</Redirect></Response>", 11100),
        (lambda _: "<Response><Redirect>ftp://x/</Redirect></Response>", 11100),
        (lambda _: 1 / 0, 11200),
    ],
)
def test_a_document_that_cannot_be_had_ends_the_call_with_an_apology(site, still, page, code):
    site.pages["/start"] = page
    report = ring(still).wait(10)
    assert codes(report) == [code]
    assert texts(report) == ["We are sorry. An application error has occurred. Goodbye."]
    assert (report.status, report.ended_by) == ("completed", "carrier")


def test_the_fallback_url_is_asked_once_and_told_why(site, still):
    still.numbers[NUMBER] = Number("https://callbot.test/start", fallback_url="https://callbot.test/fallback")
    site.pages |= {
        "/start": lambda _: Response("oops", 500),
        "/fallback": response(say("少々お待ちください"), "<Redirect>/start</Redirect>"),
    }
    site.pages["/fallback"] = response(say("代わりに"))
    report = ring(still).wait(10)
    assert texts(report) == ["代わりに"]
    (form,) = site.posted("/fallback")
    assert (form["ErrorCode"], form["ErrorUrl"]) == ("11200", "https://callbot.test/start")
    site.pages["/fallback"] = lambda _: Response("oops", 500)
    report = ring(still).wait(10)
    assert codes(report) == [11200, 11200]
    assert report.ended_by == "carrier"


def test_a_redirect_loop_without_time_is_broken(site, still):
    site.pages["/start"] = response("<Redirect>/start</Redirect>")
    report = ring(still).wait(10)
    assert codes(report) == [11215]
    assert len(site.posted("/start")) == 100
    assert report.ended_by == "carrier"


def test_a_loop_that_lets_time_pass_is_a_dialogue(site, still):
    site.pages["/start"] = response('<Pause length="1"/>', "<Redirect>/start</Redirect>")
    report = ring(still, max_seconds=150).wait(10)
    assert report.errors == []
    assert len(site.posted("/start")) == 151


def test_an_unknown_attribute_is_warned_about_and_the_call_goes_on(site, still):
    site.pages["/start"] = response('<Say language="ja-JP" loud="yes">はい</Say>')
    report = ring(still).wait(10)
    assert codes(report) == [12200]
    assert texts(report) == ["はい"]


def test_a_stream_on_a_virtual_clock_fails_and_says_so(site, still):
    site.pages["/start"] = response('<Connect><Stream url="wss://stream.test/ws"/></Connect>', say("続き"))
    report = ring(still).wait(10)
    assert codes(report) == [31901]
    assert texts(report) == ["続き"]


def test_events_are_told_in_order_even_to_a_late_listener(site, still):
    site.pages["/start"] = response(say("はい"))
    call = ring(still)
    call.wait(10)
    seen = []
    call.subscribe(seen.append)
    names = [type(event).__name__ for event in seen]
    assert names == [
        "CallStarted",
        "WebhookFetched",
        "Answered",
        "BotSpeaks",
        "BotFinished",
        "WebhookFetched",
        "CallEnded",
    ]
    assert seen[-1].report.sid == call.sid


def test_a_hook_or_listener_that_fails_does_not_end_the_call(site, still):
    site.pages["/start"] = response(say("はい"), '<Pause length="9"/>')
    call = ring(still, Do(lambda _: 1 / 0), Wait(3), HangUp())
    call.subscribe(lambda _: 1 / 0)
    report = call.wait(10)
    assert report.duration == pytest.approx(3)
    assert "ZeroDivisionError" in report.notes[0]
