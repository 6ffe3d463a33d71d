"""The answer to a chat request as the API words it: chunks of a stream, or one body. No sockets, no clock.

Source: the response types of the `openai` package (ChatCompletionChunk, ChatCompletion).
"""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from emulator.openai.faults import ChatFault, FinishEarly, Refusal
from emulator.openai.reports import ChatRequest
from emulator.openai.script import Reply, ToolCall


@dataclass(frozen=True, slots=True)
class Piece:
    """One chunk's JSON, and the characters of the answer it carries (the pace goes by them).

    `last` marks the chunk with the finish_reason.
    """

    data: dict[str, Any]
    text: str = ""
    last: bool = False


class Answer:
    """One reply in the API's words. `number` makes ids unique and the cutting of deltas repeatable."""

    def __init__(self, request: ChatRequest, reply: Reply, number: int) -> None:
        self._body = request.body
        self._reply = reply
        self._chance = random.Random(number)  # noqa: S311 - where deltas are cut, not a secret
        self._id = f"chatcmpl-emulator{number:06d}"
        self._created = int(time.time())
        self._calls = reply.tool_calls
        if self._body.get("parallel_tool_calls") is False:
            self._calls = self._calls[:1]
        options = self._body.get("stream_options") or {}
        self._obfuscated = options.get("include_obfuscation", True)
        self._usage_wanted = options.get("include_usage", False)
        limit = self._body.get("max_completion_tokens") or self._body.get("max_tokens")
        # One character is counted as one token throughout.
        self._text = reply.text if limit is None else reply.text[:limit]

    @property
    def finish_reason(self) -> str:
        if len(self._text) < len(self._reply.text):
            return "length"
        return "tool_calls" if self._calls else "stop"

    def pieces(self, *, stop_after: int | None = None, reason: str = "", refusal: str = "") -> Iterator[Piece]:
        """The chunks of a stream up to the last before [DONE].

        `stop_after` characters the answer ends with finish_reason `reason`; `refusal` is sent instead of content.
        """
        yield self._chunk({"role": "assistant", "content": "" if not refusal else None, "refusal": None})
        text = refusal or self._text
        if stop_after is not None:
            text = text[:stop_after]
        for part in self._cut(text, 1, 3):
            yield self._chunk({"refusal" if refusal else "content": part}, text=part)
        if stop_after is None and not refusal:
            for index, call in enumerate(self._calls):
                yield from self._call(index, call)
        finish = "stop" if refusal else reason or self.finish_reason
        yield self._chunk({}, finish=finish)
        if self._usage_wanted:
            yield Piece({**self._frame(), "choices": [], "usage": self._usage(len(text))})

    def body(self, *, stop_after: int | None = None, reason: str = "", refusal: str = "") -> dict[str, Any]:
        """The whole answer of a request without `stream`."""
        text = self._text if stop_after is None else self._text[:stop_after]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if refusal else text or (None if self._calls else ""),
            "refusal": refusal or None,
            "annotations": [],
        }
        if self._calls and not refusal and stop_after is None:
            message["tool_calls"] = [
                {
                    "id": self._call_id(index),
                    "type": "function",
                    "function": {"name": call.name, "arguments": _arguments(call)},
                }
                for index, call in enumerate(self._calls)
            ]
        finish = "stop" if refusal else reason or self.finish_reason
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        frame = {**self._frame(), "object": "chat.completion"}
        return {**frame, "choices": [choice], "usage": self._usage(len(refusal or text))}

    def _call(self, index: int, call: ToolCall) -> Iterator[Piece]:
        """A function call in at least three fragments: the name with no arguments, then their pieces."""
        head = {
            "index": index,
            "id": self._call_id(index),
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        yield self._chunk({"tool_calls": [head]}, text=call.name)
        arguments = _arguments(call)
        parts = self._cut(arguments[:-1], 1, 8)
        for part in [*parts, arguments[-1]]:
            yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]}, text=part)

    def _call_id(self, index: int) -> str:
        return f"call_{self._id.removeprefix('chatcmpl-')}_{index}"

    def _cut(self, text: str, least: int, most: int) -> list[str]:
        parts = []
        while text:
            size = self._chance.randint(least, most)
            parts.append(text[:size])
            text = text[size:]
        return parts

    def _frame(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._body["model"],
            "service_tier": "default",
            "system_fingerprint": None,
        }

    def _chunk(self, delta: dict[str, Any], *, finish: str | None = None, text: str = "") -> Piece:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        data = {**self._frame(), "choices": [choice]}
        if self._usage_wanted:
            data["usage"] = None
        if self._obfuscated:
            data["obfuscation"] = "".join(self._chance.choices("abcXYZ0189", k=self._chance.randint(2, 9)))
        return Piece(data, text, finish is not None)

    def _usage(self, written: int) -> dict[str, Any]:
        asked = len(json.dumps(self._body["messages"], ensure_ascii=False))
        wrote = written + sum(len(call.name) + len(_arguments(call)) for call in self._calls)
        return {
            "prompt_tokens": asked,
            "completion_tokens": wrote,
            "total_tokens": asked + wrote,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }


def _arguments(call: ToolCall) -> str:
    """The arguments as the API gives them: a JSON object in a string."""
    return json.dumps(call.arguments, ensure_ascii=False)


def wording(fault: ChatFault | None) -> dict[str, Any]:
    """What a fault changes in the wording itself: arguments for `pieces` and `body`."""
    match fault:
        case FinishEarly(after_chars=count, reason=reason):
            return {"stop_after": count, "reason": reason}
        case Refusal(text=text):
            return {"refusal": text}
        case _:
            return {}
