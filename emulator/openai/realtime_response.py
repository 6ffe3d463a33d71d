"""One Realtime response as it comes into being: its events and the pauses between them. No sockets, no clock.

Source: server event types of the `openai` package; order of events as in the API reference (Realtime
conversations): created, item, part, deltas, and the same closed again in reverse.
"""

import base64
import json
import random
from collections.abc import Iterator
from typing import Any

from emulator import readable_voice
from emulator.audio import BYTES_PER_MS, pcm16_from_ulaw
from emulator.openai.faults import DropResponse, FailResponse, IncompleteResponse, ResponseFault
from emulator.openai.realtime_items import Conversation, snapshot
from emulator.openai.reports import Pace, ResponseReport
from emulator.openai.script import Reply, ToolCall

Event = dict[str, Any]


class Dropped(Exception):  # noqa: N818 - what is to happen now
    """The connection is to be lost at this point of the response."""


class Generation:
    """A response that is going on. Iterate `steps` for (seconds to wait first, events); or `cancel` it.

    `config` is the session's with the response's own settings on top. Items go into `conversation`.
    """

    def __init__(
        self,
        reply: Reply,
        config: dict[str, Any],
        conversation: Conversation,
        pace: Pace,
        fault: ResponseFault | None,
        report: ResponseReport,
    ) -> None:
        self.report = report
        self._reply = reply
        self._config = config
        self._conversation = conversation
        self._pace = pace
        self._fault = fault
        self._chance = random.Random(report.id)  # noqa: S311 - sizes of chunks, not a secret
        self._output: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None
        self._written = ""
        self._voiced = "audio" in config["output_modalities"]
        self._heard = sum(len(message.text) + 4 for message in conversation.history())

    def steps(self) -> Iterator[tuple[float, list[Event]]]:
        """Everything from response.created to response.done. Raises Dropped where the fault wants that."""
        yield 0.0, [{"type": "response.created", "response": self._response("in_progress")}, _rate_limits()]
        if isinstance(self._fault, FailResponse):
            error = {"type": "invalid_request_error", "code": self._fault.code, "message": self._fault.message}
            yield self._pace.first_audio, [self._done("failed", {"type": "failed", "error": error})]
            return
        yield self._pace.first_audio, []
        text, cut = self._limited()
        if text:
            yield from self._message(text)
        if cut:
            yield 0.0, [*self._close("incomplete"), self._done("incomplete", {"type": "incomplete", "reason": cut})]
            return
        if text:
            yield 0.0, self._close("completed")
        for index, call in enumerate(self._reply.tool_calls):
            yield from self._call(index, call)
        yield 0.0, [self._done("completed", None)]

    def cancel(self, reason: str) -> list[Event]:
        """Ends it at once: what is open is closed, and response.done says why."""
        details = {"type": "cancelled", "reason": reason}
        return [*self._close("incomplete"), self._done("cancelled", details)]

    def _limited(self) -> tuple[str, str]:
        """The text that will be said, and why it stops short ("" if it does not). One character is one token."""
        text = self._reply.text
        if isinstance(self._fault, IncompleteResponse):
            return text[: self._fault.after_chars], self._fault.reason
        limit = self._config["max_output_tokens"]
        if isinstance(limit, int) and len(text) > limit:
            return text[:limit], "max_output_tokens"
        return text, ""

    # --- spoken or written words ----------------------------------------------------------------------------

    def _message(self, text: str) -> Iterator[tuple[float, list[Event]]]:
        kind = "output_audio" if self._voiced else "output_text"
        words = "transcript" if self._voiced else "text"
        item = {"type": "message", "role": "assistant", "content": [{"type": kind, words: ""}]}
        opening = self._begin({**item, "content": []})
        part = {"type": "audio" if self._voiced else "text", words: ""}
        yield 0.0, [*opening, self._on_part("response.content_part.added", part=part)]
        if self._open is not None:
            self._open["content"] = item["content"]
        for delta, ulaw in self._chunks(text):
            # Waited for first: what is cancelled meanwhile was never said.
            yield len(ulaw) / 8000 / self._pace.audio_speed, []
            yield 0.0, self._delta(delta, ulaw)
            if isinstance(self._fault, DropResponse) and self.report.audio_ms >= self._fault.after_ms:
                raise Dropped

    def _chunks(self, text: str) -> Iterator[tuple[str, bytes]]:
        """The voice in pieces of 100 to 400 ms, each with the characters that begin in it."""
        voice = readable_voice.speak(text)
        start = 0
        while start < len(voice):
            end = start + self._chance.randrange(100, 401) * BYTES_PER_MS
            size = readable_voice.CHARACTER_BYTES
            yield text[-(-start // size) : -(-min(end, len(voice)) // size)], voice[start:end]
            start = end

    def _delta(self, delta: str, ulaw: bytes) -> list[Event]:
        if self._open is None:
            return []
        self._written += delta
        self._open["content"][0]["transcript" if self._voiced else "text"] = self._written
        if not self._voiced:
            return [self._on_part("response.output_text.delta", delta=delta)] if delta else []
        self.report.audio_ms += len(ulaw) // BYTES_PER_MS
        self._conversation.add_spoken(self._open["id"], ulaw)
        audio = ulaw
        if self._config["audio"]["output"]["format"]["type"] == "audio/pcm":
            pcm = pcm16_from_ulaw(ulaw)
            audio = b"".join(pcm[at : at + 2] * 3 for at in range(0, len(pcm), 2))  # 8 to 24 kHz
        sound = self._on_part("response.output_audio.delta", delta=base64.b64encode(audio).decode())
        said = [self._on_part("response.output_audio_transcript.delta", delta=delta)] if delta else []
        return [*said, sound]

    # --- function calls -------------------------------------------------------------------------------------

    def _call(self, index: int, call: ToolCall) -> Iterator[tuple[float, list[Event]]]:
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        call_id = f"call_{self.report.id}_{index}"
        yield 0.0, self._begin({"type": "function_call", "name": call.name, "call_id": call_id, "arguments": ""})
        for start in range(0, len(arguments), 6):
            delta = arguments[start : start + 6]
            yield 0.01, [self._on_item("response.function_call_arguments.delta", call_id=call_id, delta=delta)]
        if self._open is not None:
            self._open["arguments"] = arguments
        done = self._on_item(
            "response.function_call_arguments.done", call_id=call_id, name=call.name, arguments=arguments
        )
        yield 0.0, [done, *self._close("completed")]

    # --- items and the frame --------------------------------------------------------------------------------

    def _begin(self, item: dict[str, Any]) -> list[Event]:
        item_id = f"item_{self.report.id}_{len(self._output)}"
        self._open = {"id": item_id, "object": "realtime.item", "status": "in_progress", **item}
        self._output.append(self._open)
        events = [self._on_item("response.output_item.added", item=snapshot(self._open))]
        if self._config.get("conversation", "auto") != "none":
            previous = self._conversation.add(self._open)
            events.append(
                {"type": "conversation.item.added", "previous_item_id": previous, "item": snapshot(self._open)}
            )
        return events

    def _close(self, status: str) -> list[Event]:
        """What ends the item that is open, if one is."""
        item = self._open
        if item is None:
            return []
        item["status"] = status
        events = self._close_part() if item["type"] == "message" else []
        if item["id"] in self._conversation.items:
            previous = self._conversation.before(item["id"])
            events.append({"type": "conversation.item.done", "previous_item_id": previous, "item": snapshot(item)})
        events.append(self._on_item("response.output_item.done", item=snapshot(item)))
        self._open = None
        return events

    def _close_part(self) -> list[Event]:
        if not self._voiced:
            part = {"type": "text", "text": self._written}
            return [
                self._on_part("response.output_text.done", text=self._written),
                self._on_part("response.content_part.done", part=part),
            ]
        part = {"type": "audio", "transcript": self._written}
        return [
            self._on_part("response.output_audio.done"),
            self._on_part("response.output_audio_transcript.done", transcript=self._written),
            self._on_part("response.content_part.done", part=part),
        ]

    def _on_item(self, kind: str, **fields: Any) -> Event:
        event = {"type": kind, "response_id": self.report.id, "output_index": len(self._output) - 1, **fields}
        if self._open is not None and "item" not in fields:
            event["item_id"] = self._open["id"]
        return event

    def _on_part(self, kind: str, **fields: Any) -> Event:
        return {**self._on_item(kind, **fields), "content_index": 0}

    def _done(self, status: str, details: dict[str, Any] | None) -> Event:
        self.report.status = status
        self.report.reason = (details or {}).get("reason") or (details or {}).get("error", {}).get("code")
        response = {**self._response(status), "status_details": details, "usage": self._usage()}
        return {"type": "response.done", "response": response}

    def _response(self, status: str) -> dict[str, Any]:
        outside = self._config.get("conversation", "auto") == "none"
        return {
            "object": "realtime.response",
            "id": self.report.id,
            "status": status,
            "status_details": None,
            "output": [snapshot(item) for item in self._output],
            "conversation_id": None if outside else "conv_emulator",
            "output_modalities": self._config["output_modalities"],
            "max_output_tokens": self._config["max_output_tokens"],
            "audio": {"output": {name: self._config["audio"]["output"][name] for name in ("format", "voice")}},
            "usage": None,
            "metadata": self._config.get("metadata"),
        }

    def _usage(self) -> dict[str, Any]:
        words, sound = len(self._written), self.report.audio_ms // 50
        return {
            "total_tokens": self._heard + words + sound,
            "input_tokens": self._heard,
            "output_tokens": words + sound,
            "input_token_details": {
                "text_tokens": self._heard,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": 0,
                "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": words, "audio_tokens": sound},
        }


def _rate_limits() -> Event:
    limits = [
        {"name": "requests", "limit": 1000, "remaining": 999, "reset_seconds": 0.06},
        {"name": "tokens", "limit": 400_000, "remaining": 399_000, "reset_seconds": 0.15},
    ]
    return {"type": "rate_limits.updated", "rate_limits": limits}
