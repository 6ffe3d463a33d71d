"""The compiled codec does what the one in Python does, whatever comes."""

import base64
import os
from collections.abc import Callable
from typing import Any

import pytest
from both_codecs import Codec, compiled, compiled_codec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_service.wire.frames import FrameError

PYTHON = Codec()
SID = "MZ18ad3ab5a668481ce02b83e7395059f0"


@pytest.fixture(scope="module")
def codec() -> Codec:
    return compiled_codec()


def outcome(act: Callable[[], Any]) -> Any:
    """What it gives, or what it refuses with."""
    try:
        return act()
    except FrameError as error:
        return ("refused", error.close_code, str(error))


def pulled(decoder: Any) -> list[Any]:
    """All that comes out, up to and with a refusal."""
    out: list[Any] = []
    while (one := outcome(decoder.pull)) is not None:
        out.append(one)
        if one[0] == "refused":
            break
    return out


# Bytes that are often almost frames.
heads = st.builds(
    lambda first, length, rest: bytes((first, length)) + rest,
    st.sampled_from([0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A, 0x09, 0xC1, 0x83]),
    st.sampled_from([0, 1, 5, 125, 126, 127, 0x80, 0x81, 0x85, 0xFD, 0xFE, 0xFF]),
    st.one_of(st.binary(max_size=12), st.text(max_size=6).map(str.encode)),
)
streams = st.lists(st.one_of(heads, st.binary(max_size=200)), max_size=8).map(b"".join)


@given(streams, st.booleans(), st.lists(st.integers(0, 400), max_size=6), st.integers(0, 300))
@example(b"\x81\x83abcd" + bytes((0xE3 ^ 0x61, 0x81 ^ 0x62, 0x82 ^ 0x63)), True, [5, 6, 7], 200)
@settings(max_examples=500, deadline=None)
def test_any_bytes_in_any_pieces_are_understood_alike(
    codec: Codec, data: bytes, masked: bool, cuts: list[int], limit: int
) -> None:
    ours, theirs = PYTHON.Decoder(masked, limit), codec.Decoder(masked, limit)
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    start = 0
    for place in places:
        ours.feed(data[start:place])
        theirs.feed(data[start:place])
        start = place
        expected = pulled(ours)
        assert pulled(theirs) == expected
        if expected and expected[-1][0] == "refused":
            return


@given(st.integers(0, 255), st.one_of(st.binary(max_size=200), st.sampled_from([125, 126, 65_535, 65_536]).map(bytes)))
@settings(deadline=None)
def test_frames_are_the_same_but_for_the_mask(codec: Codec, first: int, payload: bytes) -> None:
    plain = codec.encode(first, payload, False)
    assert plain == PYTHON.encode(first, payload, False)
    masked = codec.encode(first, payload, True)
    head = len(plain) - len(payload)
    assert masked[0] == plain[0]
    assert masked[1] == plain[1] | 0x80
    assert masked[2:head] == plain[2:head]
    mask, body = masked[head : head + 4], masked[head + 4 :]
    assert bytes(byte ^ mask[at % 4] for at, byte in enumerate(body)) == payload


def test_masks_are_fresh_also_in_a_forked_process(codec: Codec) -> None:
    module = compiled()
    masks = {codec.encode(0x81, b"", True)[2:] for _ in range(1000)}
    assert len(masks) > 995
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        module.forget_masks()  # as `frames` has it done in every child
        os.write(writer, b"".join(module.encode(0x81, b"", True)[2:] for _ in range(10)))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 40)
    os.close(reader)
    os.close(writer)
    assert theirs != b"".join(codec.encode(0x81, b"", True)[2:] for _ in range(10))


PAYLOADS = st.one_of(
    st.binary(max_size=40).map(base64.b64encode),
    st.sampled_from([b"", b"=", b"A==", b"A=A", b"===", b'a"b', b"a\\b", b"+/"]),
)
SPACES = st.sampled_from([b"", b" ", b"\n\t", b"\x0b\x0c", b"\xa0"])


@st.composite
def messages_of_members(draw: st.DrawFn, members: list[tuple[bytes, Any]]) -> bytes:
    """JSON, or nearly, with some of these members in some order, and spaces where JSON allows them or does not."""
    chosen = draw(st.lists(st.sampled_from(members), max_size=6))
    parts = [
        b'"%s"%s:%s"%s"' % (name, draw(SPACES), draw(SPACES), value if isinstance(value, bytes) else draw(value))
        for name, value in chosen
    ]
    text = draw(st.sampled_from([b"{", b'{"event":"media",', b'{"event":"media"'])) + b",".join(parts) + b"}"
    if draw(st.booleans()):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.binary(max_size=3)) + text[at:]
    return text


TWILIO = [
    (b"event", b"media"),
    (b"event", b"mark"),
    (b"payload", PAYLOADS),
    (b"streamSid", SID.encode()),
    (b"media", b"x"),
]
OPENAI = [
    (b"type", b"response.output_audio.delta"), (b"delta", PAYLOADS),
    (b"item_id", st.sampled_from([b"i1", b"", b"i\\"])),
    (b"response_id", st.sampled_from([b"r1", "r語".encode(), b"r\xff"])), (b"event_id", b"x" * 450),
]  # fmt: skip


def taken_up(codec: Codec, message: bytes) -> tuple[bool, int, bytes]:
    """Whether an uplink takes it, as how much audio, and what it makes of it."""
    uplink, outbox = codec.Uplink(b"<", b">", False, 10_000, 10_000), codec.Outbox(10_000, 10_000)
    uplink.attach(outbox, False, bool)
    return uplink(message), uplink.position, outbox.take(10_000)


def taken_down(codec: Codec, message: bytes) -> tuple[bool, list[tuple[int, str, str]], bytes]:
    """Whether a downlink takes it, what it says of it, and what it makes of it."""
    said: list[tuple[int, str, str]] = []

    def passes(size: int, item: str, response: str) -> bytes:
        said.append((size, item, response))
        return b""

    downlink = codec.Downlink(b"<", b">", b"", b"", 0, passes, lambda _: False)
    outbox = codec.Outbox(10_000, 10_000)
    downlink.attach(outbox, False, bool)
    return downlink(message), said, outbox.take(10_000)


@given(messages_of_members(TWILIO))
@example(b'{"event":"media","media":{"payload":"no+JhoaJjpz="}}')
@example(b'{"event":"media","media":{"payload":"AAA')
@settings(max_examples=500, deadline=None)
def test_the_callers_audio_is_found_in_the_same_place(codec: Codec, message: bytes) -> None:
    assert taken_up(codec, message) == taken_up(PYTHON, message)


@given(messages_of_members(OPENAI))
@example(b'{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"AAAA"}')
@settings(max_examples=500, deadline=None)
def test_the_models_audio_is_found_in_the_same_place(codec: Codec, message: bytes) -> None:
    assert taken_down(codec, message) == taken_down(PYTHON, message)


@pytest.mark.parametrize("before", range(360, 410, 7))
@pytest.mark.parametrize("last", [False, True])
def test_the_type_may_stand_near_either_end(codec: Codec, before: int, last: bool) -> None:
    kind, rest = b'"type":"response.output_audio.delta"', b'"item_id":"i","response_id":"r","delta":"AAAA"'
    padding = b'"x":"%s"' % (b"x" * before)
    parts = (rest, b'"y":"%s"' % bytes(500), kind, padding) if last else (padding, kind, rest, b'"y":"%s"' % bytes(500))
    message = b"{%s}" % b",".join(parts)
    assert taken_down(codec, message) == taken_down(PYTHON, message)


@given(st.binary(max_size=300))
def test_no_bytes_are_too_odd_to_be_looked_at(codec: Codec, message: bytes) -> None:
    assert taken_up(codec, message) == taken_up(PYTHON, message)
    assert taken_down(codec, message) == taken_down(PYTHON, message)


def test_wrong_arguments_are_type_errors(codec: Codec) -> None:
    decoder, outbox = codec.Decoder(True, 10), codec.Outbox(10, 10)
    uplink = codec.Uplink(b"", b"", True, 10, 10)
    downlink = codec.Downlink(b"", b"", b"", b"", 0, lambda *_: b"", bool)
    lane = codec.Lane(0, decoder, outbox, print)
    wrong: list[Callable[[], object]] = [
        lambda: codec.encode(0x81, "text", False),  # type: ignore[arg-type]  # on purpose
        lambda: codec.encode(0x81, b""),  # type: ignore[call-arg]  # on purpose
        lambda: decoder.feed("text"),
        lambda: outbox.put_audio(bytearray(3)),
        lambda: outbox.put_control(None),
        lambda: outbox.finish("text"),
        lambda: outbox.take("1"),
        lambda: uplink("text"),
        lambda: uplink.attach(PYTHON.Outbox(1, 1), False, print),
        lambda: uplink.need_from("1"),
        lambda: codec.Decoder(True),
        lambda: codec.Outbox(1),
        lambda: codec.Downlink(b"", b"", b"", "text", 0, print, print),
        lambda: downlink("text"),
        lambda: downlink.attach(PYTHON.Outbox(1, 1), False, print),
        lambda: downlink.gather(()),
        lambda: codec.Repeats("text", print),
        lambda: codec.Repeats(b"", print)("text"),
        lambda: codec.Playout("often"),
        lambda: codec.Playout().__init__(),
        lambda: codec.Playout().passes(1, "i"),
        lambda: codec.Playout().passes("1", "i", "r"),
        lambda: codec.Playout().mark_returns("text"),
        lambda: codec.Playout().audible("now"),
        lambda: codec.Lane(0, decoder, PYTHON.Outbox(1, 1), print),
        lambda: codec.Lane("0", decoder, outbox, print),
        lambda: lane(1),
        lambda: setattr(lane, "live", "yes"),
        lambda: delattr(lane, "live"),
    ]
    for act in wrong:
        with pytest.raises(TypeError):
            act()
