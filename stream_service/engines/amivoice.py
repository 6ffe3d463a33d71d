"""Engine amivoice: AmiVoice recognises what the caller says, the chat model writes the answer.

What is said by the carrier's voice is the session's business; here the recogniser's sessions are kept alive: audio
that comes before `s` is answered is kept, and after a loss the last seconds are fed to the new session, from the end of
the last utterance that was understood, so that nothing is lost and nothing is heard twice.
"""

import functools
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from callbot.agents import Agent
from callbot.errors import RemoteError
from callbot.settings import Settings
from stream_service.commands import CancelChat, Command, GetReady, StartChat
from stream_service.engines.chat import Chat
from stream_service.engines.journal import BYTES_PER_MS, MOST_BYTES, PRE_ROLL_BYTES
from stream_service.engines.port import FromVendor, Post, Urgency
from stream_service.engines.repeats import Repeats
from stream_service.engines.uplink import Uplink
from stream_service.engines.vendor_session import VendorSession
from stream_service.events import (
    CallerSaid,
    CallerSaying,
    CallerStarted,
    CallerStopped,
    CallerUnclear,
    Event,
)
from stream_service.pump import Link, Pump
from stream_service.wire import amivoice as wire
from stream_service.wire.frames import Text

log = logging.getLogger(__name__)

LATE_SECONDS = 1.5  # an utterance's end is told so long after it, at most; another clock than ours says more


@dataclass(slots=True)
class _Utterance:
    start: int  # positions, as the journal counts
    end: int | None = None
    ended_at: float | None = None  # by our clock


class AmivoiceEngine(VendorSession):
    """Recognition and chat for one call."""

    def __init__(self, *, settings: Settings, agent: Agent, pump: Pump, pool: Executor, post: Post, chat: Chat) -> None:
        super().__init__(
            service="amivoice",
            url=settings.amivoice_url,
            headers=list,
            uplink=Uplink(wire.AUDIO, b"", True, PRE_ROLL_BYTES, MOST_BYTES),
            pump=pump,
            pool=pool,
            post=post,
        )
        self._start_command = wire.start(settings.amivoice_api_key, settings.amivoice_grammar)
        self._agent = agent
        self._chat = chat
        self._post = post
        self._recognised = 0  # bytes of speech; AmiVoice bills nothing else
        self._repeats: Repeats | None = None  # of the session there is
        self._saying = ""  # what was made of the caller's words last
        self._utterances: deque[_Utterance] = deque()  # begun, and not answered by a result yet

    def start(self) -> None:
        super().start()
        self._chat.warm_up()

    def perform(self, command: Command) -> bool:
        match command:
            case StartChat(turn, messages):
                self._chat.ask(turn, messages, self._agent, self._post)
            case CancelChat(turn):
                self._chat.cancel(turn)
            case GetReady():
                self._chat.warm_up()
                return False  # the carrier's side is the relay's
            case _:
                return False
        return True

    def spent(self) -> Mapping[str, int]:
        return {"recognition_ms": self._recognised // BYTES_PER_MS}

    def close(self) -> None:
        self._chat.close()
        if self._vendor.link and self.uplink.attached:
            self._vendor.link.send_text(wire.END)
        self._stop_feeding()
        self._vendor.close()

    # --- the recogniser's session ---

    def _comes(self, epoch: int, text: bytes) -> None:
        """Words that may change in a moment are worth waking for when they have not."""
        interim = text.startswith(wire.INTERIM)
        self._post(FromVendor(epoch, Text(text), Urgency.UNLESS_MORE if interim else Urgency.AT_ONCE))

    def _understand(self, packet: wire.Packet, now: float) -> Sequence[Event]:
        match packet:
            case wire.Started():
                return self._feed(self._vendor.link) if self._vendor.link else []
            case wire.Failed(command):
                error = RemoteError("amivoice", packet.error, retryable=not packet.fatal, code=f"{command} refused")
                return self._again(error, now)
            case wire.Ended():
                return self._again(RemoteError("amivoice", "ended", retryable=True, code="ended"), now)
            case wire.SpeechStarted(ms):
                self._utterances.append(_Utterance(self._position(ms)))
                self.uplink.need_from(self._position(ms))
                return [CallerStarted()]
            case wire.SpeechEnded(ms):
                end = self._position(ms)
                ended_at = now - min(_seconds(max(0, self.uplink.position - end)), LATE_SECONDS)
                if self._utterances:
                    self._utterances[-1].end, self._utterances[-1].ended_at = end, ended_at
                return [CallerStopped(speech_end=ended_at)]
            case wire.Interim(text):
                self._saying = text
                return [CallerSaying(text)] if text else []
            case wire.Final():
                return self._final(packet, now)

    def _final(self, final: wire.Final, now: float) -> Sequence[Event]:
        if final.code in wire.FATAL_CODES:
            return self._again(RemoteError("amivoice", "refused", retryable=False, code=final.code), now)
        utterance = self._utterances.popleft() if self._utterances else _Utterance(self.uplink.position)
        end = utterance.end
        if end is None:
            end = self._position(final.end_ms) if final.end_ms is not None else self.uplink.position
        self._recognised += max(0, end - utterance.start)
        self.uplink.settled(end)
        if final.text and not final.code:
            ended_at = utterance.ended_at or now - _seconds(max(0, self.uplink.position - end))
            return [CallerSaid(final.text, speech_end=ended_at)]
        return [CallerUnclear(_seconds(max(0, end - utterance.start)))]

    def _begin(self, link: Link) -> None:
        # The same words once more, while the caller pauses or is being worked out, are told of with the next tick.
        self._repeats = Repeats(wire.INTERIM, functools.partial(self._takes, self._vendor.epoch))
        link.route = self._repeats
        link.release()
        link.send_text(self._start_command)

    def _takes(self, epoch: int, text: bytes) -> bool:
        self._comes(epoch, text)
        return True

    def tick(self, now: float) -> Sequence[Event]:
        events = super().tick(now)
        if self._repeats and self._repeats.again:
            self._repeats.again = False
            return [CallerSaying(self._saying), *events] if self._saying else events
        return events

    def _read(self, payload: bytes, now: float) -> Sequence[Event]:
        packet = wire.decode(payload.decode("utf-8", "replace"))
        return self._understand(packet, now) if packet else []

    def _forget(self) -> None:
        self._repeats = None
        self._utterances.clear()

    def _position(self, ms: int) -> int:
        return self._base + ms * BYTES_PER_MS


def _seconds(size: int) -> float:
    return size / BYTES_PER_MS / 1000
