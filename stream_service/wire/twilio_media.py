"""Twilio Media Streams, bytes in and out. Nothing here knows sockets or conversations.

Facts: Twilio docs, "Media Streams - WebSocket messages". `sequenceNumber`, `media.chunk` and `media.timestamp` are
strings; one inbound frame is 20 ms, 160 bytes of mu-law; `connected` names no call; unknown events are ignored.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from callbot.errors import RemoteError
from stream_service.events import Digit, PlaybackReached, StreamStopped
from stream_service.wire.json_text import text

MEDIA_SUFFIX = MARK_SUFFIX = b'"}}'
_MEDIA_COMPACT = b'{"event":"media"'
_PAYLOAD_COMPACT = b'"payload":"'
_MARK_COMPACT = b'{"event":"mark"'
_NAME_COMPACT = b'"name":"'
_IS_MEDIA = re.compile(rb'"event"\s*:\s*"media"')
_PAYLOAD = re.compile(rb'"payload"\s*:\s*"([A-Za-z0-9+/]*={0,2})"')
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_KEYS = frozenset("0123456789*#ABCD")


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """The stream's first real message: which call this is, and what the TwiML's parameters said."""

    stream_sid: str
    call_sid: str
    account_sid: str
    parameters: Mapping[str, str]


def caller_audio(message: bytes, /) -> bytes | None:
    """The base64 payload of a `media` message, as it came; None for any other message.

    This is the hot path (50 messages a second for each call), so it reads no JSON where Twilio's own compact form
    allows that. A compiled uplink (`engines.uplink`) finds it in the same place by itself.
    """
    if message.startswith(_MEDIA_COMPACT):
        start = message.find(_PAYLOAD_COMPACT)
        if start > 0:
            start += len(_PAYLOAD_COMPACT)
            end = message.find(b'"', start)
            return payload if end > 0 and _BASE64.fullmatch(payload := message[start:end]) else None
    if _IS_MEDIA.search(message):
        found = _PAYLOAD.search(message)
        return found.group(1) if found else None
    return None


def returned_mark(message: bytes) -> str | None:
    """The name in a `mark` message of Twilio's own compact form; None for any other, and for one that is escaped."""
    if not message.startswith(_MARK_COMPACT):
        return None
    start = message.rfind(_NAME_COMPACT) + len(_NAME_COMPACT)
    end = message.find(b'"', start)
    name = message[start:end]
    says = end > start > len(_MARK_COMPACT) and name.replace(b"-", b"").isalnum()
    return name.decode() if says else None


def decode(message: bytes) -> StreamStarted | Digit | PlaybackReached | StreamStopped | None:
    """One message that is not plain audio, as an event; None when it carries no news. Raises RemoteError."""
    try:
        fields = json.loads(message)
        match fields["event"]:
            case "start":
                start = fields["start"]
                return StreamStarted(
                    stream_sid=text(start.get("streamSid") or fields["streamSid"]),
                    call_sid=text(start["callSid"]),
                    account_sid=text(start["accountSid"]),
                    parameters={text(k): text(v) for k, v in (start.get("customParameters") or {}).items()},
                )
            case "dtmf":
                return Digit(_key(fields["dtmf"]["digit"]))
            case "mark":
                return PlaybackReached(text(fields["mark"]["name"]))
            case "stop":
                return StreamStopped()
            case _:
                return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise RemoteError("twilio", f"unreadable message of {len(message)} bytes", retryable=False) from exc


def media_prefix(stream_sid: str) -> bytes:
    """What stands before the payload in a `media` message to Twilio; `MEDIA_SUFFIX` stands behind it."""
    return _compact({"event": "media", "streamSid": stream_sid, "media": {"payload": ""}})[: -len(MEDIA_SUFFIX)]


def mark(stream_sid: str, name: str) -> bytes:
    """A mark, which comes back once the audio before it has been played."""
    return _compact({"event": "mark", "streamSid": stream_sid, "mark": {"name": name}})


def mark_prefix(stream_sid: str) -> bytes:
    """What stands before the name in a mark; `MARK_SUFFIX` stands behind it. For names without special characters."""
    return mark(stream_sid, "")[: -len(MARK_SUFFIX)]


def clear(stream_sid: str) -> bytes:
    """Drop the audio that Twilio has buffered; all pending marks come back at once."""
    return _compact({"event": "clear", "streamSid": stream_sid})


def _compact(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _key(digit: object) -> str:
    if digit not in _KEYS:
        raise ValueError("not a key of a telephone")
    return text(digit)
