"""AmiVoice's WebSocket protocol: the commands `s`, `p`, `e` out, its packets in. No sockets here.

Facts: AmiVoice API manual (commands and responses, s-command, a-event packet, limitations). Times are milliseconds
from the first audio byte of the session, and restart with every `s`. A message may end in CR LF.
"""

import json
from dataclasses import dataclass

from callbot.errors import RemoteError
from stream_service.wire import json_text

END = "e"
AUDIO = b"p"  # what a binary message with audio begins with; it has no success answer
INTERIM = b"U"  # what a packet with an interim result begins with
# Without it no interim result comes at all; a lower bound, in ms.
INTERIM_INTERVAL_MS = 200
# Refusals that no second try can mend: the key or the contract is wrong.
FATAL_ERRORS = ("illegal service authorization", "unsupported audio format")
FATAL_CODES = frozenset({"-", "+"})


@dataclass(frozen=True, slots=True)
class Started:
    """The session is open: audio may be sent."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The session is over: `command` (`s`, `p` or `e`) was refused, or the server gave up waiting."""

    command: str
    error: str

    @property
    def fatal(self) -> bool:
        return any(part in self.error for part in FATAL_ERRORS)


@dataclass(frozen=True, slots=True)
class Ended:
    """Our `e` has been carried out; every result has been sent."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    ms: int


@dataclass(frozen=True, slots=True)
class Interim:
    text: str


@dataclass(frozen=True, slots=True)
class Final:
    """The end of one utterance. `code` is empty exactly when `text` can be used (`o`: rejected, normal on noise)."""

    text: str
    code: str
    start_ms: int | None
    end_ms: int | None


Packet = Started | Failed | Ended | SpeechStarted | SpeechEnded | Interim | Final


def start(key: str, grammar: str) -> str:
    """The `s` command for mu-law at 8 kHz, headerless: exactly what Twilio sends. Never log it: it holds the key."""
    return f"s MULAW {_quoted(grammar)} authorization={_quoted(key)} resultUpdatedInterval={INTERIM_INTERVAL_MS}"


def audio(ulaw: bytes) -> bytes:
    """A binary `p` packet. It has no success answer."""
    return b"p" + ulaw


def decode(text: str) -> Packet | None:
    """One packet from the server; None for those that carry no news (C, G, Q, …). Raises RemoteError."""
    line = text.rstrip("\r\n")
    tag, body = line[:1], line[1:].removeprefix(" ")
    match tag:
        case "s":
            return Failed("s", body) if body else Started()
        case "p":
            return Failed("p", body)
        case "e":
            return Failed("e", body) if body else Ended()
        case "S":
            return SpeechStarted(_ms(body))
        case "E":
            return SpeechEnded(_ms(body))
        case "U":
            return Interim(_object(body)[0].removesuffix("...").strip())
        case "A":
            result, fields = _object(body)
            return _final(result, fields)
        case _:
            return None


def _final(text: str, fields: dict[str, object]) -> Final:
    results = fields.get("results")
    first = results[0] if isinstance(results, list) and results and isinstance(results[0], dict) else {}
    code = fields.get("code")
    return Final(
        text=text.strip(),
        code=code if isinstance(code, str) else "",
        start_ms=_whole(first.get("starttime")),
        end_ms=_whole(first.get("endtime")),
    )


def _object(body: str) -> tuple[str, dict[str, object]]:
    """The packet's top-level `text`, and all its fields; every field is optional."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise RemoteError("amivoice", f"unreadable result of {len(body)} characters", retryable=True) from exc
    if not isinstance(fields, dict):
        raise RemoteError("amivoice", "a result that is no object", retryable=True)
    text = fields.get("text")
    return (json_text.text(text) if isinstance(text, str) else ""), fields


def _ms(body: str) -> int:
    if not body.strip().isdecimal() or len(body) > 12:
        raise RemoteError("amivoice", "a time that is no number", retryable=True)
    return int(body)


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 <= value < 1e9 else None


def _quoted(value: str) -> str:
    """A value as the `s` command wants it: in quotes when it has a space, inner quotes doubled."""
    if " " in value or '"' in value:
        return '"' + value.replace('"', '""') + '"'
    return value
