"""When nobody need look at the clock for a connection; of the lane in Python and of the compiled one."""

from typing import Any

import pytest
from both_codecs import codec as codec
from both_codecs import under_test

from stream_service.limits import Limits
from stream_service.watchdog import Watchdog

NOW = 1000.0


def lane() -> Any:
    """Of a peer that was heard just now and has nearly all of its budget left."""
    made = under_test.Lane(0, under_test.Decoder(True, 100), under_test.Outbox(100, 100), bool)
    made.heard_at, made.patience = NOW, 3.0
    made.bytes_left, made.enough_bytes = 90.0, 50.0
    made.messages_left, made.enough_messages = 9.0, 5.0
    return made


def test_who_was_heard_is_at_ease_for_a_while() -> None:
    quiet = lane()
    assert quiet.at_ease(NOW)
    assert quiet.at_ease(NOW + 2.999)
    assert not quiet.at_ease(NOW + 3.0)


def test_who_may_be_silent_for_ever_is_at_ease() -> None:
    made = under_test.Lane(0, None, under_test.Outbox(1, 1), bool)
    Watchdog(Limits(silence_seconds=None, ping_seconds=None), made)
    assert made.at_ease(NOW)


@pytest.mark.parametrize(("silence", "ping", "patience"), [(5, None, 5), (None, 3, 3), (5, 3, 3), (2, 3, 2)])
def test_nobody_looks_before_a_limit_says_so(silence: float | None, ping: float | None, patience: float) -> None:
    made = under_test.Lane(0, None, under_test.Outbox(1, 1), bool)
    Watchdog(Limits(silence_seconds=silence, ping_seconds=ping), made).begin(NOW)
    assert made.at_ease(NOW + patience - 0.001)
    assert not made.at_ease(NOW + patience)


@pytest.mark.parametrize(
    ("what", "is_now"),
    [
        ("open", False),
        ("blocked", True),
        ("held", True),
        ("backlog", True),
        ("bytes_left", 50.0),
        ("messages_left", 5.0),
    ],
)
def test_who_closes_or_takes_nothing_or_waits_or_sends_much_is_looked_at(what: str, is_now: object) -> None:
    busy = lane()
    setattr(busy, what, is_now)
    assert not busy.at_ease(NOW)


def test_who_has_retired_is_looked_at() -> None:
    gone = lane()
    gone.retire()
    assert not gone.at_ease(NOW)
