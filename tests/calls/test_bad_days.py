"""Calls on bad days: vendors fail, lines drop, processes die. The caller hears speech, and the record says why."""

import os
import signal
import sqlite3

import pytest

from emulator.amivoice_faults import Drop, RefuseStart, SlowResults
from emulator.openai.faults import (
    ChatFault,
    CleanCut,
    DropConnection,
    FailResponse,
    MissingResponse,
    RefuseHandshake,
    Stall,
    StreamError,
)
from emulator.twilio import Do, HangUp, Listen, StayUntilEnd, Wait
from tests.calls.system import System, until
from tests.calls.test_good_calls import ASKED_TO_END, words

pytestmark = pytest.mark.real_time

SORRY = "申し訳ありません"
GOODBYE = "それでは失礼いたします。"


def failure(system: System, sid: str) -> tuple[str, str, str, bool]:
    """Which vendor did not do what, as the log tells it."""
    line = system.told(sid, "vendor failed")
    assert line["severity"] == "ERROR"
    return line["service"], line["what"], line["code"], line["retryable"]


@pytest.mark.parametrize("engine", ["amivoice", "realtime"])
def test_the_caller_hangs_up_during_the_greeting(system: System, engine: str) -> None:
    call = system.dial(engine, Wait(0.8), HangUp())
    report = call.wait(30)

    assert report.ended_by == "caller"
    assert system.ended(call.sid)["endReason"] == "caller hung up"
    sessions = system.amivoice.sessions if engine == "amivoice" else system.openai.sessions
    until(lambda: all(session.closed for session in sessions))
    assert [line for line in system.events(call.sid) if line["severity"] == "ERROR"] == []


def test_amivoice_refuses_the_key(system: System) -> None:
    system.amivoice.faults.next(RefuseStart())
    call = system.dial("amivoice", StayUntilEnd())
    report = call.wait(40)

    assert SORRY in words(report)
    assert words(report).endswith(GOODBYE)
    assert system.ended(call.sid)["endReason"].startswith("amivoice")
    assert failure(system, call.sid) == ("amivoice", "session", "s refused", False)


def test_amivoice_drops_in_mid_utterance_and_nothing_is_lost_or_heard_twice(system: System) -> None:
    system.amivoice.faults.next(Drop(at_ms=4200))
    before = len(system.amivoice.sessions)
    call = system.dial("amivoice", Listen(), system.says("long-story"), Listen(), HangUp())
    call.wait(40)

    caller_turns = [turn["text"] for turn in system.ended(call.sid)["turns"] if turn["role"] == "caller"]
    assert [text.rstrip("。") for text in caller_turns] == [system.vendors.library["long-story"].text.rstrip("。")]
    assert len(system.amivoice.sessions) == before + 2
    assert system.told(call.sid, "engine lost")["engine"] == "amivoice"


@pytest.mark.parametrize(
    "fault", [CleanCut(after_chars=4), StreamError(after_chars=4), Stall(after_chars=0, seconds=30)]
)
def test_a_chat_that_fails_is_apologised_for_and_can_be_asked_again(system: System, fault: ChatFault) -> None:
    # An answer begun on an interim result that fails is asked for again, and the caller never knows. How many are begun
    # so, the machine's pace decides too.
    system.openai.faults.next(*[fault] * 4)
    call = system.dial(
        "amivoice", Listen(), system.says("price"), Listen(until_quiet=2.5), system.says("price"), Listen(), HangUp()
    )
    until(lambda: any(line.get("event") == "vendor failed" for line in system.events(call.sid)), 30)
    while system.openai.faults.take(ChatFault):  # one failure is enough
        pass
    report = call.wait(50)

    assert SORRY in words(report)
    assert "円" in words(report)
    assert report.longest_unexplained_silence <= 3.0
    failed = [turn["failed"] for turn in system.ended(call.sid)["turns"] if turn["failed"]]
    assert len(failed) == 1
    assert failure(system, call.sid) == ("openai-chat", "answer", failed[0], True)


def test_realtime_drops_and_comes_back_with_the_conversation(system: System) -> None:
    system.openai.faults.next(DropConnection(at_audio_ms=9000))
    call = system.dial(
        "realtime", Listen(), system.says("price"), Listen(), system.says("location"), Listen(), HangUp()
    )
    report = call.wait(50)

    assert report.longest_unexplained_silence <= 3.0
    assert len(report.turns) == 2
    told = str(system.openai.sessions[-1].items)
    assert system.vendors.library["price"].text in told
    assert len(report.streams) == 1, "the caller's own stream should have lived on"


def test_a_rate_limit_of_realtime_is_an_apology_and_not_silence(system: System) -> None:
    call = system.dial(
        "realtime",
        Listen(),
        Do(lambda _: system.openai.faults.next(FailResponse())),
        system.says("price"),
        Listen(until_quiet=1.5),
        system.says("price"),
        Listen(),
        HangUp(),
    )
    report = call.wait(50)

    assert SORRY in words(report)
    assert "円" in words(report)
    assert report.longest_unexplained_silence <= 3.0
    assert system.ended(call.sid)["generation"] == 2


def test_an_exhausted_quota_ends_the_call_politely(system: System) -> None:
    system.openai.faults.next(FailResponse(code="insufficient_quota"))
    report = (call := system.dial("realtime", StayUntilEnd())).wait(40)

    assert SORRY in words(report)
    assert report.ended_by == "bot"
    assert system.ended(call.sid)["endReason"] == "openai: insufficient_quota"
    assert failure(system, call.sid) == ("openai-realtime", "session", "insufficient_quota", False)


def test_realtime_refuses_the_key(system: System) -> None:
    system.openai.faults.next(RefuseHandshake(401))
    report = (call := system.dial("realtime", StayUntilEnd())).wait(40)

    assert SORRY in words(report)
    assert system.ended(call.sid)["endReason"] == "openai: 401"


@pytest.mark.parametrize("engine", ["amivoice", "realtime"])
def test_the_streams_process_is_killed_and_the_call_goes_on(system: System, engine: str) -> None:
    call = system.dial(
        engine,
        Listen(),
        system.says("price"),
        Listen(),
        Do(lambda _: system.stream.kill()),
        Listen(until_quiet=1.0),
        Do(lambda _: system.stream.wait_until_healthy()),
        Wait(1.5),
        system.says("location"),
        Listen(),
        system.says("hang-up"),
        StayUntilEnd(),
    )
    report = call.wait(60)

    assert "お待たせいたしました。" in words(report)
    assert report.ended_by == "bot"
    assert len(report.turns) >= 3, report.turns
    record = system.ended(call.sid)
    assert record["generation"] >= 2
    assert record["endReason"] == ASKED_TO_END
    assert report.longest_unexplained_silence <= 3.0


@pytest.mark.parametrize("engine", ["amivoice", "realtime"])
def test_an_instance_told_to_stop_hands_its_calls_over(system: System, engine: str) -> None:
    stopped = []

    def stop(_: object) -> None:
        stopped.append(system.stream.pid)
        os.kill(system.stream.pid, signal.SIGTERM)

    call = system.dial(
        engine,
        Listen(),
        Do(stop),
        Listen(until_quiet=1.0),
        Do(lambda _: until(lambda: system.stream.starts > 1 and system.stream.pid != stopped[0], seconds=9)),
        Do(lambda _: system.stream.wait_until_healthy()),
        Wait(1.5),
        system.says("price"),
        Listen(),
        system.says("hang-up"),
        StayUntilEnd(),
    )
    report = call.wait(60)

    assert report.ended_by == "bot"
    assert report.streams[0].close_code == 1001, "told, and not just dropped"
    assert "円" in words(report)
    assert system.ended(call.sid)["endReason"] == ASKED_TO_END
    assert report.longest_unexplained_silence <= 3.0


def test_callbacks_that_come_twice_and_in_any_order_change_nothing(system: System) -> None:
    system.carrier.faults.repeat_callbacks = 2
    system.carrier.faults.reorder_callbacks = True
    call = system.dial("amivoice", Listen(), system.says("hang-up"), StayUntilEnd())
    report = call.wait(40)

    assert report.ended_by == "bot"
    assert len(report.streams) == 1
    record = system.ended(call.sid)
    assert record["endReason"] == ASKED_TO_END


def test_a_webhook_with_a_wrong_signature_gets_nothing(system: System) -> None:
    system.carrier.faults.signature = "wrong"
    call = system.dial("amivoice", StayUntilEnd())
    report = call.wait(30)

    assert {status for _, _, _, status in report.webhooks} == {403}
    assert system.ask(f"/calls/{call.sid}")[0] == 404


def test_a_stream_with_a_wrong_signature_is_refused_and_no_vendor_is_asked(system: System) -> None:
    system.carrier.faults.media_handshake_signature = "wrong"
    before = len(system.openai.sessions)
    call = system.dial("realtime", StayUntilEnd())
    report = call.wait(40)

    assert (31920) in {code for code, _ in report.errors}
    assert len(system.openai.sessions) == before
    assert words(report).endswith(GOODBYE)
    assert system.ended(call.sid)["endReason"] == "stream lost"


def test_a_store_that_is_down_is_not_heard_and_gets_everything_later(system: System) -> None:
    database = sqlite3.connect(system.database, isolation_level=None, check_same_thread=False)

    def lock(_: object) -> None:
        database.execute("BEGIN EXCLUSIVE")

    call = system.dial(
        "amivoice",
        Listen(),
        Do(lock),
        system.says("price"),
        Listen(until_quiet=2.0),
        Do(lambda _: database.execute("ROLLBACK")),
        system.says("hang-up"),
        StayUntilEnd(),
    )
    report = call.wait(60)
    database.close()

    assert "お子様は半額になります。" in words(report), "all of the answer is said, though nobody could store it"
    assert report.ended_by == "bot"
    record = system.ended(call.sid)
    assert record["endReason"] == ASKED_TO_END
    assert any("お子様は半額" in turn["text"] for turn in record["turns"])
    assert system.told(call.sid, "store down")["severity"] == "ERROR"
    assert system.told(call.sid, "store back")["severity"] == "INFO"
    assert report.longest_unexplained_silence <= 3.0


def test_a_slow_recogniser_is_bridged_with_a_word(system: System) -> None:
    system.amivoice.faults.next(SlowResults(seconds=3.5))
    call = system.dial("amivoice", Listen(), system.says("price"), Listen(until_quiet=3.5), HangUp())
    report = call.wait(40)

    assert "少々お待ちください。" in words(report)
    assert "円" in words(report)
    assert report.longest_unexplained_silence <= 3.0


def test_a_model_that_never_answers_is_bridged_and_asked_again(system: System) -> None:
    call = system.dial(
        "realtime",
        Listen(),
        Do(lambda _: system.openai.faults.next(MissingResponse())),
        system.says("price"),
        Listen(until_quiet=2.0),
        HangUp(),
    )
    report = call.wait(40)

    assert "少々お待ちください。" in words(report)
    assert "円" in words(report), "the new session answers what the old one left unanswered"
    assert report.longest_unexplained_silence <= 3.0
