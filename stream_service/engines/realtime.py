"""Engine realtime: OpenAI hears and speaks. Audio passes both ways as it came, on the pump's thread.

What the caller says is spliced into `append` events, what the model says into Twilio's `media`, with marks, so that
what was really heard is known (`reflexes.py`). Here is what the call's thread does: it decodes everything else. A lost
session is replaced by a new one that is told the conversation so far and hears the caller's last seconds again.
"""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from urllib.parse import urlencode

from callbot.agents import Agent
from callbot.errors import RemoteError
from callbot.settings import Settings
from stream_service.commands import (
    AnswerTool,
    ClearPlayback,
    Command,
    MarkPlayback,
    RequestResponse,
    StopListening,
    TellModel,
)
from stream_service.engines.journal import BYTES_PER_MS, MOST_BYTES, PRE_ROLL_BYTES
from stream_service.engines.port import FromVendor, Post, Several
from stream_service.engines.reflexes import Reflexes
from stream_service.engines.uplink import Uplink
from stream_service.engines.vendor_session import VendorSession
from stream_service.events import (
    AgentWords,
    CallerSaid,
    CallerStarted,
    CallerStopped,
    Event,
    RequestRefused,
    ResponseEnded,
    ResponseStarted,
)
from stream_service.playout import Playout
from stream_service.pump import Link, Pump
from stream_service.tools import offered
from stream_service.transcript import Transcript
from stream_service.wire import realtime as wire
from stream_service.wire import twilio_media
from stream_service.wire.realtime_words import decode_words, is_words

log = logging.getLogger(__name__)

LOGGED_BYTES = 2_000  # of an event, at level debug; audio is not among them
SESSION_SECONDS = 50 * 60  # OpenAI ends a session at 60 minutes; it is replaced before that, in a quiet moment


class RealtimeEngine(VendorSession):
    """The model's session for one call."""

    def __init__(
        self,
        *,
        settings: Settings,
        agent: Agent,
        instructions: str,
        transcript: Transcript,
        playout: Playout,
        carrier: Link,
        stream_sid: str,
        pump: Pump,
        pool: Executor,
        post: Post,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reflexes = Reflexes(
            playout=playout,
            carrier=carrier,
            stream_sid=stream_sid,
            send=self._send,
            keep_from=lambda ms: self.uplink.need_from(self._base + ms * BYTES_PER_MS),
            post=post,
            clock=clock,
        )
        query = urlencode({"model": settings.openai_realtime_model})
        super().__init__(
            service="openai",
            url=f"{settings.openai_realtime_url}?{query}",
            headers=lambda: [f"Authorization: Bearer {settings.openai_api_key}"],
            uplink=Uplink(
                wire.APPEND_PREFIX, wire.APPEND_SUFFIX, False, PRE_ROLL_BYTES, MOST_BYTES, playout.mark_returns
            ),
            pump=pump,
            pool=pool,
            post=post,
        )
        self._settings = settings
        self._agent = agent
        self._instructions = instructions
        self._transcript = transcript
        self._playout = playout
        self._carrier = carrier
        self._stream_sid = stream_sid
        self._transcripts: Counter[str] = Counter()  # what writing down the caller's words is billed by
        self._ends: dict[str, int] = {}  # where utterances ended whose words are not known yet
        self._renew_at: float | None = None

    def _comes(self, epoch: int, text: bytes) -> None:
        self._reflexes.comes(epoch, text)

    # --- the vendor's news, on the call's thread ---

    def _begin(self, link: Link) -> None:
        self._reflexes.begin(self._vendor.epoch)
        link.route = self._reflexes.downlink
        link.release()

    def receive(self, news: FromVendor, now: float) -> Sequence[Event]:
        if not isinstance(news.news, Several):
            return super().receive(news, now)
        self._reflexes.downlink.let_go(news.news.payloads)
        return self._said(news.news.payloads, now) if news.epoch == self._vendor.epoch else []

    def _said(self, payloads: Sequence[bytes], now: float) -> Sequence[Event]:
        """The next words of what the model says, those of one item as one; or all of them."""
        if is_words(payloads[0]) and not log.isEnabledFor(logging.DEBUG):
            with contextlib.suppress(RemoteError):
                return [AgentWords(said.response, said.item, said.text, said.whole) for said in decode_words(payloads)]
        # One at a time, so that only what cannot be read is passed over, and all can be seen in the log.
        return [event for payload in payloads for event in self._tried(payload, now)]

    def _read(self, payload: bytes, now: float) -> Sequence[Event]:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("from the model: %s", payload[:LOGGED_BYTES].decode("utf-8", "replace"))
        event = wire.decode(payload)
        return self._understand(event, now) if event else []

    def _understand(self, event: wire.ServerEvent, now: float) -> Sequence[Event]:
        match event:
            case wire.SessionCreated():
                self._set_up()
            case wire.SessionUpdated():
                return self._ready(now)
            case wire.SpeechStarted():
                return [CallerStarted(self._reflexes.was_over_bot())]
            case wire.SpeechStopped(ms, item):
                self._ends[item] = self._base + ms * BYTES_PER_MS
                return [CallerStopped(item, now - wire.SILENCE_MS / 1000)]
            case wire.CallerTranscript(item, text, usage):
                self._transcripts.update(usage)
                self.uplink.settled(self._ends.pop(item, self.uplink.position))
                return [CallerSaid(text, item=item)]
            case wire.ResponseCreated(response):
                return [ResponseStarted(response)]
            case wire.Transcript():
                return [AgentWords(event.response, event.item, event.text, event.whole)]
            case wire.ResponseDone():
                self._reflexes.is_over(event.response)
                return [ResponseEnded(event.response, event.status, event.code, event.tool_calls, event.usage)]
            case wire.VendorError(code):
                if code in wire.FATAL_ERRORS:
                    return self._again(RemoteError("openai", code, retryable=False, code=code), now)
                if code == "session_expired":
                    return self._again(RemoteError("openai", code, retryable=True, code=code), now)
                return [RequestRefused(code)]
        return []

    def _set_up(self) -> None:
        self._send(
            wire.session_update(
                instructions=self._instructions,
                voice=self._agent.realtime_voice,
                language=self._agent.language,
                transcribe_model=self._settings.openai_transcribe_model,
                tools=[tool.for_realtime() for tool in offered(self._agent)],
            )
        )

    def _ready(self, now: float) -> Sequence[Event]:
        """The session is set up: it is told what was said, then it listens."""
        link = self._vendor.link
        if link is None or self.uplink.attached:
            return []
        self._renew_at = now + SESSION_SECONDS
        for role, text in self._transcript.remembered():
            self._send(wire.message_item("assistant" if role == "agent" else "user", text))
        return self._feed(link)

    def _forget(self) -> None:
        self._reflexes.end()
        self._renew_at = None
        self._ends.clear()

    def tick(self, now: float) -> Sequence[Event]:
        if self._renew_at is not None and now >= self._renew_at and not self._playout.audible(now):
            return self._again(RemoteError("openai", "renewed", retryable=True, code="session renewed"), now)
        return super().tick(now)

    # --- commands ---

    def perform(self, command: Command) -> bool:
        match command:
            case RequestResponse(instructions):
                self._send(wire.response_create(instructions))
            case AnswerTool(call, output):
                self._send(wire.tool_output(call.id, output))
            case TellModel(text):
                self._send(wire.message_item("user", text))
            case StopListening():
                self._reflexes.stop_yielding()
                self._send(wire.stop_turn_detection())
            case MarkPlayback(mark):
                self._carrier.send_text(twilio_media.mark(self._stream_sid, mark))
            case ClearPlayback(response):
                self._reflexes.drop(response)
            case _:
                return False
        return True

    def spent(self) -> Mapping[str, int]:
        return self._transcripts

    def close(self) -> None:
        self._stop_feeding()
        self._vendor.close()

    def _send(self, event: bytes) -> None:
        if self._vendor.link:
            self._vendor.link.send_text(event)
