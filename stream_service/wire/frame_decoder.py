"""The reading side of WebSocket frames (RFC 6455, section 5): one peer's bytes in, whole messages out. No sockets here.

The types of the messages and the writing side are in `stream_service.wire.frames`. `Decoder` is the compiled one where
it has been built (`build_codec`), `PythonDecoder` says what it does and is what it is tested against.
"""

import codecs
from collections.abc import Iterator
from typing import Final

from stream_service.wire.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, FrameError, Message, message
from stream_service.wire.masking import apply_mask

_FIN: Final = 0x80
_MASKED: Final = 0x80
_PLAIN: Final = frozenset((_FIN | TEXT, _FIN | BINARY))
_utf8_decoder: Final = codecs.getincrementaldecoder("utf-8")


class PythonDecoder:
    """One peer's byte stream, cut into messages. Nothing is decoded before it is asked for, so who stops asking holds.

    At most `max_message` bytes of an unfinished message are kept; what was fed and not yet pulled comes on top.
    After a `FrameError` the stream cannot be understood any more and the decoder must not be used again.
    """

    __slots__ = (
        "_buffer",
        "_fin",
        "_left",
        "_mask",
        "_mask_bit",
        "_max_message",
        "_message",
        "_opcode",
        "_position",
        "_room",
        "_utf8",
    )

    def __init__(self, masked_expected: bool, max_message: int) -> None:
        self._mask_bit = _MASKED if masked_expected else 0
        self._max_message = max_message
        self._buffer = b""
        self._position = 0
        # The message that has begun and not ended (opcode 0: there is none), and how much longer it may get.
        self._opcode = 0
        self._message = bytearray()
        self._room = max_message
        self._utf8: codecs.IncrementalDecoder | None = None
        # The data frame of which a part is still to come: bytes missing, its FIN bit, its mask turned to the next byte.
        self._left = 0
        self._fin = False
        self._mask = b""

    def feed(self, data: bytes) -> None:
        """Add bytes as they came from the network."""
        if self._position < len(self._buffer):
            self._buffer = self._buffer[self._position :] + data
        else:
            self._buffer = data
        self._position = 0

    def pull(self) -> tuple[int, bytes] | None:
        """The next whole message or control frame as (opcode, payload); None when more bytes are needed.

        Text payloads are valid UTF-8. `message` gives the payload its type, and checks close frames.

        Raises:
            FrameError: when the stream gets to a place where the peer broke the protocol. Everything before it has
                been handed out by then, and invalid text is noticed at its first wrong byte, not at its message's end.
        """
        while True:
            if self._left:
                if not self._absorb():
                    return None
                if self._fin:
                    return self._finish_message()
            buffer = self._buffer
            position = self._position
            size = len(buffer)
            if size - position < 2:
                if position == size:
                    self._buffer, self._position = b"", 0  # not to keep a burst in memory until the next one
                return None
            first = buffer[position]
            length = buffer[position + 1]
            if length & 0x80 != self._mask_bit:
                raise FrameError(1002, "unmasked frame" if self._mask_bit else "masked frame")
            length &= 0x7F
            whole = not self._opcode
            if first not in _PLAIN or not whole:
                whole = self._check_first(first, length)
            start = position + 2
            if length > 125:
                start += 2 if length == 126 else 8
                if size < start:
                    return None
                length = _extended_length(buffer[position + 2 : start])
            if length > self._room and not first & 0x8:
                raise FrameError(1009, f"message of more than {self._max_message} bytes")
            if self._mask_bit:
                start += 4
            end = start + length
            if whole and end <= size:
                # A whole message in one whole frame, all here: nearly every frame there is.
                self._position = end
                payload = buffer[start:end]
                if self._mask_bit:
                    payload = apply_mask(payload, buffer[start - 4 : start])
                if first == _FIN | TEXT and not payload.isascii():
                    _decode_utf8(_utf8_decoder(), payload, final=True)
                return first & 0xF, payload
            if size < start or first & 0x8:
                return None
            self._position = start
            self._begin_frame(first, length, buffer[start - 4 : start])
            if not length and self._fin:
                return self._finish_message()

    def _check_first(self, first: int, length: int) -> bool:
        """Whether the frame with this header is a whole message by itself (a control frame always is)."""
        opcode = first & 0xF
        if first & 0x70:
            raise FrameError(1002, "reserved bit set")
        if opcode in (CLOSE, PING, PONG):
            if not first & _FIN:
                raise FrameError(1002, "fragmented control frame")
            if length > 125:
                raise FrameError(1002, "control frame of more than 125 bytes")
            return True
        if opcode not in (CONTINUATION, TEXT, BINARY):
            raise FrameError(1002, f"reserved opcode {opcode}")
        if opcode == CONTINUATION and not self._opcode:
            raise FrameError(1002, "continuation of nothing")
        if opcode != CONTINUATION and self._opcode:
            raise FrameError(1002, "new message before the last one ended")
        return False

    def _begin_frame(self, first: int, length: int, mask: bytes) -> None:
        """Go into a data frame that is a fragment, or whose payload is not all here."""
        if not self._opcode:
            self._opcode = first & 0xF
            self._utf8 = _utf8_decoder() if self._opcode == TEXT else None
        self._left = length
        self._fin = bool(first & _FIN)
        self._mask = mask

    def _absorb(self) -> bool:
        """Take what is here of the unfinished frame; True when that was its end."""
        piece = self._buffer[self._position : self._position + self._left]
        self._position += len(piece)
        self._left -= len(piece)
        if self._mask_bit:
            piece = apply_mask(piece, self._mask)
            turn = len(piece) % 4
            self._mask = self._mask[turn:] + self._mask[:turn]
        self._message += piece
        self._room -= len(piece)
        if self._utf8 is not None:
            _decode_utf8(self._utf8, piece, final=False)
        return not self._left

    def _finish_message(self) -> tuple[int, bytes]:
        if self._utf8 is not None:
            _decode_utf8(self._utf8, b"", final=True)
        opcode, payload = self._opcode, bytes(self._message)
        self._opcode, self._message, self._utf8 = 0, bytearray(), None
        self._room = self._max_message
        return opcode, payload


def messages(decoder: "Decoder") -> Iterator[Message]:
    """The messages that are complete by now, typed. Raises FrameError as `pull` does, and for a bad close frame."""
    while (pulled := decoder.pull()) is not None:
        yield message(*pulled)


def _extended_length(field: bytes) -> int:
    length = int.from_bytes(field, "big")
    if length < 126 or (len(field) == 8 and not 1 << 16 <= length < 1 << 63):
        raise FrameError(1002, "length not written in the shortest way")
    return length


def _decode_utf8(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool) -> None:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError as error:
        raise FrameError(1007, "text is not UTF-8") from error


try:
    from stream_service.wire._codec import Decoder as Decoder
except ImportError:  # it has not been built
    Decoder = PythonDecoder  # type: ignore[misc, assignment]  # all of its interface that is used
