"""Engine realtime: OpenAI hears and speaks. Audio passes both ways as it came, on the pump's thread.

What the caller says is spliced into `append` events, what the model says into Twilio's `media`; each piece of the
model's is followed by a mark, so that what was really heard is known. Everything else is decoded on the call's thread.
A lost session is replaced by a new one that is told the conversation so far and hears the caller's last seconds again.
"""

import contextlib
import logging
import threading
import time
from collections import Counter, deque
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
from stream_service.engines.downlink import Downlink
from stream_service.engines.journal import BYTES_PER_MS, MOST_BYTES, PRE_ROLL_BYTES
from stream_service.engines.port import FromVendor, Post, Several
from stream_service.engines.uplink import Uplink
from stream_service.engines.vendor_session import VendorSession
from stream_service.events import (
    AgentAudioStarted,
    AgentWords,
    CallerSaid,
    CallerStarted,
    CallerStopped,
    Event,
    RequestRefused,
    ResponseEnded,
    ResponseStarted,
)
from stream_service.playout import MARK_EVERY_MS, Playout
from stream_service.pump import Link, Pump
from stream_service.tools import offered
from stream_service.transcript import Transcript
from stream_service.wire import realtime as wire
from stream_service.wire import twilio_media
from stream_service.wire.frames import Text
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
        query = urlencode({"model": settings.openai_realtime_model})
        super().__init__(
            service="openai",
            url=f"{settings.openai_realtime_url}?{query}",
            headers=lambda: [f"Authorization: Bearer {settings.openai_api_key}"],
            uplink=Uplink(wire.APPEND_PREFIX, wire.APPEND_SUFFIX, False, PRE_ROLL_BYTES, MOST_BYTES, self._other),
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
        self._downlink = Downlink(
            twilio_media.media_prefix(stream_sid),
            twilio_media.MEDIA_SUFFIX,
            twilio_media.mark_prefix(stream_sid),
            twilio_media.MARK_SUFFIX,
            MARK_EVERY_MS * BYTES_PER_MS,
            self._passes,
            self._event,
        )
        self._downlink.attach(*carrier.inlet)
        self._lock = threading.Lock()  # between the pump's thread and the call's
        self._epoch = 0  # of the session whose messages come
        self._post = post
        self._clock = clock
        self._transcripts: Counter[str] = Counter()  # what writing down the caller's words is billed by
        self._ends: dict[str, int] = {}  # where utterances ended whose words are not known yet
        self._sounding = ""  # the response whose audio was sent last
        self._heard_of_it = False  # the newest event but words was some of its audio
        self._polite = True  # the bot falls silent when the caller speaks
        self._over_bot: deque[bool] = deque(maxlen=16)  # for each time the caller began to speak: over the bot?
        self._responding = False  # a response is being made, for all that is known on the pump's thread
        self._dropped: set[str] = set()  # responses of which no more is to be heard
        self._renew_at: float | None = None

    # --- audio, on the pump's thread ---

    def _other(self, message: bytes) -> bool:
        """Marks behind the model's audio are noted here; the session is told of the last one only."""
        mark = twilio_media.returned_mark(message)
        if mark is None or not self._playout.owns(mark):
            return False
        if not self._playout.reached(mark):
            return True
        self._downlink.tell()  # some more may have been sent that nobody has been told of
        return not self._playout.all_played

    def _passes(self, size: int, item: str, response: str) -> bytes | None:
        """So many bytes of mu-law come: the mark to send behind them, if any; None when they are not to be heard."""
        with self._lock:
            if response in self._dropped:
                return None
            self._sounding, self._heard_of_it = response, True
            mark, first = self._playout.sent(item, response, size, self._clock())
        if first:
            self._post(AgentAudioStarted(response, item))
        return mark.encode()

    def _event(self, message: bytes) -> bool:
        """What is no audio goes to the call's thread; words wait there until it wakes for something else.

        But not the first of a response that has made no sound: when they come is of interest.
        """
        if self._heard_of_it and is_words(message):
            words = Several([message])
            self._downlink.gather(words.payloads)
            self._post(FromVendor(self._epoch, words, urgent=False))
            return True
        if wire.tells_nothing(message):
            self._mark_the_end()
            return True
        self._downlink.let_go(None)  # what is said from here on comes after this
        self._heard_of_it = False
        if wire.is_speech_started(message):
            self._fall_silent()
        self._mark_the_end()
        self._comes(self._epoch, message)
        return True

    def _mark_the_end(self) -> None:
        """Something else has come, so that was all of the audio for now."""
        with self._lock:
            mark = self._playout.last_mark()
        if mark:
            self._carrier.send_text(twilio_media.mark(self._stream_sid, mark))

    def _fall_silent(self) -> None:
        """The caller speaks: silence the bot at once, and have the model forget what was not heard.

        A reflex, on the pump's thread and in the order of the vendor's events: the next response may already be in
        the same packet, and must not be silenced with the one that was talked over.
        """
        with self._lock:
            now = self._clock()
            over_bot = self._polite and self._playout.audible(now)
            self._over_bot.append(over_bot)
            if not over_bot:
                return
            self._dropped.add(self._sounding)
            self._carrier.discard_audio()
            self._carrier.send_text(twilio_media.clear(self._stream_sid))
            cut = self._playout.clear(now)
        for item, heard_ms in cut:
            self._send(wire.truncate(item, heard_ms) if heard_ms else wire.delete_item(item))

    # --- what else comes, on the pump's thread ---

    def _comes(self, epoch: int, text: bytes) -> None:
        self._post(FromVendor(epoch, Text(text), self._is_urgent(text)))

    def _is_urgent(self, message: bytes) -> bool:
        """A response being made, and a caller who speaks into silence, can wait. A response's end is written down.

        What the caller begins to say is kept from here on, since a journal of silence is short.
        """
        if wire.is_speech_started(message) and (ms := wire.speech_starts_at(message)) is not None:
            self.uplink.need_from(self._base + ms * BYTES_PER_MS)
        match wire.kind(message):
            case b"response.created":
                self._responding = True
                return False
            case b"response.output_audio_transcript.done":
                return False
            case b"response.done":
                self._responding = False
            case b"input_audio_buffer.speech_started":
                # The newest of them is this one; the call's thread may be taking it away at this moment.
                return self._responding or tuple(self._over_bot)[-1:] != (False,)
            case b"":
                self._responding = True  # for all that is known
        return True

    # --- the vendor's news, on the call's thread ---

    def _begin(self, link: Link) -> None:
        self._epoch = self._vendor.epoch
        self._downlink.let_go(None)
        link.route = self._downlink
        link.release()

    def receive(self, news: FromVendor, now: float) -> Sequence[Event]:
        if not isinstance(news.news, Several):
            return super().receive(news, now)
        self._downlink.let_go(news.news.payloads)
        return self._said(news.news.payloads, now) if news.epoch == self._vendor.epoch else []

    def _said(self, payloads: Sequence[bytes], now: float) -> Sequence[Event]:
        """The next words of what the model says; those of one item as one."""
        if not log.isEnabledFor(logging.DEBUG):
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
                return [CallerStarted(self._over_bot.popleft() if self._over_bot else None)]
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
                self._dropped.discard(event.response)
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
        self._downlink.tell()
        self._mark_the_end()
        self._renew_at = None
        self._ends.clear()
        self._over_bot.clear()
        self._responding = False

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
                self._polite = False
                self._send(wire.stop_turn_detection())
            case MarkPlayback(mark):
                self._carrier.send_text(twilio_media.mark(self._stream_sid, mark))
            case ClearPlayback(response):
                with self._lock:
                    self._dropped.add(response)
                self._downlink.tell()  # so that we are asked about what comes next
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
