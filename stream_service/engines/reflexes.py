"""Engine realtime on the pump's thread: what cannot wait for the call's, in the order in which the model says it.

The model's audio is put into Twilio's messages with marks behind it, the bot falls silent when the caller speaks, and
everything else is handed on, with word of whether the call's thread has to wake for it. What is decided on the call's
thread comes in through the public methods.
"""

from collections import deque
from collections.abc import Callable, Mapping

from stream_service.engines.downlink import Downlink
from stream_service.engines.journal import BYTES_PER_MS
from stream_service.engines.port import FromVendor, Post, Several, Urgency
from stream_service.events import AgentAudioStarted, PlaybackReached
from stream_service.playout import MARK_EVERY_MS, Playout
from stream_service.pump import Link
from stream_service.wire import realtime as wire
from stream_service.wire import twilio_media
from stream_service.wire.frames import Text
from stream_service.wire.realtime_words import are_of_item, is_words

_URGENCIES: Mapping[bytes, Urgency] = {
    b"input_audio_buffer.speech_stopped": Urgency.ANSWERED,
    b"conversation.item.input_audio_transcription.completed": Urgency.WHENEVER,
    b"response.created": Urgency.WHENEVER,
    wire.NEXT_WORDS: Urgency.WHENEVER,
    wire.WHOLE_TEXT: Urgency.WHENEVER,
}


class Reflexes:
    """One call's. `downlink` is the route of what the model sends.

    `send` is how to tell the model something, `keep_from` to say where the caller began to speak (ms on its clock).
    """

    def __init__(
        self,
        *,
        playout: Playout,
        carrier: Link,
        stream_sid: str,
        send: Callable[[bytes], None],
        keep_from: Callable[[int], None],
        post: Post,
        clock: Callable[[], float],
    ) -> None:
        self._playout = playout
        self._carrier = carrier
        self._stream_sid = stream_sid
        self._send = send
        self._keep_from = keep_from
        self._post = post
        self._clock = clock
        self.downlink = Downlink(
            twilio_media.media_prefix(stream_sid),
            twilio_media.MEDIA_SUFFIX,
            twilio_media.mark_prefix(stream_sid),
            twilio_media.MARK_SUFFIX,
            MARK_EVERY_MS * BYTES_PER_MS,
            playout.passes,
            self._event,
            wire.NO_NEWS,
        )
        self.downlink.attach(*carrier.inlet)
        playout.tell(self._first_sounds, self._last_mark_returns)
        self._epoch = 0  # of the session whose messages come
        self._words: list[bytes] = []  # the newest that wait together
        self._polite = True  # the bot falls silent when the caller speaks
        self._over_bot: deque[bool] = deque(maxlen=16)  # for each time the caller began to speak: over the bot?
        self._responding = False  # a response is being made, for all that is known here

    # --- from the call's thread ---

    def begin(self, epoch: int) -> None:
        """What comes from now on is of another session."""
        self._epoch = epoch
        self.downlink.let_go(None)

    def end(self) -> None:
        """The session is over; what was sent of its audio is played on."""
        self.downlink.tell()
        self._mark_the_end()
        self._over_bot.clear()
        self._responding = False

    def was_over_bot(self) -> bool | None:
        """Whether the caller, who has begun to speak, did so over the bot; asked once each time. None: not known."""
        return self._over_bot.popleft() if self._over_bot else None

    def stop_yielding(self) -> None:
        """From now on the bot goes on when the caller speaks."""
        self._polite = False

    def drop(self, response: str) -> None:
        """No more of this response is to be heard."""
        self._playout.drop(response)
        self.downlink.tell()  # so that we are asked about what comes next

    def is_over(self, response: str) -> None:
        """No more comes of this response."""
        self._playout.forget(response)

    # --- audio ---

    def _first_sounds(self, item: str, response: str) -> None:
        self._post(AgentAudioStarted(response, item))

    def _last_mark_returns(self, mark: str) -> None:
        """The session need not wake for that: all that it does with the news is write it down."""
        self.downlink.tell()  # some more may have been sent that nobody has been told of
        if self._playout.all_played:
            self._post(PlaybackReached(mark))

    def _mark_the_end(self) -> None:
        """Something else has come, so that was all of the audio for now."""
        if mark := self._playout.last_mark():
            self._carrier.send_text(twilio_media.mark(self._stream_sid, mark))

    def _caller_starts(self, message: bytes) -> None:
        """Silence the bot at once, and have the model forget what was not heard of it.

        In the order of the vendor's events: the next response may already be in the same packet, and must not be
        silenced with the one that was talked over. What the caller says is kept from here on, since a journal of
        silence is short.
        """
        if (ms := wire.speech_starts_at(message)) is not None:
            self._keep_from(ms)
        now = self._clock()
        over_bot = self._polite and self._playout.audible(now)
        self._over_bot.append(over_bot)
        if not over_bot:
            return
        self._playout.drop(self._playout.sounding)
        self._carrier.discard_audio()
        self._carrier.send_text(twilio_media.clear(self._stream_sid))
        for item, heard_ms in self._playout.clear(now):
            self._send(wire.truncate(item, heard_ms) if heard_ms else wire.delete_item(item))

    # --- what else the model sends ---

    def _event(self, message: bytes) -> bool:
        """What is no audio goes to the call's thread; words wait there together until it wakes for something else.

        But those of a response that has made no sound each come by themselves: when the first did is of interest.
        """
        if self._playout.just_sounded and is_words(message):
            self._words = [message]
            self.downlink.gather(self._words)
            self._post(FromVendor(self._epoch, Several(self._words), Urgency.WHENEVER))
            return True
        kind = wire.kind(message)
        if kind in wire.NO_NEWS:
            self._mark_the_end()
            return True
        # Of an item of which all has been said, nobody needs to read the words one by one any more.
        told = kind == wire.WHOLE_TEXT and are_of_item(self._words, message)
        told = told and self.downlink.replace(self._words, message)
        self.downlink.let_go(None)  # what is said from here on comes after this
        self._playout.just_sounded = False
        if wire.is_speech_started(message):
            self._caller_starts(message)
        self._mark_the_end()
        if not told:
            self._hand_on(self._epoch, message, kind)
        return True

    def comes(self, epoch: int, message: bytes) -> None:
        """Something that a session says before its messages take the shorter way."""
        self._hand_on(epoch, message, wire.kind(message))

    def _hand_on(self, epoch: int, message: bytes, kind: bytes) -> None:
        self._post(FromVendor(epoch, Text(message), self._urgency(kind, message)))

    def _urgency(self, kind: bytes, message: bytes) -> Urgency:
        """What all is well with can wait: a turn that is taken, answered and written down as they mostly are."""
        if wire.is_speech_started(message):
            # The newest of them is this one; the call's thread may be taking it away at this moment.
            over_bot = self._responding or tuple(self._over_bot)[-1:] != (False,)
            return Urgency.AT_ONCE if over_bot else Urgency.WHENEVER
        match kind:
            case b"response.created":
                self._responding = True
            case b"response.done":
                self._responding = False
                return Urgency.SOON if wire.is_all_said(message) else Urgency.AT_ONCE
            case b"":
                self._responding = True  # for all that is known
        return _URGENCIES.get(kind, Urgency.AT_ONCE)
