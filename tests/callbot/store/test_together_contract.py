"""What every call store promises of writes in one go: the same as one by one, but all of them or none."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from callbot.calls import Flow, NextStep, Status, StatusReport, StreamState
from callbot.errors import RefusedError
from callbot.store import MOST_TOGETHER, CallStore, PutTurn, Update, Write, Writer
from tests.callbot.store.conftest import NOW, a_call, a_turn, all_at_once

SID, OTHER = a_call().sid, "CA" + "2" * 32


def of_stream(sid: str, **changes: object) -> Update:
    return Update(sid, Writer.STREAM, changes)


def test_turns_and_fields_of_several_calls_are_written_in_one_go(store: CallStore) -> None:
    first, second = store.begin(a_call()), store.begin(a_call(OTHER, engine="realtime"))
    usage = {"tokens": 3}
    store.write_all(
        [
            PutTurn(SID, a_turn(1)),
            of_stream(SID, usage=usage),
            PutTurn(OTHER, a_turn(1, text="別")),
            PutTurn(SID, a_turn(2)),
            of_stream(OTHER, stream=StreamState(seen_at=NOW)),
            Update(SID, Writer.FUNCTIONS, {"end_reason": "busy"}),
        ]
    )
    assert store.turns(SID) == [a_turn(1), a_turn(2)]
    assert store.turns(OTHER) == [a_turn(1, text="別")]
    assert store.get(SID) == replace(first, usage=usage, end_reason="busy")
    assert store.get(OTHER) == replace(second, stream=StreamState(seen_at=NOW))


def test_what_is_not_changed_stays_as_it_was_to_the_letter(store: CallStore) -> None:
    odd = {"name": "山田 😀\u2028", "__x__": "", "a.b": "\x00\n", "$.stream": "'\"\\", "end_reason": "null"}
    call = store.begin(a_call(variables=odd, greeting="「\t」", flow=Flow(3, 2, "words", NOW), usage={"x": 2**53}))
    step = NextStep(1, "transfer", say="'\"\\\x00😀\ud83d", target="$.usage")
    store.write_all([of_stream(SID, next_step=step, usage={"a.b": 1, '"': 2}), PutTurn(SID, a_turn(1))])
    kept = replace(step, say="'\"\\\x00😀\ufffd")
    assert store.get(SID) == replace(call, next_step=kept, usage={"a.b": 1, '"': 2})


def test_nothing_to_write_is_no_matter(store: CallStore) -> None:
    store.write_all([])


def test_as_many_as_may_be_are_written(store: CallStore) -> None:
    store.write_all([PutTurn(SID, a_turn(n + 1)) for n in range(MOST_TOGETHER)])
    assert len(store.turns(SID)) == MOST_TOGETHER


def test_of_the_same_part_the_last_counts(store: CallStore) -> None:
    call = store.begin(a_call())
    store.write_all(
        [
            PutTurn(SID, a_turn(1, text="古い")),
            of_stream(SID, usage={"tokens": 1, "seconds": 1}, stream=StreamState(ending="asked")),
            of_stream(SID, usage={"tokens": 2}),
            PutTurn(SID, a_turn(1, text="新しい")),
        ]
    )
    assert store.turns(SID) == [a_turn(1, text="新しい")]
    assert store.get(SID) == replace(call, usage={"tokens": 2}, stream=StreamState(ending="asked"))


def test_the_late_word_of_an_older_stream_changes_nothing_here_either(store: CallStore) -> None:
    store.begin(a_call())
    store.begin(a_call(OTHER))
    store.open_stream(SID, 2, NOW)
    late = of_stream(SID, stream=StreamState(1, lost_at=NOW), usage={"tokens": 9})
    newer = of_stream(OTHER, next_step=NextStep(2, "resume"))
    older = of_stream(OTHER, next_step=NextStep(1, "goodbye"), usage={"tokens": 1})
    store.write_all([late, newer, older])
    call, other = store.get(SID), store.get(OTHER)
    assert call is not None
    assert other is not None
    assert (call.stream, call.usage) == (StreamState(2, NOW, NOW), {"tokens": 9})
    assert (other.next_step, other.usage) == (NextStep(2, "resume"), {"tokens": 1})


@pytest.mark.parametrize("absent", [OTHER, "a/b", ""])
def test_a_call_that_is_not_there_costs_the_others_nothing(store: CallStore, absent: str) -> None:
    call = store.begin(a_call())
    store.write_all([of_stream(absent, usage={"tokens": 1}), of_stream(SID, usage={"tokens": 1})])
    assert store.get(absent) is None
    assert store.get(SID) == replace(call, usage={"tokens": 1})


def test_an_expired_call_is_not_there(store: CallStore) -> None:
    store.begin(a_call(created_at=NOW - timedelta(days=31)))
    store.write_all([of_stream(SID, usage={"tokens": 1}), PutTurn(OTHER, a_turn(1))])
    assert store.get(SID) is None
    assert store.turns(OTHER) == [a_turn(1)]


@pytest.mark.parametrize("bad", [PutTurn("a/b", a_turn(1)), PutTurn(SID, a_turn(0))])
def test_what_cannot_be_named_is_refused_with_all_that_goes_with_it(store: CallStore, bad: Write) -> None:
    call = store.begin(a_call())
    with pytest.raises(RefusedError):
        store.write_all([PutTurn(SID, a_turn(1)), of_stream(SID, usage={"tokens": 1}), bad])
    assert store.turns(SID) == []
    assert store.get(SID) == call


def test_what_is_not_the_writers_cannot_even_be_said() -> None:
    with pytest.raises(ValueError, match="flow"):
        Update(SID, Writer.STREAM, {"flow": Flow()})


def test_both_sides_write_the_same_calls_at_once_and_nothing_is_lost(open_another: Callable[[], CallStore]) -> None:
    streams, functions = open_another(), open_another()
    sids = [streams.begin(a_call(f"CA{n:032}")).sid for n in range(4)]

    def write(n: int) -> None:
        if n == 0:
            streams.write_all([of_stream(sid, stream=StreamState(seen_at=NOW)) for sid in sids])
        else:
            functions.report_status(sids[n - 1], StatusReport(Status.IN_PROGRESS, NOW, 1))

    all_at_once(5, write)
    for sid in sids:
        call = functions.get(sid)
        assert call is not None
        assert (call.status, call.stream.seen_at) == (Status.IN_PROGRESS, NOW)
