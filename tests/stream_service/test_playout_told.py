"""What of the bot's audio passes and which of its marks return, on the pump's thread; and who is told of it."""

from typing import Any

import pytest
from both_codecs import codec, under_test
from playout_scenes import SECOND, new_playout

from stream_service.playout import BYTES_PER_MS, MARK_EVERY_MS

__all__ = ["codec"]  # every test here runs with both


def test_a_mark_comes_as_often_as_is_said() -> None:
    playout = under_test.Playout()
    assert playout.sent("i1", MARK_EVERY_MS * BYTES_PER_MS - 8, 0.0) == ("", True)
    assert playout.sent("i1", 8, 0.0) == ("a0-1", False)


class Told:
    """A playout on a clock that is set by hand, and whom it tells."""

    def __init__(self) -> None:
        self.now = 0.0
        self.firsts: list[tuple[str, str]] = []
        self.lasts: list[str] = []
        self.playout = new_playout(clock=lambda: self.now)
        self.playout.tell(lambda item, response: self.firsts.append((item, response)), self.lasts.append)

    def mark_returns(self, name: str) -> bool:
        return self.playout.mark_returns(b'{"event":"mark","streamSid":"MZ1","mark":{"name":"%s"}}' % name.encode())


def test_an_items_first_piece_is_told() -> None:
    told = Told()
    assert told.playout.passes(160, "i1", "r1") == b""
    assert told.playout.passes(SECOND, "i1", "r1") == b"a0-1"
    assert told.playout.passes(160, "i2", "r1") == b""
    assert told.firsts == [("i1", "r1"), ("i2", "r1")]
    assert told.playout.sounding == "r1"


def test_a_piece_is_sent_at_the_time_it_passes() -> None:
    told = Told()
    told.now = 7.0
    told.playout.passes(SECOND, "i1", "r1")
    assert told.playout.ends_at == 8.0
    assert told.playout.heard_ms("i1", 7.5) == 500


def test_nothing_passes_of_what_was_dropped() -> None:
    told = Told()
    told.playout.drop("r1")
    assert told.playout.passes(160, "i1", "r1") is None
    assert told.playout.sent_ms("i1") == 0
    assert not told.playout.just_sounded
    assert told.playout.sounding == ""
    assert told.playout.passes(160, "i2", "r2") == b""
    told.playout.forget("r1")
    told.playout.forget("r3")
    assert told.playout.passes(160, "i1", "r1") == b""
    assert told.firsts == [("i2", "r2"), ("i1", "r1")]


def test_that_something_sounded_is_known_until_something_else_comes() -> None:
    told = Told()
    told.playout.passes(160, "i1", "r1")
    assert told.playout.just_sounded
    told.playout.just_sounded = False
    told.playout.sent("i1", 160, 0.0)
    assert not told.playout.just_sounded


def test_the_last_mark_is_told_when_it_returns() -> None:
    told = Told()
    marks = [told.playout.passes(SECOND, "i1", "r1") for _ in range(2)]
    assert marks == [b"a0-1", b"a0-2"]
    assert told.mark_returns("a0-1")
    assert told.lasts == []
    told.now = 2.2
    assert told.mark_returns("a0-2")
    assert told.lasts == ["a0-2"]
    assert told.mark_returns("a0-2")  # once more, as no carrier does: it is no less a mark of ours
    assert told.lasts == ["a0-2"]


def test_a_mark_returns_at_the_time_it_comes() -> None:
    told = Told()
    told.playout.passes(SECOND, "i1", "r1")
    told.playout.passes(160, "i1", "r1")
    told.now = 1.5
    told.mark_returns("a0-1")
    assert told.playout.heard_ms("i1", 1.51) == 1010


@pytest.mark.parametrize(
    "message",
    [
        b'{"event":"mark","mark":{"name":"bye"}}',
        b'{"event":"mark","mark":{"name":""}}',
        b'{"event":"mark","mark":{"name":"-"}}',
        b'{"event":"mark","mark":{"name":"a0 1"}}',
        b'{"event":"mark","mark":{"name":"a0-1\\u0020"}}',
        b'{"event":"mark","mark":{"name":"a0-1',
        b'{"event":"mark","mark":{}}',
        b'{"event":"mark"',
        b'{ "event":"mark","mark":{"name":"a0-1"}}',
        b'{"event":"dtmf","dtmf":{"name":"a0-1"}}',
        b"",
    ],
)
def test_any_other_message_is_somebody_elses(message: bytes) -> None:
    told = Told()
    told.playout.passes(SECOND, "i1", "r1")
    assert not told.playout.mark_returns(message)
    assert told.lasts == []
    assert told.playout.audible(0.5)


@pytest.mark.parametrize("whom", [0, 1])
def test_who_fails_when_told_is_heard_of(whom: int) -> None:
    playout = new_playout(clock=lambda: 0.0)
    hears: list[Any] = [lambda *_: None, lambda *_: None]
    hears[whom] = lambda *_: 1 // 0
    playout.tell(*hears)

    def a_piece_is_played() -> None:
        playout.passes(SECOND, "i1", "r1")
        playout.mark_returns(b'{"event":"mark","mark":{"name":"a0-1"}}')

    with pytest.raises(ZeroDivisionError):
        a_piece_is_played()


def test_a_clock_that_fails_is_heard_of() -> None:
    playout = new_playout(clock=lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        playout.passes(160, "i1", "r1")
    with pytest.raises(ZeroDivisionError):
        playout.mark_returns(b'{"event":"mark","mark":{"name":"a0-1"}}')
