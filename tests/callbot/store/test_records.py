"""Records as documents: whatever a record holds comes back, and a document of another making does not upset us."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbot import records
from callbot.calls import Call, Flow, NextStep, Reservation, StreamState, Turn
from callbot.errors import RefusedError, StoreError
from tests.callbot.store.conftest import NOW, a_call, a_turn

TEXT = st.text(st.characters(codec="utf-8"))
# Fixed offsets only: Python calls no time in a fold or gap of a real zone equal to the same moment in UTC.
ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC) | ZONES)  # noqa: DTZ001 -- zones follow
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
for kind in (Flow, StreamState, NextStep):
    st.register_type_strategy(kind, st.builds(kind))
st.register_type_strategy(datetime, TIMES)
st.register_type_strategy(str, TEXT)

CALLS = st.builds(Call, expire_at=TIMES)
TURNS = st.builds(Turn, tool_calls=st.lists(st.dictionaries(TEXT, JSON, max_size=3), max_size=2).map(tuple))
RESERVATIONS = st.builds(Reservation, request=st.dictionaries(TEXT, JSON, max_size=4), expire_at=TIMES)


def through_json(document: records.Document) -> records.Document:
    return records.from_json(records.to_json(document))


@given(CALLS)
def test_a_call_comes_back_as_it_was(call: Call) -> None:
    assert records.call_of(records.call_document(call)) == call
    assert records.call_of(through_json(records.call_document(call))) == call


@given(TURNS)
def test_a_turn_comes_back_as_it_was(turn: Turn) -> None:
    assert records.turn_of(records.turn_document(turn)) == turn
    assert records.turn_of(through_json(records.turn_document(turn))) == turn


@given(RESERVATIONS)
def test_a_reservation_comes_back_as_it_was(reservation: Reservation) -> None:
    assert records.reservation_of(records.reservation_document(reservation)) == reservation
    assert records.reservation_of(through_json(records.reservation_document(reservation))) == reservation


def test_a_call_is_kept_under_the_names_of_the_design() -> None:
    document = records.call_document(a_call(next_step=NextStep(1, "resume"), variables={"名": "前"}))
    assert (document["from"], document["to"]) == ("+819012345678", "+815012345678")
    assert document["status"] == "queued"
    assert document["stream"] == {
        "generation": 0,
        "connected_at": None,
        "seen_at": None,
        "lost_at": None,
        "caller_active_at": None,
        "ending": "",
    }
    assert document["next_step"]["step"] == "resume"
    assert document["variables"] == '{"名": "前"}'
    assert "from_" not in document


def test_fields_of_a_newer_or_older_callbot_do_no_harm() -> None:
    document = records.call_document(a_call()) | {"invented_later": {"a": 1}}
    document["stream"]["invented_later"] = 1
    del document["usage"], document["flow"]
    assert records.call_of(document) == records.call_of(records.call_document(a_call()))


@given(st.dictionaries(st.sampled_from([*records.call_document(a_call()), "n", "heard", "timings"]), JSON))
def test_whatever_a_document_holds_only_our_own_error_comes_of_it(rubbish: records.Document) -> None:
    for document, record_of in (
        (records.call_document(a_call()) | rubbish, records.call_of),
        (records.turn_document(a_turn(1)) | rubbish, records.turn_of),
        (rubbish, records.reservation_of),
    ):
        with suppress(StoreError):
            record_of(document)


@given(st.text())
def test_damaged_json_is_our_own_error(text: str) -> None:
    with suppress(StoreError):
        records.from_json(text)


@pytest.mark.parametrize("text", ["[]", "1", "null", '"sid"'])
def test_json_that_is_no_record_is_our_own_error(text: str) -> None:
    with pytest.raises(StoreError):
        records.from_json(text)


def test_a_time_without_a_zone_is_a_bug() -> None:
    with pytest.raises(ValueError, match="aware"):
        records.call_document(a_call(created_at=NOW.replace(tzinfo=None)))


@given(st.text())
def test_a_name_is_ours_or_refused(text: str) -> None:
    try:
        assert records.key(text) == text
    except RefusedError:
        return
    assert text.isascii()
    assert "/" not in text
