"""Client events of the Realtime API: text in, checked objects out.

Source: client event types of the `openai` package. Codes for malformed JSON are unconfirmed.
"""

import json
from typing import Any

from emulator.openai.schema import ApiError, Check, anything, check_fields, integer, invalid_value, nullable, text

_EVENTS: dict[str, tuple[dict[str, Check], tuple[str, ...]]] = {
    "session.update": ({"session": anything}, ("session",)),
    "input_audio_buffer.append": ({"audio": text}, ("audio",)),
    "input_audio_buffer.commit": ({}, ()),
    "input_audio_buffer.clear": ({}, ()),
    "conversation.item.create": ({"item": anything, "previous_item_id": nullable(text)}, ("item",)),
    "conversation.item.truncate": (
        {"item_id": text, "content_index": integer(0, 1000), "audio_end_ms": integer(0, 10**9)},
        ("item_id", "content_index", "audio_end_ms"),
    ),
    "conversation.item.delete": ({"item_id": text}, ("item_id",)),
    "conversation.item.retrieve": ({"item_id": text}, ("item_id",)),
    "response.create": ({"response": nullable(anything)}, ()),
    "response.cancel": ({"response_id": nullable(text)}, ()),
    "output_audio_buffer.clear": ({}, ()),
}


class EventError(ApiError):
    """A refused event; `event_id` is the client's own, if it could be read."""

    def __init__(self, refusal: ApiError, event_id: str | None) -> None:
        super().__init__(refusal.message, refusal.code, refusal.param)
        self.event_id = event_id


def parse_event(message: str | bytes) -> dict[str, Any]:
    """The client event in this message. Raises EventError."""
    if isinstance(message, bytes):
        raise EventError(ApiError("Expected a text message with a JSON event.", "invalid_event"), None)
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        raise EventError(ApiError("We could not parse the JSON event.", "invalid_json"), None) from None
    if not isinstance(event, dict):
        raise EventError(ApiError("Expected an object with a 'type'.", "invalid_event"), None)
    given_id = event.get("event_id")
    try:
        _check(event)
    except ApiError as refusal:
        raise EventError(refusal, given_id if isinstance(given_id, str) else None) from None
    return event


def _check(event: dict[str, Any]) -> None:
    if "type" not in event:
        raise ApiError("Missing required parameter: 'type'.", "missing_required_parameter", "type")
    text(event["type"], "type")
    if event["type"] not in _EVENTS:
        raise invalid_value(event["type"], "type", _EVENTS)
    fields, required = _EVENTS[event["type"]]
    check_fields(event, "", {"type": text, "event_id": text, **fields}, required)
