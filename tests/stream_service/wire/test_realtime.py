"""OpenAI Realtime (GA): events in the shapes of the `openai` package's types, both ways, and everything else."""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import TypeAdapter

from callbot.errors import RemoteError
from stream_service.events import ToolCall
from stream_service.wire import realtime as wire
from stream_service.wire.realtime import (
    CallerTranscript,
    ResponseCreated,
    ResponseDone,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    Transcript,
    VendorError,
    audio_delta,
    decode,
)

CLIENT: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)
SERVER: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)

DELTA = {
    "type": "response.output_audio.delta",
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
    "delta": "//9/fw==",
}
DONE = {
    "type": "response.done",
    "event_id": "event_2",
    "response": {
        "object": "realtime.response",
        "id": "resp_1",
        "status": "completed",
        "status_details": None,
        "conversation_id": "conv_1",
        "output": [
            {"id": "item_1", "type": "message", "status": "completed", "role": "assistant", "content": []},
            {
                "id": "item_2",
                "type": "function_call",
                "status": "completed",
                "name": "end_call",
                "call_id": "call_1",
                "arguments": "{}",
            },
        ],
        "usage": {
            "total_tokens": 253,
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 100,
                "audio_tokens": 32,
                "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4},
            },
            "output_token_details": {"text_tokens": 21, "audio_tokens": 100},
        },
    },
}


def as_vendor(event: dict[str, Any]) -> bytes:
    """The event on the wire, once the vendor's own types have agreed that it is one."""
    SERVER.validate_python(event, strict=False)
    return json.dumps(event).encode()


def transcript_done(text: str) -> dict[str, Any]:
    return {
        "type": "response.output_audio_transcript.done",
        "event_id": "e",
        "response_id": "resp_1",
        "item_id": "item_1",
        "output_index": 0,
        "content_index": 0,
        "transcript": text,
    }


def failed(error: dict[str, Any] | None, **details: Any) -> dict[str, Any]:
    status_details = {"type": "failed", **({"error": error} if error else {}), **details}
    return {
        "type": "response.done",
        "event_id": "e",
        "response": {"id": "resp_1", "status": "failed", "status_details": status_details, "output": []},
    }


@pytest.mark.parametrize(
    ("event", "news"),
    [
        ({"type": "session.created", "event_id": "e", "session": {"type": "realtime"}}, SessionCreated()),
        ({"type": "session.updated", "event_id": "e", "session": {"type": "realtime"}}, SessionUpdated()),
        (
            {"type": "input_audio_buffer.speech_started", "event_id": "e", "audio_start_ms": 1000, "item_id": "i"},
            SpeechStarted(1000),
        ),
        (
            {"type": "input_audio_buffer.speech_stopped", "event_id": "e", "audio_end_ms": 2000, "item_id": "i"},
            SpeechStopped(2000, "i"),
        ),
        (
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "event_id": "e",
                "item_id": "i",
                "content_index": 0,
                "transcript": " 予約です。\n",
                "usage": {"type": "duration", "seconds": 1.5},
            },
            CallerTranscript("i", "予約です。", {"transcript_ms": 1500}),
        ),
        (
            {
                "type": "conversation.item.input_audio_transcription.failed",
                "event_id": "e",
                "item_id": "i",
                "content_index": 0,
                "error": {"type": "transcription_error", "code": "audio_unintelligible", "message": "x"},
            },
            CallerTranscript("i", ""),
        ),
        ({"type": "response.created", "event_id": "e", "response": {"id": "resp_1"}}, ResponseCreated("resp_1")),
        (transcript_done("はい。"), Transcript("resp_1", "item_1", "はい。", True)),
        (
            {**transcript_done(""), "type": "response.output_audio_transcript.delta", "delta": "は"},
            Transcript("resp_1", "item_1", "は", False),
        ),
        (
            DONE,
            ResponseDone(
                "resp_1",
                "completed",
                "",
                (ToolCall("call_1", "end_call", "{}"),),
                {
                    "text_tokens_in": 40,
                    "cached_text_tokens_in": 60,
                    "audio_tokens_in": 28,
                    "cached_audio_tokens_in": 4,
                    "text_tokens_out": 21,
                    "audio_tokens_out": 100,
                },
            ),
        ),
        (
            failed({"type": "requests", "code": "rate_limit_exceeded"}),
            ResponseDone("resp_1", "failed", "rate_limit_exceeded", ()),
        ),
        (failed(None), ResponseDone("resp_1", "failed", "", ())),
        (
            {
                "type": "response.done",
                "event_id": "e",
                "response": {
                    "id": "resp_1",
                    "status": "cancelled",
                    "status_details": {"type": "cancelled", "reason": "turn_detected"},
                },
            },
            ResponseDone("resp_1", "cancelled", "turn_detected", ()),
        ),
        (
            {
                "type": "error",
                "event_id": "e",
                "error": {
                    "type": "invalid_request_error",
                    "code": "response_cancel_not_active",
                    "message": "Cancellation failed: no active response found",
                    "param": None,
                    "event_id": "event_567",
                },
            },
            VendorError("response_cancel_not_active", "event_567"),
        ),
        (
            {"type": "error", "event_id": "e", "error": {"type": "server_error", "code": None, "message": "x"}},
            VendorError("server_error", ""),
        ),
        (
            {"type": "rate_limits.updated", "event_id": "e", "rate_limits": [{"name": "tokens", "remaining": 1}]},
            None,
        ),
        (DELTA, None),
    ],
)
def test_events(event: dict[str, Any], news: object) -> None:
    assert decode(as_vendor(event)) == news


@pytest.mark.parametrize("kind", ["response.audio.delta", "response.audio_transcript.done", "something.new"])
def test_the_beta_and_the_unknown_are_no_news(kind: str) -> None:
    assert decode(json.dumps({**DELTA, "type": kind}).encode()) is None
    assert audio_delta(json.dumps({**DELTA, "type": kind}).encode()) is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[]",
        b"{}",
        b"hello",
        b'{"type":"error"}',
        b'{"type":"error","error":"x"}',
        b'{"type":"response.created"}',
        b'{"type":"response.done","response":[]}',
        b'{"type":"response.done","response":{"id":"r","output":[1]}}',
        b'{"type":"input_audio_buffer.speech_started","audio_start_ms":"soon"}',
        b'{"type":"input_audio_buffer.speech_started","audio_start_ms":Infinity}',
        b'{"type":"input_audio_buffer.speech_stopped","audio_end_ms":1,"item_id":null}',
        b'{"type":"conversation.item.input_audio_transcription.completed","item_id":"i","transcript":null}',
        b'{"type":"response.output_audio_transcript.done","response_id":"r","item_id":"i"}',
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_openais_fault_and_is_not_shown(message: bytes) -> None:
    with pytest.raises(RemoteError) as caught:
        decode(message)
    assert caught.value.service == "openai"
    assert "hello" not in str(caught.value)


def test_half_a_character_goes_no_further() -> None:
    event = decode(json.dumps(transcript_done("\ud83dはい")).encode())
    assert event == Transcript("resp_1", "item_1", "?はい", True)


# --- audio --------------------------------------------------------------------------------------------------------


def test_audio_passes_as_it_came() -> None:
    assert audio_delta(as_vendor(DELTA)) == (b"//9/fw==", "item_1", "resp_1")


@st.composite
def delta_messages(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """An audio delta as any JSON writer might write it."""
    payload = base64.b64encode(draw(st.binary(max_size=3000))).decode()
    ids = st.text(alphabet=st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=["C"]), min_size=1)
    event = {**DELTA, "delta": payload, "item_id": draw(ids), "response_id": draw(ids)}
    ordered = dict(draw(st.permutations(list(event.items()))))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,", " : ")]))
    return json.dumps(ordered, separators=separators, ensure_ascii=False), event


@given(delta_messages())
def test_audio_is_found_however_the_json_is_written(written: tuple[str, dict[str, Any]]) -> None:
    text, event = written
    assert audio_delta(text.encode()) == (event["delta"].encode(), event["item_id"], event["response_id"])


@pytest.mark.parametrize(
    "event",
    [
        DONE,
        transcript_done("response.output_audio.delta"),
        transcript_done('","type":"response.output_audio.delta","delta":"AAAA'),
        {
            **transcript_done(""),
            "type": "response.output_audio_transcript.delta",
            "delta": "response.output_audio.delta",
        },
        {**DELTA, "delta": "no base64!"},
        {**DELTA, "type": "response.output_audio.done"},
        {"type": "response.output_audio.delta", "delta": "AAAA"},
    ],
)
def test_nothing_else_is_taken_for_audio(event: dict[str, Any]) -> None:
    assert audio_delta(json.dumps(event).encode()) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from(
    [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.input_audio_transcription.failed",
        "response.created",
        "response.output_audio_transcript.done",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.done",
        "error",
    ]
)
names = st.sampled_from(
    [
        "response",
        "error",
        "id",
        "status",
        "status_details",
        "output",
        "usage",
        "item_id",
        "response_id",
        "transcript",
        "delta",
        "audio_start_ms",
        "audio_end_ms",
        "code",
        "type",
        "event_id",
        "arguments",
        "call_id",
        "name",
    ]
)
nested = st.recursive(
    json_values,
    lambda inner: st.dictionaries(names, inner, max_size=6) | st.lists(inner, max_size=2),
    max_leaves=12,
)


@given(kinds, st.dictionaries(names, nested, max_size=8))
def test_no_json_raises_anything_but_our_own_error(kind: str, fields: dict[str, Any]) -> None:
    message = json.dumps({**fields, "type": kind}).encode()
    audio_delta(message)
    with contextlib.suppress(RemoteError):
        decode(message)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_raise_anything_but_our_own_error(message: bytes) -> None:
    audio_delta(message)
    audio_delta(b'"response.output_audio.delta"' + message)
    with contextlib.suppress(RemoteError):
        decode(message)


# --- to OpenAI ----------------------------------------------------------------------------------------------------

SETTINGS = wire.session_update(
    instructions="あなたは「たくみ」です。",
    voice="marin",
    language="ja-JP",
    transcribe_model="gpt-transcribe",
    tools=[{"type": "function", "name": "end_call", "description": "x", "parameters": {"type": "object"}}],
)
SENT = [
    SETTINGS,
    wire.stop_turn_detection(),
    wire.response_create(),
    wire.response_create("Say exactly this"),
    wire.message_item("user", "予約です"),
    wire.message_item("assistant", "はい"),
    wire.tool_output("call_1", "done"),
    wire.truncate("item_1", 1234),
    wire.delete_item("item_1"),
    wire.APPEND_PREFIX + b"//9/fw==" + wire.APPEND_SUFFIX,
]
# openai.types.realtime has none of these any more; GA refuses a whole update for one of them.
BETA_FIELDS = {
    "voice",
    "modalities",
    "input_audio_format",
    "output_audio_format",
    "input_audio_transcription",
    "turn_detection",
    "temperature",
    "max_response_output_tokens",
}


@pytest.mark.parametrize("message", SENT)
def test_what_we_send_is_what_the_vendors_types_know(message: bytes) -> None:
    event = json.loads(message)
    model = CLIENT.validate_python(event)
    assert model.type == event["type"]
    # The types keep unknown fields, so what they do not declare is looked for by hand.
    assert not _undeclared(model), event


def test_the_settings_are_ga() -> None:
    session = json.loads(SETTINGS)["session"]
    assert session["type"] == "realtime"
    assert not BETA_FIELDS & session.keys()
    assert session["audio"]["input"]["format"] == session["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    assert session["audio"]["input"]["transcription"] == {"model": "gpt-transcribe", "language": "ja"}
    assert session["audio"]["input"]["turn_detection"]["interrupt_response"] is True
    assert session["output_modalities"] == ["audio"]
    assert session["instructions"] == "あなたは「たくみ」です。"


def test_no_event_has_a_field_of_the_beta() -> None:
    assert not any(f'"{field}"'.encode() in message for field in ("modalities", "temperature") for message in SENT)


@given(st.text(max_size=60))
def test_words_arrive_as_they_are(words: str) -> None:
    item = json.loads(wire.message_item("user", words))["item"]
    assert item["content"] == [{"type": "input_text", "text": words}]


def test_half_a_character_is_no_reason_to_fail() -> None:
    assert json.loads(wire.message_item("user", "\ud83dはい"))["item"]["content"][0]["text"] == "?はい"


def _undeclared(value: Any, path: str = "") -> list[str]:
    """Fields that a model of the package carries along without declaring them."""
    found: list[str] = []
    if hasattr(value, "model_fields_set"):
        declared = {field.alias or name for name, field in type(value).model_fields.items()}
        found += [f"{path}.{name}" for name in (value.model_extra or {}) if name not in declared]
        for name in type(value).model_fields:
            found += _undeclared(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            found += _undeclared(item, path + "[]")
    return found
