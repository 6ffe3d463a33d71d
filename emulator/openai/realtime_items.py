"""The conversation of a Realtime session: its items, their audio, and what a script is told of them.

Source: item types of the `openai` package (ConversationItem and its kinds); truncation, deletion and retrieval as
in the API reference. Codes for unknown items are unconfirmed.
"""

import copy
from typing import Any

from emulator import readable_voice
from emulator.audio import BYTES_PER_MS
from emulator.openai.schema import ApiError, Check, array, check_fields, choice, record, tagged, text
from emulator.openai.script import Message

_LONGEST_ID = 32
_input_text = record({"type": text, "text": text}, ("type", "text"))
_user_part = tagged(
    "type",
    {
        "input_text": _input_text,
        "input_audio": record({"type": text, "audio": text, "transcript": text}, ("audio",)),
    },
)
_system_part = tagged("type", {"input_text": _input_text})


def _assistant_part(value: Any, path: str) -> None:
    if isinstance(value, dict) and value.get("type") == "output_audio":
        message = "Assistant messages cannot be created with audio content."
        raise ApiError(message, "unsupported_content_type", f"{path}.type")
    tagged("type", {"output_text": record({"type": text, "text": text}, ("text",))})(value, path)


_PARTS: dict[str, Check] = {"user": _user_part, "system": _system_part, "assistant": _assistant_part}
_any: dict[str, Check] = {
    "type": text,
    "id": text,
    "object": choice("realtime.item"),
    "status": choice("completed", "incomplete", "in_progress"),
}


def _message(value: Any, path: str) -> None:
    role = value.get("role")
    if "role" in value:
        choice(*_PARTS)(role, f"{path}.role")
    check_fields(
        value,
        path,
        {**_any, "role": text, "content": array(_PARTS.get(role, _user_part))},
        ("role", "content"),
    )


_item = tagged(
    "type",
    {
        "message": _message,
        "function_call": record({**_any, "name": text, "call_id": text, "arguments": text}, ("name", "arguments")),
        "function_call_output": record({**_any, "call_id": text, "output": text}, ("call_id", "output")),
    },
)


def snapshot(item: dict[str, Any]) -> dict[str, Any]:
    """An item as it is now: events are written out later than they are made."""
    return {**item, "content": [dict(part) for part in item["content"]]} if "content" in item else dict(item)


class Conversation:
    """Items in order. `items` maps ids to items in the API's shape and is what a report shows."""

    def __init__(self, items: dict[str, dict[str, Any]]) -> None:
        self.items = items
        self._order: list[str] = []
        self._spoken: dict[str, bytearray] = {}
        self._heard: dict[str, str] = {}
        self._cut: set[str] = set()

    @property
    def last_id(self) -> str | None:
        return self._order[-1] if self._order else None

    @property
    def has_spoken(self) -> bool:
        """Whether the assistant's voice is in it."""
        return any(self._spoken.values())

    def add(self, item: dict[str, Any], after: str | None = None) -> str | None:
        """Puts an item at the end, or after another; "root" is the beginning. Gives the id before it."""
        place = len(self._order) if after is None else 0 if after == "root" else self._order.index(after) + 1
        self._order.insert(place, item["id"])
        self.items[item["id"]] = item
        return self.before(item["id"])

    def before(self, item_id: str) -> str | None:
        """The id of the item before this one; None for the first."""
        place = self._order.index(item_id)
        return self._order[place - 1] if place else None

    def add_spoken(self, item_id: str, ulaw: bytes) -> None:
        """More of the assistant's voice in an item."""
        self._spoken.setdefault(item_id, bytearray()).extend(ulaw)

    def add_heard(self, item_id: str, words: str) -> None:
        """What the model understands of the caller's audio in an item, transcribed or not."""
        self._heard[item_id] = words

    def check_new(self, item: Any, after: str | None) -> dict[str, Any]:
        """A client's item, complete. Raises ApiError."""
        _item(item, "item")
        given = item.get("id")
        if given is not None and len(given) > _LONGEST_ID:
            message = (
                f"Invalid 'item.id': string too long. Expected a string with maximum length {_LONGEST_ID}, "
                f"but got a string with length {len(given)} instead."
            )
            raise ApiError(message, "string_above_max_length", "item.id")
        if given in self.items:
            raise ApiError(f"Item with item_id already exists: {given}", "item_create_invalid_item_id", "item.id")
        if after not in (None, "root") and after not in self.items:
            message = f"Previous item with item_id not found: {after}"
            raise ApiError(message, "item_create_invalid_previous_item_id", "previous_item_id")
        if item["type"] == "function_call_output" and not self._function(item["call_id"]):
            message = f"Tool call ID '{item['call_id']}' not found in conversation."
            raise ApiError(message, "invalid_tool_call_id", "item.call_id")
        return {"object": "realtime.item", "status": "completed", **copy.deepcopy(item)}

    def find(self, item_id: str, verb: str) -> dict[str, Any]:
        """The item a client wants to delete, retrieve or truncate. Raises ApiError."""
        if item_id not in self.items:
            message = f"Item with item_id not found: {item_id}"
            raise ApiError(message, f"item_{verb}_invalid_item_id", "item_id")
        return self.items[item_id]

    def delete(self, item_id: str) -> None:
        self.find(item_id, "delete")
        del self.items[item_id]
        self._order.remove(item_id)

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Forgets what the assistant said after `audio_end_ms`, and the item's transcript. Raises ApiError."""
        item = self.find(item_id, "truncate")
        audio = self._spoken.get(item_id)
        if item.get("role") != "assistant" or not audio or content_index != 0:
            message = "Only model output audio messages can be truncated"
            raise ApiError(message, "unsupported_content_type")
        length = len(audio) // BYTES_PER_MS
        if audio_end_ms > length:
            raise ApiError(f"Audio content of {length}ms is already shorter than {audio_end_ms}ms")
        del audio[audio_end_ms * BYTES_PER_MS :]
        item["content"][0].pop("transcript", None)
        self._cut.add(item_id)

    def history(self) -> list[Message]:
        """The conversation as a script sees it: what was said, as far as it was not truncated."""
        return [self.as_message(self.items[item_id]) for item_id in self._order]

    def given(self, items: list[Any]) -> list[Message]:
        """The `input` of a response.create in place of the conversation: items, or references to items."""
        result = []
        for place, item in enumerate(items):
            if isinstance(item, dict) and item.get("type") == "item_reference":
                result.append(self.as_message(self.find(str(item.get("id")), "retrieve")))
                continue
            _item(item, f"response.input[{place}]")
            result.append(self.as_message(item))
        return result

    def as_message(self, item: dict[str, Any]) -> Message:
        """One item as a script sees it."""
        if item["type"] == "function_call":
            return Message("assistant", "", item["name"])
        if item["type"] == "function_call_output":
            return Message("tool", item["output"], self._function(item["call_id"]))
        item_id = item.get("id", "")
        if item_id in self._cut:
            return Message("assistant", readable_voice.read(bytes(self._spoken[item_id])))
        words = "".join(part.get("text") or part.get("transcript") or "" for part in item.get("content", []))
        return Message(item["role"], self._heard.get(item_id) or words)

    def _function(self, call_id: str) -> str:
        """The name of the function of a call; "" for a call that is not there."""
        for item in self.items.values():
            if item["type"] == "function_call" and item.get("call_id") == call_id:
                return str(item["name"])
        return ""
