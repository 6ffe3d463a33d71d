"""OpenAI Realtime (GA) over WebSocket: client events out, server events in. No sockets here.

Facts: the types of the `openai` package (`openai.types.realtime`), which are made from OpenAI's specification. GA
refuses a whole `session.update` for one unknown field; audio is G.711 mu-law both ways, 8 bytes a millisecond.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from callbot.errors import RemoteError
from stream_service.events import ToolCall
from stream_service.wire import openai_usage
from stream_service.wire.json_text import text

SILENCE_MS = 500  # after which an utterance counts as over; `speech_stopped` comes so much after the last word
APPEND_PREFIX = b'{"type":"input_audio_buffer.append","audio":"'
APPEND_SUFFIX = b'"}'
# No new connection can mend these.
FATAL_ERRORS = frozenset(
    {
        "insufficient_quota",
        "invalid_api_key",
        "account_deactivated",
        "billing_hard_limit_reached",
        "beta_api_shape_disabled",
        "model_not_found",
    }
)
_DELTA_TYPE = b'"response.output_audio.delta"'  # with its quotes: inside a text they would be escaped
_DELTA = re.compile(rb'"delta"\s*:\s*"([A-Za-z0-9+/]*={0,2})"')
_SHORT_EVENT = 1_000  # bytes; audio and words are elsewhere
_TYPE_COMPACT = b'{"type":"'
_LONGEST_TYPE = 80  # bytes; by then the type of an event of OpenAI's has ended
NEXT_WORDS = b"response.output_audio_transcript.delta"  # the type of the event that says what an item says next,
WHOLE_TEXT = b"response.output_audio_transcript.done"  # and of the one that says all of it
# Those of OpenAI's events that `decode` has no use for and that come in every call, several with each response: nobody
# need wake for them, or read them. Only the compact form is looked at; any other has to be decoded to be known.
NO_NEWS = frozenset(
    b"conversation.created conversation.item.added conversation.item.created conversation.item.deleted"
    b" conversation.item.done conversation.item.input_audio_transcription.delta"
    b" conversation.item.input_audio_transcription.segment conversation.item.retrieved conversation.item.truncated"
    b" input_audio_buffer.cleared input_audio_buffer.committed rate_limits.updated response.content_part.added"
    b" response.content_part.done response.function_call_arguments.delta response.function_call_arguments.done"
    b" response.output_audio.done response.output_item.added response.output_item.done".split()
)
_STATUS = re.compile(rb'"status":"([a-z_]+)"')
_SAID = (b"completed", b"cancelled", b"incomplete")
_AUDIO_START = re.compile(rb'"audio_start_ms"\s*:\s*([0-9]{1,12})\b')
_ITEM = re.compile(rb'"item_id"\s*:\s*"([^"\\]+)"')
_RESPONSE = re.compile(rb'"response_id"\s*:\s*"([^"\\]+)"')


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """The socket is open; the session still has its defaults."""


@dataclass(frozen=True, slots=True)
class SessionUpdated:
    """Our settings are in force."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    ms: int
    item: str


@dataclass(frozen=True, slots=True)
class CallerTranscript:
    """What the caller said in this item; empty when it could not be written down."""

    item: str
    text: str
    usage: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResponseCreated:
    response: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What an item says: the whole text, or the next piece of it."""

    response: str
    item: str
    text: str
    whole: bool


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """A response's end. `code` is of the failure, which may come without any `error` event."""

    response: str
    status: str
    code: str
    tool_calls: tuple[ToolCall, ...]
    usage: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VendorError:
    """An `error` event; most leave the session open."""

    code: str
    event_id: str


ServerEvent = (
    SessionCreated
    | SessionUpdated
    | SpeechStarted
    | SpeechStopped
    | CallerTranscript
    | ResponseCreated
    | Transcript
    | ResponseDone
    | VendorError
)


def audio_delta(message: bytes, /) -> tuple[bytes, str, str] | None:
    """`(base64 payload, item id, response id)` of an audio delta; None for any other message.

    The hot path; a compiled downlink (`engines.downlink`) finds it in the same place by itself.
    """
    if _DELTA_TYPE not in message[:400] and _DELTA_TYPE not in message[-400:]:
        return None
    payload, item, response = _DELTA.search(message), _ITEM.search(message), _RESPONSE.search(message)
    if not (payload and item and response):
        return None
    return payload.group(1), item.group(1).decode("utf-8", "replace"), response.group(1).decode("utf-8", "replace")


def kind(message: bytes) -> bytes:
    """The type of an event in OpenAI's compact form, without reading it; empty for any other form."""
    if not message.startswith(_TYPE_COMPACT):
        return b""
    name, quote, _ = message[len(_TYPE_COMPACT) : _LONGEST_TYPE].partition(b'"')
    return name if quote else b""


def item_of(message: bytes) -> bytes:
    """The member that names an event's item, as it is written; empty when there is none."""
    found = _ITEM.search(message)
    return found.group(0) if found else b""


def speech_starts_at(message: bytes) -> int | None:
    """Where on the session's clock (ms) the caller's speech begins, of a `speech_started`; None if it does not say."""
    found = _AUDIO_START.search(message)
    return int(found.group(1)) if found else None


def is_speech_started(message: bytes) -> bool:
    """Whether this event says that the caller has begun to speak, without reading it whole."""
    return len(message) < _SHORT_EVENT and b'"input_audio_buffer.speech_started"' in message


def is_all_said(message: bytes) -> bool:
    """Whether a `response.done` surely leaves nothing to do: it was made, or broken off, and wants no tool.

    Only the compact form is looked at. A response's own status comes before those of its items, and inside a text the
    quotes would be escaped.
    """
    status = _STATUS.search(message)
    return bool(status and status.group(1) in _SAID and b'"function_call"' not in message)


def decode(message: bytes) -> ServerEvent | None:
    """One server event; None for those that carry no news for us, unknown types among them. Raises RemoteError."""
    try:
        fields = json.loads(message)
        return _event(fields["type"], fields)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as exc:
        raise RemoteError("openai", f"unreadable event of {len(message)} bytes", retryable=True) from exc


def _event(kind: str, fields: Mapping[str, Any]) -> ServerEvent | None:
    match kind:
        case "session.created":
            return SessionCreated()
        case "session.updated":
            return SessionUpdated()
        case "input_audio_buffer.speech_started":
            return SpeechStarted(int(fields["audio_start_ms"]))
        case "input_audio_buffer.speech_stopped":
            return SpeechStopped(int(fields["audio_end_ms"]), text(fields["item_id"]))
        case "conversation.item.input_audio_transcription.completed":
            usage = openai_usage.of_transcript(fields.get("usage") or {})
            return CallerTranscript(text(fields["item_id"]), text(fields["transcript"]).strip(), usage)
        case "conversation.item.input_audio_transcription.failed":
            return CallerTranscript(text(fields["item_id"]), "")
        case "response.created":
            return ResponseCreated(text(fields["response"]["id"]))
        case "response.output_audio_transcript.done":
            return Transcript(text(fields["response_id"]), text(fields["item_id"]), text(fields["transcript"]), True)
        case "response.output_audio_transcript.delta":
            return Transcript(text(fields["response_id"]), text(fields["item_id"]), text(fields["delta"]), False)
        case "response.done":
            return _done(fields["response"])
        case "error":
            error = fields["error"]
            return VendorError(text(error.get("code") or error.get("type") or ""), text(error.get("event_id") or ""))
        case _:
            return None


def _done(response: Mapping[str, Any]) -> ResponseDone:
    details = response.get("status_details") or {}
    error = details.get("error") or {}
    usage = response.get("usage") or {}
    calls = tuple(
        ToolCall(*(text(item.get(name) or "") for name in ("call_id", "name", "arguments")))
        for item in response.get("output") or ()
        if item.get("type") == "function_call"
    )
    return ResponseDone(
        response=text(response["id"]),
        status=text(response.get("status") or ""),
        code=text(error.get("code") or error.get("type") or details.get("reason") or ""),
        tool_calls=calls,
        usage=openai_usage.of_response(usage),
    )


def session_update(
    *, instructions: str, voice: str, language: str, transcribe_model: str, tools: Sequence[Mapping[str, Any]]
) -> bytes:
    """Our settings, whole, in the GA shape. Sent once, after `session.created`."""
    return _event_text(
        "session.update",
        session={
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": instructions,
            "audio": {
                "input": {
                    "format": {"type": "audio/pcmu"},
                    "noise_reduction": {"type": "near_field"},
                    "transcription": {"model": transcribe_model, "language": language.partition("-")[0]},
                    "turn_detection": {
                        "type": "server_vad",
                        "threshold": 0.6,  # telephone lines are noisy; the default of 0.5 hears breath as speech
                        "prefix_padding_ms": 300,
                        "silence_duration_ms": SILENCE_MS,
                        "create_response": True,
                        "interrupt_response": True,
                    },
                },
                "output": {"format": {"type": "audio/pcmu"}, "voice": voice},
            },
            "tools": list(tools),
            "tool_choice": "auto",
        },
    )


def stop_turn_detection() -> bytes:
    """From now on the caller's speech neither starts nor interrupts a response."""
    return _event_text("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})


def response_create(instructions: str = "") -> bytes:
    """Ask for a response; allowed only when none is active."""
    if not instructions:
        return _event_text("response.create")
    return _event_text("response.create", response={"instructions": instructions})


def message_item(role: str, text: str) -> bytes:
    """A message for the conversation. The assistant's words are `output_text`, the caller's `input_text`."""
    kind = "output_text" if role == "assistant" else "input_text"
    item = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
    return _event_text("conversation.item.create", item=item)


def tool_output(call_id: str, output: str) -> bytes:
    """The answer to a function call; by itself it makes the model say nothing."""
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return _event_text("conversation.item.create", item=item)


def truncate(item_id: str, heard_ms: int) -> bytes:
    """Cut an item of the assistant's to what was heard. More than the item holds is an error."""
    return _event_text("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=heard_ms)


def delete_item(item_id: str) -> bytes:
    """Forget an item of which nothing was heard."""
    return _event_text("conversation.item.delete", item_id=item_id)


def _event_text(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
