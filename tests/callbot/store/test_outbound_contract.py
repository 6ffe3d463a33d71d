"""What every call store promises about outbound requests: one call a key, and limits that hold under a rush."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from callbot.calls import RETENTION
from callbot.store import CallStore, OverLimitError
from tests.callbot.store.conftest import NOW, a_call, a_reservation, all_at_once

SID = a_call().sid


def test_one_key_makes_one_reservation(store: CallStore) -> None:
    asked = [a_reservation(request={"asker": n}, fingerprint=str(n)) for n in range(50)]
    answers = all_at_once(50, lambda n: store.reserve(asked[n], {"day:1": 100}))
    assert [is_new for _, is_new in answers].count(True) == 1
    winner = next(stored for stored, is_new in answers if is_new)
    assert {stored.fingerprint for stored, _ in answers} == {winner.fingerprint}
    assert store.reservation("a" * 64) == winner
    # A repeated key has counted once, so 99 are left.
    assert store.reserve(a_reservation("b"), {"day:1": 2})[1]
    with pytest.raises(OverLimitError):
        store.reserve(a_reservation("c"), {"day:1": 2})


def test_a_limit_is_exact_however_many_come_at_once(open_another: Callable[[], CallStore]) -> None:
    stores = [open_another() for _ in range(4)]

    def reserve(n: int) -> str:
        try:
            return str(stores[n % 4].reserve(a_reservation(f"r{n}"), {"minute:1": 20, "day:1": 100})[1])
        except OverLimitError as full:
            return full.limit

    results = all_at_once(48, reserve)
    assert (results.count("True"), results.count("minute:1")) == (20, 28)


def test_a_full_counter_leaves_the_others_alone(store: CallStore) -> None:
    with pytest.raises(OverLimitError, match="number"):
        store.reserve(a_reservation(), {"day:1": 1, "number:1": 0})
    assert store.reservation("a" * 64) is None
    assert store.reserve(a_reservation(), {"day:1": 1})[1]


def test_a_reservation_is_kept_whole(store: CallStore) -> None:
    asked = a_reservation(request={"variables": {"__x__": "あ"}, "n": [[1], [2]], "none": None, "big": 10**30})
    stored, _ = store.reserve(asked, {})
    assert stored == replace(asked, expire_at=NOW + RETENTION)
    assert store.reservation(asked.id) == stored


def test_a_reservation_is_settled_and_dialled_is_the_last_word(store: CallStore) -> None:
    stored, _ = store.reserve(a_reservation(), {})
    refused = store.settle(stored.id, "refused", problem="no", code="21211", http_status=400)
    assert refused == replace(stored, state="refused", problem="no", code="21211", http_status=400)
    dialled = store.settle(stored.id, "dialled", call_sid=SID)
    assert dialled == replace(stored, state="dialled", call_sid=SID)
    assert store.settle(stored.id, "unknown", problem="late") == dialled
    assert store.reservation(stored.id) == dialled
