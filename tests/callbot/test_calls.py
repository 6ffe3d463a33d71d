"""The moves of a call's status: forwards only, and the same end whatever order the callbacks come in."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbot.calls import FINAL, Call, Status, StatusReport, StreamState

BEGAN = datetime(2026, 11, 21, tzinfo=UTC)


def a_call(status: Status = Status.QUEUED, **fields: object) -> Call:
    given = {"sid": "CA1", "direction": "outbound", "from_": "+815012345678", "to": "+819012345678"}
    return Call(**{**given, "agent": "takumi", "engine": "realtime", "created_at": BEGAN, "status": status, **fields})  # type: ignore[arg-type]  # a test's shorthand


def report(status: Status, seconds: int = 0, **fields: int) -> StatusReport:
    return StatusReport(status, BEGAN + timedelta(seconds=seconds), **fields)


def test_an_ordinary_call_goes_through_its_stages() -> None:
    call = a_call()
    for n, status in enumerate((Status.INITIATED, Status.RINGING, Status.IN_PROGRESS)):
        call = call.after(report(status, n, sequence=n))
        assert call.status is status
    call = call.after(report(Status.COMPLETED, 60, sequence=3, duration=58))
    assert call.is_over
    assert (call.answered_at, call.ended_at) == (BEGAN + timedelta(seconds=2), BEGAN + timedelta(seconds=60))
    assert (call.duration, call.end_reason, call.status_sequence) == (58, "caller hung up", 3)


@pytest.mark.parametrize("end", sorted(FINAL))
@pytest.mark.parametrize("late", list(Status))
def test_nothing_moves_a_call_that_is_over(end: Status, late: Status) -> None:
    over = a_call().after(report(end, 9))
    assert over.is_over
    after = over.after(report(late, 10, sequence=99, duration=1))
    assert (after.status, after.ended_at, after.end_reason) == (over.status, over.ended_at, over.end_reason)


@pytest.mark.parametrize(
    ("status", "late"),
    [
        (Status.IN_PROGRESS, Status.RINGING),
        (Status.IN_PROGRESS, Status.IN_PROGRESS),
        (Status.RINGING, Status.INITIATED),
        (Status.INITIATED, Status.QUEUED),
    ],
)
def test_a_call_never_goes_back(status: Status, late: Status) -> None:
    call = a_call(status, answered_at=BEGAN)
    assert call.after(report(late, 5, sequence=9)) == call


@given(st.permutations(list(Status)), st.lists(st.sampled_from(list(Status)), max_size=5))
def test_after_every_report_a_call_is_over_and_stays_so(order: list[Status], again: list[Status]) -> None:
    call = a_call()
    for n, status in enumerate([*order, *again]):
        call = call.after(report(status, n, sequence=n))
    assert call.status is next(status for status in order if status in FINAL)
    assert call.answered_at == BEGAN + timedelta(seconds=order.index(Status.IN_PROGRESS))


def test_the_reason_that_was_given_outlives_the_carriers() -> None:
    ended_by_us = a_call(Status.IN_PROGRESS, stream=StreamState(1, ending="end_call"))
    assert ended_by_us.after(report(Status.COMPLETED)).end_reason == "end_call"
    silent = a_call(Status.IN_PROGRESS, end_reason="caller silent", stream=StreamState(1, ending="end_call"))
    assert silent.after(report(Status.COMPLETED)).end_reason == "caller silent"
    assert a_call(Status.RINGING).after(report(Status.NO_ANSWER)).end_reason == "no answer"
