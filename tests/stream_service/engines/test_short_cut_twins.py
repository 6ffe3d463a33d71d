"""Messages taken straight from a socket come out as if each had been pulled and handed over, both ways."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from both_codecs import Codec, compiled_codec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from short_cut import ShortCut

from engines.callers_and_vendors import IDLE, MOST, Caller, Vendor, delta, media, word
from stream_service.wire import frames
from stream_service.wire.realtime_words import is_words


@pytest.mark.parametrize(
    ("message", "limit", "close_code"),
    [
        (b'{"event":"media","media":{"payload":"AAAA"},"streamSid":"\xff"}', 1000, 1007),
        (b'{"event":"media","media":{"payload":"AAAA"},"streamSid":"\xe3\x81', 1000, 1007),
        (media(bytes(100)), 100, 1009),
    ],
)
def test_what_breaks_the_protocol_is_left_to_the_decoder(message: bytes, limit: int, close_code: int) -> None:
    compiled = compiled_codec()
    uplink = compiled.Uplink(b"", b"", True, IDLE, MOST)
    with ShortCut(compiled, uplink, masked=False, limit=limit) as cut, pytest.raises(frames.FrameError) as caught:
        cut.comes(frames.python_encode(frames.TEXT_FRAME, message, False))
    assert caught.value.close_code == close_code
    assert uplink.position == 0


heard_steps = st.lists(
    st.one_of(
        st.tuples(st.just("hear"), st.integers(0, 700)),
        st.tuples(st.just("odd"), st.sampled_from([b'{"event":"mark"}', b'{"event":"media"}', b"\xff", b"x" * 5000])),
        st.tuples(st.just("need"), st.integers(-100, 3000)),
        st.tuples(st.just("settled"), st.integers(-100, 3000)),
        st.tuples(st.just("attach"), st.integers(200, 3000)),
        st.tuples(st.just("detach"), st.just(0)),
        st.tuples(st.just("write"), st.just(0)),
    ),
    max_size=40,
)


@given(heard_steps, st.booleans(), st.integers(1, 5))
@settings(max_examples=300, deadline=None)
def test_taking_what_the_caller_says_straight_from_the_socket_is_the_same(
    script: list[tuple[str, Any]], binary: bool, at_once: int
) -> None:
    """The compiled uplink on a mover, and the one in Python asked message by message."""
    compiled = compiled_codec()
    ours, theirs = (how.Uplink(b"p", b"q", binary, 900, 2000) for how in (Codec(), compiled))
    with ShortCut(compiled, theirs) as cut:
        play(script, at_once, ours, cut)


def play(script: list[tuple[str, Any]], at_once: int, ours: Any, cut: ShortCut) -> None:
    compiled, theirs = compiled_codec(), cut.lane.route
    our_vendor, their_vendor = Vendor(Codec()), Vendor(compiled)
    queued: list[bytes] = []

    def deliver() -> None:
        left = [message for message in queued if is_text(message) and not ours(message)]
        cut.passed.clear()
        with contextlib.suppress(frames.FrameError):
            cut.comes(b"".join(frames.python_encode(frames.TEXT_FRAME, message, True) for message in queued))
        queued.clear()
        assert [message for _, message in cut.passed] == left

    for action, value in script:
        if action in ("hear", "odd"):
            queued.append(media(bytes([value % 251]) * value) if action == "hear" else value)
            if len(queued) >= at_once or value == b"\xff":
                deliver()
            if value == b"\xff":
                return  # the stream is broken here
            continue
        deliver()
        match action:
            case "need":
                ours.need_from(value), theirs.need_from(value)
            case "settled":
                ours.settled(value), theirs.settled(value)
            case "attach":
                our_vendor, their_vendor = Vendor(Codec(), value), Vendor(compiled, value)
                assert our_vendor.attach(ours) == their_vendor.attach(theirs)
            case "detach":
                ours.detach(), theirs.detach()
        assert (ours.position, ours.attached) == (theirs.position, theirs.attached)
        assert our_vendor.outbox.size == their_vendor.outbox.size
        assert our_vendor.outbox.dropped == their_vendor.outbox.dropped
        assert our_vendor.heard() == their_vendor.heard()


SMALL = b'{"event":"media","media":{"payload":"AAAA"}}'
FITTING = b'{"event":"media","media":{"payload":"%s"}}' % (b"A" * 84)  # the shortest that needs a longer header
frames_of_callers = st.one_of(
    st.sampled_from([0x81] * 6 + [0x82, 0x01, 0x80, 0x89]).map(lambda first: frames.python_encode(first, SMALL, True)),
    st.binary(max_size=300).map(lambda ulaw: frames.python_encode(0x81, media(ulaw), True)),
    st.sampled_from(
        [
            frames.python_encode(0x81, SMALL, False),
            frames.python_encode(0x81, FITTING, True),
            b"\x81\xfe\x00" + bytes([len(SMALL)]) + bytes(4) + SMALL,  # not written in the shortest way
            b"\x81\xff" + len(FITTING).to_bytes(8, "big") + bytes(4) + FITTING,
            b"\x81" + bytes([len(SMALL)]) + bytes(4) + SMALL,  # no mask, though it looks like one
            b"\x81\xff" + bytes(4) + SMALL.ljust(127),  # as if 127 were a length
            frames.python_encode(0xC1, SMALL, True),
            frames.python_encode(0x81, b"\xff" + SMALL, True),
            frames.python_encode(0x81, SMALL + b"\xe3\x81", True),
            frames.python_encode(0x81, media(bytes(700)), True),
            frames.python_encode(0x81, b"", True),
        ]
    ),
)  # fmt: skip


@given(
    st.lists(st.tuples(frames_of_callers, st.booleans()), max_size=6),
    st.lists(st.integers(0, 2_000), max_size=4),
    st.integers(50, 1_000),
)
@example([(frames.python_encode(0x01, b"a", True), True), (frames.python_encode(0x81, SMALL, True), True)], [], 100)
@settings(max_examples=250, deadline=None)
def test_any_frames_in_any_pieces_come_to_the_same(
    stream: list[tuple[bytes, bool]], cuts: list[int], limit: int
) -> None:
    """The short cut, and Python's decoder with an uplink behind it; also where they refuse, and with what words."""
    compiled, data = compiled_codec(), b"".join(frame for frame, _ in stream)
    pauses = [sum(len(frame) for frame, _ in stream[:at]) for at, (_, pause) in enumerate(stream) if pause]
    ours, theirs = (how.Uplink(b"p", b"q", False, 10_000, 10_000) for how in (Codec(), compiled))
    our_vendor, their_vendor = Vendor(Codec()), Vendor(compiled)
    our_vendor.attach(ours)
    their_vendor.attach(theirs)
    decoder = Codec().Decoder(True, limit)
    with ShortCut(compiled, theirs, limit=limit) as cut:
        places = sorted({place % (len(data) + 1) for place in cuts} | {*pauses, len(data)})
        for start, end in zip([0, *places], places, strict=False):
            decoder.feed(data[start:end])
            passed, refused = pulled(decoder, ours)
            cut.passed.clear()
            assert refusal(lambda: cut.comes(data[start:end])) == refused  # noqa: B023 - called at once
            assert cut.passed == passed
            assert (ours.position, our_vendor.heard()) == (theirs.position, their_vendor.heard())
            if refused:
                return


def pulled(decoder: Any, route: Any) -> tuple[list[tuple[int, bytes]], str]:
    """What the route did not take, and how it ended."""
    passed: list[tuple[int, bytes]] = []

    def pull() -> None:
        while (one := decoder.pull()) is not None:
            if not route(one[1]):
                passed.append(one)

    return passed, refusal(pull)


def refusal(act: Callable[[], object]) -> str:
    try:
        act()
    except frames.FrameError as error:
        return f"{error.close_code} {error}"
    return ""


pieces = st.one_of(
    st.binary(max_size=400).map(delta),
    st.builds(delta, st.binary(max_size=30), st.sampled_from(["dropped", "marked", "i語", "x" * 300])),
    st.text(max_size=5).map(word),
    st.sampled_from(
        [b'{"type":"rate_limits.updated"}', b'{"type":"rate_limits.updated', b'{"type":"' + b"x" * 90 + b'"}']
    ),
    st.sampled_from([b'{"type":"response.done"}', b"\xff", b"", delta(bytes(20_000)), delta(b"")]),
    st.sampled_from([delta(b"one") + b" ", word("w") + delta(b"two"), delta(b"one").replace(b"r1", b"r\xe3\x81")]),
)
said_steps = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.lists(pieces, max_size=6)),
        st.tuples(
            st.sampled_from(["gather", "replace", "let go", "let all go", "discard", "write", "tell"]), st.just([])
        ),
    ),
    max_size=12,
)


@given(said_steps, st.integers(30, 1000), st.integers(0, 60), st.sampled_from([0, 40]))
@example([("come", [word("w"), delta(b"one"), b"\xff", delta(b"two")])], 1000, 60, 0)
@settings(max_examples=300, deadline=None)
def test_taking_what_the_model_says_straight_from_the_socket_is_the_same(
    script: list[tuple[str, list[bytes]]], audio_limit: int, control_limit: int, most_unmarked: int
) -> None:
    """The compiled downlink on a mover, and the one in Python asked message by message."""
    compiled = compiled_codec()
    limits = audio_limit, control_limit, most_unmarked
    ours, theirs = (Caller(how, *limits).attach() for how in (Codec(), compiled))
    for caller in (ours, theirs):
        caller.marks.update(dropped=None, marked=b"m")
    with ShortCut(compiled, theirs.downlink, masked=False) as cut:
        gathered: list[tuple[list[bytes], list[bytes]]] = [([], [])]
        for action, come in script:
            match action:
                case "come":
                    expected = [message for message in come if is_text(message) and not ours.downlink(message)]
                    told = come_straight(cut, come)
                    assert told == expected
                case "gather":
                    gathered.append(([], []))
                    ours.downlink.gather(gathered[-1][0])
                    theirs.downlink.gather(gathered[-1][1])
                case "replace":
                    mine, other = gathered[-1]
                    assert ours.downlink.replace(mine, b"all") == theirs.downlink.replace(other, b"all")
                case "let go":
                    ours.downlink.let_go(gathered[-1][0])
                    theirs.downlink.let_go(gathered[-1][1])
                case "let all go":
                    ours.downlink.let_go(None)
                    theirs.downlink.let_go(None)
                case "tell":
                    ours.downlink.tell()
                    theirs.downlink.tell()
                case "discard":
                    assert ours.outbox.discard_audio() == theirs.outbox.discard_audio()
                case _:
                    assert ours.heard() == theirs.heard()
            assert (ours.asked, ours.told) == (theirs.asked, theirs.told)
            assert all(mine == other for mine, other in gathered)
            for name in ("size", "dropped", "finished", "overflowed"):
                assert getattr(ours.outbox, name) == getattr(theirs.outbox, name)
        assert ours.heard() == theirs.heard()


def come_straight(cut: ShortCut, come: list[bytes]) -> list[bytes]:
    """The messages in one go, and what the route did not take. What is no UTF-8 no text frame can carry."""
    cut.passed.clear()
    cut.comes(b"".join(frames.python_encode(frames.TEXT_FRAME, message, False) for message in come if is_text(message)))
    return [message for _, message in cut.passed]


def is_text(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.one_of(st.binary(max_size=200), pieces))
@settings(max_examples=250, deadline=None)
def test_no_bytes_are_too_odd(message: bytes) -> None:
    """Also those that no text frame can carry are looked at alike."""
    ours, theirs = (Caller(how).attach() for how in (Codec(), compiled_codec()))
    words: tuple[list[bytes], list[bytes]] = ([], [])
    ours.downlink.gather(words[0])
    theirs.downlink.gather(words[1])
    assert ours.downlink(message) == theirs.downlink(message)
    assert (ours.asked, ours.told, ours.heard(), words[0]) == (theirs.asked, theirs.told, theirs.heard(), words[1])
    assert not words[0] or is_words(message)
