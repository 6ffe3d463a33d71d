"""What a server may send, and the buffer its audio waits in."""

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.twilio.playout import (
    LARGEST_BUFFER,
    Clear,
    Mark,
    Media,
    Playout,
    ProtocolViolationError,
    read_command,
)


def test_the_three_messages():
    payload = base64.b64encode(b"abc").decode()
    assert read_command(json.dumps({"event": "media", "streamSid": "MZ", "media": {"payload": payload}}), "MZ") == (
        Media(b"abc")
    )
    assert read_command('{"event":"mark","streamSid":"MZ","mark":{"name":"g-1"}}', "MZ") == Mark("g-1")
    assert read_command('{"event":"clear","streamSid":"MZ"}', "MZ") == Clear()


def test_a_message_for_another_stream_is_a_violation():
    with pytest.raises(ProtocolViolationError):
        read_command('{"event":"clear","streamSid":"MZ2"}', "MZ1")


def test_a_mark_on_an_empty_buffer_is_due_at_once():
    assert Playout().mark("now")


def test_marks_come_after_the_audio_before_them():
    playout = Playout()
    playout.add(b"a" * 250)
    assert not playout.mark("one")
    assert playout.play(160) == ([], b"a" * 160)
    assert playout.play(160) == ([], b"a" * 90)
    assert playout.play(160) == (["one"], b"")


def test_a_mark_waits_for_the_marks_before_it():
    playout = Playout()
    playout.add(b"a")
    playout.mark("one")
    playout.play(160)
    assert not playout.mark("two")  # "one" has not been returned yet
    assert playout.play(160) == (["one", "two"], b"")


def test_clear_returns_all_marks_and_what_nobody_heard():
    playout = Playout()
    playout.add(b"a" * 320)
    playout.mark("one")
    playout.play(160)
    assert playout.clear() == (b"a" * 160, ["one"])
    assert playout.mark("after")


def test_the_buffer_is_bounded():
    playout = Playout()
    playout.add(bytes(LARGEST_BUFFER))
    with pytest.raises(ProtocolViolationError):
        playout.add(b"x")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(["media", "mark", "clear", "MZ"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["event", "streamSid", "media", "mark", "payload", "name"]), inner)
    ),
    max_leaves=8,
)


@given(st.text() | st.binary() | JSON.map(json.dumps))
def test_no_message_raises_anything_but_a_violation(message):
    with contextlib.suppress(ProtocolViolationError):
        assert isinstance(read_command(message, "MZ"), Media | Mark | Clear)


ACTIONS = st.lists(
    st.tuples(st.just("add"), st.binary(max_size=400))
    | st.tuples(st.just("mark"), st.integers())
    | st.tuples(st.just("play"), st.integers(1, 400))
    | st.tuples(st.just("clear"), st.none()),
    max_size=30,
)


@given(ACTIONS)
def test_every_byte_is_played_or_dropped_once_and_every_mark_returns_in_order(actions):
    playout, sent, out, marked, returned = Playout(), b"", b"", [], []
    for number, (action, value) in enumerate([*actions, ("clear", None)]):
        if action == "add":
            playout.add(value)
            sent += value
        elif action == "mark":
            marked.append(str(number))
            if playout.mark(str(number)):
                returned.append(str(number))
        elif action == "play":
            due, piece = playout.play(value)
            returned += due
            out += piece
        else:
            dropped, names = playout.clear()
            out += dropped
            returned += names
    assert (out, returned) == (sent, marked)
