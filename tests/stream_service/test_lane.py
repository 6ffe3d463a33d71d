"""When nobody need look at the clock for a connection; of the lane in Python and of the compiled one."""

from typing import Any

import pytest
from both_codecs import codec as codec
from both_codecs import under_test

from stream_service.lane import JUST_NOW_SECONDS

NOW = 1000.0


def lane() -> Any:
    """Of a peer that was heard just now and has nearly all of its budget left."""
    made = under_test.Lane(0, under_test.Decoder(True, 100), under_test.Outbox(100, 100), bool)
    made.heard_at = NOW
    made.bytes_left, made.enough_bytes = 90.0, 50.0
    made.messages_left, made.enough_messages = 9.0, 5.0
    return made


def test_who_was_heard_just_now_is_at_ease_for_a_while() -> None:
    quiet = lane()
    assert quiet.at_ease(NOW)
    assert quiet.at_ease(NOW + JUST_NOW_SECONDS - 0.001)
    assert not quiet.at_ease(NOW + JUST_NOW_SECONDS)


@pytest.mark.parametrize(
    ("what", "is_now"), [("open", False), ("blocked", True), ("bytes_left", 50.0), ("messages_left", 5.0)]
)
def test_who_closes_or_takes_nothing_or_sends_much_is_looked_at(what: str, is_now: object) -> None:
    busy = lane()
    setattr(busy, what, is_now)
    assert not busy.at_ease(NOW)


def test_who_has_retired_is_looked_at() -> None:
    gone = lane()
    gone.retire()
    assert not gone.at_ease(NOW)
