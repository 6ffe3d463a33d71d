"""The demo's checks: each sees the fault it is there for."""

from dataclasses import replace

import pytest

from emulator import demo_checks
from emulator.demo_checks import END_REASON, Evidence
from emulator.recordings import Recognised
from emulator.twilio import CallReport, Heard, Said, StreamReport, TurnLatency

GREETING, CLOSING = "もしもし。", "失礼します。"
STREAM = StreamReport("MZ1", "g1", "start", 0.0, 20.0, None, None, 1000)
REPORT = CallReport(
    sid="CA1",
    direction="inbound",
    from_="+819012345678",
    to="+815010000001",
    status="completed",
    duration=20.0,
    ended_by="bot",
    heard=[
        Heard("say", GREETING, 0.0, 1.0, True),
        Heard("say", "九時", 5.0, 6.0, False),
        Heard("say", "山田様、はい。", 9.0, 10.0, True),
        Heard("say", CLOSING, 15.0, 16.0, True),
    ],
    said=[Said("何時ですか", 3.0, 4.0), Said("待って", 5.5, 6.5), Said("失礼します", 13.0, 14.0)],
    silences=[],
    longest_unexplained_silence=2.5,
    turns=[
        TurnLatency("何時ですか", "九時", 1.0),
        TurnLatency("待って", "山田様、はい。", 2.5),
        TurnLatency("失礼します", CLOSING, 1.0),
    ],
    errors=[],
    webhooks=[],
    documents=[],
    streams=[STREAM],
)
RECORD = {
    "status": "completed",
    "endReason": END_REASON,
    "generation": 1,
    "variables": {"customerName": "山田"},
    "turns": [
        {"role": "caller", "text": "何時ですか。", "heard": "", "interrupted": False},
        {"role": "agent", "text": "九時からです。", "heard": "九時", "interrupted": True},
        {"role": "caller", "text": "待って。", "heard": "", "interrupted": False},
        {"role": "caller", "text": "失礼します。", "heard": "", "interrupted": False},
    ],
}
GOOD = Evidence(REPORT, RECORD)


def wrong(call: Evidence) -> list[str]:
    checks = demo_checks.as_it_should(call, greeting=GREETING, closing=CLOSING, answered=3)
    return [check.what for check in checks if not check.holds]


def test_a_good_call_passes():
    assert wrong(GOOD) == []
    assert demo_checks.without_errors(GOOD).holds
    assert GOOD.latencies == [1.0, 2.5, 1.0]
    assert GOOD.median_latency == 1.0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"heard": REPORT.heard[1:]}, "the greeting was heard"),
        ({"turns": REPORT.turns[:2]}, "3 or more turns were answered"),
        ({"said": REPORT.said[:2]}, "every word of the caller's is on record"),
        ({"longest_unexplained_silence": 3.1}, "nobody waited longer than 3 s"),
        ({"heard": [*REPORT.heard[:3], replace(REPORT.heard[3], complete=False)]}, "the goodbye was heard to its end"),
        ({"heard": REPORT.heard[:3]}, "the goodbye was heard to its end"),
        ({"ended_by": "caller"}, "the bot hung up"),
        ({"status": "failed"}, "the bot hung up"),
    ],
)
def test_a_fault_on_the_line_is_seen(change, what):
    assert wrong(Evidence(replace(REPORT, **change), RECORD)) == [what]


@pytest.mark.parametrize("change", [{"status": "in-progress"}, {"endReason": "caller hung up"}, {"endReason": ""}])
def test_a_fault_on_record_is_seen(change):
    assert wrong(Evidence(REPORT, RECORD | change)) == ["status and end reason are on record"]


def test_a_call_without_a_record_is_no_good_one():
    assert set(wrong(Evidence(REPORT, {}))) == {
        "every word of the caller's is on record",
        "status and end reason are on record",
    }


def test_a_call_that_nobody_spoke_on_is_judged_too():
    empty = replace(REPORT, heard=[], said=[], turns=[])
    assert "the goodbye was heard to its end" in wrong(Evidence(empty, {}))
    assert Evidence(empty, {}).median_latency == 0.0


def test_errors_of_the_carrier_or_a_stream_are_seen():
    assert not demo_checks.without_errors(Evidence(replace(REPORT, errors=[(11200, "x")]), RECORD)).holds
    failed = replace(REPORT, streams=[replace(STREAM, error=31921)])
    assert not demo_checks.without_errors(Evidence(failed, RECORD)).holds


def test_an_interruption_needs_a_cut_on_the_line_and_on_record():
    assert demo_checks.interrupted(GOOD, "待って").holds
    assert not demo_checks.interrupted(GOOD, "何時ですか").holds
    whole = [replace(heard, complete=True) for heard in REPORT.heard]
    assert not demo_checks.interrupted(Evidence(replace(REPORT, heard=whole), RECORD), "待って").holds
    late = [replace(heard, end=8.0) if heard.text == "九時" else heard for heard in REPORT.heard]
    assert not demo_checks.interrupted(Evidence(replace(REPORT, heard=late), RECORD), "待って").holds
    unaware = [turn | {"interrupted": False} for turn in RECORD["turns"]]
    assert not demo_checks.interrupted(Evidence(REPORT, RECORD | {"turns": unaware}), "待って").holds


def test_variables_must_be_heard_and_on_record():
    assert demo_checks.spoken_with(GOOD, {"customerName": "山田"}).holds
    assert not demo_checks.spoken_with(GOOD, {"customerName": "佐藤"}).holds
    assert not demo_checks.spoken_with(Evidence(REPORT, RECORD | {"variables": {}}), {"customerName": "山田"}).holds


def test_a_lost_line_needs_a_new_stream_and_answers_on_it():
    survivor = Evidence(replace(REPORT, streams=[STREAM, STREAM]), RECORD | {"generation": 2})

    def holds(call, killed_at):
        return [check.holds for check in demo_checks.survived(call, killed_at)]

    assert holds(survivor, 10.0) == [True, True]
    assert holds(survivor, 14.5) == [True, False]
    assert holds(survivor, None) == [True, False]
    assert holds(GOOD, 10.0) == [False, True]
    assert holds(Evidence(survivor.report, RECORD), 10.0) == [False, True]


def test_damaged_audio_is_seen():
    whole = Recognised("はい")
    assert demo_checks.audio_intact([whole, whole]).holds
    for fault in ("missing_ms", "repeated_ms", "damaged_ms"):
        assert not demo_checks.audio_intact([whole, replace(whole, **{fault: 1})]).holds
    assert not demo_checks.audio_intact([]).holds
