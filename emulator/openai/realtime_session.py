"""A Realtime session: client events in, server events out. No sockets, and the time is passed in.

Hearing is in `realtime_hearing`, answering in `realtime_answering`, the items in `realtime_items`, the configuration
in `realtime_config`. Here is what follows from what.

Source: API reference (Realtime client and server events); the `openai` package's types; wording of errors as
reported by users. Unconfirmed: codes for unknown items and malformed events, close code on expiry.
"""

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from emulator.openai import faults as faults_
from emulator.openai.realtime_answering import Answering, World
from emulator.openai.realtime_config import check_response, defaults, updated
from emulator.openai.realtime_events import EventError, parse_event
from emulator.openai.realtime_hearing import Ear, SpeechStarted, SpeechStopped
from emulator.openai.realtime_items import Conversation, snapshot
from emulator.openai.realtime_response import Event
from emulator.openai.reports import RealtimeReport, ResponseReport, Turn
from emulator.openai.schema import ApiError
from emulator.sockets import Ending

_EVENTS_KEPT = 100_000


class RealtimeSession:
    """One connection's protocol. Give it what comes (`receive`, `tick`), then do what `out` holds.

    `now` is a monotonic time in seconds throughout.
    """

    def __init__(
        self,
        world: World,
        fault: faults_.ConnectionFault | None,
        report: RealtimeReport,
        session_id: str,
        now: float,
    ) -> None:
        self.out: deque[Event | Ending] = deque()
        self._world = world
        self._fault = fault
        self._report = report
        self._now = now
        self._numbers = itertools.count(1)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._ear = Ear()
        self._conversation = Conversation(report.items)
        self._answering = Answering(
            world, report, self._conversation, self._send, self._later, self._response_done, self._drop
        )
        self._turn_id = ""
        self._idle_mark = 0  # changes whenever a running idle timeout is no longer wanted
        expiry = fault.after_seconds if isinstance(fault, faults_.ExpireSession) else world.pace.session
        self._report.session = defaults(session_id, report.model, int(time.time() + expiry))
        self._ear.detect(self._config["audio"]["input"]["turn_detection"])
        if isinstance(fault, faults_.ErrorOnOpen):
            self._refuse(ApiError(fault.message, fault.code), None)
            self.out.append(Ending.CLOSE)
            return
        self._send({"type": "session.created", "session": self._config})
        self._later(expiry, self._expire)
        if isinstance(fault, faults_.DropConnection | faults_.FreezeConnection) and fault.after_seconds is not None:
            self._later(fault.after_seconds, self._break)

    @property
    def _config(self) -> dict[str, Any]:
        return self._report.session

    # --- time ---------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Does everything that is due by now, in order."""
        while self._timers and self._timers[0][0] <= now:
            at, _, act = heapq.heappop(self._timers)
            self._now = at
            act()
        self._now = now

    def due_in(self, now: float) -> float:
        """Seconds until `tick` has something to do."""
        return max(0.0, self._timers[0][0] - now) if self._timers else 3600.0

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self._now + seconds, next(self._numbers), act))

    # --- client events --------------------------------------------------------------------------------------------

    def receive(self, message: str | bytes, now: float) -> None:
        """Takes a client event. Whatever it is, nothing worse than an error event comes of it."""
        self.tick(now)
        event_id: str | None = None
        try:
            event = parse_event(message)
            event_id = event.get("event_id")
            if len(self._report.events) < _EVENTS_KEPT:
                self._report.events.append(event["type"])
            self._handle(event)
        except EventError as refusal:
            self._refuse(refusal, refusal.event_id)
        except ApiError as refusal:
            self._refuse(refusal, event_id)

    def _handle(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                self._update(event["session"])
            case "input_audio_buffer.append":
                self._hear(event["audio"])
            case "input_audio_buffer.commit":
                self._commit(self._ear.commit(), self._new_id("item"), respond=False)
            case "input_audio_buffer.clear":
                self._ear.clear()
                self._send({"type": "input_audio_buffer.cleared"})
            case "conversation.item.create":
                self._create_item(event)
            case "conversation.item.truncate":
                self._truncate(event)
            case "conversation.item.delete":
                self._conversation.delete(event["item_id"])
                self._send({"type": "conversation.item.deleted", "item_id": event["item_id"]})
            case "conversation.item.retrieve":
                item = self._conversation.find(event["item_id"], "retrieve")
                self._send({"type": "conversation.item.retrieved", "item": item})
            case "response.create":
                self._respond(check_response(event.get("response") or {}, self._report.model))
            case "response.cancel":
                self._answering.cancel_asked(event.get("response_id"))
            case "output_audio_buffer.clear":
                raise ApiError("output_audio_buffer.clear is only for WebRTC and SIP.", "invalid_value", "type")

    def _update(self, update: Any) -> None:
        self._report.session = updated(self._config, update, has_spoken=self._conversation.has_spoken)
        self._report.updates.append(update)
        self._ear.detect(self._config["audio"]["input"]["turn_detection"])
        self._send({"type": "session.updated", "session": self._config})

    def _create_item(self, event: dict[str, Any]) -> None:
        item = self._conversation.check_new(event["item"], event.get("previous_item_id"))
        item.setdefault("id", self._new_id("item"))
        self._add(item, event.get("previous_item_id"))

    def _add(self, item: dict[str, Any], after: str | None = None) -> None:
        previous = self._conversation.add(item, after)
        for kind in ("conversation.item.added", "conversation.item.done"):
            self._send({"type": kind, "previous_item_id": previous, "item": snapshot(item)})

    def _truncate(self, event: dict[str, Any]) -> None:
        item_id, end_ms = event["item_id"], event["audio_end_ms"]
        self._conversation.truncate(item_id, event["content_index"], end_ms)
        self._report.truncations.append((item_id, end_ms))
        self._send(
            {"type": "conversation.item.truncated", "item_id": item_id, "content_index": 0, "audio_end_ms": end_ms}
        )

    # --- hearing ----------------------------------------------------------------------------------------------------

    def _hear(self, audio: str) -> None:
        found = self._ear.append(audio, self._config["audio"]["input"]["format"])
        self._report.audio_bytes = self._ear.heard_bytes
        for event in found:
            if isinstance(event, SpeechStarted):
                self._speech_started(event)
            else:
                self._speech_stopped(event)
        at_ms = getattr(self._fault, "at_audio_ms", None)
        if at_ms is not None and self._ear.heard_ms >= at_ms:
            self._break()

    def _speech_started(self, speech: SpeechStarted) -> None:
        self._turn_id = self._new_id("item")
        self._idle_mark += 1
        self._send(
            {
                "type": "input_audio_buffer.speech_started",
                "audio_start_ms": speech.at_ms,
                "item_id": self._turn_id,
            }
        )
        if self._detection("interrupt_response"):
            self._answering.cancel("turn_detected")

    def _speech_stopped(self, speech: SpeechStopped) -> None:
        self._send(
            {
                "type": "input_audio_buffer.speech_stopped",
                "audio_end_ms": speech.end_ms,
                "item_id": self._turn_id,
            }
        )
        self._commit(speech, self._turn_id, respond=bool(self._detection("create_response")))

    def _commit(self, speech: SpeechStopped, item_id: str, *, respond: bool) -> None:
        """The audio becomes a user message; its transcript comes later, an answer if one is due."""
        previous = self._conversation.last_id
        self._send({"type": "input_audio_buffer.committed", "item_id": item_id, "previous_item_id": previous})
        recognised = self._world.library.recognise(speech.ulaw)
        self._report.turns.append(Turn(item_id, speech.start_ms, speech.end_ms, recognised))
        item = {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        self._add(item)
        self._conversation.add_heard(item_id, recognised.sentence)
        if self._config["audio"]["input"]["transcription"]:
            seconds = len(speech.ulaw) / 8000
            self._later(self._world.pace.transcription, lambda: self._transcribe(item, recognised.sentence, seconds))
        if respond:
            try:
                self._respond({})
            except ApiError as refusal:
                self._refuse(refusal, None)

    def _transcribe(self, item: dict[str, Any], words: str, seconds: float) -> None:
        """The transcript of a turn, in two deltas and whole. Arrives beside the answer, in no fixed order."""
        kind = "conversation.item.input_audio_transcription."
        base = {"item_id": item["id"], "content_index": 0}
        half = (len(words) + 1) // 2
        for delta in filter(None, (words[:half], words[half:])):
            self._send({"type": kind + "delta", **base, "delta": delta})
        usage: dict[str, Any] = {"type": "duration", "seconds": seconds}
        if self._transcriber() != "whisper-1":
            sound = round(seconds * 10)
            usage = {
                "type": "tokens",
                "input_tokens": sound,
                "output_tokens": len(words),
                "total_tokens": sound + len(words),
                "input_token_details": {"audio_tokens": sound, "text_tokens": 0},
            }
        item["content"][0]["transcript"] = words
        self._send({"type": kind + "completed", **base, "transcript": words, "usage": usage})

    def _transcriber(self) -> str:
        return str((self._config["audio"]["input"]["transcription"] or {}).get("model"))

    def _detection(self, name: str) -> Any:
        return (self._config["audio"]["input"]["turn_detection"] or {}).get(name)

    # --- answering and idling -----------------------------------------------------------------------------------

    def _response_done(self, response: ResponseReport) -> None:
        """Sets the idle timeout: from response.done plus the time the response's audio takes to play."""
        timeout = self._detection("idle_timeout_ms")
        if timeout:
            mark, since_ms = self._idle_mark, self._ear.heard_ms + response.audio_ms
            self._later((response.audio_ms + timeout) / 1000, lambda: self._idle(mark, since_ms))

    def _idle(self, mark: int, since_ms: int) -> None:
        """Nobody has spoken for the idle timeout: the silence is committed and the model speaks."""
        if mark != self._idle_mark or self._ear.speaking or self._answering.busy:
            return
        item_id = self._new_id("item")
        start_ms = min(since_ms, self._ear.heard_ms)
        event = {"audio_start_ms": start_ms, "audio_end_ms": self._ear.heard_ms, "item_id": item_id}
        self._send({"type": "input_audio_buffer.timeout_triggered", **event})
        self._commit(self._ear.take_silence(start_ms), item_id, respond=True)

    def _respond(self, settings: dict[str, Any]) -> None:
        self._answering.respond(settings)
        self._idle_mark += 1

    # --- what goes wrong, and out -----------------------------------------------------------------------------------

    def _expire(self) -> None:
        message = "Your session hit the maximum duration of 60 minutes."
        self._refuse(ApiError(message, "session_expired"), None)
        self.out.append(Ending.CLOSE)

    def _drop(self) -> None:
        self.out.append(Ending.DROP)

    def _break(self) -> None:
        freeze = isinstance(self._fault, faults_.FreezeConnection)
        self.out.append(Ending.FREEZE if freeze else Ending.DROP)

    def _refuse(self, refusal: ApiError, event_id: str | None) -> None:
        error = {**refusal.as_object(), "event_id": event_id}
        self._report.errors.append(error)
        self._send({"type": "error", "error": error})

    def _send(self, event: Event) -> None:
        self.out.append({"type": event["type"], "event_id": self._new_id("event"), **event})  # in OpenAI's order

    def _new_id(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers):06d}"
