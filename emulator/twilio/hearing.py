"""What one human on a call hears and says, by the clock: the raw material of the report.

Energy decides when audio is sound; what the sounds mean is `report`'s. Nothing here waits.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from emulator import audio, readable_voice
from emulator.twilio import speaking
from emulator.twilio.events import BotFinished, BotSpeaks, CallerFinished, CallerSpeaks, Event, Latency
from emulator.twilio.report import Heard, Kind, Said

FRAME_SECONDS = 0.02
# Quiet inside one utterance of the bot; longer, and what follows is another utterance.
UTTERANCE_GAP_SECONDS = 0.7
# A pause for breath: who was heard so lately is still speaking.
STILL_SPEAKING_SECONDS = 0.3
_REMEMBERED_PIECES = 256  # of a mouth: far more than can overlap the frames not yet sent


@dataclass(eq=False)
class Sound:
    """Something being heard right now."""

    kind: Kind
    text: str
    start: float
    rate: float = 1.0
    ulaw: bytearray = field(default_factory=bytearray)
    loud_until: float = 0.0

    def text_at(self, at: float) -> str:
        """What of it has been heard by `at`."""
        if self.kind == "audio":
            return readable_voice.read(bytes(self.ulaw))
        if self.kind == "say":
            return speaking.heard_after(self.text, at - self.start, self.rate)
        return self.text


class Ear:
    """Keeps the transcript of one human. Thread-safe; `changed` and `emit` are called without its lock held."""

    def __init__(self, emit: Callable[[Event], None], changed: Callable[[], None]) -> None:
        self.heard: list[Heard] = []
        self.said: list[Said] = []
        self._emit = emit
        self._changed = changed
        self._lock = threading.Lock()
        self._sounding: list[Sound] = []
        self._audio: Sound | None = None
        self._unanswered: Said | None = None

    def begin(self, kind: Kind, text: str, at: float, rate: float = 1.0) -> Sound:
        """A sound of known content begins."""
        sound = Sound(kind, text, at, rate)
        with self._lock:
            self._sounding.append(sound)
        self._announce(sound)
        return sound

    def finish(self, sound: Sound, at: float, complete: bool) -> None:
        """It is over; of one that broke off only the part heard so far stays."""
        text = sound.text if complete else sound.text_at(at)
        with self._lock:
            if sound not in self._sounding:
                return
            self._sounding.remove(sound)
            self.heard.append(Heard(sound.kind, text, sound.start, at, complete))
        self._emit(BotFinished(at, sound.kind, text, complete))
        self._changed()

    def audio(self, at: float, ulaw: bytes) -> None:
        """What a stream plays in the 20 ms from `at`; fewer bytes than a frame (or none) where it has no more."""
        loud = bool(ulaw) and audio.is_speech(ulaw)
        begun = over = None
        with self._lock:
            sound = self._audio
            if sound is None and loud:
                begun = self._audio = sound = Sound("audio", "", at)
                self._sounding.append(sound)
            if sound:
                sound.ulaw += ulaw
                if loud:
                    sound.loud_until = at + FRAME_SECONDS
                elif at - sound.loud_until >= UTTERANCE_GAP_SECONDS:
                    over = sound
        if begun:
            self._announce(begun)
        if over:
            self._finish_audio(complete=True)

    def audio_dropped(self, ulaw: bytes) -> None:
        """Audio that was waiting to be played never will be: what is being heard breaks off."""
        if any(audio.is_speech(frame) for frame in audio.frames(ulaw)):
            self._finish_audio(complete=False)

    def audio_over(self, at: float, *, lost: bool) -> None:
        """The stream has nothing more to play; `lost` when it did not end as it should: who spoke then broke off."""
        with self._lock:
            speaking_still = self._audio is not None and at - self._audio.loud_until < STILL_SPEAKING_SECONDS
        self._finish_audio(complete=not (lost and speaking_still))

    def _finish_audio(self, *, complete: bool) -> None:
        with self._lock:
            sound, self._audio = self._audio, None
            if sound is None:
                return
            self._sounding.remove(sound)
            text = readable_voice.read(bytes(sound.ulaw))
            self.heard.append(Heard("audio", text, sound.start, sound.loud_until, complete))
        self._emit(BotFinished(sound.loud_until, "audio", text, complete))
        self._changed()

    def _announce(self, sound: Sound) -> None:
        answered = None
        with self._lock:
            waited_for = self._unanswered
            # What sounds before the human has finished is no reply, nor is a telephone that rings.
            if waited_for and waited_for.end <= sound.start and sound.kind != "dial":
                answered, self._unanswered = waited_for, None
        self._emit(BotSpeaks(sound.start, sound.kind, sound.text))
        if answered:
            self._emit(Latency(sound.start, round(sound.start - answered.end, 3)))
        self._changed()

    def saying(self, said: Said) -> None:
        """The human begins to speak; when it will be over is known from the audio."""
        with self._lock:
            self.said.append(said)
            self._unanswered = said
        self._emit(CallerSpeaks(said.start, said.text))

    def said_until(self, at: float) -> None:
        """The human stops speaking, perhaps earlier than meant."""
        with self._lock:
            last = self.said[-1]
            if at < last.end:
                self.said[-1] = last = Said(last.text, last.start, max(last.start, at))
        self._emit(CallerFinished(at, last.text))

    def last_said_end(self) -> float:
        """When the human last stopped speaking; 0 (the answer) if never."""
        with self._lock:
            return self.said[-1].end if self.said else 0.0

    def first_sound_after(self, since: float, now: float) -> float | None:
        """Since when something has been heard that sounded after `since`."""
        with self._lock:
            starts = [heard.start for heard in self.heard if heard.end > since]
            starts += [sound.start for sound in self._sounding if self._end(sound, now) > since]
        return max(since, min(starts)) if starts else None

    def quiet_since(self, now: float) -> float:
        """The end of the last sound; `now` while something sounds."""
        with self._lock:
            ends = [heard.end for heard in self.heard[-4:]]
            ends += [self._end(sound, now) for sound in self._sounding]
        return max(ends, default=0.0)

    def text_since(self, since: float, now: float) -> str:
        """All that was heard after `since`, as one text."""
        with self._lock:
            parts = [(heard.start, heard.text) for heard in self.heard if heard.end > since]
            parts += [(sound.start, sound.text_at(now)) for sound in self._sounding]
        return "".join(text for _, text in sorted(parts))

    def break_off(self, at: float) -> None:
        """The call is over: whatever sounds is cut here."""
        with self._lock:
            sounding = list(self._sounding)
            if self._audio:
                sounding.remove(self._audio)
        for sound in sounding:
            self.finish(sound, at, complete=False)
        self._finish_audio(complete=True)

    @staticmethod
    def _end(sound: Sound, now: float) -> float:
        return sound.loud_until if sound.kind == "audio" else now


class Mouth:
    """What one side of the line says, on the 20 ms grid that starts with the answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: deque[tuple[int, bytes]] = deque(maxlen=_REMEMBERED_PIECES)

    def speak(self, at: float, ulaw: bytes) -> float:
        """Says `ulaw` from the first frame that begins at or after `at`; returns when that is."""
        first = math.ceil(at / FRAME_SECONDS - 1e-6)
        with self._lock:
            self._pieces.append((first * audio.FRAME_BYTES, bytes(ulaw)))
        return first * FRAME_SECONDS

    def cut(self, at: float) -> None:
        """What would be said after `at` is not."""
        end = math.ceil(at / FRAME_SECONDS - 1e-6) * audio.FRAME_BYTES
        with self._lock:
            kept = [(start, ulaw[: max(0, end - start)]) for start, ulaw in self._pieces]
            self._pieces = deque(kept, maxlen=_REMEMBERED_PIECES)

    def frame(self, index: int) -> bytes:
        """The 160 bytes of frame `index`; silence where nothing is said."""
        position = index * audio.FRAME_BYTES
        with self._lock:
            pieces = [
                (start, ulaw)
                for start, ulaw in self._pieces
                if start < position + audio.FRAME_BYTES and position < start + len(ulaw)
            ]
        frame = bytearray([audio.SILENCE]) * audio.FRAME_BYTES
        for start, ulaw in pieces:
            part = ulaw[max(0, position - start) : position + audio.FRAME_BYTES - start]
            offset = max(0, start - position)
            frame[offset : offset + len(part)] = part
        return bytes(frame)


def sounding_part(ulaw: bytes) -> tuple[float, float]:
    """Seconds at which the sound in `ulaw` begins and ends, without the quiet around it; all of it if it has none."""
    loud = [index for index, frame in enumerate(audio.frames(ulaw)) if audio.is_speech(frame)]
    if not loud:
        return 0.0, len(ulaw) / audio.SAMPLE_RATE
    return loud[0] * FRAME_SECONDS, min((loud[-1] + 1) * FRAME_SECONDS, len(ulaw) / audio.SAMPLE_RATE)
