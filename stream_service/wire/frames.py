"""WebSocket frames (RFC 6455, section 5): the messages they carry, and writing them. No sockets here.

Reading frames is `stream_service.wire.frame_decoder`. What a message means, when to answer a ping and when to hang up
belong to `stream_service.link`.
"""

import os
from dataclasses import dataclass
from typing import Final

from stream_service.wire.masking import apply_mask, fresh_mask

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_FIN: Final = 0x80
TEXT_FRAME: Final = _FIN | TEXT  # the first byte of a whole text message in one frame
_MASKED: Final = 0x80
_NO_STATUS: Final = 1005  # RFC 6455, section 7.4.1: stands for a close frame without a code, is never sent


@dataclass(frozen=True, slots=True)
class Text:
    """A whole text message: valid UTF-8, still as bytes because most of them are spliced and never decoded."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Binary:
    """A whole binary message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """The peer asks whether we are there; the answer is a pong with the same data."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping, or a heartbeat nobody asked for."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The peer's goodbye; `code` is 1005 when it gave none."""

    code: int
    reason: str


Message = Text | Binary | Ping | Pong | Close


class FrameError(Exception):
    """The peer broke the protocol; `close_code` is what to close with (1002, 1007 or 1009)."""

    def __init__(self, close_code: int, problem: str) -> None:
        super().__init__(problem)
        self.close_code = close_code


def message(opcode: int, payload: bytes) -> Message:
    """A message from its opcode and payload. Raises FrameError for a close frame that says what nobody may say."""
    match opcode:
        case 0x1:
            return Text(payload)
        case 0x2:
            return Binary(payload)
        case 0x9:
            return Ping(payload)
        case 0xA:
            return Pong(payload)
        case _:
            return _close(payload)


def encode_text(payload: bytes, mask: bool) -> bytes:
    """One text message as one frame. The payload must be UTF-8; clients mask, servers must not (section 5.1)."""
    return encode(TEXT_FRAME, payload, mask)


def encode_binary(payload: bytes, mask: bool) -> bytes:
    """One binary message as one frame."""
    return encode(_FIN | BINARY, payload, mask)


def encode_control(opcode: int, payload: bytes, mask: bool) -> bytes:
    """A ping, pong or close frame. Raises ValueError for more than the 125 bytes such a frame may carry."""
    if len(payload) > 125:
        raise ValueError(f"a control frame carries at most 125 bytes, not {len(payload)}")
    return encode(_FIN | opcode, payload, mask)


def encode_close(code: int, reason: str, mask: bool) -> bytes:
    """A close frame; 1005 gives one without a code, a reason too long for the frame is cut between characters."""
    if code == _NO_STATUS:
        return encode_control(CLOSE, b"", mask)
    text = reason.encode(errors="replace")[:123].decode(errors="ignore").encode()
    return encode_control(CLOSE, code.to_bytes(2, "big") + text, mask)


def _close(payload: bytes) -> Close:
    if not payload:
        return Close(_NO_STATUS, "")
    if len(payload) == 1:
        raise FrameError(1002, "half a close code")
    code = int.from_bytes(payload[:2], "big")
    # Section 7.4 and the IANA registry that continues it: 1012 to 1014 came after the RFC.
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise FrameError(1002, f"close code {code} may not be sent")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError as error:
        raise FrameError(1007, "close reason is not UTF-8") from error


def _header(first: int, length: int, mask_bit: int) -> bytes:
    if length < 126:
        return bytes((first, length | mask_bit))
    if length < 1 << 16:
        return bytes((first, 126 | mask_bit)) + length.to_bytes(2, "big")
    return bytes((first, 127 | mask_bit)) + length.to_bytes(8, "big")


def python_encode(first: int, payload: bytes, mask: bool, /) -> bytes:
    """A frame with this first byte; `encode` is the same, compiled where that has been built (`build_codec`)."""
    length = len(payload)
    tabled = first == _FIN | TEXT and length < _TABLED
    if not mask:
        return (_TEXT_HEADERS[length] if tabled else _header(first, length, 0)) + payload
    key = fresh_mask()
    head = _MASKED_TEXT_HEADERS[length] if tabled else _header(first, length, _MASKED)
    return b"".join((head, key, apply_mask(payload, key)))


# Audio messages are a few hundred bytes long, so their headers are there already.
_TABLED: Final = 1024
_TEXT_HEADERS: Final = [_header(_FIN | TEXT, length, 0) for length in range(_TABLED)]
_MASKED_TEXT_HEADERS: Final = [_header(_FIN | TEXT, length, _MASKED) for length in range(_TABLED)]

try:
    from stream_service.wire import _codec
except ImportError:  # it has not been built
    encode = python_encode
else:
    encode = _codec.encode
    os.register_at_fork(after_in_child=_codec.forget_masks)  # two workers must not mask with the same supply
