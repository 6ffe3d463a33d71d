"""Who the audio goes to and comes from in the tests of the way in and the way out, and the messages it travels in."""

import base64
import json
from typing import Any

from both_codecs import Codec

from stream_service.wire import frames
from stream_service.wire.frame_decoder import PythonDecoder, messages
from stream_service.wire.realtime import NO_NEWS

FRAME = 160
IDLE, MOST = 8_000, 80_000


def media(ulaw: bytes) -> bytes:
    return b'{"event":"media","media":{"track":"inbound","payload":"%s"}}' % base64.b64encode(ulaw)


def numbered(number: int) -> bytes:
    return number.to_bytes(4, "big") * (FRAME // 4)


class Vendor:
    """Who gets the audio; `heard` is all of it, `flushes` how often somebody was told to write."""

    def __init__(self, how: Codec, limit: int = 1_000_000) -> None:
        self.outbox = how.Outbox(limit, 1000)
        self.flushes = 0
        self._decoder = PythonDecoder(True, 1_000_000)

    def flush(self) -> None:
        self.flushes += 1

    def attach(self, uplink: Any) -> int:
        start: int = uplink.attach(self.outbox, True, self.flush)
        return start

    def heard(self) -> list[bytes]:
        self._decoder.feed(self.outbox.take(10_000_000))
        return [message.data for message in messages(self._decoder) if isinstance(message, frames.Text | frames.Binary)]


def delta(ulaw: bytes, item: str = "i1", response: str = "r1") -> bytes:
    audio = base64.b64encode(ulaw).decode()
    fields = {"type": "response.output_audio.delta", "response_id": response, "item_id": item, "delta": audio}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def word(text: str) -> bytes:
    fields = {"type": "response.output_audio_transcript.delta", "response_id": "r1", "item_id": "i1", "delta": text}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


class Caller:
    """A downlink, who steers it, and where its audio goes. With `most_unmarked` it is not asked about each piece."""

    def __init__(
        self, how: Codec, audio_limit: int = 100_000, control_limit: int = 100_000, most_unmarked: int = 0
    ) -> None:
        self.outbox = how.Outbox(audio_limit, control_limit)
        self.downlink = how.Downlink(b"[", b"]", b"(", b")", most_unmarked, self._passes, self._other, NO_NEWS)
        self.marks: dict[str, bytes | None] = {}  # by item
        self.asked: list[tuple[int, str, str]] = []
        self.told: list[bytes] = []
        self.takes = False
        self.flushes = 0
        self._decoder = PythonDecoder(False, 1_000_000)

    def _passes(self, size: int, item: str, response: str) -> bytes | None:
        self.asked.append((size, item, response))
        return self.marks.get(item, b"")

    def _other(self, message: bytes) -> bool:
        self.told.append(message)
        return self.takes

    def _flush(self) -> None:
        self.flushes += 1

    def attach(self) -> "Caller":
        self.downlink.attach(self.outbox, False, self._flush)
        return self

    def heard(self) -> list[bytes]:
        self._decoder.feed(self.outbox.take(10_000_000))
        return [message.data for message in messages(self._decoder) if isinstance(message, frames.Text)]
