"""The configuration of a Realtime session: which fields exist, what they may hold, and their defaults.

Strict as the GA API is: one unknown field and the whole update is refused. Source: the types of the `openai`
package (RealtimeSessionCreateRequest, RealtimeResponseCreateParams and what they contain).
"""

import copy
import re
from typing import Any

from emulator.openai.schema import (
    ApiError,
    Check,
    anything,
    array,
    boolean,
    choice,
    either,
    integer,
    nullable,
    number,
    record,
    tagged,
    text,
)

_REASONING_MODEL = re.compile(r"gpt-realtime-[2-9]")
_VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
_TRANSCRIBERS = (
    "whisper-1", "gpt-transcribe", "gpt-live-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15", "gpt-4o-transcribe-diarize", "gpt-realtime-whisper",
)  # fmt: skip
_HINTED_TRANSCRIBERS = ("gpt-transcribe", "gpt-live-transcribe")


def _no_a_law(value: object, path: str) -> None:  # noqa: ARG001 - a check
    raise ApiError("The emulator has no A-law; use 'audio/pcmu'.", "invalid_value", path)


_format = tagged(
    "type",
    {
        "audio/pcmu": record({"type": text}),
        "audio/pcma": _no_a_law,
        "audio/pcm": record({"type": text, "rate": integer(24000, 24000)}),
    },
)
_turn_detection = tagged(
    "type",
    {
        "server_vad": record(
            {
                "type": text,
                "threshold": number(0, 1),
                "prefix_padding_ms": integer(0, 10_000),
                "silence_duration_ms": integer(0, 10_000),
                "create_response": boolean,
                "interrupt_response": boolean,
                "idle_timeout_ms": nullable(integer(5_000, 30_000)),
            }
        ),
        "semantic_vad": record(
            {
                "type": text,
                "eagerness": choice("low", "medium", "high", "auto"),
                "create_response": boolean,
                "interrupt_response": boolean,
            }
        ),
    },
)
_transcription = record(
    {
        "model": choice(*_TRANSCRIBERS),
        "language": text,
        "languages": array(text),
        "prompt": text,
        "keywords": array(text),
        "delay": choice("minimal", "low", "medium", "high", "xhigh"),
    }
)
_output = record(
    {
        "format": _format,
        "voice": either(str, choice(*_VOICES), record({"id": text}, ("id",))),
        "speed": number(0.25, 1.5),
    }
)
_tool = tagged(
    "type",
    {
        "function": record(
            {"type": text, "name": text, "description": text, "parameters": either(dict, anything, record({}))},
            ("name",),
        ),
        "mcp": anything,
    },
)
_shared: dict[str, Check] = {
    "output_modalities": array(choice("text", "audio"), least=1),
    "instructions": text,
    "tools": array(_tool),
    "tool_choice": either(
        str,
        choice("none", "auto", "required"),
        tagged(
            "type",
            {"function": record({"type": text, "name": text}, ("name",)), "mcp": anything},
        ),
    ),
    "parallel_tool_calls": boolean,
    "reasoning": record({"effort": choice("minimal", "low", "medium", "high", "xhigh")}),
    "max_output_tokens": either(str, choice("inf"), integer(1, 4096)),
    "prompt": nullable(anything),
}
_session = record(
    {
        **_shared,
        "type": choice("realtime"),
        "model": text,
        "audio": record(
            {
                "input": record(
                    {
                        "format": _format,
                        "noise_reduction": nullable(
                            record({"type": choice("near_field", "far_field"), "strength": number(0, 1)}, ("type",))
                        ),
                        "transcription": nullable(_transcription),
                        "turn_detection": nullable(_turn_detection),
                    }
                ),
                "output": _output,
            }
        ),
        "truncation": either(
            str,
            choice("auto", "disabled"),
            record(
                {"type": choice("retention_ratio"), "retention_ratio": number(0, 1), "token_limits": anything},
                ("type", "retention_ratio"),
            ),
        ),
        "tracing": nullable(anything),
        "include": nullable(array(choice("item.input_audio_transcription.logprobs"))),
    },
    ("type",),
)
_response = record(
    {
        **_shared,
        "audio": record({"output": _output}),
        "conversation": choice("auto", "none"),
        "input": array(either(dict, anything, record({}))),
        "metadata": nullable(either(dict, anything, record({}))),
    }
)
_SERVER_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "create_response": True,
    "interrupt_response": True,
    "idle_timeout_ms": None,
}
_SEMANTIC_VAD = {"type": "semantic_vad", "eagerness": "auto", "create_response": True, "interrupt_response": True}


def defaults(session_id: str, model: str, expires_at: int) -> dict[str, Any]:
    """The configuration of a session that has just been opened."""
    return {
        "id": session_id,
        "object": "realtime.session",
        "type": "realtime",
        "model": model,
        "expires_at": expires_at,
        "output_modalities": ["audio"],
        "instructions": "",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "prompt": None,
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "noise_reduction": None,
                "transcription": None,
                "turn_detection": dict(_SERVER_VAD),
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
        },
    }


def updated(config: dict[str, Any], update: object, *, has_spoken: bool) -> dict[str, Any]:
    """The configuration after a session.update: only the fields present change. Raises ApiError."""
    _session(update, "session")
    if not isinstance(update, dict):  # the check above has refused it
        raise TypeError
    if update.get("model", config["model"]) != config["model"]:
        raise ApiError("Cannot update a conversation's model.", "invalid_value", "session.model")
    _check_model(update, config["model"], "session")
    result = copy.deepcopy(config)
    for name, value in update.items():
        if name != "audio":
            result[name] = copy.deepcopy(value)
    for side, fields in update.get("audio", {}).items():
        result["audio"][side].update(copy.deepcopy(fields))
    heard = result["audio"]["input"]
    if heard["turn_detection"]:
        usual = _SERVER_VAD if heard["turn_detection"]["type"] == "server_vad" else _SEMANTIC_VAD
        heard["turn_detection"] = {**usual, **heard["turn_detection"]}
    _check_transcription(heard)
    voice = result["audio"]["output"]["voice"]
    if has_spoken and voice != config["audio"]["output"]["voice"]:
        message = "Cannot update a conversation's voice if assistant audio is present."
        raise ApiError(message, "cannot_update_voice", "session.audio.output.voice")
    return result


def check_response(response: object, model: str) -> dict[str, Any]:
    """The `response` of a response.create, if the API would take it. Raises ApiError."""
    _response(response, "response")
    if not isinstance(response, dict):  # the check above has refused it
        raise TypeError
    _check_model(response, model, "response")
    return response


def _check_model(fields: dict[str, Any], model: str, path: str) -> None:
    if len(fields.get("output_modalities", [])) > 1:
        message = "Invalid modalities: ['audio', 'text']. Supported combinations are: ['text'] and ['audio']."
        raise ApiError(message, "invalid_value", f"{path}.output_modalities")
    for name in ("reasoning", "parallel_tool_calls"):
        if name in fields and not _REASONING_MODEL.match(model):
            message = f"Unsupported parameter: '{path}.{name}' is not supported with this model."
            raise ApiError(message, "unsupported_parameter", f"{path}.{name}")


def _check_transcription(heard: dict[str, Any]) -> None:
    transcription = heard["transcription"]
    if not transcription:
        return
    model = transcription.get("model")
    for name in ("keywords", "languages"):
        if name in transcription and model not in _HINTED_TRANSCRIBERS:
            path = f"session.audio.input.transcription.{name}"
            raise ApiError(
                f"Unsupported parameter: '{path}' is not supported with this model.", "unsupported_parameter", path
            )
    if model == "gpt-realtime-whisper" and heard["turn_detection"]:
        path = "session.audio.input.turn_detection"
        raise ApiError("'gpt-realtime-whisper' requires turn_detection to be null.", "invalid_value", path)
