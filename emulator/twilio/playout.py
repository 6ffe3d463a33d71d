"""A `<Connect>` stream's way back: what the server may send, and the buffer its audio is played from. Pure.

Source: Twilio, "Media Streams - WebSocket messages", sent to Twilio: `media`, `mark`, `clear` and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import deque
from dataclasses import dataclass

# The real limit is not documented; ten minutes is far beyond a reply and still bounded.
LARGEST_BUFFER = 600 * 8000


class ProtocolViolationError(Exception):
    """A message that ends the stream (Twilio error 31924)."""

    code = 31924


@dataclass(frozen=True)
class Media:
    ulaw: bytes


@dataclass(frozen=True)
class Mark:
    name: str


@dataclass(frozen=True)
class Clear:
    pass


Command = Media | Mark | Clear


def read_command(message: str | bytes, stream_sid: str) -> Command:
    """One message from the server. Raises `ProtocolViolationError` for anything that is not one of the three."""
    if isinstance(message, bytes):
        raise ProtocolViolationError("binary message")
    try:
        content = json.loads(message)
    except (ValueError, RecursionError) as exc:
        raise ProtocolViolationError("malformed JSON") from exc
    if not isinstance(content, dict):
        raise ProtocolViolationError("the message is not a JSON object")
    if content.get("streamSid") != stream_sid:
        raise ProtocolViolationError("streamSid is missing or of another stream")
    match content.get("event"):
        case "media":
            return Media(_payload(content.get("media")))
        case "mark":
            mark = content.get("mark")
            if isinstance(mark, dict) and isinstance(mark.get("name"), str) and mark["name"]:
                return Mark(mark["name"])
            raise ProtocolViolationError("a mark needs mark.name")
        case "clear":
            return Clear()
        case other:
            raise ProtocolViolationError(f"unsupported event {str(other)[:40]!r}")


def _payload(media: object) -> bytes:
    if not isinstance(media, dict) or not isinstance(media.get("payload"), str):
        raise ProtocolViolationError("media needs media.payload")
    try:
        return base64.b64decode(media["payload"], validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ProtocolViolationError("media.payload is not base64") from exc


class Playout:
    """Audio waiting to be played, with marks between. Not thread-safe: its stream locks."""

    def __init__(self) -> None:
        self._audio = bytearray()
        self._added = 0
        self._played = 0
        self._marks: deque[tuple[int, str]] = deque()

    @property
    def empty(self) -> bool:
        """Whether nothing is left to be played."""
        return not self._audio

    def add(self, ulaw: bytes) -> None:
        """Raises `ProtocolViolationError` when more is buffered than any caller would sit through."""
        if len(self._audio) + len(ulaw) > LARGEST_BUFFER:
            raise ProtocolViolationError("more audio buffered than the emulator allows")
        self._audio += ulaw
        self._added += len(ulaw)

    def mark(self, name: str) -> bool:
        """Puts a mark behind the audio so far; True when it is due at once because nothing waits before it."""
        if not self._audio and not self._marks:
            return True
        self._marks.append((self._added, name))
        return False

    def clear(self) -> tuple[bytes, list[str]]:
        """Empties the buffer; returns the audio nobody will hear and the marks, all of which are due at once."""
        dropped, names = bytes(self._audio), [name for _, name in self._marks]
        self._played = self._added
        self._audio.clear()
        self._marks.clear()
        return dropped, names

    def play(self, size: int) -> tuple[list[str], bytes]:
        """The next `size` bytes (fewer when there are no more), and the marks reached before them."""
        due = []
        while self._marks and self._marks[0][0] <= self._played:
            due.append(self._marks.popleft()[1])
        piece = bytes(self._audio[:size])
        del self._audio[:size]
        self._played += len(piece)
        return due, piece
