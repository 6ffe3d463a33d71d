"""A caller of the emulated Realtime by the vendor's own client and types."""

import base64
from typing import Any

from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from emulator import readable_voice

MODEL = "gpt-realtime-2.1"
TOOL = {
    "type": "function",
    "name": "end_call",
    "description": "ends the call",
    "parameters": {"type": "object", "properties": {}},
}
SESSION: dict[str, Any] = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "instructions": "あなたは予約受付の電話担当です。",
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "noise_reduction": {"type": "near_field"},
            "transcription": {"model": "gpt-transcribe", "language": "ja"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 500, "interrupt_response": True},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.0},
    },
    "tools": [TOOL],
    "tool_choice": "auto",
    "max_output_tokens": 1024,
    "reasoning": {"effort": "low"},
}
TYPES: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


class Caller:
    """One Realtime connection by the vendor's client; every event is checked against the vendor's types."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []

    def next(self) -> Any:
        raw = self.connection.recv_bytes()
        event = TYPES.validate_json(raw, strict=False)
        plain = TYPES.dump_python(event, mode="json", warnings=False)
        assert plain["type"] == event.type
        self.events.append(event)
        return event

    def until(self, kind: str) -> Any:
        while True:
            event = self.next()
            if event.type == kind:
                return event
            assert event.type != "error" or kind == "error", event

    def say(self, ulaw: bytes) -> None:
        for start in range(0, len(ulaw), 1600):
            self.connection.input_audio_buffer.append(audio=base64.b64encode(ulaw[start : start + 1600]).decode())

    def configure(self, **changes: Any) -> Any:
        self.connection.session.update(session={**SESSION, **changes})
        return self.until("session.updated").session

    def heard(self) -> str:
        """The words in the audio that has come so far."""
        deltas = (e.delta for e in self.events if e.type == "response.output_audio.delta")
        return readable_voice.read(b"".join(base64.b64decode(delta) for delta in deltas))

    def types(self) -> list[str]:
        return [event.type for event in self.events]
