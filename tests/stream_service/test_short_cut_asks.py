"""What Python's part of a route has a say in, on the short cut: it is asked once, and in its place among the audio."""

from typing import Any

from both_codecs import Codec
from short_cut import ShortCut
from short_cut import codec as codec

from stream_service.wire import frames

AUDIO = b'{"event":"media","media":{"payload":"AAAA"}}'


def framed(*messages: bytes) -> bytes:
    return b"".join(frames.python_encode(frames.TEXT_FRAME, message, True) for message in messages)


def test_who_takes_a_message_is_asked_once_and_the_audio_behind_it_goes_on(codec: Codec) -> None:
    asked: list[tuple[bytes, int]] = []

    def other(message: bytes) -> bool:
        asked.append((message, uplink.position))
        return True

    uplink: Any = codec.Uplink(b"<", b">", False, 100_000, 100_000, other)
    with ShortCut(codec, uplink) as cut:
        assert cut.comes(framed(AUDIO, b"mine", AUDIO)) == []
        assert asked == [(b"mine", 3)]
        assert uplink.position == 6
        assert cut.lane.messages_in == 3


def test_who_leaves_a_message_is_not_asked_about_it_again(codec: Codec) -> None:
    asked: list[bytes] = []
    uplink: Any = codec.Uplink(b"<", b">", False, 100_000, 100_000, lambda message: bool(asked.append(message)))
    with ShortCut(codec, uplink) as cut:
        cut.comes(framed(b"one", b"two", AUDIO, b"three"))
        assert asked == [b"one", b"two", b"three"]
        assert [payload for _, payload in cut.passed] == [b"one", b"two", b"three"]
        assert uplink.position == 3
        assert not cut.lane.asked


def test_an_error_while_asking_is_the_lanes_own(codec: Codec) -> None:
    def other(message: bytes) -> bool:
        raise ValueError(message)

    with ShortCut(codec, codec.Uplink(b"<", b">", False, 100_000, 100_000, other)) as cut:
        cut.comes(framed(b"mine"))
        assert isinstance(cut.lane.failed, ValueError)
