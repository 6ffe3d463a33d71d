"""Calls on a good day, whole and over real sockets: both engines, inbound and outbound, one and several at once."""

from typing import Any

import pytest

from emulator.twilio import Caller, CallReport, HangUp, Hear, Interrupt, Listen, Press, StayUntilEnd
from emulator.vendors import AMIVOICE_NUMBER, REALTIME_NUMBER
from tests.calls.system import CALLEE, CALLER, OPERATOR, System, until

pytestmark = pytest.mark.real_time

ASKED_TO_END = "the caller asked to end the call"


def words(report: CallReport) -> str:
    return "".join(heard.text for heard in report.heard)


def told(system: System, sid: str) -> dict[str, list[dict[str, Any]]]:
    """What both processes told the log of a call that is over, by event."""

    def events() -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for line in system.events(sid):
            found.setdefault(line.get("event", ""), []).append(line)
        return found

    return until(lambda: {"call ended", "call usage"} <= (found := events()).keys() and found)


def test_a_caller_talks_with_the_amivoice_engine(system: System) -> None:
    call = system.dial(
        "amivoice",
        Listen(),
        system.says("opening-hours"),
        Listen(),
        system.says("booking"),
        Listen(),
        system.says("two-persons"),
        Listen(),
        system.says("hang-up"),
        StayUntilEnd(),
    )
    report = call.wait(60)

    assert report.ended_by == "bot"
    assert report.errors == []
    assert len(report.turns) == 4
    assert report.longest_unexplained_silence <= 3.0
    assert report.heard[0].text == "お電話ありがとうございます。"
    assert report.heard[-1].complete
    record = system.ended(call.sid)
    assert record["endReason"] == ASKED_TO_END
    assert (record["direction"], record["engine"], record["from"], record["to"]) == (
        "inbound",
        "amivoice",
        CALLER,
        AMIVOICE_NUMBER,
    )
    roles = [turn["role"] for turn in record["turns"]]
    assert roles == ["agent", *["caller", "agent"] * 4]
    assert "".join(turn["heard"] for turn in record["turns"] if turn["role"] == "agent") in words(report)
    answer = record["turns"][2]["timings"]
    assert answer["speechEnd"] < answer["firstToken"] <= answer["firstSentence"] <= answer["firstWordsOut"]
    assert answer["firstWordsOut"] <= answer["delivered"] < answer["heard"]
    assert answer["asked"] < answer["transcript"]  # begun on an interim result
    assert record["usage"]["guessesKept"] >= 3
    logged = "\n".join(system.log)
    assert call.sid in logged
    for secret in (CALLER[3:], AMIVOICE_NUMBER[3:], system.trigger_key, "営業時間", "お電話ありがとう"):
        assert secret not in logged
    events = told(system, call.sid)
    assert [one["engine"] for one in events["call started"]] == ["amivoice"]
    assert [(one["engine"], one["resumed"]) for one in events["stream opened"]] == [("amivoice", False)]
    assert len(events["turn answered"]) == 4
    for one in events["turn answered"]:
        assert 0 < one["transcriptMs"] <= one["firstWordsMs"] <= one["deliveredMs"]
    assert "long silence" not in events
    (usage,) = events["call usage"]
    assert usage["recognitionSeconds"] <= usage["seconds"]
    assert min(usage[name] for name in ("textTokensIn", "textTokensOut", "saidCharacters")) > 0
    assert "audioTokensIn" not in usage
    assert [one["endReason"] for one in events["call ended"]] == [ASKED_TO_END]
    heard = [u.recognised for session in system.amivoice.sessions[-1:] for u in session.utterances]
    assert [(r.missing_ms, r.repeated_ms, r.damaged_ms) for r in heard] == [(0, 0, 0)] * 4


def test_a_caller_talks_over_the_realtime_engine_and_asks_it_to_hang_up(system: System) -> None:
    wait = system.vendors.library["wait"]
    call = system.dial(
        "realtime",
        Listen(),
        system.says("opening-hours"),
        Interrupt(wait.ulaw, wait.text, after=1.2),
        Listen(),
        system.says("price"),
        Listen(),
        system.says("hang-up"),
        StayUntilEnd(),
    )
    report = call.wait(60)

    assert report.ended_by == "bot"
    assert report.errors == []
    assert report.longest_unexplained_silence <= 3.0
    cut = next(heard for heard in report.heard if not heard.complete)
    record = system.ended(call.sid)
    assert record["endReason"] == ASKED_TO_END
    interrupted = next(turn for turn in record["turns"] if turn["interrupted"])
    assert interrupted["heard"] != interrupted["text"]
    events = told(system, call.sid)
    assert {one["engine"] for name in ("call started", "stream opened", "call ended") for one in events[name]} == {
        "realtime"
    }
    assert [one["interrupted"] for one in events["turn answered"] if one["turn"] == interrupted["n"]] == [True]
    assert all(one["firstWordsMs"] >= 0 for one in events["turn answered"])
    (usage,) = events["call usage"]
    assert min(usage[name] for name in ("textTokensIn", "audioTokensOut", "transcriptTokensIn", "seconds")) > 0
    assert record["usage"]["audioTokensOut"] == usage["audioTokensOut"]
    assert "saidCharacters" not in usage
    assert abs(len(interrupted["heard"]) - len(cut.text)) <= 3
    assert report.heard[-1].complete, "the goodbye was cut off"
    session = system.openai.sessions[-1]
    assert session.errors == []
    assert session.truncations, "the model believes that all of it was heard"
    assert record["turns"][-1]["toolCalls"] == [{"name": "end_call", "arguments": "{}"}]


def test_an_outbound_call_greets_with_the_triggers_variables(system: System) -> None:
    system.callees[CALLEE] = Caller(
        [Listen(), system.says("opening-hours"), Listen(), system.says("hang-up"), StayUntilEnd()], max_seconds=50
    )
    status, answer = system.trigger(
        phoneNumber=CALLEE,
        engine="amivoice",
        variables={"customerName": "佐藤", "customerId": "123"},
        greeting="{customerName}様のお電話でしょうか。",
        idempotencyKey="greet-sato",
    )
    assert status == 201, answer
    call = system.carrier.calls[answer["callSid"]]
    report = call.wait(60)

    assert "佐藤様のお電話でしょうか。" in report.heard[0].text
    assert report.ended_by == "bot"
    assert '<Parameter name="customerId" value="123"' in report.documents[0]
    record = system.ended(answer["callSid"])
    assert record["direction"] == "outbound"
    assert record["variables"] == {"customerName": "佐藤", "customerId": "123"}
    again = system.trigger(
        phoneNumber=CALLEE,
        engine="amivoice",
        variables={"customerName": "佐藤", "customerId": "123"},
        greeting="{customerName}様のお電話でしょうか。",
        idempotencyKey="greet-sato",
    )
    assert again == (200, answer)


def test_two_callers_at_once_do_not_hear_each_other(system: System) -> None:
    first = system.dial("amivoice", Listen(), system.says("price"), Listen(), system.says("hang-up"), StayUntilEnd())
    second = system.dial("realtime", Listen(), system.says("location"), Listen(), system.says("hang-up"))
    heard = [words(call.wait(60)) for call in (first, second)]

    assert "円" in heard[0]
    assert "円" not in heard[1]
    assert system.record(first.sid)["engine"] == "amivoice"
    assert system.record(second.sid)["engine"] == "realtime"


def test_a_caller_is_connected_to_a_human(system: System) -> None:
    system.callees[OPERATOR] = Caller([Listen(max_seconds=2), HangUp()])
    for engine in ("amivoice", "realtime"):
        call = system.dial(engine, Listen(), system.says("human"), StayUntilEnd())
        report = call.wait(60)

        assert any(heard.kind == "dial" for heard in report.heard), (engine, report.heard, report.notes)
        assert report.heard[-1].text == "それでは失礼いたします。"
        record = system.ended(call.sid)
        assert record["endReason"] == "transferred"


def test_a_silent_caller_is_prompted_twice_and_told_goodbye(system: System) -> None:
    calls = [system.dial(engine, StayUntilEnd()) for engine in ("amivoice", "realtime")]
    for call in calls:
        report = call.wait(60)
        said = words(report)

        assert report.ended_by == "bot"
        assert "もしもし。" in said
        assert "ご用件をどうぞ。" in said
        assert said.endswith("それでは失礼いたします。")
        record = system.ended(call.sid)
        assert record["endReason"] == "caller silent"


def test_a_pressed_key_is_answered(system: System) -> None:
    call = system.dial("realtime", Listen(), Press("1"), Listen(), HangUp())
    report = call.wait(60)

    assert len(report.heard) >= 2
    items = str(system.openai.sessions[-1].items)
    assert "the key 1" in items


def test_the_time_limit_is_announced_and_kept(system: System) -> None:
    system.callees[CALLEE] = Caller([Listen(), StayUntilEnd()], max_seconds=50)
    calls = []
    for engine in ("amivoice", "realtime"):
        status, answer = system.trigger(phoneNumber=CALLEE, engine=engine, maxDurationSeconds=30)
        assert status == 201, answer
        calls.append(system.carrier.calls[answer["callSid"]])
    for call in calls:
        report = call.wait(70)

        assert report.duration < 45
        assert words(report).endswith("それでは失礼いたします。")


def test_an_answering_machine_gets_a_message(system: System) -> None:
    system.callees[CALLEE] = Caller([StayUntilEnd()], machine="machine", max_seconds=30)
    status, answer = system.trigger(phoneNumber=CALLEE, machineDetection=True)
    assert status == 201, answer
    report = system.carrier.calls[answer["callSid"]].wait(40)

    assert words(report).endswith("またお電話いたします。")
    record = system.ended(answer["callSid"])
    assert record["endReason"] == "answering machine"


def test_backchannels_do_not_interrupt(system: System) -> None:
    hai, hours = system.vendors.library["hai"], system.says("opening-hours")
    call = system.dial(
        "amivoice", Listen(), hours, Interrupt(hai.ulaw, hai.text, after=1.5), Listen(), system.says("hang-up")
    )
    report = call.wait(60)

    assert all(heard.complete for heard in report.heard), report.heard
    assert "日曜日" in words(report)


def test_what_the_caller_did_not_hear_leaves_the_history(system: System) -> None:
    wait = system.vendors.library["wait"]
    call = system.dial(
        "amivoice",
        Listen(),
        system.says("opening-hours"),
        Interrupt(wait.ulaw, wait.text, after=4.0),
        Hear("お待ち", max_seconds=15),
        Listen(),
        HangUp(),
    )
    report = call.wait(60)

    unheard = "日曜日"
    assert unheard not in words(report)
    record = system.ended(call.sid)
    interrupted = next(turn for turn in record["turns"] if turn["interrupted"])
    assert unheard not in interrupted["heard"]
    history = [m for r in system.openai.requests[-1:] for m in r.messages]
    assert not any(unheard in message.text for message in history)


def test_both_numbers_are_answered_by_the_default_agent(system: System) -> None:
    assert {AMIVOICE_NUMBER, REALTIME_NUMBER} <= set(system.carrier.numbers)
    call = system.dial("realtime", Listen(), HangUp())
    call.wait(30)
    record = system.ended(call.sid)
    assert record["agent"] == "tester"
    assert record["endReason"] == "caller hung up"
