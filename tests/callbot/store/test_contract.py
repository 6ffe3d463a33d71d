"""What every call store promises, on each of them: one record, whatever comes twice, late or all at once."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from callbot.calls import RETENTION, Call, Flow, NextStep, Status, StatusReport, StreamState
from callbot.errors import RefusedError
from callbot.store import CallStore, CallUnknownError, PutTurn, TicketUsedError, Writer
from tests.callbot.store.conftest import NOW, a_call, a_reservation, a_turn, all_at_once

SID = a_call().sid
UNTIL_ANSWERED = (Status.QUEUED, Status.INITIATED, Status.RINGING, Status.IN_PROGRESS)
REPORTS = [
    StatusReport(status, NOW + timedelta(seconds=n), n, duration=7 if status is Status.COMPLETED else None)
    for n, status in enumerate((*UNTIL_ANSWERED, Status.COMPLETED))
]
IMPOSSIBLE_NAMES = ["", "a/b", "..", "__x__", "あ", "\ud800", "x" * 2000, "a\x00b", "calls/" + SID]


def test_a_new_call_is_kept_whole(store: CallStore) -> None:
    call = a_call(
        direction="outbound",
        engine="realtime",
        variables={"name": "山田 😀", "__x__": "", "a.b": "\x00"},
        greeting="「こんにちは」",
        max_duration_seconds=600,
        record=True,
        callback_url="https://example.com/?a=1",
        reservation="a" * 64,
        status=Status.RINGING,
        status_sequence=3,
        answered_by="human",
        answered_at=NOW,
        ended_at=NOW + timedelta(microseconds=1),
        duration=0,
        end_reason="busy",
        recording_url="https://example.com/r",
        flow=Flow(3, 2, "words", NOW),
        stream=StreamState(2, NOW, NOW, NOW, NOW, "time limit"),
        next_step=NextStep(2, "transfer", "はい。", "operator", "asked"),
        usage={"tokens": 12},
        expire_at=NOW + timedelta(days=1),
    )
    assert store.begin(call) == call
    assert store.get(SID) == call


def test_a_call_that_says_no_end_lives_for_thirty_days(store: CallStore) -> None:
    assert store.begin(a_call()) == replace(a_call(), expire_at=NOW + RETENTION)


def test_a_repeated_webhook_begins_nothing_twice(store: CallStore) -> None:
    first = store.begin(a_call())
    assert store.begin(a_call(from_="+81311112222", agent="support")) == first
    assert store.get(SID) == first


def test_all_at_once_begin_one_call(store: CallStore) -> None:
    agents = {call.agent for call in all_at_once(20, lambda n: store.begin(a_call(agent=f"agent{n}")))}
    assert agents == {(store.get(SID) or pytest.fail("no call")).agent}


def test_nothing_is_found_where_nothing_is(store: CallStore) -> None:
    report = StatusReport(Status.RINGING, NOW)
    for sid in (SID, *IMPOSSIBLE_NAMES):
        assert store.get(sid) is None
        assert store.turns(sid) == []
        assert store.turn(sid, 1) is None
        assert store.reservation(sid) is None
        assert store.report_status(sid, report) is None
        assert store.settle(sid, "refused") is None
        store.update(sid, Writer.FUNCTIONS, {"end_reason": "x"})
        assert store.get(sid) is None
        with pytest.raises(CallUnknownError):
            store.open_stream(sid, 1, NOW)
    assert store.recent(10) == []


@pytest.mark.parametrize("name", IMPOSSIBLE_NAMES)
def test_what_cannot_be_named_is_refused(store: CallStore, name: str) -> None:
    with pytest.raises(RefusedError):
        store.begin(a_call(name))
    with pytest.raises(RefusedError):
        store.write_all([PutTurn(name, a_turn(1))])
    with pytest.raises(RefusedError):
        store.reserve(a_reservation(name), {})


@pytest.mark.parametrize("n", [0, -1, 10**6, 10**30])
def test_no_call_has_that_many_turns(store: CallStore, n: int) -> None:
    assert store.turn(SID, n) is None
    with pytest.raises(RefusedError):
        store.write_all([PutTurn(SID, a_turn(n))])


def test_an_expired_record_is_gone(store: CallStore) -> None:
    old = NOW - timedelta(days=31)
    store.begin(a_call(created_at=old))
    store.write_all([PutTurn(SID, a_turn(1, at=old))])
    store.reserve(a_reservation(created_at=old), {})
    assert store.get(SID) is None
    assert store.recent(10) == []
    assert store.turns(SID) == []
    assert store.turn(SID, 1) is None
    assert store.reservation("a" * 64) is None
    assert store.begin(a_call()).created_at == NOW
    assert store.reserve(a_reservation(), {})[1]


def test_a_turn_written_again_lives_as_long_as_its_newer_version(store: CallStore) -> None:
    store.write_all([PutTurn(SID, a_turn(1, at=NOW - timedelta(days=31)))])
    store.write_all([PutTurn(SID, a_turn(1))])
    assert store.turns(SID) == [a_turn(1)]


def test_the_newest_calls_come_first(store: CallStore) -> None:
    calls = [store.begin(a_call(f"CA{n:032}", created_at=NOW - timedelta(seconds=n))) for n in (2, 0, 1)]
    by_age = [calls[1], calls[2], calls[0]]
    assert store.recent(10) == by_age
    assert store.recent(2) == by_age[:2]
    assert store.recent(10, before=by_age[0].created_at) == by_age[1:]
    assert store.recent(1, before=by_age[1].created_at) == by_age[2:]
    assert store.recent(10, before=by_age[2].created_at) == []
    assert store.recent(0) == []


def after_reports(store: CallStore, sid: str, reports: list[StatusReport]) -> tuple[Call, int]:
    store.begin(a_call(sid))
    moves = [store.report_status(sid, report) for report in reports]
    return replace(moves[-1][0] if moves[-1] else pytest.fail("no call"), sid=SID), sum(bool(m and m[1]) for m in moves)


def orders(sample: int) -> list[list[StatusReport]]:
    """Every order of the five callbacks, each of them twice; every `sample`th of these."""
    every = list(itertools.permutations(REPORTS))[::sample]
    return [[*order, *order[::-1]] if n % 2 else [r for r in order for _ in (0, 1)] for n, order in enumerate(every)]


def test_callbacks_in_any_order_and_twice_leave_the_same_record(store: CallStore) -> None:
    # Pure in SQLite's case, a hundred RPCs a call in Firestore's: there a sample of the 120 orders is enough.
    scenes = orders(1 if "Sqlite" in type(store).__name__ else 17)
    ends = [after_reports(store, f"CA{n:032}", order) for n, order in enumerate(scenes)]
    assert len(ends) in (120, 8)
    expected = replace(
        store.begin(a_call(SID)),
        status=Status.COMPLETED,
        status_sequence=4,
        answered_at=REPORTS[3].at,
        ended_at=REPORTS[4].at,
        duration=7,
        end_reason="caller hung up",
    )
    assert {call == expected for call, _ in ends} == {True}
    assert all(1 <= moves <= 4 for _, moves in ends)


def test_of_all_who_report_the_end_one_moves_it(store: CallStore) -> None:
    store.begin(a_call())
    final = StatusReport(Status.BUSY, NOW, 4)
    moves = all_at_once(10, lambda _: store.report_status(SID, final))
    assert sum(bool(move and move[1]) for move in moves) == 1
    assert {move and move[0].end_reason for move in moves} == {"busy"}


OWNED_CHANGES: list[tuple[Writer, dict[str, Any]]] = [
    (Writer.FUNCTIONS, {"flow": Flow(1, 2, "words", NOW), "answered_by": "human"}),
    (Writer.FUNCTIONS, {"end_reason": "caller silent", "recording_url": "https://example.com/r"}),
    (Writer.STREAM, {"stream": StreamState(seen_at=NOW, ending="end_call")}),
    (Writer.STREAM, {"next_step": NextStep(0, "goodbye", "では。"), "usage": {"tokens": 3, "seconds": 60}}),
]


@pytest.mark.parametrize(("writer", "changes"), OWNED_CHANGES)
def test_each_side_changes_its_own_fields_and_no_other(
    store: CallStore, writer: Writer, changes: dict[str, Any]
) -> None:
    before = store.begin(a_call())
    store.update(SID, writer, changes)
    assert store.get(SID) == replace(before, **changes)
    other = Writer.STREAM if writer is Writer.FUNCTIONS else Writer.FUNCTIONS
    with pytest.raises(ValueError, match=next(iter(sorted(changes)))):
        store.update(SID, other, changes)


@pytest.mark.parametrize("field", ["status", "duration", "sid", "agent", "created_at", "no_such_field"])
def test_fields_that_only_move_cannot_be_changed(store: CallStore, field: str) -> None:
    before = store.begin(a_call())
    for writer in Writer:
        with pytest.raises(ValueError, match=field):
            store.update(SID, writer, {field: "x"})
    assert store.get(SID) == before


def test_both_sides_write_at_once_and_nothing_is_lost(store: CallStore) -> None:
    store.begin(a_call())

    def write(n: int) -> None:
        if n == 0:
            store.report_status(SID, StatusReport(Status.IN_PROGRESS, NOW, 1))
        elif n == 1:
            store.update(SID, Writer.STREAM, {"usage": {"tokens": 1}})
        else:
            store.update(SID, Writer.FUNCTIONS, {"answered_by": "human", "end_reason": "x"})

    all_at_once(3, write)
    call = store.get(SID)
    assert call is not None
    assert (call.status, call.usage, call.answered_by) == (Status.IN_PROGRESS, {"tokens": 1}, "human")


def test_one_stream_claims_a_generation(store: CallStore) -> None:
    store.begin(a_call())

    def claim(_: int) -> str:
        try:
            return str(store.open_stream(SID, 1, NOW).stream.generation)
        except TicketUsedError:
            return "used"

    assert sorted(all_at_once(20, claim)) == ["1", *["used"] * 19]


def test_a_ticket_of_an_older_stream_is_worth_nothing(store: CallStore) -> None:
    store.begin(a_call())
    assert store.open_stream(SID, 2, NOW).stream == StreamState(2, NOW, NOW)
    for generation in (1, 2, 0, -1):
        with pytest.raises(TicketUsedError):
            store.open_stream(SID, generation, NOW)
    assert store.open_stream(SID, 3, NOW).stream.generation == 3


def test_no_stream_opens_for_a_call_that_is_over(store: CallStore) -> None:
    store.begin(a_call(status=Status.COMPLETED))
    with pytest.raises(RefusedError):
        store.open_stream(SID, 1, NOW)


def test_the_late_word_of_an_older_stream_changes_nothing(store: CallStore) -> None:
    store.begin(a_call())
    store.open_stream(SID, 2, NOW)
    newer = NextStep(2, "resume")
    store.update(SID, Writer.STREAM, {"next_step": newer})
    late = {"stream": StreamState(1, lost_at=NOW), "next_step": NextStep(1, "goodbye"), "usage": {"tokens": 9}}
    store.update(SID, Writer.STREAM, late)
    call = store.get(SID)
    assert call is not None
    assert (call.stream, call.next_step, call.usage) == (StreamState(2, NOW, NOW), newer, {"tokens": 9})


def test_turns_come_back_in_order_and_as_last_written(store: CallStore) -> None:
    store.begin(a_call())
    whole = a_turn(
        11,
        text="はい😀\n\x00",
        heard="",
        interrupted=True,
        sentences=("一。", "二。"),
        complete=False,
        then="transfer",
        target="operator",
        failed="timeout",
        timings={"speech_end": 1_763_000_000.123},
        tool_calls=({"name": "end_call", "arguments": {"a": [[1], [{"": 10**30}]]}},),
    )
    for turn in (whole, a_turn(2, role="caller"), a_turn(1), a_turn(2, text="二度目")):
        store.write_all([PutTurn(SID, turn)])
    assert store.turns(SID) == [a_turn(1), a_turn(2, text="二度目"), whole]
    assert store.turn(SID, 11) == whole
    assert store.turn(SID, 3) is None
    assert store.turns("CA" + "2" * 32) == []


def test_a_turn_is_kept_though_its_call_could_not_be(store: CallStore) -> None:
    store.write_all([PutTurn(SID, a_turn(1))])
    assert store.turns(SID) == [a_turn(1)]


def test_half_a_character_does_not_stop_a_record(store: CallStore) -> None:
    store.write_all([PutTurn(SID, a_turn(1, text="\ud83d", sentences=("\udc00",), tool_calls=({"a": "\ud800"},)))])
    assert [turn.text for turn in store.turns(SID)] == ["\ufffd"]


def test_another_instance_sees_what_one_wrote(open_another: Callable[[], CallStore]) -> None:
    first, second = open_another(), open_another()
    begun = first.begin(a_call())
    first.write_all([PutTurn(SID, a_turn(1))])
    first.close()
    assert second.get(SID) == begun
    assert second.turns(SID) == [a_turn(1)]
