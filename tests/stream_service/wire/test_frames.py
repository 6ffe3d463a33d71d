"""The frame codec against wsproto, which was written by others, and against the letter of RFC 6455."""

import contextlib
import itertools
import os

import pytest
from both_codecs import codec, under_test
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from stream_service.wire import frames
from stream_service.wire.frame_decoder import messages
from stream_service.wire.frames import Binary, Close, FrameError, Ping, Pong, Text
from stream_service.wire.masking import apply_mask, fresh_mask

__all__ = ["codec"]  # every test here runs with both

LIMIT = 1 << 20

# Every class of length and its edges (RFC 6455, section 5.2).
lengths = st.sampled_from([0, 1, 3, 4, 5, 124, 125, 126, 127, 250, 1023, 1024, 65_535, 65_536, 70_000])
payloads = st.one_of(st.binary(max_size=300), lengths.map(os.urandom))
texts = st.one_of(st.text(max_size=200), lengths.map(lambda size: "a" * size))
data_messages = st.one_of(texts.map(lambda text: Text(text.encode())), payloads.map(Binary))
control_messages = st.one_of(st.binary(max_size=125).map(Ping), st.binary(max_size=125).map(Pong))


def frame(first: int, payload: bytes = b"", *, mask: bytes = b"", length_class: int = 0) -> bytes:
    """A frame by hand, right or wrong; `length_class` 126 or 127 forces the longer way of writing the length."""
    size = len(payload)
    bit = 0x80 if mask else 0
    if length_class == 127 or size > 0xFFFF:
        head = bytes((first, 127 | bit)) + size.to_bytes(8, "big")
    elif length_class == 126 or size > 125:
        head = bytes((first, 126 | bit)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, size | bit))
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else head + payload


def decoded(data: bytes, *, masked: bool = False, limit: int = LIMIT) -> list[frames.Message]:
    decoder = under_test.Decoder(masked, limit)
    decoder.feed(data)
    return list(messages(decoder))


def refusal(data: bytes, **how: object) -> int:
    with pytest.raises(FrameError) as caught:
        decoded(data, **how)  # type: ignore[arg-type]  # only the two keywords above are ever passed
    return caught.value.close_code


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[frames.Message], list[tuple[int, bytes]]]:
    """Messages, and one way of putting them into frames (first byte, payload): fragmented, with controls between."""
    expected: list[frames.Message] = []
    wire: list[tuple[int, bytes]] = []
    for whole in draw(st.lists(data_messages, min_size=1, max_size=4)):
        parts = pieces(whole.data, draw(st.lists(st.integers(0, 80_000), max_size=3))) or [b""]
        opcode = frames.TEXT if isinstance(whole, Text) else frames.BINARY
        for at, part in enumerate(parts):
            last = at == len(parts) - 1
            wire.append(((0x80 if last else 0) | (frames.CONTINUATION if at else opcode), part))
            if not last and draw(st.booleans()):
                control = draw(control_messages)
                wire.append((0x80 | (frames.PING if isinstance(control, Ping) else frames.PONG), control.data))
                expected.append(control)
        expected.append(whole)
    return expected, wire


@given(conversations(), st.booleans(), st.lists(st.integers(0, 300_000), max_size=12))
@settings(max_examples=80, deadline=None)
def test_any_chunks_of_any_framing_give_the_same_messages(
    conversation: tuple[list[frames.Message], list[tuple[int, bytes]]], masked: bool, cuts: list[int]
) -> None:
    expected, wire = conversation
    mask = b"\x9a\x01\xfe\x37" if masked else b""
    data = b"".join(frame(first, part, mask=mask) for first, part in wire)
    decoder = under_test.Decoder(masked, LIMIT)
    received: list[frames.Message] = []
    for piece in pieces(data, cuts):
        decoder.feed(piece)
        received += messages(decoder)
    assert received == expected


@given(conversations(), st.lists(st.integers(0, 300_000), max_size=6))
@settings(max_examples=40, deadline=None)
def test_who_stops_asking_gets_the_rest_later(
    conversation: tuple[list[frames.Message], list[tuple[int, bytes]]], cuts: list[int]
) -> None:
    expected, wire = conversation
    decoder = under_test.Decoder(False, LIMIT)
    for piece in pieces(b"".join(frame(first, part) for first, part in wire), cuts):
        decoder.feed(piece)  # nothing is asked for in between
    assert list(messages(decoder)) == expected


@given(st.lists(st.one_of(data_messages, control_messages), max_size=6), st.booleans(), st.integers(1, 70_000))
@settings(max_examples=60, deadline=None)
def test_wsproto_understands_what_we_write(sent: list[frames.Message], client: bool, step: int) -> None:
    encoded = b"".join(encode(message, mask=client) for message in sent)
    peer = FrameProtocol(client=not client, extensions=[])
    received: list[frames.Message] = []
    unfinished: list[bytes] = []
    for start in range(0, len(encoded), step):
        peer.receive_bytes(encoded[start : start + step])
        for part in peer.received_frames():
            payload = part.payload.encode() if isinstance(part.payload, str) else bytes(part.payload)
            unfinished.append(payload)
            if part.message_finished:
                kind = {Opcode.TEXT: Text, Opcode.BINARY: Binary, Opcode.PING: Ping, Opcode.PONG: Pong}[part.opcode]
                received.append(kind(b"".join(unfinished)))
                unfinished.clear()
    assert received == sent


@given(st.lists(st.tuples(st.one_of(st.text(max_size=300), payloads), st.booleans()), max_size=8), st.booleans())
@settings(max_examples=60, deadline=None)
def test_we_understand_what_wsproto_writes(parts: list[tuple[str | bytes, bool]], client: bool) -> None:
    peer = FrameProtocol(client=client, extensions=[])
    decoder = under_test.Decoder(client, LIMIT)
    expected: list[frames.Message] = []
    begun: list[str | bytes] = []
    for payload, final in parts:
        fitting = payload if not begun or type(payload) is type(begun[0]) else type(begun[0])()
        begun.append(fitting)
        decoder.feed(bytes(peer.send_data(fitting, final)))
        if final:
            expected.append(Text("".join(begun).encode()) if isinstance(begun[0], str) else Binary(b"".join(begun)))
            begun = []
        decoder.feed(bytes(peer.ping(b"between")))
        expected.append(Ping(b"between"))
    decoder.feed(bytes(peer.close(1000, "さようなら")))
    assert list(messages(decoder)) == [*expected, Close(1000, "さようなら")]


@given(st.binary(max_size=400), st.booleans(), st.lists(st.integers(0, 400), max_size=4))
@example(b"\x81\xfe\x00\x05", True, [])
@settings(max_examples=200, deadline=None)
def test_no_bytes_whatever_raise_anything_but_frame_error(data: bytes, masked: bool, cuts: list[int]) -> None:
    decoder = under_test.Decoder(masked, 200)
    with contextlib.suppress(FrameError):
        for piece in pieces(data, cuts):
            decoder.feed(piece)
            for message in messages(decoder):
                assert len(getattr(message, "data", b"")) <= 200


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=130)), max_size=5))
@settings(max_examples=200, deadline=None)
def test_we_refuse_what_wsproto_refuses_and_nothing_else(wire: list[tuple[int, bytes]]) -> None:
    upto_close = next((at + 1 for at, (first, _) in enumerate(wire) if first & 0xF == frames.CLOSE), None)
    assume(upto_close is None or wire[upto_close - 1][1][:2] != (1014).to_bytes(2, "big"))  # see below
    data = b"".join(frame(first, payload) for first, payload in wire[:upto_close])
    peer = FrameProtocol(client=True, extensions=[])
    peer.receive_bytes(data)
    try:
        list(peer.received_frames())
        theirs = None
    except ParseFailed as error:
        theirs = int(error.code)
    try:
        decoded(data)
        ours = None
    except FrameError as error:
        ours = error.close_code
    assert (ours is None) == (theirs is None)


@given(st.integers(0, 65_535))
@example(1014)
@settings(max_examples=300)
def test_close_codes_are_as_legal_as_wsproto_finds_them(code: int) -> None:
    data = frame(0x88, code.to_bytes(2, "big"))
    peer = FrameProtocol(client=True, extensions=[])
    peer.receive_bytes(data)
    try:
        list(peer.received_frames())
        legal = True
    except ParseFailed:
        legal = False
    if code == 1014:
        legal = True  # "Bad Gateway": in IANA's registry, but not in wsproto's list
    assert (refusal(data) == 1002) if not legal else decoded(data) == [Close(code, "")]


@given(st.binary(max_size=70_000), st.binary(min_size=4, max_size=4))
@settings(max_examples=50, deadline=None)
def test_masking_is_the_exclusive_or_of_section_5_3(data: bytes, mask: bytes) -> None:
    assert apply_mask(data, mask) == bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    assert apply_mask(apply_mask(data, mask), mask) == data


def encode(message: frames.Message, *, mask: bool) -> bytes:
    match message:
        case Text(data):
            return under_test.encode(0x80 | frames.TEXT, data, mask)
        case Binary(data):
            return under_test.encode(0x80 | frames.BINARY, data, mask)
        case Ping(data):
            return under_test.encode(0x80 | frames.PING, data, mask)
        case Pong(data):
            return under_test.encode(0x80 | frames.PONG, data, mask)
        case Close(code, reason):
            return frames.encode_close(code, reason, mask)


@pytest.mark.parametrize("bit", [0x10, 0x20, 0x40])
def test_reserved_bits_are_refused_for_data_and_control(bit: int) -> None:
    assert refusal(frame(0x81 | bit, b"x")) == 1002
    assert refusal(frame(0x89 | bit, b"x")) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes_are_refused(opcode: int) -> None:
    assert refusal(frame(0x80 | opcode)) == 1002


def test_messages_before_the_wrong_frame_are_still_handed_out() -> None:
    decoder = under_test.Decoder(False, LIMIT)
    decoder.feed(frame(0x81, b"good") + frame(0x83) + frame(0x89))
    whole_ones = messages(decoder)
    assert next(whole_ones) == Text(b"good")
    with pytest.raises(FrameError):
        next(whole_ones)


def test_a_client_must_mask_and_a_server_must_not() -> None:
    assert refusal(frame(0x81, b"x"), masked=True) == 1002
    assert refusal(frame(0x81, b"x", mask=b"abcd")) == 1002


def test_fragments_must_belong_together() -> None:
    assert refusal(frame(0x80, b"x")) == 1002
    assert refusal(frame(0x00, b"x")) == 1002
    assert refusal(frame(0x01, b"x") + frame(0x81, b"y")) == 1002
    assert refusal(frame(0x02, b"x") + frame(0x01, b"y")) == 1002


def test_control_frames_are_short_and_whole() -> None:
    assert refusal(frame(0x89, bytes(126))) == 1002
    assert refusal(frame(0x09, b"x")) == 1002
    with pytest.raises(ValueError, match="125"):
        frames.encode_control(frames.PING, bytes(126), mask=False)


@pytest.mark.parametrize(("length_class", "size"), [(126, 5), (126, 125), (127, 5), (127, 200), (127, 65_535)])
def test_lengths_are_written_the_shortest_way(length_class: int, size: int) -> None:
    assert refusal(frame(0x82, bytes(size), length_class=length_class)) == 1002


def test_a_length_of_sixty_four_bits_is_no_length() -> None:
    assert refusal(b"\x82\x7f" + b"\xff" * 8) == 1002


def test_a_message_too_long_is_refused_before_it_has_come() -> None:
    assert refusal(b"\x82\x7e\x01\x2d", limit=300) == 1009  # 301 bytes announced, none sent
    assert decoded(frame(0x82, bytes(300)), limit=300) == [Binary(bytes(300))]
    assert refusal(frame(0x82, bytes(11)), limit=10) == 1009


def test_fragments_count_together_towards_the_limit() -> None:
    assert decoded(frame(0x02, bytes(100)) + frame(0x80, bytes(100)), limit=200) == [Binary(bytes(200))]
    assert refusal(frame(0x02, bytes(100)) + frame(0x80, bytes(101)), limit=200) == 1009
    assert refusal(frame(0x02, bytes(60)) + frame(0x00, bytes(60)) * 3, limit=200) == 1009


def test_the_limit_starts_anew_with_each_message_and_spares_control() -> None:
    one = frame(0x02, bytes(60)) + frame(0x89, bytes(125)) + frame(0x80, bytes(40))
    assert [type(message) for message in decoded(one * 3, limit=100)] == [Ping, Binary] * 3


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe3\x81"])
def test_text_is_utf8_or_refused_however_it_comes(bad: bytes) -> None:
    assert refusal(frame(0x81, "あ".encode() + bad)) == 1007
    assert refusal(frame(0x01, "あ".encode()) + frame(0x80, bad)) == 1007
    assert refusal(frame(0x88, b"\x03\xe8" + bad)) == 1007
    assert decoded(frame(0x82, bad)) == [Binary(bad)]


def test_a_character_may_be_cut_by_fragments_but_not_by_the_end() -> None:
    letter = "語".encode()
    cut = frame(0x01, letter[:1]) + frame(0x00, letter[1:2]) + frame(0x80, letter[2:])
    assert decoded(cut) == [Text(letter)]
    assert refusal(frame(0x01, letter[:1]) + frame(0x80, letter[1:2])) == 1007


def test_wrong_text_is_noticed_before_its_frame_has_ended() -> None:
    # As the Autobahn suite's cases 6.4.3 and 6.4.4 want it for "strict".
    whole = frame(0x81, "κόσμε".encode() + b"\xf4\x90\x80\x80" + b"edited", mask=b"\1\2\3\4")
    decoder = under_test.Decoder(True, LIMIT)
    decoder.feed(whole[: 6 + 11])
    assert decoder.pull() is None
    decoder.feed(whole[6 + 11 : 6 + 13])
    with pytest.raises(FrameError) as caught:
        decoder.pull()
    assert caught.value.close_code == 1007


def test_ten_thousand_empty_fragments_are_no_problem() -> None:
    data = frame(0x01) + frame(0x00) * 10_000 + frame(0x80, b"end")
    assert decoded(data) == [Text(b"end")]


@pytest.mark.parametrize(
    "payload", [b"\x03", b"\x00\x00", b"\x03\xe7", b"\x03\xec", b"\x03\xed", b"\x03\xee", b"\x0b\xb7"]
)
def test_close_frames_nobody_may_send(payload: bytes) -> None:
    assert refusal(frame(0x88, payload)) == 1002


def test_close_frames_come_and_go() -> None:
    assert decoded(frames.encode_close(1005, "", mask=False)) == [Close(1005, "")]
    assert decoded(frames.encode_close(4000, "うん", mask=True), masked=True) == [Close(4000, "うん")]
    cut = decoded(frames.encode_close(1000, "長" * 60, mask=False))
    assert cut == [Close(1000, "長" * 41)]


def test_masks_are_fresh() -> None:
    masks = [fresh_mask() for _ in range(5000)]
    assert all(len(mask) == 4 for mask in masks)
    assert len(set(masks)) > 4990


def test_a_forked_process_has_masks_of_its_own() -> None:
    fresh_mask()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, b"".join(fresh_mask() for _ in range(10)))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 40)
    os.close(reader)
    os.close(writer)
    assert theirs != b"".join(fresh_mask() for _ in range(10))
