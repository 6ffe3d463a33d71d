"""What a recogniser says once more is taken without a word to anybody; asked directly, and on a mover."""

from collections.abc import Callable
from typing import Any

import pytest
from both_codecs import Codec, codec, compiled_codec, under_test
from hypothesis import given, settings
from hypothesis import strategies as st
from short_cut import ShortCut

from stream_service.wire import frames

__all__ = ["codec"]  # every test here runs with both

LEAD = b"U"


class Told:
    def __init__(self, make: Callable[..., Any] | None = None, takes: bool = True) -> None:
        self.told: list[bytes] = []
        self._takes = takes
        self.route = (make or under_test.Repeats)(LEAD, self._other)

    def _other(self, message: bytes) -> bool:
        self.told.append(message)
        return self._takes


def test_only_other_words_are_told() -> None:
    who = Told()
    for message in (b"U yes", b"U yes", b"U yes", b"U yes, please", b"U yes"):
        assert who.route(message) is True
    assert who.told == [b"U yes", b"U yes, please", b"U yes"]


def test_what_does_not_begin_so_is_told_each_time() -> None:
    who = Told(takes=False)
    for message in (b"", b"", b"E 1", b"E 1"):
        assert who.route(message) is False
    assert who.told == [b"", b"", b"E 1", b"E 1"]


def test_whether_the_newest_was_one_of_them_is_known() -> None:
    who = Told()
    seen = []
    for message in (b"U yes", b"U yes", b"E 1", b"E 1", b"U yes", b"U yes"):
        who.route(message)
        seen.append(who.route.again)
    assert seen == [False, True, False, False, False, True]
    who.route.again = False
    assert not who.route.again


def test_an_error_of_who_is_told_is_heard_of() -> None:
    route = under_test.Repeats(LEAD, lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        route(b"U yes")


@given(
    st.lists(st.sampled_from([b"U yes", b"U no", b"U", b"E 1", b"", b"V"]), max_size=30), st.booleans(), st.booleans()
)
@settings(max_examples=200, deadline=None)
def test_on_a_mover_it_is_the_same(messages: list[bytes], takes: bool, masked: bool) -> None:
    compiled = compiled_codec()
    ours, theirs = Told(Codec().Repeats, takes), Told(compiled.Repeats, takes)
    left = [message for message in messages if not ours.route(message)]
    with ShortCut(compiled, theirs.route, masked=masked) as cut:
        stream = b"".join(frames.python_encode(frames.TEXT_FRAME, message, masked) for message in messages)
        assert not messages or cut.comes(stream) is not None
        assert [payload for _, payload in cut.passed] == left
        assert theirs.told == ours.told
        assert theirs.route.again == ours.route.again
